"""One chunk of a raw file, read and checked: everything that can be said about its rows without the other chunks."""

from __future__ import annotations

import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

import msgspec

from finetune.config.project import Project
from finetune.data.check_results import RowCheck
from finetune.data.damage import Kind, Seen
from finetune.data.identities import answer_hash
from finetune.data.languages import LanguageCounts
from finetune.data.records import Layout, LineReader
from finetune.data.row_checks import RowChecks
from finetune.data.scan.chunks import Chunk
from finetune.data.scan.near_duplicates import band_hashes
from finetune.data.scan.near_search import in_split_order
from finetune.data.scan.screens import Screen
from finetune.data.splits import SPLITS, Assignment, key_of_split
from finetune.data.text_rules import input_digest, normalise_all
from finetune.errors import Problems

SALT_ROWS = 2000
_NO_CLASS = frozenset[str]()


class Counts(msgspec.Struct):
    """What is counted over all accepted rows."""

    rows: Counter[str] = msgspec.field(default_factory=Counter)
    """By split."""
    classes: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    """Rows by split and class: its label, or each entity type that occurs in it."""
    input_chars: Counter[int] = msgspec.field(default_factory=Counter)
    output_chars: Counter[int] = msgspec.field(default_factory=Counter)
    languages: LanguageCounts = msgspec.field(default_factory=LanguageCounts)
    damage: dict[Kind, Seen] = msgspec.field(default_factory=dict)
    """Rows with traces of a wrong conversion."""
    personal: int = 0
    """Texts with personal data."""
    tokenised: int = 0
    """Rows whose tokens had to be counted; `over` of them have too many, `longest` is the most."""
    over: int = 0
    longest: int = 0
    cut: int = 0
    """Answers that cannot be generated whole; the longest of them has `answer` tokens."""
    answer: int = 0

    def add(self, others: Counts) -> None:
        self.rows.update(others.rows)
        self.classes.update(others.classes)
        self.input_chars.update(others.input_chars)
        self.output_chars.update(others.output_chars)
        self.languages.merge(others.languages)
        for kind, seen in others.damage.items():
            self.damage.setdefault(kind, Seen(0, [])).add(seen)
        self.personal += others.personal
        self.tokenised, self.over = self.tokenised + others.tokenised, self.over + others.over
        self.longest = max(self.longest, others.longest)
        self.cut, self.answer = self.cut + others.cut, max(self.answer, others.answer)


class ChunkFacts(msgspec.Struct):
    """The accepted rows of a chunk, one element a row in every array, and the problems of its lines."""

    chunk: Chunk
    layout: Layout
    problems: Problems
    counts: Counts
    shorts: array[int]
    """The first 8 bytes of each input key."""
    answers: array[int]
    offsets: array[int]
    """Where each row's line begins in the chunk."""
    numbers: array[int] | None
    """Line of each row, counted in the chunk from 0; None where every line is a row."""
    splits: bytes
    """Place of each row's split in SPLITS."""
    bands: bytes
    """Of the rows `in_split_order`."""
    own: dict[int, str]
    """Ids that rows bring along."""
    groups: dict[int, str]
    salt_keys: dict[bytes, set[str]]
    """Split keys of the first rows with the classes of their rows."""
    row_checks: dict[str, RowCheck]
    system_prompt_is_clean: bool
    long_labels: dict[str, int]


class ChunkScanner:
    """Built once a process."""

    def __init__(self, project: Project) -> None:
        problems = Problems()
        self._lines = LineReader(project.task, problems)
        self._checks = RowChecks(project, problems)
        self._screen = Screen(project.task, self._checks)
        self._assign = Assignment(project.benchmark.splits)
        self._classes = frozenset(project.task.label_names or project.task.entity_type_names)
        self._label_hashes = {name: answer_hash(name) for name in project.task.label_names}
        self._class_sets = {name: frozenset({name}) for name in self._classes}
        # Labels and copied entities say nothing of their own about the language.
        self._closed = project.task.task_type != "generation"
        self._near = project.task.data.near_duplicates != "ignore"

    def rows(self, chunk: Chunk, problems: Problems) -> tuple[list[Any], list[int], Layout]:
        """One entry a line of the chunk, the row or None; where each line begins in it; the layout."""
        data = chunk.read()
        self._lines.problems = self._checks.problems = problems
        lines = [line + b"\n" for line in data.split(b"\n")]
        # The last one has no line end, or is what follows the last line end: nothing.
        lines[-1] = lines[-1][:-1]
        if not lines[-1]:
            lines.pop()
        starts = list(accumulate(map(len, lines), initial=0))
        rows = self._screen.rows(data, len(lines))
        layout = Layout(values=len(rows) - rows.count(None))
        for number, row in enumerate(rows):
            if row is None:
                rows[number] = self._read_alone(chunk, lines[number], number, starts[number], layout)
        self._checks.flush()
        return rows, starts, layout

    def _read_alone(self, chunk: Chunk, line: bytes, number: int, start: int, layout: Layout) -> Any:
        place = chunk.first_line + number
        stripped = layout.strip(line, place)
        row = stripped and self._lines.read(stripped, chunk.name, place, chunk.offset + start)
        if row:
            self._checks.add(row, chunk.name, place)
        return row or None

    def scan(self, chunk: Chunk) -> ChunkFacts:
        """Read and check a chunk."""
        problems = Problems()
        self._checks.start()
        lines, starts, layout = self.rows(chunk, problems)
        numbers = None if None not in lines else array("I", [n for n, row in enumerate(lines) if row is not None])
        rows = [row for row in lines if row is not None]
        normalised = normalise_all([row.input for row in rows])
        keys = list(map(input_digest, normalised))
        groups = {number: row.group for number, row in enumerate(rows) if row.group is not None}
        splits = self._splits(keys, groups)
        names = self._names([row.reference for row in rows])
        counts = self._count(rows, names, splits)
        self._checks.count_into(counts)
        return ChunkFacts(
            chunk=chunk,
            layout=layout,
            problems=problems,
            counts=counts,
            shorts=_shorts(keys),
            answers=array("I", self._answer_hashes([row.reference for row in rows])),
            offsets=array("I", starts[:-1] if numbers is None else [starts[number] for number in numbers]),
            numbers=numbers,
            splits=bytes(splits),
            bands=band_hashes([normalised[number] for number in in_split_order(splits)]) if self._near else b"",
            own={number: row.id for number, row in enumerate(rows) if row.id is not None},
            groups=groups,
            salt_keys=_salt_keys(keys, groups, names) if chunk.first_line <= SALT_ROWS else {},
            row_checks=self._checks.facts(),
            system_prompt_is_clean=self._checks.system_prompt_is_clean,
            long_labels=self._checks.long_labels,
        )

    def _splits(self, keys: Sequence[bytes], groups: dict[int, str]) -> bytearray:
        splits = bytearray(map(self._assign.of_input, keys))
        for number, group in groups.items():
            splits[number] = self._assign.of_key(key_of_split(keys[number], group))
        return splits

    def _answer_hashes(self, references: Sequence[Any]) -> Iterable[int]:
        if not self._label_hashes:
            return map(answer_hash, references)
        return [self._label_hashes.get(label) or answer_hash(label) for label in references]

    def _names(self, references: Sequence[Any]) -> list[frozenset[str]]:
        """The classes of each row: its label, or each entity type that occurs in it."""
        return [
            self._class_sets.get(reference, _NO_CLASS)
            if type(reference) is str
            else self._classes.intersection(entity["type"] for entity in reference)
            for reference in references
        ]

    def _count(self, rows: Sequence[Any], names: Sequence[frozenset[str]], splits: bytearray) -> Counts:
        counts = Counts()
        for code, number in Counter(splits).items():
            counts.rows[SPLITS[code]] = number
        for (code, classes), number in Counter(zip(splits, names, strict=True)).items():
            for name in classes:
                counts.classes[SPLITS[code], name] += number
        references = [row.reference for row in rows]
        counts.languages.add_all([row.input if self._closed else f"{row.input}\n{row.reference}" for row in rows])
        counts.input_chars.update([len(row.input) for row in rows])
        counts.output_chars.update(map(_length, references))
        return counts


def _salt_keys(keys: Sequence[bytes], groups: dict[int, str], names: Sequence[frozenset[str]]) -> dict[bytes, set[str]]:
    found: dict[bytes, set[str]] = {}
    for number, key in enumerate(keys):
        found.setdefault(key_of_split(key, groups.get(number)), set()).update(names[number])
        if len(found) > SALT_ROWS:
            break
    return found


def _shorts(keys: Sequence[bytes]) -> array[int]:
    """The first 8 bytes of each key as a number, the first byte being the highest."""
    numbers = array("Q", b"".join([key[:8] for key in keys]))
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers


def scan(scanner: ChunkScanner, chunk: Chunk) -> ChunkFacts:
    """`ChunkScanner.scan`, for a worker process."""
    return scanner.scan(chunk)


def _length(reference: Any) -> int:
    return len(reference) if isinstance(reference, str) else sum(len(entity["text"]) for entity in reference)
