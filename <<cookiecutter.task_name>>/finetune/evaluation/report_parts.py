"""The parts of an evaluation report, each closed, finite and bounded; report_schema puts them together."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from finetune.config.base import Fraction, Real
from finetune.machinery import LISTED, SEAL
from finetune.provenance import Hex64

Name = Annotated[str, StringConstraints(min_length=1, max_length=400)]
Text = Annotated[str, StringConstraints(max_length=200_000)]
Count = Annotated[int, Field(ge=0, le=10**12)]
Rows = Annotated[int, Field(ge=1, le=10**12)]
Positive = Annotated[Real, Field(ge=0.0)]
Signed = Annotated[Real, Field(ge=-1.0, le=1.0)]
Pair = Annotated[list[Fraction], Field(min_length=2, max_length=2)]
Metrics = Annotated[dict[Name, Fraction], Field(min_length=1, max_length=50)]
Point = Annotated[list[int | Real], Field(min_length=2, max_length=2)]
"""(optimiser step, loss)"""
Curve = Annotated[list[Point], Field(max_length=1000)]


class ReportPart(BaseModel):
    # Strict: "0.99" is no number and true is not 1.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Task(ReportPart):
    name: Name
    type: Literal["classification", "extraction", "generation"]
    description: Text
    language: Name
    benchmark_version: Count
    smoke: bool


class Primary(ReportPart):
    metric: Name
    value: Fraction
    threshold: Fraction
    ci: Pair
    confidence: Fraction
    passed: bool


class Outputs(ReportPart):
    rows: Rows
    unparseable: Count
    unfinished: Count


class ClassRow(ReportPart):
    name: Name
    precision: Fraction
    recall: Fraction
    f1: Fraction
    support: Count
    zero_shot_f1: Fraction | None


class Confusion(ReportPart):
    labels: Annotated[list[Name], Field(max_length=10_000)]
    columns: Annotated[list[Name], Field(max_length=10_001)]
    counts: list[list[Count]]

    @model_validator(mode="after")
    def _rectangular(self) -> Confusion:
        widths = {len(row) for row in self.counts}
        if not self.labels or len(self.counts) != len(self.labels) or widths != {len(self.columns)}:
            raise ValueError("not one row of counts for each label and one column for each answer")
        if len(self.columns) < len(self.labels):
            raise ValueError("fewer columns than labels")
        return self


class Difference(ReportPart):
    difference: Signed
    low: Signed
    high: Signed


class ZeroShot(ReportPart):
    value: Fraction
    metrics: Metrics
    difference: Difference
    unparseable: Count
    unfinished: Count


class Majority(ReportPart):
    value: Fraction
    metrics: Metrics
    answer: Text


class Baselines(ReportPart):
    """Absent where the baseline was not run; never null in the file."""

    zero_shot: ZeroShot | None = None
    majority: Majority | None = None

    @model_validator(mode="after")
    def _never_null(self) -> Baselines:
        if any(getattr(self, name) is None for name in self.model_fields_set):
            raise ValueError("a baseline that was not run is left out")
        return self

    def items(self) -> list[tuple[str, ZeroShot | Majority]]:
        """(name, baseline) of those that were run."""
        both = (("zero_shot", self.zero_shot), ("majority", self.majority))
        return [(name, baseline) for name, baseline in both if baseline is not None]


class GateRow(ReportPart):
    name: Name
    value: Signed | None
    threshold: Signed | None
    passed: bool
    note: Text


class ConfusedPair(ReportPart):
    expected: Name
    predicted: Name
    count: Count
    ids: Annotated[list[Name], Field(max_length=100)]


class Group(ReportPart):
    group: Text
    rows: Count
    errors: Count
    error_rate: Fraction
    mean_score: Fraction


Grouping = Literal["length", "format", "class"]


class WorstRow(ReportPart):
    id: Name
    input: Text
    expected: Text
    answer: Text
    score: Fraction
    confidence: Real | None
    problem: Name


class Errors(ReportPart):
    rows: Count
    errors: Count
    confused_pairs: Annotated[list[ConfusedPair], Field(max_length=100)]
    groups: dict[Grouping, list[Group]]
    worst: Annotated[list[WorstRow], Field(max_length=100)]


class TrainingFinding(ReportPart):
    code: Name
    text: Text
    change: Text


class Training(ReportPart):
    loss: Curve
    eval_loss: Curve
    first_loss: Real | None
    last_loss: Real | None
    best_eval_loss: Real | None
    best_eval_step: Count | None
    best_eval_epoch: Real | None
    last_eval_loss: Real | None
    epochs: Real | None
    steps: Count | None
    findings: Annotated[list[TrainingFinding], Field(max_length=50)]


class Speed(ReportPart):
    rows: Count
    seconds: Positive
    rows_per_s: Positive
    tokens_per_s: Positive
    seconds_per_row_median: Positive
    seconds_per_row_p95: Positive


class Runtime(ReportPart):
    """How llama.cpp ran a GGUF file (finetune/evaluation/llama_runtime.py)."""

    package: Text
    system: Text
    """the instructions it uses, as it says"""
    extra_buffers: bool
    note: Text = ""
    """why the extra buffer types were off"""


class Data(ReportPart):
    test_sha256: Hex64
    rows: Count
    train_sha256: Hex64
    valid_sha256: Hex64


class Base(ReportPart):
    id: Name
    revision: Name | None
    source: Name
    fingerprint: Hex64


class Recovery(ReportPart):
    from_per_device: Count
    to_per_device: Count
    message: Text


class TrainedIn(ReportPart):
    steps: Count
    seconds: Positive
    samples_per_s: Positive = 0.0
    final_loss: Real | None = None
    best_eval_loss: Real | None = None
    resumed_from_step: Count | None = None
    recovered: Annotated[list[Recovery], Field(max_length=50)] = []
    findings: Annotated[list[TrainingFinding], Field(max_length=50)] = []


class BootstrapFacts(ReportPart):
    samples: Count
    confidence: Fraction
    seed: Count


class Environment(ReportPart):
    python: Name
    platform: Name
    cpus: Count | None
    packages: Annotated[dict[Name, Name], Field(max_length=200)]
    git_commit: Name | None


class Machinery(ReportPart):
    """The code that ran, against the seal of its own commit (`finetune.machinery.recorded`)."""

    version: Name | None
    """the template's; none where the seal could not be read"""
    seal: Hex64 | None
    compared: Count
    as_shipped: bool
    differing: Count
    differs: Annotated[list[Name], Field(max_length=LISTED)]

    @model_validator(mode="after")
    def _agree(self) -> Machinery:
        sealed = self.version is not None and self.seal is not None
        if self.as_shipped != (sealed and not self.differing) or len(self.differs) > self.differing:
            raise ValueError("the sentence about the machinery and its numbers do not agree")
        return self

    def __str__(self) -> str:
        """For a reader, on one line."""
        if self.version is None or self.seal is None:
            return f"code without a readable {SEAL}"
        if self.as_shipped:
            seal = f"by the commit's own seal {self.seal[:12]}"
            return f"code as shipped in v{self.version} ({self.compared} files, {seal})"
        more = self.differing - len(self.differs)
        named = ", ".join(self.differs) + (f" and {more} more" if more else "")
        return f"code not as shipped in v{self.version}: {named}"


class Provenance(ReportPart):
    created: Name
    adapter: Hex64
    base: Base
    method: Name
    seed: Count
    configuration: Hex64
    trained_in: TrainedIn | None
    bootstrap: BootstrapFacts
    environment: Environment
    machinery: Machinery | None = None
    """none in a report of code that knew no seal"""


class Advice(ReportPart):
    id: Name
    symptom: Text
    evidence: Text
    remedy: Text
