"""A repository on the runner after training: main's checkout, the frozen input, the packed adapter; no model anywhere.

The steps are the real ones (02, 04 and `pack`) over answers of an oracle. Built once for each kind of run and copied,
so that every test has a tree of its own to damage.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

from conftest import benchmark_values, raw_rows, task_values, training_values
from finetune import provenance
from finetune.config.loading import merge
from finetune.config.project import Project, load_project
from finetune.github.train import adapters
from finetune.github.train.fingerprint import training_fingerprint
from pipeline_fakes import Oracle, with_adapter, with_data

SHA, NEWER, RUN = "a1" * 20, "b2" * 20, 55
_KEPT = TemporaryDirectory(prefix="evaluated-run-")
TASK_TYPES = ("classification", "extraction", "generation")


@dataclass(frozen=True)
class EvaluatedRun:
    """What the report job finds."""

    project: Project
    """main's checkout, with build/input and build/adapter in it"""
    fingerprint: str
    digest: str

    @property
    def artifact(self) -> Path:
        return adapters.adapter_at(self.project)

    @property
    def report(self) -> Path:
        return self.artifact / "results" / "evaluation_report.yaml"

    @property
    def predictions(self) -> Path:
        return self.artifact / "results" / "predictions"

    @property
    def frozen(self) -> dict[str, Any]:
        return json.loads((self.project.paths.root / "build/input/input.json").read_text(encoding="utf-8"))

    def edit_report(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Change the report's values as its machine could have written them, manifests included."""
        values = yaml.safe_load(self.report.read_text(encoding="utf-8"))
        change(values)
        self.report.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")
        self.reseal()

    def reseal(self) -> None:
        """Name every file in run.json as it lies there: a forger knows the format, too."""
        path = self.artifact / "run.json"
        run = json.loads(path.read_text(encoding="utf-8"))
        names = sorted(p.relative_to(self.artifact).as_posix() for p in self.artifact.rglob("*") if p.is_file())
        run["files"] = {
            name: {"sha256": provenance.sha256(self.artifact / name), "bytes": (self.artifact / name).stat().st_size}
            for name in names
            if name != "run.json"
        }
        provenance.write_json(path, run)

    def refreeze(self, **changes: Any) -> EvaluatedRun:
        """Another input.json, with its new digest told and recorded as a real run would have it."""
        path = self.project.paths.root / "build/input/input.json"
        provenance.write_json(path, {**self.frozen, **changes})
        digest = provenance.sha256(path)
        run = json.loads((self.artifact / "run.json").read_text(encoding="utf-8"))
        provenance.write_json(self.artifact / "run.json", {**run, "digest": digest})
        return EvaluatedRun(self.project, self.fingerprint, digest)


def make_run(target: Path, task_type: str = "classification", wrong: int = 0, pr: int | None = 7) -> EvaluatedRun:
    """A finished run below `target` whose adapter answers `wrong` test rows wrongly."""
    kept, fingerprint, digest = _built(task_type, wrong, pr)
    shutil.copytree(kept, target)
    return EvaluatedRun(load_project(target), fingerprint, digest)


@cache
def _built(task_type: str, wrong: int, pr: int | None) -> tuple[Path, str, str]:
    root = Path(_KEPT.name) / f"{task_type}-{wrong}-{pr}"
    main = _repository(root, task_type)
    work = train(_repository(root / "build" / "work", task_type), wrong)
    fingerprint = training_fingerprint(main)
    digest = freeze(main, work, fingerprint, pr)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITHUB_REPOSITORY", "acme/demo")
        patch.setenv("GITHUB_RUN_ID", str(RUN))
        adapters.pack(main, Path("build/work"), fingerprint)
    return root, fingerprint, digest


def _repository(root: Path, task_type: str) -> Project:
    task = merge(task_values(task_type), {"metrics": {"threshold": 0.8}})
    benchmark = merge(benchmark_values(), {"thresholds": {"finished_rate": 0.9}})
    for name, values in (
        ("task_definition.yaml", task),
        ("configs/training_config.yaml", training_values()),
        ("configs/benchmark_config.yaml", benchmark),
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    (root / "data" / "raw").mkdir(parents=True)
    rows = "".join(json.dumps(row) + "\n" for row in raw_rows(task_type))
    (root / "data" / "raw" / "rows.jsonl").write_text(rows, encoding="utf-8")
    return load_project(root)


def train(work: Project, wrong: int = 0) -> Project:
    """Steps 02 to 04 in `work`; the baseline answers six rows wrongly."""
    from finetune.evaluation import predictions, stage

    with_adapter(with_data(work))
    with pytest.MonkeyPatch.context() as patch:
        worse = 6 if work.task.task_type == "classification" else 0
        oracles = {"adapter": wrong, "zero_shot": worse}
        patch.setattr(predictions, "open_backend", lambda project, name: Oracle(project, oracles[name]))
        stage.evaluate(work, report_only=True)
    return work


def freeze(main: Project, work: Project, fingerprint: str, pr: int | None, **changes: Any) -> str:
    """Write build/input as `freeze` leaves it, with one file to stand for all; the digest of its manifest."""
    folder = main.paths.root / "build" / "input"
    file = folder / "files" / "task_definition.yaml"
    file.parent.mkdir(parents=True)
    shutil.copy(work.paths.task_definition, file)
    manifest = provenance.read_manifest(work.paths.data_manifest)
    assert manifest
    facts = manifest.facts
    told = {
        "version": 1,
        "sha": SHA,
        "pr": pr,
        "source": "repository",
        "main_sha": "c" * 40,
        "repository": "acme/demo",
        "files": {file.name: {"sha256": provenance.sha256(file), "bytes": file.stat().st_size}},
        "fingerprint": fingerprint,
        "test": {"sha256": facts["test_sha256"], "rows": facts["rows"]["test"]},
        "rows": facts["rows"],
        "policy_changes": [],
        **changes,
    }
    provenance.write_json(folder / "input.json", told)
    return provenance.sha256(folder / "input.json")
