"""JSON that is laid out otherwise than one object a line: what it is called, and its records one a line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from finetune.data import marks
from finetune.data.columns import is_column_name
from finetune.data.shapes import Record, shape_of

LOOK_AT = 50
STRINGS = "JSON objects inside strings"
_WRAPPERS = {"annotations", "data", "dataset", "documents", "entries", "examples", "instances", "items", "paragraphs",
             "records", "results", "rows", "samples", "test", "train", "utterances", "validation"}  # fmt: skip
_OWN_LISTS = {"conversations", "entities", "messages", "spans", "turns"}
_OPENINGS = re.compile(r"[\[{]|\[ ?[\[{]")
_WRAPPER = re.compile(r'\{\s*"(\w+)"\s*:\s*\[\s*\{')
_BETWEEN = re.compile("(?:[ \t\r\n,\ufeff\x1a]|\u00ef\u00bb\u00bf)*")
_SPACES = re.compile(r'"(?:[^"\\]|\\.)*"|[ \t\r\n]+')


@dataclass(frozen=True)
class Found:
    """How a file is laid out, and its first records. `array` where it begins with one."""

    kind: str
    of: str
    records: list[Record]
    array: bool = False
    named: bool = True
    """Whether its cells have names: what has none, only an import can ask about."""


class Unconvertible(Exception):
    """Why the records cannot be told; the message names the line where there is one."""


def find_layout(head: bytes, whole: bool) -> Found | None:
    """The layout of the file that begins with `head`; None for JSON Lines, and for what is no JSON at all."""
    lines = [line for line in map(_bare, head.split(b"\n")) if line]
    if not lines:
        return None
    first = _decoded(lines[0])
    if isinstance(first, dict):
        return _object(first) if whole and len(lines) == 1 else None
    if isinstance(first, list):
        return _arrays([_decoded(line) for line in lines[:LOOK_AT]])
    if isinstance(first, str):
        inside = [_decoded(text.encode()) for line in lines[:LOOK_AT] if isinstance(text := _decoded(line), str)]
        return Found(STRINGS, "", inside) if all(isinstance(value, dict) for value in inside) else None
    text = "\n".join(line.decode("utf-8", "ignore") for line in lines)
    if len(lines) > 1 and all(line.endswith(b",") for line in lines[: min(len(lines) - 1, LOOK_AT)]):
        records = [_decoded(line.rstrip(b" \t,")) for line in lines[:LOOK_AT]]
        if found := [record for record in records if isinstance(record, dict)]:
            return Found("JSON objects with a comma after each", "", found) if len(found) == len(records) else None
    if not (_OPENINGS.fullmatch(text.partition("\n")[0]) or _spans_lines(text)):
        wrapper = None if whole else _WRAPPER.match(text)
        return Found(_around(wrapper[1]), "", []) if wrapper else None
    return _spread(text, whole)


def _bare(line: bytes) -> bytes:
    return marks.strip(line)[0].strip()


def _decoded(line: bytes) -> Any:
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _object(value: Record) -> Found | None:
    inside = records_inside(value)
    return Found(inside[0], "", inside[1][:LOOK_AT]) if inside else None


def _arrays(values: list[Any]) -> Found | None:
    """The layout of lines that each hold an array."""
    if not all(isinstance(value, list) and value for value in values):
        return None
    items = [item for value in values for item in value]
    if all(isinstance(item, dict) for item in items):
        return Found("an array" if len(values) == 1 else "arrays", "", items[:LOOK_AT], array=True)
    if len(values) == 1 and all(isinstance(item, list) for item in items):
        return Found("an array", "arrays", [], True, named_rows(items) is not None)
    rows = len(values) > 1 and len({len(value) for value in values}) == 1 and len(values[0]) > 1
    if not rows or not isinstance(values[0][0], str):
        return None
    return Found("arrays of cells", "", [], True, named_rows(values) is not None)


def _spread(text: str, whole: bool) -> Found | None:
    """The layout of values over several lines, as far as `text` shows it."""
    array = text.startswith("[")
    if start := re.match(r"\[\s*(?=\[)", text):
        return Found("a pretty-printed array", "arrays", [], True, _first_row_names(text, start.end()))
    wrapper = None if whole else _WRAPPER.match(text)
    if wrapper and wrapper[1] not in _OWN_LISTS:
        return Found(_around(wrapper[1]), "", [])
    records = _parsed(text)
    if len(records) == 1 and not array and whole and (found := _object(records[0])):
        return found
    if not records and whole:  # a record may be longer than the head
        return None
    return Found("a pretty-printed array", "", records, array=True) if array else Found(
        "pretty-printed JSON objects", "", records
    )  # fmt: skip


def _first_row_names(text: str, at: int) -> bool:
    try:
        row, _ = json.JSONDecoder().raw_decode(text, at)
    except (ValueError, RecursionError):
        return False
    return bool(row) and named_rows([row]) is not None


def _spans_lines(text: str) -> bool:
    """Whether the first value begins on the first line and ends, well formed, on a later one."""
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return text.startswith("[") and len(_parsed(text)) > 1
    return isinstance(value, dict | list) and "\n" in text[:end]


def _parsed(text: str) -> list[Record]:
    """The objects that stand one after another in `text`, or in the array that it is; up to the first bad one."""
    decoder, at = json.JSONDecoder(), 0
    found: list[Record] = []
    while len(found) < LOOK_AT:
        while at < len(text) and text[at] in " \t\r\n,[":
            at += 1
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            break
        if not isinstance(value, dict):
            break
        found.append(value)
    return found


def _around(key: str) -> str:
    return f'a JSON object with the records in "{key}"'


def records_inside(value: Record) -> tuple[str, list[Record]] | None:
    """What an object around records is called, and the records: a wrapper, or a table by columns as pandas writes it.

    None for a record of its own.
    """
    if shape_of([value]):
        return None
    names, rows = value.get("columns"), value.get("data")
    if isinstance(names, list) and isinstance(rows, list) and rows:
        if all(isinstance(row, list) and len(row) == len(names) for row in rows):
            names = list(map(str, names))
            return "a JSON table of columns and rows", [dict(zip(names, row, strict=True)) for row in rows]
        return None
    lists = [key for key, item in value.items() if isinstance(item, list) and item and isinstance(item[0], dict)]
    if len(lists) == 1 and (len(value) == 1 or lists[0].lower() in _WRAPPERS) and lists[0] not in _OWN_LISTS:
        return _around(lists[0]), value[lists[0]]
    columns = list(value.values())
    if all(isinstance(column, dict) and column for column in columns) and _alike(map(frozenset, columns)):
        if all(key.isdecimal() for key in value):
            return "a JSON object of records by number", columns
        if len(value) > 1:
            named = [{name: column[key] for name, column in value.items()} for key in columns[0]]
            return "a JSON table by columns", named
    if len(value) > 1 and all(isinstance(column, list) and column for column in columns) and _alike(map(len, columns)):
        named = [dict(zip(value, row, strict=True)) for row in zip(*columns, strict=True)]
        return ("a JSON table by columns", named) if any(map(is_column_name, value)) else None
    return None


def _alike(values: Iterable[object]) -> bool:
    return len(set(values)) == 1


def named_rows(rows: list[list[Any]]) -> tuple[list[str], list[list[Any]]] | None:
    """The names and the rows of a table whose first row names its columns by usual names; None for another one."""
    first = rows[0]
    if (
        not isinstance(first, list)
        or not all(isinstance(cell, str) for cell in first)
        or not any(map(is_column_name, first))
    ):
        return None
    return (first, rows[1:]) if len(set(first)) == len(first) else None


def top_values(text: str) -> list[tuple[str, Any]]:
    """The objects and arrays that stand one after another in `text`, in an array, in strings or not, with their texts.

    Raises Unconvertible at the first place that is not JSON.
    """
    decoder, found, at, inside = json.JSONDecoder(object_pairs_hook=_pairs), [], 0, False
    line, counted = 1, 0
    while (at := _BETWEEN.match(text, at).end()) < len(text):  # type: ignore[union-attr]
        line, counted = line + text.count("\n", counted, at), at
        if text[at] == ("]" if inside else "[") and (inside or re.match(r"\[\s*[\[{]", text[at : at + 200])):
            at, inside = at + 1, not inside
            continue
        try:
            value, end = decoder.raw_decode(text, at)
        except RecursionError:
            raise Unconvertible(f"line {line} is nested too deeply") from None
        except json.JSONDecodeError as failure:
            raise Unconvertible(f"line {failure.lineno} is not JSON: {failure.msg}") from None
        except ValueError as failure:
            raise Unconvertible(f"line {line}: {failure}") from None
        if isinstance(value, str) and text[at + 1 : end].lstrip().startswith("{"):
            found += top_values(value)
        elif isinstance(value, dict | list):
            found.append((text[at:end], value))
        else:
            raise Unconvertible(f"line {line} holds a value that is no object")
        at = end
    if inside:
        raise Unconvertible("the array is not closed: the file is cut off")
    return found


def _pairs(pairs: list[tuple[str, Any]]) -> Record:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is written twice")
    return found


def one_a_line(data: bytes) -> tuple[list[bytes], list[str]]:
    """The records of `data`, each as a line without its end, and the names of what stands around them and is no record.

    Raises Unconvertible where a record cannot be told, or would lose something.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as bad:
        raise Unconvertible(f"line {data.count(10, 0, bad.start) + 1} is not UTF-8") from None
    values = top_values(text)
    if values and all(isinstance(value, list) for _, value in values):
        table = named_rows([value for _, value in values])
        if table is None or any(len(row) != len(table[0]) for row in table[1]):
            raise Unconvertible("it has no names of columns, so nobody can tell which cell is the text")
        return [_line(dict(zip(table[0], row, strict=True))) for row in table[1]], []
    if len(values) == 1 and (inside := records_inside(values[0][1])):
        around = [key for key in values[0][1] if inside[0] == _around(key)]
        lost = [key for key in values[0][1] if around and key not in around]
        if not all(isinstance(record, dict) for record in inside[1]):
            raise Unconvertible("it holds a value that is no object")
        return [_line(record) for record in inside[1]], lost
    if not all(isinstance(value, dict) for _, value in values):
        raise Unconvertible("it holds arrays and objects")
    return [_SPACES.sub(lambda part: part[0] if part[0][0] == '"' else "", piece).encode() for piece, _ in values], []


def _line(record: Record) -> bytes:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
