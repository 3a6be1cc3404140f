"""JSON in each of its layouts: one object a line, an array, objects one after another, one object around a list."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from finetune.data.json_faults import diagnose, find_faults
from finetune.data.layouts import Unconvertible, named_rows, top_values
from finetune.data.records import MAX_LINE_BYTES
from finetune.importing.sources import ROW, Entry, Refused, broken

_BLOCK = 256 * 1024
_LONGEST = 64 * 1024 * 1024
"""Longest value in characters; a file of one object is one value."""
_BETWEEN = re.compile("[ \t\r\n,\ufeff\x1a]*")
LINES, ARRAY, OBJECTS = "JSON Lines", "a JSON array", "JSON objects one after another"
TABLE = "a table as JSON arrays"


def layout_of(head: str) -> str | None:
    """How the JSON that begins with `head` is laid out; None where it is none."""
    text = head.lstrip()
    if text.startswith("["):
        return {"{": ARRAY, "]": ARRAY, "": ARRAY, "[": TABLE, '"': TABLE}.get(text[1:].lstrip()[:1])
    if not text.startswith("{") or text[1:].lstrip()[:1] not in ('"', "}", ""):
        return None
    line = text.partition("\n")[0]
    try:
        msgspec.json.decode(line.encode("utf-8", "surrogatepass"))
        return LINES
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        _, end = json.JSONDecoder().raw_decode(text)
        return OBJECTS if "\n" in text[:end] or line[end:].strip(" \t\r\ufeff\x1a")[:1] in ("{", ",") else LINES
    except (ValueError, RecursionError):
        # A first line that is whole on the next ones, or that is broken among whole ones.
        following = [part for part in text.split("\n")[1:4] if part.strip()]
        return LINES if following and all(part.lstrip().startswith("{") for part in following) else OBJECTS


def lines(file: Path, name: str, codec: str) -> Iterator[Entry]:
    """One record a line; a line that is none is refused, as step 01 would say it."""
    size, offset = max(file.stat().st_size, 1), 0
    with open(file, encoding=codec, newline="\n") as stream:
        for number, text in enumerate(iter(lambda: stream.readline(MAX_LINE_BYTES), ""), 1):
            line = text.strip("\r\n\ufeff").encode("utf-8", "surrogatepass")
            offset += len(line)
            if line.strip():
                yield Entry(f"{name}:{number}", _line(line), min(offset / size, 1.0))


def _line(line: bytes) -> dict[str, Any] | Refused:
    if len(line) >= MAX_LINE_BYTES:
        return Refused("E140", "a line longer than 1 MB")
    try:
        value = msgspec.json.decode(line)
        fault = find_faults(line, value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as failure:
        fault = diagnose(line, 0, failure)
    return Refused(fault[0], fault[1]) if fault else value


def values(file: Path, name: str, codec: str) -> Iterator[Entry]:
    """The objects of a file that holds them one after another, in an array, or in several: read piece by piece.

    Raises FinetuneError (E164) at the first place that is not JSON: what follows it cannot be told apart any more.
    """
    size, inside = max(file.stat().st_size, 1), False
    with open(file, "rb") as raw, io.TextIOWrapper(raw, encoding=codec, newline="") as stream:
        text = _Text(stream, name)
        while True:
            text.skip(_BETWEEN)
            if not text.rest:
                break
            if text.rest[0] == ("]" if inside else "["):
                text.at, inside = text.at + 1, not inside
                continue
            line = text.line
            value = text.value()
            yield Entry(f"{name}:{line}", _object(value), min(raw.tell() / size, 1.0))
        if inside:
            raise broken(name, f"the array ends early, in line {text.line}: the file is cut off")


def _object(value: Any) -> dict[str, Any] | Refused:
    if isinstance(value, dict):
        return value
    return value if isinstance(value, Refused) else Refused("E109", "a value that is no object")


class _Text:
    """A window over a text that is longer than memory; `at` is where reading goes on."""

    def __init__(self, stream: io.TextIOBase, name: str) -> None:
        self._stream, self._name = stream, name
        self._buffer, self.at, self.line = stream.read(_BLOCK), 0, 1
        self._decoder = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant, parse_float=_float)

    @property
    def rest(self) -> str:
        """What comes next; "" at the end."""
        return self._buffer[self.at : self.at + 40]

    def skip(self, signs: re.Pattern[str]) -> None:
        while True:
            found = signs.match(self._buffer, self.at)
            assert found
            self._move(found.end())
            if self.at < len(self._buffer) or not self._more(_BLOCK):
                return

    def _move(self, to: int) -> None:
        self.line += self._buffer.count("\n", self.at, to)
        self.at = to

    def _more(self, size: int) -> bool:
        block = self._stream.read(size)
        self._buffer, self.at = self._buffer[self.at :] + block, 0
        return bool(block)

    def value(self) -> Any:
        """The next value, or a Refused for one that is well formed and still not to be read."""
        while True:
            problem: Refused | None = None
            try:
                value, end = self._decoder.raw_decode(self._buffer, self.at)
                if end == len(self._buffer) and self._more(_BLOCK):
                    continue  # a number may go on
                self._move(end)
                return value
            except RecursionError:
                raise broken(self._name, f"line {self.line}: nested too deeply") from None
            except _Unreadable as failure:
                problem = Refused("E112" if failure.constant else "E111", str(failure))
            except ValueError as failure:
                reason = failure
            have = len(self._buffer) - self.at
            if problem:
                try:
                    _, end = json.JSONDecoder().raw_decode(self._buffer, self.at)
                    self._move(end)
                    return problem
                except ValueError as failure:
                    reason = failure
            # Read on while the value may only be incomplete: an error far from the end of the window is a real one.
            # Only the decoder's own errors have a place; a number of too many digits is wrong however far one reads.
            at = reason.pos - self.at if isinstance(reason, json.JSONDecodeError) else 0
            incomplete = "Unterminated" in str(reason) or at >= have - 8
            if have > _LONGEST or not incomplete or not self._more(max(have, _BLOCK)):
                self._fail(reason, at, have)

    def _fail(self, reason: ValueError, after: int, have: int) -> NoReturn:
        at = self.at + after
        line = self.line + self._buffer.count("\n", self.at, at)
        if have > _LONGEST:
            raise broken(self._name, f"line {self.line}: a value of more than 64 million characters") from None
        if at >= len(self._buffer.rstrip()) or "Unterminated" in str(reason):
            raise broken(self._name, f"the JSON ends early, in line {line}: the file is cut off") from None
        said = getattr(reason, "msg", "a number is too long")
        raise broken(self._name, f"line {line} is not JSON: {said}", "correct it, and import again") from None


class _Unreadable(Exception):
    def __init__(self, message: str, constant: bool) -> None:
        super().__init__(message)
        self.constant = constant


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Unreadable("a key is written twice", constant=False)
    return found


def _constant(name: str) -> NoReturn:
    raise _Unreadable(f"{name} is not a JSON number", constant=True)


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _Unreadable("a number is too large", constant=True)
    return value


def cells(file: Path, name: str, codec: str) -> Iterator[Entry]:
    """The rows of a table that is written as arrays, in an array or one a line, by the names of its columns.

    Raises FinetuneError (E164) where it is not JSON.
    """
    try:
        rows = [value for _, value in top_values(file.read_text(encoding=codec))]
    except Unconvertible as failure:
        raise broken(name, str(failure), "correct it, and import again") from None
    width = max((len(row) for row in rows if isinstance(row, list)), default=0)
    names, body = named_rows(rows) or ([f"column {number}" for number in range(1, width + 1)], rows)
    for number, row in enumerate(body, len(rows) - len(body) + 1):
        fits = isinstance(row, list) and len(row) == len(names)
        what = Refused(ROW, "a row with another number of cells", f"{len(names)} columns")
        yield Entry(f"{name} row {number}", dict(zip(names, row, strict=True)) if fits else what, number / len(rows))
