"""What is imported, whatever the file: records one after another, each with its place and how far the file is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from finetune.errors import FinetuneError

FILE, ROW = "E164", "E184"
"""Codes: the file is broken and nothing of it is taken; one row of it is, and the others are."""
Value = dict[str, Any]


class Refused(Exception):
    """Why one record is not taken; the others are. `kind` is what such records are counted under."""

    def __init__(self, code: str, kind: str, detail: str = "") -> None:
        super().__init__(f"{code} {kind}{detail and ': ' + detail}")
        self.code, self.kind, self.detail = code, kind, detail


@dataclass(frozen=True, slots=True)
class Entry:
    """One record as its file has it, or why it cannot be one."""

    place: str
    """File and line, row or document, as people look it up."""
    value: Value | Refused
    done: float = 0.0
    """Share of the file that is read, from 0 to 1."""


@dataclass(frozen=True)
class Options:
    """How to read, where people say it."""

    encoding: str | None = None
    delimiter: str | None = None
    part: str | None = None
    """The sheet of a workbook or the split of a data set."""
    header: bool | None = None
    """Whether a table's first row names its columns; None to find out."""
    offsets: str | None = None
    """What the offsets of spans count: "characters" or "utf-16"; None to find out."""


@dataclass
class Source:
    """A recognised file or folder. `entries` begins anew with every call."""

    name: str
    format: str
    entries: Callable[[], Iterator[Entry]]
    found: list[tuple[str, str, str]] = field(default_factory=list)
    """(what, value, reason) of everything that was found out about it."""
    joined: bool = False
    """Whether the columns come from a list of tokens and tags."""


def broken(
    name: str, what: str, fix: str = "get the file again from where it comes; nothing was written"
) -> FinetuneError:
    """The error of a file of which nothing can be taken."""
    return FinetuneError(f"{name}: {what}", fix, FILE)


def first_of(entries: Iterable[Entry], number: int) -> list[Value]:
    """The first `number` records that are ones."""
    found: list[Value] = []
    for entry in entries:
        if not isinstance(entry.value, Refused):
            found.append(entry.value)
            if len(found) >= number:
                break
    return found
