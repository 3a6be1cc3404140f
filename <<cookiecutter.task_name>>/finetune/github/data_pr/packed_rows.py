"""One checkout's rows as a few bytes each: hashes of text, answer and group, split, place and classes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import msgspec

from finetune.config.benchmark import Splits
from finetune.config.task import TaskDefinition
from finetune.data.raw_files import list_raw_files
from finetune.data.records import Record, RecordReader
from finetune.data.splits import SPLITS, assign, split_key
from finetune.errors import Problems
from finetune.paths import Paths

_ROW = struct.Struct("=16s16s16sBII")
TEXT_BYTES = 16
CONTENT_BYTES = 48
"""Bytes of a packed row that hold the hashes of text, answer and group."""
_NAMES = struct.Struct("=H")


class PackedRow(NamedTuple):
    """A packed row of 57 bytes and two for each class."""

    text: bytes
    answer: bytes
    group: bytes
    split: int
    file: int
    line: int
    classes: frozenset[int]


@dataclass
class Checkout:
    """One side: where it lies, how its rows are to be read, and what reading found."""

    paths: Paths
    task: TaskDefinition
    splits: Splits
    classes: dict[str, int]
    """Class numbers, the same on both sides; 0 is any other answer."""
    problems: Problems = field(default_factory=lambda: Problems(keep=0))
    files: list[Path] = field(default_factory=list)
    rows_of: dict[str, int] = field(default_factory=dict)
    unreadable: int = 0
    """Rows that were left out."""
    unread_files: int = 0

    def rows(self) -> Iterator[tuple[bytes, bytes, str]]:
        """(identity, packed row, text) of every readable row, in reading order."""
        self.files = list_raw_files(self.paths, self.problems)
        self.unread_files = sum(1 for _ in self.paths.raw.glob("*.jsonl")) - len(self.files)
        reader = RecordReader(self.task, self.problems)
        read = 0
        for number, file in enumerate(self.files):
            before = reader.lines
            for record in reader.read(file, file.name):
                read += 1
                yield _hash(record.id.encode("utf-8")), self._packed(record, number), record.input
            self.rows_of[file.name] = reader.lines - before
        self.unreadable = reader.lines - read

    def _packed(self, record: Record, file: int) -> bytes:
        if isinstance(record.reference, str):
            answer = record.reference.encode("utf-8")
            names = {record.reference} if self.task.task_type == "classification" else set()
        else:
            answer = msgspec.json.encode(record.reference)
            names = {entity["type"] for entity in record.reference}
        group = b"" if record.group is None else record.group.encode("utf-8")
        split = SPLITS.index(assign(split_key(record), self.splits))
        row = _ROW.pack(_hash(record.input.encode("utf-8")), _hash(answer), _hash(group), split, file, record.line)
        return row + b"".join(map(_NAMES.pack, sorted({self.classes.get(name, 0) for name in names})))


def _hash(data: bytes) -> bytes:
    return blake2b(data, digest_size=16).digest()


def unpack(row: bytes) -> PackedRow:
    classes = frozenset(number for (number,) in _NAMES.iter_unpack(row[_ROW.size :]))
    text, answer, group, split, file, line = _ROW.unpack_from(row)
    return PackedRow(text, answer, group, split, file, line, classes)
