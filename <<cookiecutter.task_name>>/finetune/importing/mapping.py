"""Which parts of a source's records are input, answer, id and group: told, known from its tool, or guessed and said."""

from __future__ import annotations

import difflib
import shlex
from dataclasses import dataclass, field, replace
from typing import Any

from finetune.config.task import TaskDefinition
from finetune.data.columns import ADMINISTRATIVE, guess_columns
from finetune.data.shapes import is_own, shape_of
from finetune.errors import Problems
from finetune.importing.drafts import MISSING, Columns, Read, flat, get, shape_reader, table_reader
from finetune.importing.sources import Source, Value

COMMAND = "python scripts/import_data.py"
_MOST = 30


@dataclass
class Mapping:
    """How records become drafts, and how to say it: (role, where, reason)."""

    read: Read
    columns: Columns
    choices: list[tuple[str, str, str]] = field(default_factory=list)
    own_id: bool = False
    """Whether the column of ids was found and not told: then ids that clash are left out instead of refused."""


def find_mapping(
    source: Source, sample: list[Value], task: TaskDefinition, asked: Columns, problems: Problems
) -> Mapping | None:
    """The mapping of `source`, by its first records; None where `problems` says what has to be told."""
    leaves = _leaves(sample)
    if not leaves:
        problems.add(source.name, "E161", "its records hold no fields", "put the texts and their answers into it")
        return None
    unknown = [
        (option, path) for option, path in (
            ("--input", asked.input), ("--label", asked.answer), ("--id", asked.id), ("--group", asked.group)
        ) if path and path not in leaves and all(get(record, path) is MISSING for record in sample)
    ]  # fmt: skip
    for option, path in unknown:
        near = difflib.get_close_matches(path, list(leaves), 1, 0.5)
        fix = f"did you mean {option} {shlex.quote(near[0])}?" if near else f"columns: {_listed(leaves)}"
        problems.add(
            source.name,
            "E167",
            f"{option} {path}: there is no such column",
            f"{fix}; columns: {_listed(leaves)}" if near else fix,
        )
    if unknown:
        return None
    names, own_id = _names(leaves, sample, task, asked)
    shape = shape_of(sample)
    own = all(is_own(record, task) for record in sample)
    if source.format.startswith("brat"):
        return Mapping(
            table_reader(names("text", "entities")),
            names("text", "entities"),
            [("input", "the .txt file", "brat"), ("entities", "the T lines of the .ann file", "brat")],
        )
    if shape and shape.name != "Label Studio JSON-MIN" and not own and not (asked.input and asked.answer):
        columns = names(asked.input, asked.answer)
        choices = [(task.input.field, asked.input or shape.input, f"{shape.name} records")]
        choices += [(task.output.field, asked.answer or shape.answer, f"{shape.name} records")]
        choices += _name_choices(columns, asked)
        if not source.joined:
            source.format += f", {shape.name}"
        return Mapping(shape_reader(shape, columns, task, sample), columns, choices, own_id)
    guess = guess_columns(leaves, task, input=asked.input, answer=asked.answer)
    if guess.open:
        _ask(source, guess.open, replace(asked, input=guess.input, answer=guess.answer), leaves, problems)
        return None
    columns = names(guess.input, guess.answer)
    choices = [
        (task.input.field, columns.input, guess.reasons.get("input", "--input says so")),
        (task.output.field, columns.answer, guess.reasons.get("answer", "--label says so")),
        *_name_choices(columns, asked),
    ]
    used = {columns.input, columns.answer, columns.id, columns.group}
    if rest := [name for name in leaves if name not in used]:
        choices.append(("not used", _listed(dict.fromkeys(rest)), "no part of a record"))
    return Mapping(table_reader(columns), columns, choices, own_id)


def _leaves(sample: list[Value]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for record in sample:
        for name, value in flat(record).items():
            found.setdefault(name, []).append(value)
    return found


def _names(leaves: dict[str, list[Any]], sample: list[Value], task: TaskDefinition, asked: Columns) -> Any:
    """A function that adds id and group to the two columns; whether the id was found and not told."""
    identifier, group, own = asked.id, asked.group, False
    if not identifier:
        for name in dict.fromkeys((task.data.id_field, "id")):
            values = [value for value in leaves.get(name, []) if value not in (None, "")]
            plain = all(isinstance(value, str | int) for value in values)
            if len(values) == len(sample) and plain and len(set(map(str, values))) == len(values):
                identifier, own = name, True
                break
    if not group and task.data.group_field in leaves:
        group = task.data.group_field

    def columns(text: str, answer: str) -> Columns:
        used = {text, answer}
        return Columns(text, answer, "" if identifier in used else identifier, "" if group in used else group)

    return columns, own


def _name_choices(columns: Columns, asked: Columns) -> list[tuple[str, str, str]]:
    choices = []
    if columns.id:
        choices.append(("id", columns.id, "--id says so" if asked.id else "a column with an own value in each row"))
    if columns.group:
        choices.append(("group", columns.group, "--group says so" if asked.group else "the task's own name"))
    return choices


def _ask(source: Source, open: dict[str, list[str]], known: Columns, leaves: Any, problems: Problems) -> None:
    """One problem with the columns that there are, and the command with what is known filled in."""
    wanted = {"input": "the text", "answer": "the answer"}
    what = " and ".join(f"which column holds {wanted[role]}" for role in open) + " cannot be told"
    between = [f"{wanted[role]} may be {_listed(dict.fromkeys(names))}" for role, names in open.items()]
    usable = [name for name in leaves if name.casefold() not in ADMINISTRATIVE] or list(leaves)
    first = iter([name for name in usable if name not in (known.input, known.answer)] * 2)
    text = known.input or next(iter(open.get("input", [])), "") or next(first, "COLUMN")
    texts = {text, *open.get("input", [])}
    others = [name for name in open.get("answer", usable) if name not in texts] or [n for n in usable if n != text]
    answer = known.answer or (others[0] if others else "COLUMN")
    command = f"{COMMAND} {shlex.quote(source.name)} --input {shlex.quote(text)} --label {shlex.quote(answer)}"
    problems.add(source.name, "E167", f"{what}; {'; '.join(between)}", f"correct the names in: {command}")


def _listed(names: Any) -> str:
    listed = [name if len(name) <= 60 else f"{name[:57]}…" for name in names]
    return ", ".join(listed[:_MOST]) + (f" and {len(listed) - _MOST} more" if len(listed) > _MOST else "")
