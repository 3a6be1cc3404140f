"""One project: where it is, its paths and its three configurations, checked together."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finetune.config.benchmark import BenchmarkConfig
from finetune.config.loading import build, merge
from finetune.config.strict_yaml import Located, read_yaml
from finetune.config.task import TaskDefinition
from finetune.config.task_defaults import METRICS, SUGGESTED_THRESHOLD, derive
from finetune.config.training import TrainingConfig
from finetune.errors import Problems
from finetune.paths import Paths

DERIVED_METRICS = ("finished_rate",)


@dataclass(frozen=True)
class Project:
    """Everything a step needs to know before it opens the data."""

    paths: Paths
    task: TaskDefinition
    training: TrainingConfig
    benchmark: BenchmarkConfig
    warnings: tuple[str, ...] = ()
    derived: dict[str, Any] = field(default_factory=dict)
    """Keys that task_definition.yaml leaves to their rules, dotted, and what follows."""

    @property
    def smoke(self) -> bool:
        return self.paths.smoke


def check_root(root: Path) -> None:
    """Raise BadInput (E247) when `root` is no task repository: it has neither a task nor a training configuration.

    The message names the folder that was looked in and, where one of the folders above is a repository, that one.
    """
    paths = Paths(Path(root).resolve())
    if _is_repository(paths):
        return
    where = f"{paths.root} has no {paths.task_definition.name}" if paths.root.is_dir() else f"{paths.root} is no folder"
    above = next((folder for folder in paths.root.parents if _is_repository(Paths(folder))), None)
    here = paths.root == Path.cwd()
    if above is not None:
        # As typed from here: the way up is what somebody in scripts/ needs.
        way = os.path.relpath(above) if here else str(above)
        fix = f"the repository is {above}: cd {way}" + ("" if here else ", or use --project with it")
    else:
        fix = "cd into the repository that was generated, or name it with --project DIR"
    near = difflib.get_close_matches("task_definition.yaml", [p.name for p in paths.root.glob("*.y*ml")], n=1)
    if near and above is None:
        fix = f"rename {near[0]} to task_definition.yaml if this is it; else {fix}"
    problems = Problems()
    problems.add(paths.task_definition.name, "E247", f"no task repository here: {where}", fix)
    problems.raise_if_errors()


def _is_repository(paths: Paths) -> bool:
    """Any of the configurations will do: of a repository that has lost one, the loss is the message."""
    return any(os.path.lexists(file) for file in (paths.task_definition, paths.training_config, paths.benchmark_config))


def load_project(root: Path, smoke: bool = False) -> Project:
    """Read and check the three configurations below `root`.

    With `smoke`, configs/smoke_config.yaml is laid over training and benchmark configuration.
    Raises BadInput with the problems of all files at once, or where there is no task repository (E247).
    """
    check_root(root)
    paths = Paths(Path(root).resolve(), smoke)
    problems = Problems()

    def read(file: Path) -> Located | None:
        return read_yaml(file, paths.relative(file), problems)

    task_file, training_file, benchmark_file = (
        read(file) for file in (paths.task_definition, paths.training_config, paths.benchmark_config)
    )
    if smoke and (override := read(paths.smoke_config)):
        _overlay(override, training_file, benchmark_file, problems)
    task = build(TaskDefinition, task_file, problems) if task_file else None
    training = build(TrainingConfig, training_file, problems) if training_file else None
    benchmark = build(BenchmarkConfig, benchmark_file, problems) if benchmark_file else None
    if task and training and benchmark and task_file and training_file and benchmark_file:
        _cross_check(task, training, benchmark, (task_file, training_file, benchmark_file), problems)
    problems.raise_if_errors()
    assert task and training and benchmark and task_file
    warnings = tuple(str(warning) for warning in problems.warnings)
    return Project(paths, task, training, benchmark, warnings, derive(task_file.values))


def _overlay(override: Located, training: Located | None, benchmark: Located | None, problems: Problems) -> None:
    """Lay the smoke file's `training` and `benchmark` sections over the two configurations."""
    targets = {"training": training, "benchmark": benchmark}
    for name, values in override.values.items():
        if name not in targets:
            override.report(problems, (name,), "E206", "unknown key", "use training: and benchmark:")
        elif not isinstance(values, dict):
            override.report(problems, (name,), "E204", "not key: value pairs", "write the keys that differ")
        elif (target := targets[name]) is not None:
            target.values = merge(target.values, values)
            target.overlay = (override, (name,))


def _cross_check(
    task: TaskDefinition,
    training: TrainingConfig,
    benchmark: BenchmarkConfig,
    files: tuple[Located, Located, Located],
    problems: Problems,
) -> None:
    """Rules that span files, and the warnings of the checklist."""
    task_file, training_file, benchmark_file = files
    for metric in benchmark.thresholds:
        if metric not in METRICS[task.task_type] and metric not in DERIVED_METRICS:
            known = ", ".join((*METRICS[task.task_type], *DERIVED_METRICS))
            message = f"{metric[:60]!r} is no metric of {task.task_type}"
            benchmark_file.report(problems, ("thresholds", metric), "E228", message, f"one of {known}")
    if task.output.max_new_tokens >= training.max_length:
        message = "max_length leaves no room for a prompt beside output.max_new_tokens"
        training_file.report(problems, ("max_length",), "E226", message, "raise max_length")
    elif (needed := training.max_length + task.output.max_new_tokens) > benchmark.generation.context:
        message = (
            f"{benchmark.generation.context} tokens do not hold a row of max_length ({training.max_length}) and an "
            f"answer of output.max_new_tokens ({task.output.max_new_tokens}): long rows could not be served"
        )
        # A prompt may be nearly as long as max_length, and any answer may run to its cap.
        fix = f"set at least {needed}"
        benchmark_file.report(problems, ("generation", "context"), "E226", message, fix)
    if task.metrics.threshold < SUGGESTED_THRESHOLD and task.task_type != "generation":
        message = f"threshold {task.metrics.threshold} is below the suggested {SUGGESTED_THRESHOLD}"
        task_file.report(problems, ("metrics", "threshold"), "W228", message, "raise it, or keep it knowingly")
    if not training.base_model.pinned:
        message = f"revision {training.base_model.revision!r} is not pinned"
        fix = "write the commit's 40 hex digits"
        training_file.report(problems, ("base_model", "revision"), "W223", message, fix)
