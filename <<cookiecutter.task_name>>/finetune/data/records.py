"""Raw records: data/raw/*.jsonl, one strict JSON object per line, read once and streamed."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from finetune.config.task import TaskDefinition
from finetune.data.chat_format import Reference
from finetune.data.json_faults import diagnose, find_faults
from finetune.data.text_rules import check_text, input_key, is_blank, shown
from finetune.errors import Problems

MAX_LINE_BYTES = 1024 * 1024
MAX_ID_CHARS = 200
_BOM = b"\xef\xbb\xbf"


class Twin(msgspec.Struct, frozen=True, gc=False):
    """The first record with the same normalised input."""

    path: str
    line: int
    same_reference: bool


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
    twin: Twin | None


class RecordReader:
    """Reads files one after another and yields the rows that are well formed; every other row is a problem.

    Nothing but a few dozen bytes per row is kept (for ids and duplicates). Labels and entities are checked later,
    against the task (checks.py); here only their JSON types.
    """

    def __init__(self, task: TaskDefinition, problems: Problems) -> None:
        self.lines = 0
        self._problems = problems
        self._decode = msgspec.json.Decoder().decode
        self._input, self._output = task.input.field, task.output.field
        self._id, self._group = task.data.id_field, task.data.group_field
        self._fields = (self._id, self._input, self._output, self._group)
        self._entities = task.task_type == "extraction"
        # A label is compared with the closed set of labels, which says more than rules about its characters.
        self._closed = self._output if task.task_type == "classification" else None
        self._paths: list[str] = []
        self._own_ids: set[str] = set()
        # First 8 bytes of the key -> file (16 bits), line (32 bits), 48 bits of the reference's hash, in one integer:
        # 100 bytes a row. Two of a million different inputs share 8 bytes of sha256 with probability 3e-8.
        self._first: dict[int, int] = {}
        self._repeats: dict[int, int] = {}

    def read(self, file: Path, name: str) -> Iterator[Record]:
        """Yield the good records of `file`, shown as `name` in problems."""
        self._paths.append(name)
        with open(file, "rb") as stream:
            yield from self._records(stream, name)

    def _records(self, stream: BinaryIO, name: str) -> Iterator[Record]:
        offset = values = crlf = first_crlf = 0
        blank: list[int] = []
        for number, (line, size) in enumerate(_lines(stream), 1):
            if line.endswith(b"\r\n"):
                crlf += 1
                first_crlf = first_crlf or number
            line = line.rstrip(b"\r\n") if line[-2:-1] == b"\r" else line.removesuffix(b"\n")
            if number == 1 and line.startswith(_BOM):
                self._problems.add(name, "E104", "starts with a byte order mark", "save as UTF-8 without BOM", line=1)
                line = line[3:]
            if not line.strip():
                if len(blank) < 1000:
                    blank.append(number)
            else:
                values += 1
                record = self._record(line, name, number, offset)
                if record is not None:
                    yield record
            offset += size
        self.lines += values
        self._report_layout(name, values, blank, crlf, first_crlf)

    def _report_layout(self, name: str, values: int, blank: list[int], crlf: int, first_crlf: int) -> None:
        if not values:
            self._problems.add(name, "E102", "no records, only blank lines", "add records or remove the file", line=1)
            return
        for number in blank:
            self._problems.add(name, "W103", "blank line", "remove it", line=number)
        if crlf:
            what = f"{crlf} line{'s end' if crlf > 1 else ' ends'} in CRLF, the first one here"
            self._problems.add(name, "W106", what, "save the file with LF line ends", line=first_crlf)

    def _record(self, line: bytes, name: str, number: int, offset: int) -> Record | None:
        before = self._problems.error_count

        def report(code: str, message: str, fix: str) -> None:
            self._problems.add(name, code, message, fix, line=number)

        if len(line) > MAX_LINE_BYTES:
            report("E140", "the line is longer than 1 MB", "split the record, or remove it")
            return None
        try:
            value = self._decode(line)
            fault = find_faults(line, value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as failure:
            fault = diagnose(line, offset, failure)
        if fault is None and b"\r" in line:
            fault = "E106", "a lone carriage return (CR) on the line", "save the file with LF line ends"
        if fault is not None:
            report(*fault)
            return None
        self._check_fields(value, report)
        if self._problems.error_count > before:
            return None
        return self._accept(value, name, number, report)

    def _check_fields(self, value: dict[str, Any], report: Callable[[str, str, str], None]) -> None:
        for field in value:
            if field not in self._fields:
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
                report("E123", f'field "{field}" is longer than {MAX_ID_CHARS} characters', "use a short id")

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

    def _accept(
        self, value: dict[str, Any], name: str, number: int, report: Callable[[str, str, str], None]
    ) -> Record | None:
        text, reference = value[self._input], value[self._output]
        key = input_key(text)
        short = int.from_bytes(key[:8])
        fingerprint = hash(_comparable(reference)) & 0xFFFFFFFFFFFF
        place = (len(self._paths) - 1) << 80 | number << 48 | fingerprint
        first = self._first.setdefault(short, place)
        twin = None
        if first != place:
            twin = Twin(self._paths[first >> 80], first >> 48 & 0xFFFFFFFF, first & 0xFFFFFFFFFFFF == fingerprint)
        own = value.get(self._id)
        if own is None:
            identifier = self._default_id(key.hex()[:16], short, twin)
        elif own in self._own_ids or self._is_default_of_another(own, place):
            report("E150", f"id {shown(own)} is used twice", "give every row its own id, or leave the field out")
            return None
        else:
            identifier = own
            self._own_ids.add(own)
        return Record(identifier, text, reference, value.get(self._group), name, number, key, twin)

    def _is_default_of_another(self, own: str, place: int) -> bool:
        """An id copied from the converted files may return as a row's own id; it must not name a second row."""
        if len(own) != 16 or own.strip("0123456789abcdef"):
            return False
        return self._first.get(int(own, 16), place) != place

    def _default_id(self, base: str, short: int, twin: Twin | None) -> str:
        """The hash of the normalised input; a repeated input gets -2, -3 … in reading order."""
        identifier = base
        if twin is not None:
            self._repeats[short] = self._repeats.get(short, 1) + 1
            identifier = f"{base}-{self._repeats[short]}"
        while identifier in self._own_ids:
            identifier += "-x"
        return identifier


def _lines(stream: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Lines with their LF, and their length in bytes; of an overlong one only the first part is kept."""
    limit = MAX_LINE_BYTES + 2
    while line := stream.readline(limit):
        size, tail = len(line), line
        while len(tail) == limit and not tail.endswith(b"\n"):
            tail = stream.readline(limit)
            size += len(tail)
        yield line, size


def _comparable(reference: Reference) -> object:
    if isinstance(reference, str):
        return reference
    return tuple(sorted((entity["type"], entity["text"]) for entity in reference))


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name.lower()[:80], list(known), 1, 0.6)
    return f'did you mean "{near[0]}"?' if near else "remove it; known fields: " + ", ".join(known)


def _kind(value: Any) -> str:
    kinds = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return kinds.get(type(value), "text" if isinstance(value, str) else "null")
