"""configs/benchmark_config.yaml: how artefacts are measured; a change of meaning gets a new version."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator
from pydantic.config import JsonDict

from finetune.config.base import Fraction, Real, Section, Seed, Threshold, raise_all, wrong
from finetune.config.shapes import shape

QUANTISATIONS = ("f16", "bf16", "f32", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "Q3_K_M", "Q2_K")
_QUANTISATIONS: JsonDict = {"items": {"enum": list(QUANTISATIONS)}, "minItems": 1, "uniqueItems": True}
_TOLERANCES = {"merged": 0.01, "f16": 0.01, "Q8_0": 0.02, "Q4_K_M": 0.05}

FLOATS = ("f32", "bf16", "f16")
"""What the converter writes; the others are quantised from the first of these that is there."""

SIZES = {
    "f32": 2.0,
    "f16": 1.0,
    "bf16": 1.0,
    "Q8_0": 0.54,
    "Q6_K": 0.42,
    "Q5_K_M": 0.37,
    "Q4_K_M": 0.32,
    "Q4_0": 0.3,
    "Q3_K_M": 0.26,
    "Q2_K": 0.22,
}
"""Rough size of a file against the 16-bit model, for progress and disk space."""


class Splits(Section):
    """Shares of the three splits; a row's split follows from its own hash, so adding rows never moves it."""

    train: Fraction = Field(examples=[0.7])
    """Share of the rows the model learns from."""
    valid: Fraction = Field(examples=[0.15])
    """Share that chooses the best checkpoint."""
    test: Fraction = Field(examples=[0.15])
    """Share that decides the release; below about 100 rows its confidence interval is wide."""
    salt: Annotated[str, StringConstraints(max_length=64)] = ""
    """Another salt draws other splits; change it only together with the version."""

    @model_validator(mode="after")
    def _whole(self) -> Splits:
        if abs(self.train + self.valid + self.test - 1.0) > 1e-9 or not min(self.train, self.valid, self.test) > 0:
            raise wrong("E224", "train, valid and test must be positive and add up to 1", "for example 0.7, 0.15, 0.15")
        return self


class Bootstrap(Section):
    """Percentile bootstrap over test rows (Efron and Tibshirani 1993)."""

    samples: int = Field(default=1000, ge=100, le=100_000)
    """Resamples; more is smoother, not narrower."""
    confidence: Real = Field(default=0.95, gt=0.5, lt=1.0)
    """Level of the intervals."""
    seed: Seed = 0
    """Seed of the resampling."""


class Generation(Section):
    """Greedy decoding; the same for every artefact."""

    batch_size: int = Field(default=16, ge=1, le=1024)
    """Prompts at once; memory and speed only, the answers are the same."""
    context: int = Field(default=2048, ge=128, le=1_048_576)
    """num_ctx of the GGUF runtime, in tokens."""


class BenchmarkConfig(Section):
    """The whole of benchmark_config.yaml."""

    version: int = Field(default=1, ge=1)
    """Raise it when splits, metrics or generation change: results of different versions are not comparable."""
    splits: Splits = Splits(train=0.7, valid=0.15, test=0.15)
    thresholds: dict[str, Threshold] = Field(default={}, examples=[{"accuracy": 0.85}])
    """Floors beside the primary metric's threshold, by metric name."""
    bootstrap: Bootstrap = Bootstrap()
    baselines: tuple[Literal["zero_shot", "majority"], ...] = ("zero_shot", "majority")
    """What training must beat: the untrained base model, and always the commonest answer."""
    quantisations: tuple[str, ...] = Field(default=("f16", "Q8_0", "Q4_K_M"), json_schema_extra=_QUANTISATIONS)
    """GGUF files that are made, measured and published; each costs one pass over the test set."""
    tolerances: dict[str, Fraction] = Field(examples=[_TOLERANCES])
    """Largest drop of the primary metric against the adapter, for merged and for each quantisation."""
    generation: Generation = Generation()

    @model_validator(mode="after")
    def _artefacts(self) -> BenchmarkConfig:
        found = []
        places = [(name, "quantisations") for name in self.quantisations]
        places += [(name, f"tolerances.{name}") for name in self.tolerances if name != "merged"]
        for name, at in places:
            if name not in QUANTISATIONS:
                near = [known for known in QUANTISATIONS if known.lower() == name.lower()]
                fix = f"did you mean {near[0]}?" if near else f"one of {', '.join(QUANTISATIONS)}"
                found.append(wrong("E229", f"quantisation {name!r} is unknown", fix, at))
        if not self.quantisations or len(set(self.quantisations)) != len(self.quantisations):
            message, fix = "quantisations must be a list without repetition", "for example [f16, Q8_0, Q4_K_M]"
            found.append(wrong("E229", message, fix, "quantisations"))
        missing = sorted({"merged", *self.quantisations} - set(self.tolerances))
        if missing and not found:
            fix = f"add {shape('tolerances', {**self.tolerances, **{name: 0.02 for name in missing}})}"
            found.append(wrong("E215", f"no tolerance for {', '.join(missing)}", fix, "tolerances"))
        raise_all(found)
        return self
