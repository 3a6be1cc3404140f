"""What lies in the repository now, read once: configuration, reports, manifests and whether they still hold."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from finetune.config.benchmark import BenchmarkConfig
from finetune.config.project import Project, load_project
from finetune.config.task import TaskDefinition
from finetune.config.training import TrainingConfig
from finetune.data.manifest import DataFacts, read_data_manifest
from finetune.data.report.building import read_data_report
from finetune.data.report.schema import DataReport
from finetune.data.stage import data_inputs
from finetune.errors import BadInput, Problem
from finetune.evaluation.report import read_report
from finetune.evaluation.report_schema import EvaluationReport
from finetune.evidence.findings import Finding, failed, not_yet
from finetune.evidence.values import first_difference, version_key
from finetune.inventory import recipe
from finetune.paths import Paths
from finetune.provenance import MANIFEST, NO_MANIFEST, Manifest, digest, read_manifest, sha256, tree_digest
from finetune.receipts import Receipts, read_receipts
from finetune.sealed import is_current

Row = dict[str, Any]


class Facts:
    """Lazy, cached readings of one repository; nothing here raises for a missing or damaged file."""

    def __init__(self, root: Path, smoke: bool = False) -> None:
        self.paths = Paths(Path(root).resolve(), smoke)
        self.problems: list[Problem] = []
        self.project: Project | None = None
        self.found: dict[str, Finding] = {}
        """Findings of the items decided before this one, by id; the last phase sums them up."""
        try:
            self.project = load_project(root, smoke)
        except BadInput as refusal:
            self.problems = refusal.problems.errors

    @property
    def root(self) -> Path:
        return self.paths.root

    @property
    def task(self) -> TaskDefinition:
        assert self.project, "ask unloaded() first"
        return self.project.task

    @property
    def training(self) -> TrainingConfig:
        assert self.project, "ask unloaded() first"
        return self.project.training

    @property
    def benchmark(self) -> BenchmarkConfig:
        assert self.project, "ask unloaded() first"
        return self.project.benchmark

    def refused(self, file: str, *keys: str) -> Finding | None:
        """Failed when `file` has an error at one of `keys` (anywhere when none is named); open when nothing loads."""
        for problem in self.problems:
            key = problem.key or ""
            if problem.path == file and (not keys or not key or any(f"{key}.".startswith(f"{k}.") for k in keys)):
                return failed(str(problem))
        return self.unloaded()

    def unloaded(self) -> Finding | None:
        """Open when the configuration has errors: nothing can be compared with it."""
        count = len(self.problems)
        return not_yet(f"the configuration does not load ({count} errors), see 2.4") if count else None

    def name(self, path: Path) -> str:
        return self.paths.relative(path)

    def read_json(self, path: Path) -> Row | None:
        """The mapping in a JSON or YAML file, or None where there is none."""
        try:
            text = path.read_text(encoding="utf-8")
            value = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
        except (OSError, ValueError, RecursionError, yaml.YAMLError):
            return None
        return value if isinstance(value, dict) else None

    def sha256(self, path: Path) -> str | None:
        """Digest of a file as it is now, computed once; None where there is no file."""
        if path not in self._digests:
            self._digests[path] = sha256(path) if path.is_file() else None
        return self._digests[path]

    @cached_property
    def _digests(self) -> dict[Path, str | None]:
        return {}

    @cached_property
    def _manifests(self) -> dict[Path, tuple[Manifest, Finding | None]]:
        return {}

    def manifest(self, path: Path, step: str) -> tuple[Manifest, Finding | None]:
        """A step's manifest and, when its outputs are missing or changed, the finding that says so."""
        if path not in self._manifests:
            self._manifests[path] = self._verify(path, step)
        return self._manifests[path]

    def _verify(self, path: Path, step: str) -> tuple[Manifest, Finding | None]:
        manifest = read_manifest(path)
        if manifest is None:
            return NO_MANIFEST, self._missing(path, step)
        if is_current(path, manifest.inputs):
            return manifest, None
        for output, recorded in manifest.outputs.items():
            file = path.parent / output
            if not file.is_file():
                return manifest, not_yet(f"{self.name(file)} is missing: run scripts/{step}")
            if self.sha256(file) != recorded.sha256:
                return manifest, not_yet(f"{self.name(file)} is not what {step} wrote (sha256): run it again")
        return manifest, not_yet(f"{self.name(path)} does not describe its files: run scripts/{step} again")

    def _missing(self, path: Path, step: str) -> Finding:
        """Why a file was not read: damaged is failed, not there is open."""
        name, redo = self.name(path), f"run scripts/{step}"
        return failed(f"{name} is damaged: {redo} again") if path.is_file() else not_yet(f"no {name}: {redo}")

    @cached_property
    def _data_inputs(self) -> dict[str, str] | Finding:
        if not self.project:
            return self.unloaded() or not_yet("the configuration does not load")
        try:
            return data_inputs(self.project)
        except BadInput as refusal:
            return failed(str(refusal.problems.errors[0]))

    @cached_property
    def data_report(self) -> DataReport:
        """data_report.json; ask data_report_problem before: where it says so, there is none to believe."""
        assert self._data_report, "ask data_report_problem first"
        return self._data_report

    @cached_property
    def _data_report(self) -> DataReport | None:
        return read_data_report(self.paths)

    @cached_property
    def data_report_problem(self) -> Finding | None:
        """Why the data report proves nothing: not there, or about other data, another task or other splits."""
        if isinstance(self._data_inputs, Finding):
            return self._data_inputs
        if self._data_report is None:
            return self._missing(self.paths.data_report_json, "01_validate_data.py")
        if self.data_report.inputs != self._data_inputs:
            name = self.name(self.paths.data_report_json)
            return not_yet(f"data/raw or the task changed since {name}: run scripts/01_validate_data.py again")
        return None

    @cached_property
    def data(self) -> DataFacts:
        """What step 02 wrote down; ask data_problem before."""
        manifest = read_data_manifest(self.paths.data_manifest)
        assert manifest, "ask data_problem first"
        return manifest.facts

    @cached_property
    def data_problem(self) -> Finding | None:
        """Why the converted data proves nothing: missing, changed, or made of other raw data."""
        if isinstance(self._data_inputs, Finding):
            return self._data_inputs
        if read_data_manifest(self.paths.data_manifest) is None:
            return self._missing(self.paths.data_manifest, "02_convert_format.py")
        manifest, problem = self.manifest(self.paths.data_manifest, "02_convert_format.py")
        if problem is None and manifest.inputs != self._data_inputs:
            return not_yet("data/chat_format is of other raw data or another task: run scripts/02_convert_format.py")
        return problem

    @property
    def adapter_manifest(self) -> Manifest:
        return self.manifest(self.paths.adapter / MANIFEST, "03_train.py")[0]

    @cached_property
    def adapter_problem(self) -> Finding | None:
        """Why the adapter proves nothing: missing, changed, or trained on other data or by another configuration."""
        if unloaded := self.unloaded():
            return unloaded
        manifest, problem = self.manifest(self.paths.adapter / MANIFEST, "03_train.py")
        if problem:
            return problem
        for split, path in (("train", self.paths.train), ("valid", self.paths.valid)):
            if manifest.inputs.get(split) != self.sha256(path):
                return not_yet(f"the adapter was trained on another {self.name(path)}: run scripts/03_train.py again")
        trained = recipe(manifest.facts["config"])
        today = recipe(self.training.model_dump(mode="json"))
        if key := first_difference(trained, today):
            return not_yet(f"{key} changed since the adapter was trained: run scripts/03_train.py again")
        return None

    @cached_property
    def merged_problem(self) -> Finding | None:
        """Why models/merged proves nothing: missing, changed, or merged from another adapter."""
        if self.adapter_problem:
            return self.adapter_problem
        return self._made_of(self.paths.merged, "05_merge_adapter.py", self.paths.adapter)

    @cached_property
    def gguf_problem(self) -> Finding | None:
        """Why models/gguf proves nothing: missing, changed, or converted from another merged model."""
        if self.merged_problem:
            return self.merged_problem
        return self._made_of(self.paths.gguf, "06_convert_gguf.py", self.paths.merged)

    def _made_of(self, folder: Path, step: str, source: Path) -> Finding | None:
        """The folder's manifest must name its source as it is now: by the digest of its tree or of its outputs."""
        manifest, problem = self.manifest(folder / MANIFEST, step)
        if problem:
            return problem
        named, made_of = set(manifest.inputs.values()), read_manifest(source / MANIFEST) or NO_MANIFEST
        # The outputs were compared with their bytes already; reading a whole model twice takes minutes.
        if made_of.outputs_digest not in named and tree_digest(source) not in named:
            return not_yet(f"{self.name(folder)} was made from another {self.name(source)}: run scripts/{step} again")
        return None

    @cached_property
    def receipts(self) -> Receipts | None:
        """Receipts of 08_upload_hf.py."""
        return read_receipts(self.paths)

    @cached_property
    def iterations(self) -> list[tuple[str, Row]]:
        """iterations/*.yaml with their names, oldest version first."""
        files = sorted(self.paths.iterations.glob("*.yaml"), key=lambda file: version_key(file.stem))
        return [(file.name, self.read_json(file) or {}) for file in files]

    @property
    def newest_iteration(self) -> tuple[str, Row] | None:
        return self.iterations[-1] if self.iterations else None

    @cached_property
    def log(self) -> list[Row]:
        """The training log, oldest first; a line that is no object is left out."""
        rows = []
        try:
            text = (self.paths.adapter / "training_log.jsonl").read_text(encoding="utf-8")
        except (OSError, ValueError):
            return []
        for line in text.splitlines():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(row, dict):
                rows.append(row)
        return rows

    @cached_property
    def adapter_digest(self) -> str:
        """Fingerprint of adapter and base as evaluation/predictions.py writes it into the report."""
        base = self.adapter_manifest.facts["base"]["fingerprint"]
        return digest({"base": base, "adapter": tree_digest(self.paths.adapter)})

    @cached_property
    def report(self) -> EvaluationReport:
        """The evaluation report; ask report_problem before: where it says so, there is none to believe."""
        assert self._report, "ask report_problem first"
        return self._report

    @cached_property
    def _report(self) -> EvaluationReport | None:
        return read_report(self.project) if self.project else None

    @cached_property
    def report_problem(self) -> Finding | None:
        """Why the report proves nothing: missing, or about another adapter or another test set."""
        if self.adapter_problem:
            return self.adapter_problem
        if self._report is None:
            return self._missing(self.paths.report_yaml, "04_evaluate.py")
        name, redo = self.name(self.paths.report_yaml), "run scripts/04_evaluate.py"
        if self.report.data.test_sha256 != self.sha256(self.paths.test):
            return not_yet(f"{name} is about another test set: {redo} again")
        if self.report.provenance.adapter != self.adapter_digest:
            return not_yet(f"{name} is about another adapter: {redo} again")
        return None

    @cached_property
    def predictions_problem(self) -> Finding | None:
        """Why the kept predictions of the adapter prove nothing."""
        manifest, problem = self.manifest(self.paths.predictions / "adapter.manifest.json", "04_evaluate.py")
        if problem:
            return problem
        inputs = manifest.inputs
        if inputs["artefact"] != self.adapter_digest or inputs["test"] != self.sha256(self.paths.test):
            return not_yet("the kept predictions are of another adapter or test set: run scripts/04_evaluate.py again")
        return None
