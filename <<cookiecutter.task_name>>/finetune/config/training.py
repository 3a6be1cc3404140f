"""configs/training_config.yaml: base model, LoRA, optimiser, batches; each value with its trade-off in the file."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from finetune.config.base import Fraction, Real, Section, Seed, is_hub_id, wrong

_LOCAL = re.compile(r"models/base(/[A-Za-z0-9_][A-Za-z0-9._-]*)+")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class BaseModelConfig(Section):
    """The model that is adapted."""

    id: str
    """Hub id, or a folder below models/base/."""
    revision: str
    """40 hex digits; a branch name works, is resolved and recorded, and is reported as unpinned."""
    license: str = "unknown"
    """Licence of the base model; shown in preflight and on the cards."""
    enable_thinking: bool | None = None
    """For hybrid thinking models: false renders every prompt with thinking off, in training and in every artefact."""

    @model_validator(mode="after")
    def _known_place(self) -> BaseModelConfig:
        # "models" is no owner on the Hub: such an id is a mistyped folder.
        if not _LOCAL.fullmatch(self.id) and (not is_hub_id(self.id) or self.id.startswith("models/")):
            message = f"{self.id[:100]!r} is neither a Hub id nor a folder below models/base/"
            raise wrong("E223", message, "write owner/name", "id")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}", self.revision) or ".." in self.revision:
            message = f"{self.revision[:100]!r} is not a revision"
            raise wrong("E223", message, "write the commit's 40 hex digits", "revision")
        return self

    @property
    def pinned(self) -> bool:
        return _LOCAL.fullmatch(self.id) is not None or _COMMIT.fullmatch(self.revision) is not None


def _modules(value: object) -> object:
    """One rule instead of a union: a union reports the same wrong value once for each of its members."""
    if value == "all-linear" or (isinstance(value, tuple) and value and all(isinstance(name, str) for name in value)):
        return value
    raise wrong("E225", "neither all-linear nor a list of layer names", "use all-linear")


class Lora(Section):
    """Low-rank adaptation (Hu et al. 2021, arXiv:2106.09685)."""

    r: int = Field(default=16, ge=1, le=512)
    """Rank: capacity of the adapter."""
    alpha: int = Field(default=32, ge=1, le=2048)
    """Scale; the update is multiplied by alpha / r."""
    dropout: Real = Field(default=0.05, ge=0.0, lt=1.0)
    target_modules: Annotated[Literal["all-linear"] | tuple[str, ...], BeforeValidator(_modules)] = "all-linear"
    """Which layers are adapted; never lm_head or the embeddings."""

    @model_validator(mode="after")
    def _no_head(self) -> Lora:
        if isinstance(self.target_modules, tuple):
            bad = {"lm_head", "embed_tokens", "wte"} & set(self.target_modules)
            if bad:
                raise wrong("E225", f"{', '.join(sorted(bad))} breaks the export", "use all-linear", "target_modules")
        return self


class Quantization(Section):
    """4-bit base weights for QLoRA (Dettmers et al. 2023, arXiv:2305.14314)."""

    type: Literal["nf4", "fp4"] = "nf4"
    double_quant: bool = True


class Optimiser(Section):
    """AdamW and its schedule."""

    learning_rate: Real = Field(gt=0.0, le=1.0)
    epochs: Real = Field(gt=0.0, le=1000.0)
    warmup_ratio: Fraction = 0.05
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    weight_decay: Real = Field(default=0.0, ge=0.0, le=1.0)
    max_grad_norm: Real = Field(default=1.0, gt=0.0)


class Batch(Section):
    """How rows become steps."""

    per_device: int = Field(ge=1, le=4096)
    """Rows in one forward pass on one device; lower it when memory is short, the recipe does not change."""
    effective: int = Field(ge=1, le=65536)
    """Rows per optimiser step; the rest is gradient accumulation."""
    batching: Literal["shared_prefix", "packed", "padded"] = "shared_prefix"
    """shared_prefix computes the common prompt once a batch; all three give the same loss and gradients."""

    @model_validator(mode="after")
    def _whole_steps(self) -> Batch:
        if self.effective % self.per_device:
            message = f"effective {self.effective} is no multiple of per_device {self.per_device}"
            raise wrong("E224", message, "make it a multiple")
        return self


class Checkpoints(Section):
    """How often the run can be resumed from."""

    per_epoch: int = Field(default=1, ge=1, le=1000)
    keep: int = Field(default=2, ge=1, le=100)


class Checks(Section):
    """Ranges outside which preflight warns; the user's checklist recommends 1e-5 to 2e-5 and 5 to 10 epochs."""

    learning_rate: tuple[Real, Real] = (1e-5, 2e-5)
    epochs: tuple[Real, Real] = (5.0, 10.0)

    @model_validator(mode="after")
    def _ordered(self) -> Checks:
        for low, high in (self.learning_rate, self.epochs):
            if low > high:
                raise wrong("E224", f"range [{low}, {high}] is upside down", "write [lowest, highest]")
        return self


class TrainingConfig(Section):
    """The whole of training_config.yaml."""

    version: Literal[1]
    base_model: BaseModelConfig
    method: Literal["lora", "qlora"]
    lora: Lora = Lora()
    quantization: Quantization = Quantization()
    optimiser: Optimiser
    batch: Batch
    max_length: int = Field(ge=16, le=1_048_576)
    """Longest row in tokens, prompt and answer; a longer row is an error, its answer is never cut."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    seed: Seed = 42
    early_stopping_patience: int = Field(default=2, ge=0, le=1000)
    """Evaluations without a better validation loss before training stops; 0 never stops early."""
    logging_steps: int = Field(default=5, ge=1)
    gradient_checkpointing: bool | None = None
    """Recompute activations in the backward pass: less memory, about 30 % more time. None: on a GPU only."""
    checkpoints: Checkpoints = Checkpoints()
    checks: Checks = Checks()
