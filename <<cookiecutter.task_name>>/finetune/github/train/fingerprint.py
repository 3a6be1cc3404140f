"""The training fingerprint: one number for everything that an adapter and its evaluation depend on.

Two commits of the same fingerprint train the same adapter and score it the same way, so the second one reuses the first
one's run. What only judges or names a result is left out: thresholds, tolerances, status, Hub names, licence.

The code in it is all the code that the training job runs, and the training job is given no other: else a commit could
put another adapter under a fingerprint that is not its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from finetune import provenance
from finetune.config.project import Project
from finetune.data.stage import data_inputs
from finetune.errors import OK
from finetune.github.client.actions import set_output
from finetune.inventory import MEASURED, is_step_code, recipe

VERSION = 2
"""Raised when what goes into a fingerprint changes, so that no older run is taken for a new one."""


def fingerprint(project: Project) -> int:
    """Output `fingerprint`. Raises BadInput when data/raw cannot be read."""
    set_output("fingerprint", training_fingerprint(project))
    return OK


def training_fingerprint(project: Project) -> str:
    """64 hex digits over data, recipe, measurement, code and pinned packages of the tree at `project.paths.root`.

    The tree alone decides: neither the order of its files nor their times, the working directory, the machine or the
    git history. Needs only the base install. Raises BadInput when data/raw cannot be read.
    """
    task, root = project.task, project.paths.root
    scored: dict[str, Any] = task.model_dump(mode="json", include={"language", "metrics"})
    del scored["metrics"]["threshold"]
    constraints = root / "constraints.txt"
    return provenance.digest(
        {
            "version": VERSION,
            "data": data_inputs(project),
            "scored": scored,
            "training": recipe(project.training.model_dump(mode="json")),
            "benchmark": project.benchmark.model_dump(mode="json", include=set(MEASURED)),
            "code": {path.relative_to(root).as_posix(): provenance.sha256(path) for path in sorted(_code(root))},
            "packages": provenance.sha256(constraints) if constraints.is_file() else None,
        }
    )


def _code(root: Path) -> Iterator[Path]:
    """The regular files below `root` that are code; links are not followed."""
    for top in ("finetune", "scripts"):
        for folder, _, names in os.walk(root / top):
            for name in names:
                path = Path(folder, name)
                if is_step_code(path.relative_to(root).as_posix()) and path.is_file() and not path.is_symlink():
                    yield path
