"""From one record of a source to a draft: the text, the answer as its tool writes it, an id, a group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from finetune.config.task import TaskDefinition
from finetune.data.shapes import TAG_FIELDS, Shape
from finetune.importing import annotation_tools, conversations
from finetune.importing.sources import ROW, Refused, Value
from finetune.importing.token_files import join, spans_of

MISSING = object()


@dataclass(slots=True)
class Draft:
    """A record's parts, not judged yet."""

    text: Any
    answer: Any
    id: Any = None
    group: Any = None


@dataclass(frozen=True)
class Columns:
    """Names of columns, or dotted paths into nested records; "" where there is none."""

    input: str = ""
    answer: str = ""
    id: str = ""
    group: str = ""


Read = Callable[[Value], Draft]


def table_reader(columns: Columns) -> Read:
    """Reads records whose parts stand in columns."""

    def read(record: Value) -> Draft:
        text, answer = get(record, columns.input), get(record, columns.answer)
        if text is MISSING:
            raise Refused("E121", f'no "{columns.input}"')
        if answer is MISSING:
            raise Refused("E121", f'no "{columns.answer}"')
        return Draft(text, answer, *_names(record, columns))

    return read


def shape_reader(shape: Shape, columns: Columns, task: TaskDefinition, sample: list[Value]) -> Read:
    """Reads records of a known tool; a column that is told takes the place of the tool's own.

    The tool is known by most records. One that lacks a part of theirs, or has another kind of value there, is refused.
    """
    pair = _pair(shape.name, task, sample, columns)

    def read(record: Value) -> Draft:
        try:
            text, answer = pair(record)
        except (KeyError, IndexError, TypeError, AttributeError, ValueError):
            raise Refused(ROW, f"a record that is not made like {shape.name}'s others") from None
        if columns.input and (value := get(record, columns.input)) is not MISSING:
            text = value
        if columns.answer and (value := get(record, columns.answer)) is not MISSING:
            answer = value
        return Draft(text, answer, *_names(record, columns))

    return read


def _pair(name: str, task: TaskDefinition, sample: list[Value], columns: Columns) -> Callable[[Value], tuple[Any, Any]]:
    if name == "Label Studio":
        return lambda record: annotation_tools.label_studio(record, task.task_type, columns.input)
    if name == "Prodigy":
        return lambda record: annotation_tools.prodigy(record, task.task_type)
    if name == "Argilla":
        return lambda record: annotation_tools.argilla(record, columns.answer)
    if name == "doccano":
        return annotation_tools.doccano
    if name == "alpaca":
        shared = conversations.shared_instruction(sample)
        return lambda record: conversations.alpaca(record, shared)
    if name == "tokens and tags":
        return _token_record
    return conversations.conversation


def _token_record(record: Value) -> tuple[str, Any]:
    tokens = record["tokens"]
    tags = next((record[key] for key in TAG_FIELDS if isinstance(record.get(key), list)), None)
    if tags is None or len(tags) != len(tokens):
        raise Refused(ROW, "tokens and tags of different number")
    if not all(isinstance(token, str) and token for token in tokens):
        raise Refused(ROW, "a token that is no text")
    if not all(isinstance(tag, str) for tag in tags):
        raise Refused(ROW, "tags that are numbers without names")
    text, starts = join(tokens)
    return text, spans_of(tokens, tags, starts)


def get(record: Any, path: str) -> Any:
    """The value at a column's name, or else at a dotted path; MISSING where there is none."""
    if not path:
        return MISSING
    if isinstance(record, dict) and path in record:
        return record[path]
    for part in path.split("."):
        if isinstance(record, dict) and part in record:
            record = record[part]
        elif isinstance(record, list) and part.isdecimal() and len(part) < 10 and int(part) < len(record):
            record = record[int(part)]
        else:
            return MISSING
    return record


def _names(record: Value, columns: Columns) -> tuple[Any, Any]:
    found = (get(record, columns.id), get(record, columns.group))
    return tuple(None if value is MISSING else value for value in found)  # type: ignore[return-value]


def flat(record: Value, prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """A record's leaves by dotted path: what can be named as a column."""
    found: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, dict) and value and depth < 4:
            found |= flat(value, f"{prefix}{name}.", depth + 1)
        else:
            found[f"{prefix}{name}"] = value
    return found
