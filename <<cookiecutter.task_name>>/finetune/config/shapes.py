"""What a key looks like in YAML, on one line: for messages that say what to write."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from finetune.config.base import rule_of

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9._/ -]*[A-Za-z0-9]|[A-Za-z]")
_WORDS = {"yes", "no", "on", "off", "y", "n", "true", "false", "null"}
_OPEN_LISTS = {"labels", "entity_types"}
"""Lists whose example shows two entries of many."""


def shape(key: str, value: Any) -> str:
    """`key: value` as YAML on one line: labels: [{name: billing, description: charges and refunds}, …]."""
    return f"{key}: {_flow(value, open_ended=key in _OPEN_LISTS)}"


def field_shape(schema: type[BaseModel], path: Sequence[str | int], given: int = -1) -> str | None:
    """The shape of what `path` leads to, from its examples or its required keys; None where nothing is known.

    `given` is how many leading parts of the path stand in the file: what is above the last part and does not is shown.
    """
    field = find_field(schema, path)
    value = _example(field) if field else None
    if value is None:
        return None
    *outer, name = path
    if isinstance(name, int):  # an entry of a list: as the first one
        return _flow(value[0]) if isinstance(value, list) and value else None
    inner = shape(name, value)
    for part in reversed(outer[given:] if given >= 0 else ()):
        inner = f"{part}: {{{inner}}}" if isinstance(part, str) else inner
    return inner


def find_field(schema: type[BaseModel], path: Sequence[str | int]) -> FieldInfo | None:
    """The field of `schema` at `path`; numbers, which count the entries of a list, lead into the entry's model."""
    current: type[BaseModel] | None = schema
    field: FieldInfo | None = None
    for part in path:
        if isinstance(part, int):
            continue
        field = current.model_fields.get(part) if current else None
        if field is None:
            return None
        current = inner_model(field.annotation)
    return field


def inner_model(annotation: Any) -> type[BaseModel] | None:
    """The section an annotation holds: itself, or what a list of it has as entries."""
    for candidate in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _example(field: FieldInfo) -> Any:
    """The first example; of a section, those of its required keys."""
    if field.examples:
        return field.examples[0]
    section = inner_model(field.annotation)
    if section is not None:
        needed = {n: f for n, f in section.model_fields.items() if f.is_required() and rule_of(f) is None}
        return {name: _example(inner) for name, inner in needed.items()} or None
    return field.get_default() if not field.is_required() else None


def _flow(value: Any, open_ended: bool = False) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_flow(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join([*map(_flow, value), *(["…"] if open_ended else [])]) + "]"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if not isinstance(value, str):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
