"""Before a training run: what is there, what it needs, all failures at once, one exit."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.config.benchmark import FLOATS, SIZES
from finetune.config.project import Project
from finetune.console import say
from finetune.errors import FinetuneError, Problems
from finetune.training.base_model import BaseModel
from finetune.training.tokenizer_files import compare_committed

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig

GIB = 2**30
MEMINFO = Path("/proc/meminfo")
"""Where Linux tells how much memory is free."""
_NOMINAL = 0.9
"""A GPU sold as 24 GB shows a little less."""


@dataclass(frozen=True)
class Estimate:
    """Bytes a training run needs, by part; a rule of thumb that errs on the high side."""

    weights: int
    adapter_and_optimiser: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        return self.weights + self.adapter_and_optimiser + self.activations + self.logits


def estimate(
    project: Project, config: PretrainedConfig, dtype_bytes: int, tokens: int, checkpointing: bool
) -> Estimate:
    """Memory of one step over `tokens` tokens.

    Weights: parameters times their width (0.6 bytes with nf4). LoRA: 16 bytes a parameter (weight, gradient, two
    AdamW moments, all fp32). Activations: 34 bytes times hidden size a token and layer (Korthikanti et al. 2022,
    arXiv:2205.05198), a tenth of it with recomputation. Logits: fp32, a third of the tokens, three copies.
    """
    text = config.get_text_config()
    hidden, layers, inner = text.hidden_size, text.num_hidden_layers, text.intermediate_size
    parameters = parameter_count(config)
    weights = int(parameters * (0.6 if project.training.method == "qlora" else dtype_bytes))
    lora = project.training.lora.r * layers * (4 * 2 * hidden + 3 * (hidden + inner))
    activations = int(34 * hidden * layers * tokens * (0.1 if checkpointing else 1.0) * dtype_bytes / 2)
    return Estimate(weights, 16 * lora, activations, 3 * 4 * (tokens // 3) * text.vocab_size)


def parameter_count(config: PretrainedConfig) -> int:
    """Weights of a decoder of this configuration: embeddings, and attention and feed-forward layers."""
    text = config.get_text_config()
    hidden, inner = text.hidden_size, text.intermediate_size
    return text.vocab_size * hidden + text.num_hidden_layers * (4 * hidden * hidden + 3 * hidden * inner)


def export_bytes(project: Project, config: PretrainedConfig) -> int:
    """Bytes that steps 05 and 06 will write: the merged model in 16 bits and every GGUF file; 0 once they are there."""
    made = project.benchmark.quantisations
    source = 0.0 if any(name in FLOATS for name in made) else SIZES["f16"]  # made for the others, removed in the end
    share = (0.0 if project.paths.merged.is_dir() else 1.0) + (
        0.0 if project.paths.gguf.is_dir() else source + sum(SIZES[name] for name in made)
    )
    return int(2 * parameter_count(config) * share)


def preflight(
    project: Project,
    base: BaseModel,
    *,
    device: str,
    dtype: torch.dtype,
    reason: str,
    tokens: int,
    checkpointing: bool,
) -> None:
    """Print numbered ✓/✗ lines and raise BadInput with every failure.

    Warnings follow the user's checklist: learning rate and epochs outside `checks`, an unpinned revision. The files of
    configs/tokenizer have to be the base model's, because the data was checked with them.
    """
    from transformers import AutoConfig

    training, problems = project.training, Problems()
    shown = project.paths.relative(project.paths.training_config)
    config = AutoConfig.from_pretrained(base.path)
    need = estimate(project, config, dtype.itemsize, tokens, checkpointing)
    free, where = _free_memory(device)
    lines = [
        (True, f"device {device}, {str(dtype).removeprefix('torch.')} ({reason})"),
        (True, f"base {base.id} at {base.revision} from {base.source}, licence {base.license}"),
    ]
    enough = free is None or need.total <= free
    memory = f"about {need.total / GIB:.1f} GiB" + (
        "; how much is free is unknown" if free is None else f" of {free / GIB:.1f} GiB free on the {where}"
    )
    lines.append((enough, f"memory {memory}"))
    if not enough:
        problems.add(
            shown,
            "E242",
            f"memory does not suffice: {memory}",
            "lower batch.per_device or max_length, or use method: qlora",
            key="batch.per_device",
        )
    disk_need = need.adapter_and_optimiser * (training.checkpoints.keep + 2)
    disk = shutil.disk_usage(project.paths.root).free
    lines.append((disk >= disk_need, f"disk about {disk_need / GIB:.2f} GiB of {disk / GIB:.1f} GiB free"))
    if disk < disk_need:
        problems.add(shown, "E243", f"{disk_need / GIB:.2f} GiB of disk needed for checkpoints", "free space")
    later = export_bytes(project, config)
    if disk >= disk_need and disk < disk_need + later:
        problems.add(
            project.paths.relative(project.paths.benchmark_config),
            "W332",
            f"steps 05 and 06 will need about {later / GIB:.1f} GiB of disk, {(disk - disk_need) / GIB:.1f} are left",
            "free space before them, or shorten quantisations",
            key="quantisations",
        )
    if compared := compare_committed(project, base, problems):
        lines.append(compared)
    context = getattr(config.get_text_config(), "max_position_embeddings", None)
    if context is not None:
        lines.append((training.max_length <= context, f"max_length {training.max_length} of {context} positions"))
    if context is not None and training.max_length > context:
        message = f"{training.max_length} tokens, but {base.id} was trained for {context}"
        problems.add(shown, "E226", message, f"set at most {context}", key="max_length")
    for key, value, (low, high) in (
        ("optimiser.learning_rate", training.optimiser.learning_rate, training.checks.learning_rate),
        ("optimiser.epochs", training.optimiser.epochs, training.checks.epochs),
    ):
        inside = low <= value <= high
        side = "inside" if inside else "OUTSIDE"
        lines.append((True, f"{key} {value:g} {side} the checked range {low:g} to {high:g}"))
        if not inside:
            problems.add(
                shown,
                "W224",
                f"{value:g} lies outside {low:g} to {high:g}",
                "LoRA often wants about ten times the full fine-tuning rate; keep it knowingly or change checks",
                key=key,
            )
    say("preflight")
    for number, (good, text) in enumerate(lines, 1):
        say(f"  {number}. {'✓' if good else '✗'} {text}")
    for warning in (*project.warnings, *map(str, problems.warnings)):
        say(f"  {warning}")
    problems.raise_if_errors()


def require_device(project: Project, device: str) -> None:
    """Before anything is downloaded: a task planned for a GPU is not begun on a CPU that nobody chose (E330).

    A GPU with less memory than planned is only said (W330): whether it suffices is for the estimate to tell.
    """
    planned, preset = project.task.resources.gpu_memory_gb, project.task.resources.preset
    if not planned:
        return
    if device == "cuda":
        import torch

        total = torch.cuda.get_device_properties(0).total_memory / GIB
        if total < planned * _NOMINAL:
            say(f"W330 {preset} is planned for a GPU of {planned} GB, this one has {total:.0f}")
    elif project.training.device != "cpu":
        raise FinetuneError(
            f"no GPU here, and {preset} is planned for one of {planned} GB",
            "make smoke tries every step on this CPU with a small model; train on a machine with a GPU, or set device: "
            "cpu in configs/training_config.yaml to train here all the same, slowly",
            code="E330",
        )


def _free_memory(device: str) -> tuple[int | None, str]:
    if device == "cuda":
        import torch

        return torch.cuda.mem_get_info()[0], "GPU"
    try:
        with MEMINFO.open(encoding="ascii") as file:
            fields = dict(line.split(":", 1) for line in file)
        return int(fields["MemAvailable"].split()[0]) * 1024, "machine"
    except (OSError, KeyError, ValueError):
        return None, "machine"
