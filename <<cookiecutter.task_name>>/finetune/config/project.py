"""One project: its paths and its three configurations, checked together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from finetune.config.benchmark import BenchmarkConfig
from finetune.config.loading import Located, build, merge, read_yaml
from finetune.config.task import METRICS, SUGGESTED_THRESHOLD, TaskDefinition
from finetune.config.training import TrainingConfig
from finetune.errors import Problems
from finetune.paths import Paths

DERIVED_METRICS = ("json_validity", "finished_rate")


@dataclass(frozen=True)
class Project:
    """Everything a step needs to know before it opens the data."""

    paths: Paths
    task: TaskDefinition
    training: TrainingConfig
    benchmark: BenchmarkConfig
    warnings: tuple[str, ...] = ()

    @property
    def smoke(self) -> bool:
        return self.paths.smoke


def load_project(root: Path, smoke: bool = False) -> Project:
    """Read and check the three configurations below `root`.

    With `smoke`, configs/smoke_config.yaml is laid over training and benchmark configuration.
    Raises BadInput with the problems of all files at once.
    """
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
    assert task and training and benchmark
    return Project(paths, task, training, benchmark, tuple(str(warning) for warning in problems.warnings))


def _overlay(
    override: Located, training: Located | None, benchmark: Located | None, problems: Problems
) -> None:
    """Lay the smoke file's `training` and `benchmark` sections over the two configurations."""
    for name, values in override.values.items():
        target = {"training": training, "benchmark": benchmark}.get(name)
        if name not in ("training", "benchmark") or not isinstance(values, dict):
            line = override.line((name,))
            problems.add(override.path, "E206", "unknown key", "use training: and benchmark:", line=line, key=name)
        elif target is not None:
            target.values = merge(target.values, values)


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
            key = ("thresholds", metric)
            known = ", ".join((*METRICS[task.task_type], *DERIVED_METRICS))
            problems.add(
                benchmark_file.path, "E228", f"{metric!r} is no metric of {task.task_type}", f"one of {known}",
                line=benchmark_file.line(key), key=".".join(key),
            )  # fmt: skip
    if task.output.max_new_tokens >= training.max_length:
        problems.add(
            training_file.path, "E226", "max_length leaves no room for a prompt beside output.max_new_tokens",
            "raise max_length", line=training_file.line(("max_length",)), key="max_length",
        )  # fmt: skip
    if training.max_length > benchmark.generation.context:
        key = ("generation", "context")
        problems.add(
            benchmark_file.path, "E226", "the GGUF context is shorter than max_length: long rows could not be served",
            f"set at least {training.max_length}", line=benchmark_file.line(key), key=".".join(key),
        )  # fmt: skip
    if task.metrics.threshold < SUGGESTED_THRESHOLD and task.task_type != "generation":
        key = ("metrics", "threshold")
        problems.add(
            task_file.path, "W228", f"threshold {task.metrics.threshold} is below the suggested {SUGGESTED_THRESHOLD}",
            "raise it, or keep it knowingly", line=task_file.line(key), key=".".join(key),
        )  # fmt: skip
    if not training.base_model.pinned:
        key = ("base_model", "revision")
        problems.add(
            training_file.path, "W223", f"revision {training.base_model.revision!r} is not pinned",
            "write the commit's 40 hex digits", line=training_file.line(key), key=".".join(key),
        )  # fmt: skip
