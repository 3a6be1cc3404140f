"""A .jsonl file that is not JSON Lines of this task: one problem for the file, with the command that imports it.

Looked at once a file, at its head: a wall of `unknown field` would advise to delete the answers.
"""

from __future__ import annotations

import difflib
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from finetune.config.task import TaskDefinition
from finetune.data import marks
from finetune.data.columns import guess_columns
from finetune.data.layouts import LOOK_AT, STRINGS, find_layout
from finetune.data.shapes import Record, is_own, shape_of
from finetune.errors import Problems

IMPORTS = "data/imports"
"""Where files wait that are read by an import only; not in git."""
_HEAD_BYTES = 256 * 1024
_BY_FIX = "make validate FLAGS=--fix writes a copy of one object per line"


@dataclass(frozen=True)
class Foreign:
    """What a file is that is no JSON Lines of the task. `layout`: whether --fix can write it as JSON Lines."""

    code: str
    what: str
    line: int | None
    layout: bool
    importable: bool = True


def is_foreign(file: Path, name: str, task: TaskDefinition, problems: Problems) -> bool:
    """Whether `file`, called `name`, is to be imported; then `problems` says what it is, and how."""
    found = find_foreign(file, task)
    if found:
        if found.importable:
            what = f"{found.what}; {_BY_FIX}" if found.layout else found.what
            problems.add(name, found.code, what, move_and_import(name), line=found.line)
        else:
            problems.add(name, found.code, found.what, _BY_FIX, line=found.line)
    return found is not None


def find_foreign(file: Path, task: TaskDefinition) -> Foreign | None:
    """What `file` is, by its head; None for JSON Lines, and for what has to be told line by line."""
    with open(file, "rb") as stream:
        head = stream.read(_HEAD_BYTES)
        whole = not stream.read(1)
    lines = [line for line in (marks.strip(line)[0] for line in head.split(b"\n")) if line.strip()]
    if not lines or _is_own_line(lines[0], task):
        return None
    layout = find_layout(head, whole)
    if layout is None:
        found = [_decoded(line) for line in lines[:LOOK_AT]]
        what = _described([record for record in found if isinstance(record, dict)], task)
        return Foreign("E175", f"records of another form: {what}", None, False) if what else None
    form = _described(layout.records, task)
    what = f"{layout.kind}: {form}" if form else layout.kind
    if not form and layout.array and (layout.of or layout.records):
        what = f"{layout.kind} of {layout.of or 'objects'}"
    code, line = ("E109", 1) if layout.array else ("E176", None)
    return Foreign(code, f"{what}, not one object per line", line, layout.named and not form, layout.kind != STRINGS)


def move_and_import(name: str) -> str:
    """The command that imports the file `name` of data/raw, out of a folder of its own."""
    moved = f"{IMPORTS}/{Path(name).name}"
    source, target = shlex.quote(name), shlex.quote(moved)
    return f"mkdir -p {IMPORTS} && mv {source} {target} && python scripts/import_data.py {target}"


def _is_own_line(line: bytes, task: TaskDefinition) -> bool:
    return is_own(_decoded(line), task)


def _decoded(line: bytes) -> Any:
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


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
