"""evaluation_report.yaml as it comes from a machine that is not trusted: read in full, or refused with the reason.

Not the reader of the configuration files: those are written by people and refuse what is ambiguous, while a report may
quote any answer of a model (control characters, `1e5`, `yes`). What is refused here is what makes a file more than a
tree of values: tags, anchors, aliases, merges, repeated keys, a second document, depth, size.
"""

from __future__ import annotations

from typing import Any

import yaml
from pydantic import ValidationError

from finetune.evaluation.report_schema import Report
from finetune.github.train.strict_json import Unreadable

MAX_BYTES = 4 << 20
"""A report of a hundred classes has 100 KB."""
MAX_DEPTH = 12
REASONS = 10
"""Violations of the schema that are named; the rest is counted."""
_CORE = "tag:yaml.org,2002:"
# libyaml, where PyYAML has it, reads the same fifty times faster.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):
    """Values as the steps after it read them; a key that stands there twice, or is no text, is refused."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == f"{_CORE}merge":
                raise Unreadable("a merge key (<<)")
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise Unreadable(f"a key that is no text, line {key_node.start_mark.line + 1}")
            if key in values:
                raise Unreadable(f"the key {_quoted(key)} twice, line {key_node.start_mark.line + 1}")
            values[key] = self.construct_object(value_node, deep=True)
        return values


_Loader.add_constructor(f"{_CORE}map", lambda loader, node: loader.construct_mapping(node))


def read_report(data: bytes) -> Report:
    """The report in `data`, of main's schema to the last key. Raises Unreadable with every reason, joined by "; "."""
    values = _values(data)
    try:
        return Report.model_validate(values)
    except ValidationError as error:
        faults = [f"{_where(detail['loc'])}: {_what(detail['type'], detail['msg'])}" for detail in error.errors()]
        more = [f"{len(faults) - REASONS} more"] if len(faults) > REASONS else []
        raise Unreadable("; ".join([*faults[:REASONS], *more])) from None


def _values(data: bytes) -> Any:
    if len(data) > MAX_BYTES:
        raise Unreadable(f"{len(data):,} bytes, more than {MAX_BYTES:,}")
    try:
        text = data.decode("utf-8")
        # Events first: an alias or a depth of a million is seen before anything is built from it.
        _refuse_structure(text)
        return yaml.load(text, Loader=_Loader)
    except Unreadable:
        raise
    except UnicodeDecodeError:
        raise Unreadable("not UTF-8") from None
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError):
        raise Unreadable("not YAML") from None


def _refuse_structure(text: str) -> None:
    depth = documents = 0
    event: Any
    for event in yaml.parse(text, Loader=_Base):
        line = event.start_mark.line + 1
        documents += isinstance(event, yaml.DocumentStartEvent)
        if documents > 1:
            raise Unreadable(f"a second document, line {line}")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise Unreadable(f"an anchor or alias, line {line}")
        if getattr(event, "tag", None) is not None:
            raise Unreadable(f"a tag, line {line}")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise Unreadable(f"nested deeper than {MAX_DEPTH} levels, line {line}")


def _where(place: tuple[str | int, ...]) -> str:
    return ".".join(part if isinstance(part, str) and part.isidentifier() else _quoted(part) for part in place)[:160]


def _what(kind: str, message: str) -> str:
    if kind == "missing":
        return "missing"
    if kind == "extra_forbidden":
        return "unknown key"
    if kind in ("float_type", "int_type", "int_from_float"):
        return "not a number"
    if kind == "finite_number":
        return "not a finite number"
    # Pydantic's own messages name limits and types of the schema, never the value.
    return message[0].lower() + message[1:]


def _quoted(key: object) -> str:
    return ascii(key)[:60]
