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

    id: str = Field(examples=["Qwen/Qwen3-4B-Instruct-2507"])
    """Hub id, or a folder below models/base/."""
    revision: str = Field(
        examples=["cdbee75f17c01a7cc42f958dc650907174af0554"],
        json_schema_extra={"pattern": r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$"},
    )
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
    """Share of the adapter's inputs left out at random in training; 0.1 against overfitting."""
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
    """The 4-bit number format; nf4 fits normally distributed weights."""
    double_quant: bool = True
    """Quantise the scales too: another 0.4 bit a weight less, at no measurable cost."""


class Optimiser(Section):
    """AdamW and its schedule."""

    learning_rate: Real = Field(default=2e-5, gt=0.0, le=1.0)
    """Step size at its highest; LoRA often stands ten times the default."""
    epochs: Real = Field(default=5.0, gt=0.0, le=1000.0)
    """Passes over the training split; early stopping may end the run before."""
    warmup_ratio: Fraction = 0.05
    """Share of the steps in which the rate rises from 0."""
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    """How the rate falls after the warm-up."""
    weight_decay: Real = Field(default=0.0, ge=0.0, le=1.0)
    """Pull of the weights towards 0 in each step."""
    max_grad_norm: Real = Field(default=1.0, gt=0.0)
    """Longer gradients are cut to this length."""


class Batch(Section):
    """How rows become steps."""

    per_device: int = Field(default=4, ge=1, le=4096)
    """Rows in one forward pass on one device; lower it when memory is short, the recipe does not change."""
    effective: int = Field(default=16, ge=1, le=65536)
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
    """Checkpoints and evaluations in one epoch."""
    keep: int = Field(default=2, ge=1, le=100)
    """Newest checkpoints on disk; the best one is kept besides."""


class Checks(Section):
    """Ranges outside which preflight warns; the user's checklist recommends 1e-5 to 2e-5 and 5 to 10 epochs."""

    learning_rate: tuple[Real, Real] = (1e-5, 2e-5)
    """[lowest, highest] learning rate without a warning."""
    epochs: tuple[Real, Real] = (5.0, 10.0)
    """[lowest, highest] number of epochs without a warning."""

    @model_validator(mode="after")
    def _ordered(self) -> Checks:
        for low, high in (self.learning_rate, self.epochs):
            if low > high:
                raise wrong("E224", f"range [{low}, {high}] is upside down", "write [lowest, highest]")
        return self


class TrainingConfig(Section):
    """The whole of training_config.yaml."""

    version: Literal[1] = 1
    """Of this file's format; nobody needs to write it."""
    base_model: BaseModelConfig
    method: Literal["lora", "qlora"] = "lora"
    """lora adapts 16-bit weights; qlora keeps the base in 4 bit: a third of the memory, about 1.5 times the time."""
    lora: Lora = Lora()
    quantization: Quantization = Quantization()
    optimiser: Optimiser = Optimiser()
    batch: Batch = Batch()
    max_length: int = Field(default=2048, ge=16, le=1_048_576)
    """Longest row in tokens, prompt and answer; a longer row is an error, its answer is never cut."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Numbers training computes with; auto: bf16 where the hardware has it, else fp32."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where it is trained; auto: a GPU if there is one."""
    seed: Seed = 42
    """Same seed, data and machine: same adapter, within floating-point order."""
    early_stopping_patience: int = Field(default=2, ge=0, le=1000)
    """Evaluations without a better validation loss before training stops; 0 never stops early."""
    logging_steps: int = Field(default=5, ge=1)
    """Steps between two points of the loss curve."""
    gradient_checkpointing: bool | None = None
    """Recompute activations in the backward pass: less memory, about 30 % more time. null: on a GPU only."""
    checkpoints: Checkpoints = Checkpoints()
    checks: Checks = Checks()
