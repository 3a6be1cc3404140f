"""Whether training fits the task's GPU, and what would make it fit: preflight's own estimate, made beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from finetune.config.project import Project
from finetune.training.preflight import GIB, estimate

USABLE = 0.92
"""Share of a GPU's memory that is left beside the driver's and other programs' own."""
_WIDTH = 2
"""Bytes of a 16-bit weight."""


@dataclass(frozen=True)
class Proposal:
    """What training needs as configured, and the nearest setting that fits."""

    gib: float
    """Needed as configured, in GiB, with rows of max_length."""
    room: float | None
    """Usable memory of resources.gpu_memory_gb; None where the task trains on a CPU."""
    method: str
    per_device: int
    fits: bool
    """Whether `method` and `per_device` fit; else nothing does."""
    fit_gib: float
    """What those two need."""


def propose(project: Project, config: Any, parameters: int | None) -> Proposal:
    """Lower per_device first: it changes memory and speed, not the result. QLoRA changes the result and comes after.

    `config` is a transformers configuration, `parameters` the number of weights where it is known.
    """
    training, gigabytes = project.training, project.task.resources.gpu_memory_gb
    room = gigabytes * 1e9 / GIB * USABLE if gigabytes else None
    now = _need(project, config, parameters, training.method, training.batch.per_device)
    if room is None or now <= room:
        return Proposal(now, room, training.method, training.batch.per_device, True, now)
    sizes = [n for n in range(training.batch.per_device, 0, -1) if training.batch.effective % n == 0]
    methods = dict.fromkeys((training.method, "qlora"))
    for method in methods:
        for size in sizes:
            need = _need(project, config, parameters, method, size)
            if need <= room:
                return Proposal(now, room, method, size, True, need)
    return Proposal(now, room, "qlora", 1, False, _need(project, config, parameters, "qlora", 1))


def _need(project: Project, config: Any, parameters: int | None, method: str, per_device: int) -> float:
    """GiB for one step over rows of max_length, gradient checkpointing as on a GPU."""
    from dataclasses import replace

    training = project.training.model_copy(update={"method": method})
    checkpointing = training.gradient_checkpointing
    if checkpointing is None:
        checkpointing = bool(project.task.resources.gpu_memory_gb)
    tokens = per_device * training.max_length
    part = estimate(replace(project, training=training), config, _WIDTH, tokens, checkpointing)
    weights = part.weights if parameters is None else int(parameters * (0.6 if method == "qlora" else _WIDTH))
    return (part.total - part.weights + weights) / GIB
