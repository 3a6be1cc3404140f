"""The form of data_report.json: what step 01 makes and writes, and every reader of it checks.

The fields stand in the order of the file. It reaches the comment by an artifact that a pull request's own code wrote,
so the types are closed: numbers are numbers, and every text is a text that the renderer makes harmless.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from finetune.data.check_results import Count, DataPolicy, RowCheck, SplitCounts
from finetune.data.splits import Split
from finetune.errors import Problem

Share = Annotated[float, Meta(ge=0, le=1)]
Bin = tuple[Count, Count, Count]
"""From, to (exclusive), rows."""


class RowCounts(Struct, frozen=True, kw_only=True):
    read: Count
    accepted: Count
    expected: Count
    left_out: Count = 0
    """Accepted rows that step 02 leaves out, since a near-duplicate of them lies in a later split."""
    train: Count
    valid: Count
    test: Count


class RawFile(Struct, frozen=True, kw_only=True):
    sha256: str
    bytes: Count = 0
    rows: Count


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


class NearDuplicates(Struct, frozen=True, tag_field="status", tag="done"):
    """Rows of training and validation whose words are nearly those of a row in a later split."""

    policy: DataPolicy | None = None
    threshold: float | None = None
    rows: Count = 0
    left_out: LeftOut = LeftOut()
    other_answer: Count = 0
    """Rows among those whose answer is another one."""
    examples: list[NearPair] = []


class NotSearched(Struct, frozen=True, tag_field="status", tag="skipped"):
    """Near-duplicates were not looked for."""

    reason: str | None = None


class Duplicates(Struct, frozen=True):
    exact: Count
    conflicting: Count
    near: NearDuplicates | NotSearched | None = None

    @property
    def searched(self) -> NearDuplicates | None:
        """The near-duplicates, where they were looked for."""
        return self.near if isinstance(self.near, NearDuplicates) else None


class Groups(Struct, frozen=True):
    rows: Count
    distinct: Count


class Languages(Struct, frozen=True):
    """Rows by the scripts that occur in them: a row with two scripts counts for both, one without letters for none."""

    declared: str
    scripts: dict[str, Count]
    mixed: Count = 0
    simplified: Count = 0
    """Rows with characters that exist in Simplified Chinese only."""
    rows: Count = 0


class OffShare(Struct, frozen=True):
    """A class whose share in a split is not the split's own."""

    name: str = msgspec.field(name="class")
    split: Split
    share: Share
    target: Share


class Stratification(Struct, frozen=True):
    off: list[OffShare]
    """Shares that lie further from their target than chance explains."""


class ProblemList(Struct, frozen=True):
    """Every problem is counted, the first thousand errors and warnings are listed."""

    errors: Count
    warnings: Count
    problems: list[Problem]


class DataReport(Struct, frozen=True, kw_only=True):
    """The whole of data_report.json."""

    report_version: Literal[2]
    valid: bool
    task: str = ""
    task_type: str = ""
    inputs: dict[str, str]
    """The digests that it is bound to: other data, another task, another report."""
    files: dict[str, RawFile]
    rows: RowCounts
    classes: dict[str, SplitCounts]
    imbalance: Imbalance | None
    stratification: Stratification | None = None
    characters: Characters
    length_histogram: Histograms | None = None
    duplicates: Duplicates
    languages: Languages | None = None
    groups: Groups
    row_checks: dict[str, RowCheck] = {}
    problems: ProblemList
