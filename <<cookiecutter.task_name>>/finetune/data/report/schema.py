"""The form of data_report.json: what step 01 writes, and every reader of it checks.

The file reaches the comment by an artifact that a pull request's own code wrote, so the types are closed: numbers are
numbers, and every text is a text that the renderer makes harmless.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from finetune.data.splits import SPLITS
from finetune.errors import Problem

Count = Annotated[int, Meta(ge=0, le=10**15)]
Share = Annotated[float, Meta(ge=0, le=1)]
Split = Literal["train", "valid", "test"]
Policy = Literal["leave_out", "warn", "error", "ignore"]
Bin = tuple[Count, Count, Count]
"""From, to (exclusive), rows."""


class SplitCounts(Struct, frozen=True):
    """Rows of a class, and how many of them each split gets."""

    rows: Count
    train: Count
    valid: Count
    test: Count

    @property
    def left_out(self) -> int:
        return max(0, self.rows - sum(getattr(self, split) for split in SPLITS))


class RowCounts(Struct, frozen=True):
    read: Count
    accepted: Count
    expected: Count
    train: Count
    valid: Count
    test: Count
    left_out: Count = 0
    """Accepted rows that step 02 leaves out, since a near-duplicate of them lies in a later split."""


class RawFile(Struct, frozen=True):
    sha256: str
    rows: Count
    bytes: Count = 0


class Imbalance(Struct, frozen=True):
    ratio: Annotated[float, Meta(ge=0)]
    limit: Annotated[float, Meta(ge=0)]


class Lengths(Struct, frozen=True):
    """Characters of a field over all rows."""

    min: Count
    median: Count
    p95: Count
    max: Count


class Characters(Struct, frozen=True):
    input: Lengths | None
    output: Lengths | None


class Histogram(Struct, frozen=True):
    """Rows by length in characters, in bins of equal width; `limit` is the longest length that is accepted."""

    limit: Count | None
    bins: Annotated[list[Bin], Meta(max_length=100)]


class Histograms(Struct, frozen=True):
    input: Histogram | None = None
    output: Histogram | None = None


class NearPair(Struct, frozen=True):
    """Two rows in different splits that differ in little."""

    path: str
    line: Count
    split: Split
    other_path: str
    other_line: Count
    other_split: Split
    score: float


class LeftOut(Struct, frozen=True):
    train: Count = 0
    valid: Count = 0


class NearDuplicates(Struct, frozen=True):
    """Rows whose words are nearly those of another row."""

    status: Literal["done", "skipped"]
    reason: str | None = None
    threshold: float | None = None
    policy: Policy | None = None
    rows: Count = 0
    """Rows that have a near-duplicate."""
    left_out: LeftOut = LeftOut()
    across: Count | None = None
    """Pairs whose rows lie in different splits; None where only rows were counted."""
    other_answer: Count = 0
    """Pairs among those whose answers differ."""
    examples: list[NearPair] = []


class Duplicates(Struct, frozen=True):
    exact: Count
    conflicting: Count
    near: NearDuplicates | None = None


class Groups(Struct, frozen=True):
    rows: Count
    distinct: Count


class RowCheck(Struct, frozen=True):
    """One check beyond the task definition: whether it was done, else why not, and what it counted."""

    status: Literal["done", "skipped"]
    reason: str | None = None
    names: Count | None = None
    rows: Count | None = None
    template_tokens: Count | None = None
    policy: Policy | None = None
    texts: Count | None = None
    limit: Count | None = None
    template: Count | None = None
    tokenised: Count | None = None
    over: Count | None = None
    longest: Count | None = None


class Languages(Struct, frozen=True):
    """Rows by the script that most of their letters belong to."""

    declared: str
    scripts: dict[str, Count]
    mixed: Count = 0
    simplified: Count = 0
    """Rows with characters that exist in Simplified Chinese only."""


class OffShare(Struct, frozen=True):
    """A class whose share in a split is not the split's own."""

    name: str = msgspec.field(name="class")
    split: Split
    share: Share
    target: Share


class Stratification(Struct, frozen=True):
    off: list[OffShare]
    tolerance: float | None = None
    """How far a share may be off; None where that depends on the rows of the class."""


class ProblemList(Struct, frozen=True):
    """Every problem is counted, the first thousand errors and warnings are listed."""

    errors: Count
    warnings: Count
    problems: list[Problem]


class DataReport(Struct, frozen=True):
    """What building.py writes, as far as it is shown to people."""

    report_version: Literal[2]
    valid: bool
    inputs: dict[str, str]
    files: dict[str, RawFile]
    rows: RowCounts
    classes: dict[str, SplitCounts]
    imbalance: Imbalance | None
    characters: Characters
    duplicates: Duplicates
    groups: Groups
    problems: ProblemList
    task: str = ""
    task_type: str = ""
    length_histogram: Histograms | None = None
    row_checks: dict[str, RowCheck] = {}
    languages: Languages | None = None
    stratification: Stratification | None = None


def checked_report(report: Any) -> DataReport:
    """The report, read from what `build_report` makes. Raises msgspec.ValidationError when it is of another form."""
    return msgspec.convert(report, DataReport)
