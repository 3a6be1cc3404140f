"""From YAML to checked configurations: every violation of a schema becomes a coded, located problem."""

from __future__ import annotations

import difflib
import re
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from finetune.config.base import RuleBroken
from finetune.config.shapes import field_shape, inner_model
from finetune.config.strict_yaml import Key, Located
from finetune.errors import Problems

Model = TypeVar("Model", bound=BaseModel)

_WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "model_type": "key: value pairs",
    "model_attributes_type": "key: value pairs",
    "dict_type": "key: value pairs",
}
_RANGE = ("greater_than", "greater_than_equal", "less_than", "less_than_equal", "finite_number")
_WHY = {"trust_remote_code": ": code from a model repository is never run"}


def merge(base: dict[str, Any], override: dict[str, Any]) -> dict[str, Any]:
    """`base` with the keys of `override` laid over it, mapping by mapping; lists and scalars are replaced whole."""
    merged = dict(base)
    for name, value in override.items():
        old = merged.get(name)
        merged[name] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def build(schema: type[Model], located: Located, problems: Problems) -> Model | None:
    """Validate the values against `schema`; every violation becomes a located problem."""
    try:
        return schema.model_validate(located.values)
    except ValidationError as error:
        refused = {(problem.path, problem.key) for problem in problems.errors}
        for detail in error.errors():
            path, _, key = located.place(tuple(detail["loc"]))
            # A scalar that was refused while reading is None here, and has its better message already.
            if detail.get("input") is not None or detail["type"] == "missing" or (path, key) not in refused:
                _add(schema, detail, located, problems)
        return None


def _add(schema: type[BaseModel], detail: ErrorDetails, located: Located, problems: Problems) -> None:
    key: Key = tuple(detail["loc"])
    kind, value, said = detail["type"], detail.get("input"), detail["msg"]
    if kind == "value_error" and isinstance(broken := detail["ctx"]["error"], RuleBroken):
        for code, message, fix, at in broken.rules:
            located.report(problems, (*key, *_parts(at)), code, message, fix)
        return
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(str(key[-1]), _names_at(schema, key[:-1]), n=1)
        code, message = "E206", f"unknown key{_WHY.get(str(key[-1]), '')}"
        fix = f"did you mean {near[0]}?" if near else "remove it"
    elif kind == "missing" and isinstance(key[-1], int):
        code, message, fix = "E204", "the list is too short", "add the missing value"
    elif kind == "missing":
        code, message, fix = "E215", "required key is missing", _such_as("add it", schema, key, located)
    elif kind in _RANGE:
        code, message = "E224", f"{value!r} is out of range"
        fix = f"must be {said.removeprefix('Input should be ')}"
    elif kind == "literal_error":
        expected = detail["ctx"]["expected"]
        near = difflib.get_close_matches(str(value), re.findall(r"'([^']+)'", expected), n=1, cutoff=0.5)
        code, message = "E228", f"{_shown(value)} is not a known value"
        fix = f"did you mean {near[0]}?" if near else f"one of {expected}"
    elif kind in _WANTED:
        code, message = "E204", f"{_shown(value)} is not {_WANTED[kind]}"
        fix = _such_as(f"write {_WANTED[kind]}", schema, key, located)
    else:
        rule = said.removeprefix("Value error, ").replace("Tuple", "List")
        code, message, fix = "E204", f"{_shown(value)} does not fit", rule[:1].lower() + rule[1:]
    located.report(problems, key, code, message, fix)


def _such_as(fix: str, schema: type[BaseModel], key: Key, located: Located) -> str:
    """The fix with the shape of what is wanted, from the outermost key that the file does not have."""
    given = max((length for length in range(len(key)) if key[:length] in located.lines), default=0)
    example = field_shape(schema, key, given)
    return f"{fix}, such as {example}" if example else fix


def _parts(at: str) -> Key:
    return tuple(int(part) if part.isdigit() else part for part in at.split(".")) if at else ()


def _shown(value: object) -> str:
    if value is None:
        return "an empty value"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    return repr(value) if isinstance(value, float) else repr(str(value)[:60])


def _names_at(schema: type[BaseModel], key: Key) -> list[str]:
    """Field names of the sub-model that `key` leads to, for the nearest-name hint."""
    current = schema
    for part in key:
        if isinstance(part, str):
            field = current.model_fields.get(part)
            inner = inner_model(field.annotation) if field else None
            if inner is None:
                return []
            current = inner
    return list(current.model_fields)
