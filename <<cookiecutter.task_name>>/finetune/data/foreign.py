"""A .jsonl file that is not JSON Lines of this task: one problem for the file, with the command that imports it.

Looked at once a file, at its head: a wall of `unknown field` would advise to delete the answers.
"""

from __future__ import annotations

import difflib
import json
import shlex
from pathlib import Path
from typing import Any

import msgspec

from finetune.config.task import TaskDefinition
from finetune.data.columns import guess_columns
from finetune.data.records import BOM
from finetune.data.shapes import Record, is_own, shape_of
from finetune.errors import Problems

IMPORTS = "data/imports"
"""Where files wait that are read by an import only; not in git."""
_HEAD_BYTES = 256 * 1024
_LOOK_AT = 50
_OPENINGS = (b"{", b"[", b"[{")


def is_foreign(file: Path, name: str, task: TaskDefinition, problems: Problems) -> bool:
    """Whether `file`, called `name`, is to be imported; then `problems` says what it is, and how."""
    with open(file, "rb") as stream:
        head = stream.read(_HEAD_BYTES).removeprefix(BOM)
        whole = not stream.read(1)
    lines = [line for line in head.split(b"\n") if line.strip()]
    if not lines or _own_line(lines[0], task):
        return False
    records, spread, array = _first_records(head, lines, whole)
    if not records and not spread:
        return False
    what = _described(records, task)
    code, line = "E175", None
    if array:
        code, line, what = "E109", 1, f"an array of {what or 'objects'}, not one object per line"
    elif spread:
        code, line, what = "E176", 1, f"pretty-printed JSON{what and f' of {what}'}, not one object per line"
    elif what:
        what = f"records of another form: {what}"
    else:
        return False
    problems.add(name, code, what, move_and_import(name), line=line)
    return True


def move_and_import(name: str) -> str:
    """The command that imports the file `name` of data/raw, out of a folder of its own."""
    moved = f"{IMPORTS}/{Path(name).name}"
    source, target = shlex.quote(name), shlex.quote(moved)
    return f"mkdir -p {IMPORTS} && mv {source} {target} && python scripts/import_data.py {target}"


def _own_line(line: bytes, task: TaskDefinition) -> bool:
    return is_own(_decoded(line), task)


def _decoded(line: bytes) -> Any:
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _first_records(head: bytes, lines: list[bytes], whole: bool) -> tuple[list[Record], bool, bool]:
    """The first records; whether values span lines; whether all of it is one array."""
    array = lines[0].lstrip().startswith(b"[")
    first = _decoded(lines[0])
    if first is not None:
        if isinstance(first, list):
            records = [record for record in first[:_LOOK_AT] if isinstance(record, dict)]
            return (records, True, True) if records and len(lines) == 1 else ([], False, False)
        found = [_decoded(line) for line in lines[:_LOOK_AT]]
        return [record for record in found if isinstance(record, dict)], False, False
    if lines[0].strip() not in _OPENINGS and not _spans_lines(head, array):
        return [], False, False
    records = _parsed(head.decode("utf-8", "ignore"))
    spread = bool(records) or not whole  # a record may be longer than the head
    return records, spread, spread and array


def _spans_lines(head: bytes, array: bool) -> bool:
    """Whether the first value begins on the first line and ends, well formed, on a later one."""
    text = head.decode("utf-8", "ignore").lstrip()
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return array and len(_parsed(text)) > 1
    return isinstance(value, dict | list) and "\n" in text[:end]


def _parsed(text: str) -> list[Record]:
    """The objects that stand one after another in `text`, or in the array that it is; up to the first bad one."""
    decoder, at = json.JSONDecoder(), 0
    found: list[Record] = []
    while len(found) < _LOOK_AT:
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


def _described(records: list[Record], task: TaskDefinition) -> str:
    """The tool and where its fields go, or the columns that stand for the task's; "" for records of no known form."""
    if not records or any(is_own(record, task) for record in records):
        return ""
    roles = (task.input.field, task.output.field)
    shape = shape_of(records)
    if shape:
        return f"{shape.name} ({shape.input} → {roles[0]}, {shape.answer} → {roles[1]})"
    columns = {name: [record.get(name) for record in records] for name in dict.fromkeys(k for r in records for k in r)}
    missing, others = [r for r in roles if r not in columns], [c for c in columns if c not in roles]
    if not missing or any(difflib.get_close_matches(role, others, 1, 0.6) for role in missing):
        return ""  # its own fields, some misspelt or with further ones: told row by row
    guess = guess_columns(columns, task)
    if not guess.input or not guess.answer:
        return ""
    return f'a table ("{guess.input}" → {roles[0]}, "{guess.answer}" → {roles[1]})'
