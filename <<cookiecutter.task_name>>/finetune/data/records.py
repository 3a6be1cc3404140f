"""Raw records: data/raw/*.jsonl, one strict JSON object per line."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from finetune.characters import is_blank
from finetune.config.task import TaskDefinition
from finetune.data import marks
from finetune.data.chat_format import Reference
from finetune.data.identities import Identities, answer_hash
from finetune.data.json_faults import Fault, diagnose, find_faults
from finetune.data.text_rules import check_text, input_key, shown
from finetune.errors import Problems

MAX_LINE_BYTES = 1024 * 1024
MAX_ID_CHARS = 200
_BLANK_LINES = 1000
_WITHOUT_MARK = "remove it, or run: make validate FLAGS=--fix"
_LINE_BITS = 48


class Row(msgspec.Struct, frozen=True):
    """One well-formed line, as its writer meant it."""

    input: str
    reference: Reference
    id: str | None = None
    """Its own id, where it has one."""
    group: str | None = None


class Duplicate(msgspec.Struct, frozen=True, gc=False):
    """The first record with the same normalised input."""

    path: str
    line: int


class Record(msgspec.Struct, frozen=True):
    """One accepted row of data/raw."""

    id: str
    input: str
    reference: Reference
    group: str | None
    path: str
    line: int
    key: bytes
    """sha256 of the normalised input (32 bytes)."""
    duplicate: Duplicate | None


class Layout(msgspec.Struct):
    """What the lines of a file tell beside their content: byte order marks, blank lines, line ends."""

    values: int = 0
    marks: list[tuple[int, bytes]] = []
    """What stands around the record of a line: see marks.py."""
    blank: list[int] = []
    crlf: int = 0
    first_crlf: int = 0

    def strip(self, line: bytes, number: int) -> bytes | None:
        """`line` without marks and line end, counted; None for a blank one."""
        if line.endswith(b"\r\n"):
            self.crlf += 1
            self.first_crlf = self.first_crlf or number
        line = line.rstrip(b"\r\n") if line[-2:-1] == b"\r" else line.removesuffix(b"\n")
        line, around = marks.strip(line)
        if around and len(self.marks) < _BLANK_LINES:
            self.marks.append((number, around))
        if line.strip():
            self.values += 1
            return line
        if not around and len(self.blank) < _BLANK_LINES:
            self.blank.append(number)
        return None

    def extend(self, next_lines: Layout) -> None:
        """Add the lines that follow in the same file."""
        self.values += next_lines.values
        self.marks += next_lines.marks[: _BLANK_LINES - len(self.marks)]
        self.blank += next_lines.blank[: _BLANK_LINES - len(self.blank)]
        self.crlf += next_lines.crlf
        self.first_crlf = self.first_crlf or next_lines.first_crlf

    def report(self, name: str, problems: Problems) -> None:
        """Say what is wrong with the lines of the file `name`, once all of them are counted."""
        for number, around in self.marks:
            where, remedy = "beside the record: files were joined", "remove it"
            if number == 1:
                where, remedy = "at the start of the file", "save as UTF-8 without BOM"
            problems.add(name, *marks.fault(around, where, remedy), line=number)
        if not self.values:
            problems.add(name, "E102", "no records, only blank lines", "add records or remove the file", line=1)
            return
        for number in self.blank:
            problems.add(name, "W103", "blank line", "remove it", line=number)
        if self.crlf:
            what = f"{self.crlf} line{'s end' if self.crlf > 1 else ' ends'} in CRLF, the first one here"
            problems.add(name, "W106", what, "save the file with LF line ends", line=self.first_crlf)


class LineReader:
    """Reads single lines: a well-formed one becomes a row, everything else is a problem.

    Labels and entities are checked later, against the task (row_checks.py); here only their JSON types.
    """

    def __init__(self, task: TaskDefinition, problems: Problems) -> None:
        self.problems = problems
        self._decode = msgspec.json.Decoder().decode
        self._input, self._output = task.input.field, task.output.field
        self._id, self._group = task.data.id_field, task.data.group_field
        self._fields = (self._id, self._input, self._output, self._group)
        self._entities = task.task_type == "extraction"
        # A label is compared with the closed set of labels, which says more than rules about its characters.
        self._closed = self._output if task.task_type == "classification" else None

    def read(self, line: bytes, name: str, number: int, offset: int) -> Row | None:
        """The row on line `number` of the file `name`; `line` has no line end, its first byte is at `offset`."""
        value = self.decode(line, name, number, offset)
        if value is None:
            return None
        before = self.problems.error_count
        self._check_fields(value, self._reporter(name, number))
        if self.problems.error_count > before:
            return None
        return Row(value[self._input], value[self._output], value.get(self._id), value.get(self._group))

    def decode(self, line: bytes, name: str, number: int, offset: int) -> dict[str, Any] | None:
        """The JSON object on a line, whatever its fields are; None where it is none, which is a problem."""
        fault: Fault | None
        if len(line) > MAX_LINE_BYTES:
            fault = "E140", "the line is longer than 1 MB", "split the record, or remove it"
        else:
            try:
                value = self._decode(line)
                fault = find_faults(line, value)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as failure:
                fault = diagnose(line, offset, failure)
            if fault is None and b"\r" in line:
                fault = "E106", "a lone carriage return (CR) on the line", "save the file with LF line ends"
        if fault is not None:
            self._reporter(name, number)(*fault)
            return None
        return value

    def _reporter(self, name: str, number: int) -> Callable[[str, str, str], None]:
        def report(code: str, message: str, fix: str) -> None:
            self.problems.add(name, code, message, fix, line=number)

        return report

    def _check_fields(self, value: dict[str, Any], report: Callable[[str, str, str], None]) -> None:
        for field in list(value):
            if field not in self._fields:
                plain = field.strip("\ufeff")
                if plain in self._fields and plain not in value:
                    report("E104", f"a byte order mark in the name of the field {shown(plain)}", _WITHOUT_MARK)
                    value[plain] = value.pop(field)
                    continue
                report("E120", f"unknown field {shown(field)}", _nearest(field, self._fields))
        for field in (self._input, self._output):
            if field not in value:
                report("E121", f'field "{field}" is missing', "add it")
        for field in self._fields:
            if field in value:
                if field == self._output and self._entities:
                    self._check_entities(value[field], field, report)
                else:
                    self._check_text(value[field], field, report)

    def _check_text(self, value: Any, field: str, report: Callable[[str, str, str], None]) -> None:
        if value is None:
            report("E122", f'field "{field}" is null', "write a text or leave optional fields out")
        elif not isinstance(value, str):
            report("E123", f'field "{field}" is {_kind(value)}, not text', "write it in double quotes")
        elif is_blank(value):
            report("E124", f'field "{field}" is empty', "write a text")
        elif field != self._closed:
            check_text(value, field, report)
            if field == self._id and len(value) > MAX_ID_CHARS:
                report("E119", f'field "{field}" is longer than {MAX_ID_CHARS} characters', "use a short id")

    def _check_entities(self, value: Any, field: str, report: Callable[[str, str, str], None]) -> None:
        if value is None:
            report("E122", f'field "{field}" is null', "write [] for a text without entities")
        elif not isinstance(value, list):
            report("E123", f'field "{field}" is {_kind(value)}, not a list', 'write [{"type": "…", "text": "…"}]')
        else:
            for index, entity in enumerate(value):
                self._check_entity(entity, f"{field}[{index}]", report)

    def _check_entity(self, entity: Any, place: str, report: Callable[[str, str, str], None]) -> None:
        if not isinstance(entity, dict):
            report("E123", f'"{place}" is {_kind(entity)}, not an object', 'write {"type": "…", "text": "…"}')
            return
        for key in entity:
            if key not in ("type", "text"):
                report("E120", f'unknown field {shown(key)} in "{place}"', _nearest(key, ("type", "text")))
        for key in ("type", "text"):
            if key not in entity:
                report("E121", f'field "{place}.{key}" is missing', "add it")
            else:
                self._check_text(entity[key], f"{place}.{key}", report)


class RecordReader:
    """Reads files one after another and yields the rows that are well formed; every other row is a problem.

    For files of any size; step 01 and 02 read the same rows with the same rules in several processes (scan/survey.py).
    """

    def __init__(self, task: TaskDefinition, problems: Problems) -> None:
        self.lines = 0
        self._problems = problems
        self._lines = LineReader(task, problems)
        self._identities = Identities()
        self._paths: list[str] = []

    def read(self, file: Path, name: str) -> Iterator[Record]:
        """Yield the good records of `file`, shown as `name` in problems."""
        self._paths.append(name)
        layout, offset = Layout(), 0
        with open(file, "rb") as stream:
            for number, (whole, size) in enumerate(split_lines(stream), 1):
                line = layout.strip(whole, number)
                row = line and self._lines.read(line, name, number, offset)
                record = row and self._record(row, name, number)
                if record:
                    yield record
                offset += size
        self.lines += layout.values
        layout.report(name, self._problems)

    def _record(self, row: Row, name: str, number: int) -> Record | None:
        key = input_key(row.input)
        place = (len(self._paths) - 1) << _LINE_BITS | number
        found = self._identities.add(int.from_bytes(key[:8]), row.id, answer_hash(row.reference), place)
        if found.id is None:
            report_used_twice(row.id or "", name, number, self._problems)
            return None
        duplicate = None
        if found.first is not None:
            path, line = self._paths[found.first >> _LINE_BITS], found.first & (1 << _LINE_BITS) - 1
            duplicate = Duplicate(path, line)
        return Record(found.id, row.input, row.reference, row.group, name, number, key, duplicate)


def report_used_twice(identifier: str, name: str, number: int, problems: Problems) -> None:
    """Say that a row names itself like another one."""
    what = f"id {shown(identifier)} is used twice"
    problems.add(name, "E150", what, "give every row its own id, or leave the field out", line=number)


def split_lines(stream: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Lines with their LF, and their length in bytes; of an overlong one only the first part is kept."""
    limit = MAX_LINE_BYTES + 2
    while line := stream.readline(limit):
        size, tail = len(line), line
        while len(tail) == limit and not tail.endswith(b"\n"):
            tail = stream.readline(limit)
            size += len(tail)
        yield line, size


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name.lower()[:80], list(known), 1, 0.6)
    return f'did you mean "{near[0]}"?' if near else "remove it; known fields: " + ", ".join(known)


def _kind(value: Any) -> str:
    kinds = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return kinds.get(type(value), "text" if isinstance(value, str) else "null")
