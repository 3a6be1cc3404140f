"""What a run may cost before a person is asked: an estimate from the input, and the cap that main sets."""

from __future__ import annotations

import math
from dataclasses import dataclass

from finetune.config.project import Project
from finetune.errors import Problems

HEADROOM = 4
"""How often a run may cost what main's own limits would: checks.epochs' upper end at main's max_length."""
MAX_TOKENS = 4_000_000_000
"""Whatever main's limits are; about a day of a 4B model with LoRA on one large GPU."""


@dataclass(frozen=True)
class Cost:
    """Upper bounds: every row as long as max_length, no early stop."""

    steps: int
    tokens: int


def estimate(project: Project, rows: int) -> Cost:
    """Optimiser steps and tokens of a training run over `rows` training rows (after oversampling)."""
    config = project.training
    steps = math.ceil(math.ceil(rows / config.batch.effective) * config.optimiser.epochs)
    return Cost(steps, math.ceil(rows * config.optimiser.epochs) * config.max_length)


def check_budget(main: Project, frozen: Project, rows: int, problems: Problems) -> Cost:
    """Add E625 with the estimate when `frozen` would cost more than main allows for as many rows.

    Main's own checks.epochs and max_length decide, not the candidate's: raising the cap is a change on main.
    """
    cost, config = estimate(frozen, rows), frozen.training
    allowed = math.floor(HEADROOM * rows * main.training.checks.epochs[1] * main.training.max_length)
    allowed = min(allowed, MAX_TOKENS)
    if cost.tokens > allowed:
        problems.add(
            "configs/training_config.yaml",
            "E625",
            f"the run would take {cost.steps:,} steps over up to {cost.tokens:,} tokens ({config.optimiser.epochs:g} "
            f"epochs of {rows:,} rows of {config.max_length:,} tokens), the budget is {allowed:,} tokens",
            "lower epochs or max_length; a maintainer raises the budget by checks.epochs on the default branch",
            key="optimiser.epochs",
        )
    return cost
