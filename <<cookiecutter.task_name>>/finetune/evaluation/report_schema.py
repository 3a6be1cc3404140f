"""The evaluation report as it travels from the measurement to the gate, the pages, the Hub and GitHub: closed, finite,
bounded.

Every value that a comment, a page or the gate reads is here with its type and range. A key that is not is refused: a
report of another form was made by other code than main's, and main cannot say what its numbers mean.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from finetune.config.base import Fraction
from finetune.evaluation.report_parts import (
    Advice,
    Baselines,
    ClassRow,
    Confusion,
    Count,
    Data,
    Errors,
    GateRow,
    Metrics,
    Name,
    Outputs,
    Pair,
    Positive,
    Primary,
    Provenance,
    ReportPart,
    Runtime,
    Signed,
    Speed,
    Task,
    Text,
    Training,
)


class ArtefactRow(ReportPart):
    """One artefact against the adapter, by step 07. What was not run has a name, a file and the status `open`."""

    name: Name
    file: Name | None
    bytes: Count | None = None
    tolerance: Fraction | None = None
    template_equal: bool | None = None
    prompts_compared: Count | None = None
    tokens_equal: bool | None = None
    value: Fraction | None = None
    difference: Signed | None = None
    agreement: Fraction | None = None
    finished_rate: Fraction | None = None
    tokens_per_s: Positive | None = None
    sha256: Name | None = None
    """Digest of the artefact's files, as its kept predictions name it."""
    runtime: Runtime | None = None
    status: Literal["reference", "passed", "failed", "open"]
    passed: bool | None
    reason: Text = ""

    @property
    def is_open(self) -> bool:
        """Whether no step has run it: then it neither passes nor fails. One with a result is never open."""
        return self.status == "open" and self.passed is None


class Report(ReportPart):
    """The whole of evaluation_report.yaml as step 04 writes it; artefact rows are step 07's and have no place here."""

    report_version: Annotated[int, Field(ge=1, le=1)]
    task: Task
    verdict: Name
    limited: bool
    primary: Primary
    metrics: Metrics
    intervals: Annotated[dict[Name, Pair], Field(min_length=1, max_length=50)]
    outputs: Outputs
    per_class: Annotated[list[ClassRow], Field(max_length=10_000)]
    confusion: Confusion | None
    baselines: Baselines
    gates: Annotated[list[GateRow], Field(min_length=1, max_length=100)]
    errors: Errors
    training: Training | None
    speed: Speed
    data: Data
    provenance: Provenance
    advice: Annotated[list[Advice], Field(max_length=200)]

    @model_validator(mode="after")
    def _metrics_agree(self) -> Report:
        """The tables of every metric have a row for each."""
        if set(self.intervals) != set(self.metrics):
            raise ValueError("metrics and intervals are not about the same metrics")
        return self


class EvaluationReport(Report):
    """The report on this machine, with step 07's rows once they are measured."""

    artefacts: list[ArtefactRow] = Field(default_factory=list)
