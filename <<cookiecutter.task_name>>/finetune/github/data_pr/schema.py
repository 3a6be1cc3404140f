"""What the data report comment is made of beside data_report.json: data_changes.json, the comparison of two checkouts.

Both reach the comment by an artifact that the pull request's own code wrote, so they are read by these closed types:
numbers are numbers, and every text is a text that the renderer makes harmless.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeVar

import msgspec
from msgspec import Struct

from finetune.data.check_results import Count
from finetune.data.report.schema import ProblemList

MAX_BYTES = 8 * 1024 * 1024
"""More than any report: problems are kept up to 2,000, everything else is a line a class or file."""
File = TypeVar("File", bound=Struct)


class Tally(Struct):
    """Rows of a split before and after; `changed` ones are the same row with another text, answer or group."""

    before: Count = 0
    after: Count = 0
    added: Count = 0
    removed: Count = 0
    changed: Count = 0


class ClassTally(Struct):
    """Rows of a class; a changed row may have gained or lost it."""

    before: Count = 0
    after: Count = 0
    added: Count = 0
    removed: Count = 0
    gained: Count = 0
    lost: Count = 0


class Relabelled(Struct, frozen=True):
    """Rows that had one label and have another."""

    before: str
    after: str
    rows: Count


class Phrase(Struct, frozen=True):
    """Words that many new rows share and no row had before."""

    text: str
    rows: Count
    label: str | None
    """The label of all these rows, if they have the same."""


class TestSet(Struct):
    """What happened to the rows that were in the test split: `moved` ones are in another split now."""

    removed: Count = 0
    changed: Count = 0
    moved: Count = 0
    places: list[str] = []
    """The first of them, as lines for people."""

    @property
    def affected(self) -> int:
        return self.removed + self.changed + self.moved


class RowChanges(Struct):
    """Two readings of data/raw against each other; rows that cannot be read are counted and not compared."""

    total: Tally
    splits: dict[str, Tally]
    classes: dict[str, ClassTally]
    """By class name; the empty name collects answers that neither task definition knows."""
    test: TestSet
    relabelled: list[Relabelled] = []
    """The commonest pairs first, cut to a screenful."""
    relabelled_rows: Count = 0
    phrases: list[Phrase] = []
    texts: Count = 0
    """Changed rows whose input differs. A row may count here, under `answers` and under `groups`."""
    answers: Count = 0
    groups: Count = 0
    renamed: Count = 0
    """Rows of which only the id changed."""
    moved: Count = 0
    """Rows that lie in another split than before."""
    unreadable_before: Count = 0
    unreadable_after: Count = 0
    unread_files_before: Count = 0


class FileChange(Struct, frozen=True):
    """A file of data/raw that is not the same on both sides; rows are None where it is not there."""

    name: str
    before: Count | None
    after: Count | None
    previous: str | None = None
    """Its name before, when it was only renamed."""


class Setting(Struct, frozen=True):
    """One key of a configuration file; a value is None where the key is not there."""

    path: str
    key: str
    before: str | None
    after: str | None
    policy: bool
    """Whether it moves what is demanded of data or model, rather than what is trained."""


class Changes(Struct, frozen=True):
    """data_changes.json. Without a comparison (a push) only `converted` and `configuration` say something."""

    version: Literal[1] = 1
    converted: bool = False
    """Whether step 02 finished with the report's data."""
    configuration: ProblemList | None = None
    """Problems of the configuration files that keep the project from being loaded."""
    compared: bool = False
    rows: RowChanges | None = None
    files: list[FileChange] = []
    labels_added: list[str] = []
    labels_removed: list[str] = []
    settings: list[Setting] = []
    settings_unread: list[str] = []
    """Configuration files that cannot be read on one of the sides."""
    code: list[str] = []
    """Files of the pipeline's own code that differ."""


def read(path: Path, kind: type[File]) -> tuple[File | None, str]:
    """The file's content, or None and why: a link, too large, damaged, or not of this form."""
    if path.is_symlink() or not path.is_file():
        return None, "was not written"
    if path.stat().st_size > MAX_BYTES:
        return None, "is larger than 8 MiB"
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind), ""
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None, "cannot be read"
