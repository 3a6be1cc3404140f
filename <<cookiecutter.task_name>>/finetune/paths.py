"""Where every file of the repository lies; the only place that spells these names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """The repository's files below `root`; a smoke run writes below build/smoke/ and shares only the base model."""

    root: Path
    smoke: bool = False

    @property
    def _out(self) -> Path:
        return self.root / "build" / "smoke" if self.smoke else self.root

    @property
    def task_definition(self) -> Path:
        return self.root / "task_definition.yaml"

    @property
    def training_config(self) -> Path:
        return self.root / "configs" / "training_config.yaml"

    @property
    def benchmark_config(self) -> Path:
        return self.root / "configs" / "benchmark_config.yaml"

    @property
    def smoke_config(self) -> Path:
        return self.root / "configs" / "smoke_config.yaml"

    @property
    def tokenizer(self) -> Path:
        return self.root / "configs" / "tokenizer"

    @property
    def raw(self) -> Path:
        return self.root / "data" / "raw"

    @property
    def chat_format(self) -> Path:
        return self._out / "data" / "chat_format"

    @property
    def train(self) -> Path:
        return self.chat_format / "train.jsonl"

    @property
    def valid(self) -> Path:
        return self.chat_format / "valid.jsonl"

    @property
    def test(self) -> Path:
        return self._out / "data" / "test.jsonl"

    @property
    def data_manifest(self) -> Path:
        return self.chat_format / "manifest.json"

    @property
    def base(self) -> Path:
        return self.root / "models" / "base"

    @property
    def checkpoints(self) -> Path:
        return self._out / "models" / "checkpoints"

    @property
    def adapter(self) -> Path:
        return self._out / "models" / "adapter"

    @property
    def merged(self) -> Path:
        return self._out / "models" / "merged"

    @property
    def gguf(self) -> Path:
        return self._out / "models" / "gguf"

    @property
    def results(self) -> Path:
        return self._out / "benchmarks" / "results"

    @property
    def data_report_json(self) -> Path:
        return self.results / "data_report.json"

    @property
    def data_report_md(self) -> Path:
        return self.results / "data_report.md"

    @property
    def data_report_html(self) -> Path:
        return self.results / "data_report.html"

    @property
    def data_plan(self) -> Path:
        return self.results / "data_plan.json"

    @property
    def report_yaml(self) -> Path:
        return self.results / "evaluation_report.yaml"

    @property
    def report_md(self) -> Path:
        return self.results / "evaluation_report.md"

    @property
    def report_html(self) -> Path:
        return self.results / "evaluation_report.html"

    @property
    def predictions(self) -> Path:
        return self.results / "predictions"

    @property
    def publish_plan(self) -> Path:
        return self.results / "publish"

    @property
    def iterations(self) -> Path:
        return self.root / "iterations"

    @property
    def integration_guide(self) -> Path:
        return self.root / "docs" / "integration_guide.md"

    def relative(self, path: Path) -> str:
        """`path` as people type it: posix, relative to the root where it lies below it."""
        for start, end in ((self.root, path), (self.root.resolve(), path.resolve())):
            if end.is_relative_to(start):
                return end.relative_to(start).as_posix()  # the name in the repository, also where it is a link
        return path.as_posix()
