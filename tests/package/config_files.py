"""The three configuration files of a test repository, and what the loader says about them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetune.config.project import Project, load_project
from finetune.errors import BadInput, Problem

TASK, TRAINING, BENCHMARK = "task_definition.yaml", "configs/training_config.yaml", "configs/benchmark_config.yaml"
SMOKE = "configs/smoke_config.yaml"
Make = Callable[..., Project]


def problems_of(root: Path, smoke: bool = False) -> list[Problem]:
    try:
        load_project(root, smoke=smoke)
    except BadInput as failure:
        return failure.problems.errors
    return []


def pinned_repository(make_project: Make) -> Path:
    """Root of a repository whose configurations hold the lines that the tests edit."""
    pinned = {
        "lora": {"r": 4}, "optimiser": {"learning_rate": 0.001, "epochs": 2},
        "batch": {"per_device": 4, "effective": 8}, "max_length": 512,
    }  # fmt: skip
    splits, generation = {"train": 0.6, "valid": 0.2, "test": 0.2}, {"batch_size": 8, "context": 768}
    return make_project(training=pinned, benchmark={"splits": splits, "generation": generation}).paths.root


def refused(make: Make, task_type: str = "classification", **sections: Any) -> list[tuple[str, str, str | None]]:
    """(file, code, key) of every error; each must have a line and a way out."""
    with pytest.raises(BadInput) as failure:
        make(task_type, **sections)
    errors = failure.value.problems.errors
    assert all(problem.line and problem.fix for problem in errors), [str(problem) for problem in errors]
    return [(problem.path, problem.code, problem.key) for problem in errors]
