"""Change single values of a YAML file that people wrote: everything else keeps its bytes, comments and order included.

A library that reads and writes YAML again keeps comments, but not every line: it indents, folds and breaks lines its
own way. Here the reader only says where a value stands, and the new one is put in its place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

from finetune.config.strict_yaml import Key, dotted, plain_scalar

Scalar = str | int | float | bool | None
Edits = Mapping[str, Scalar]
"""New values by dotted key, such as base_model.id."""

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")


def edited(text: str, edits: Edits) -> str:
    """`text` with every value of `edits` in its place; a missing key goes behind the last one of its mapping.

    `text` must be one that `read_yaml` takes, with mappings where the keys lead. A comment behind a value stays in its
    column where there is room. Raises KeyError when a key leads through something that is no mapping.
    """
    for name, value in edits.items():
        text = _with(text, tuple(name.split(".")), value)
    return text


def _with(text: str, key: Key, value: Scalar) -> str:
    mapping: Any = yaml.compose(text, Loader=yaml.BaseLoader)
    for depth, part in enumerate(key[:-1]):
        found = _entry(mapping, part)
        if found is None or not isinstance(found[1], yaml.MappingNode):
            raise KeyError(dotted(key[: depth + 1]))
        mapping = found[1]
    if not isinstance(mapping, yaml.MappingNode):
        raise KeyError(dotted(key))
    found = _entry(mapping, key[-1])
    return _added(text, mapping, str(key[-1]), value) if found is None else _replaced(text, *found, value)


def _entry(mapping: yaml.Node, name: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """Key and value of `name`."""
    pairs = mapping.value if isinstance(mapping, yaml.MappingNode) else []
    return next((pair for pair in pairs if pair[0].value == name), None)


def _replaced(text: str, key: yaml.Node, node: yaml.Node, value: Scalar) -> str:
    style = node.style if isinstance(node, yaml.ScalarNode) else None
    if isinstance(node, yaml.ScalarNode) and _reads_as(node, value):
        return text
    start = node.start_mark.index
    end = _end(text, node)
    new = _written(value, style)
    if start == end:  # nothing stood behind the colon
        start = end = text.index(":", key.end_mark.index) + 1
        new = f" {new}"
    after, old = text[end:], text[start:end]
    comment = re.match(r"( +)#", after)
    if comment and "\n" not in old:
        room = len(old) + len(comment[1]) - len(new)
        after = " " * max(room, 2 if room < 1 else room) + after[len(comment[1]) :]
    return text[:start] + new + after


def _reads_as(node: yaml.ScalarNode, value: Scalar) -> bool:
    found, refusal = plain_scalar(node.value) if node.style is None else (node.value, None)
    return refusal is None and found == value and type(found) is type(value)


def _end(text: str, node: yaml.Node) -> int:
    """Where the node's last character stands; the reader says of a block that it ends where the next key begins."""
    start, end = node.start_mark.index, node.end_mark.index
    if isinstance(node, yaml.ScalarNode) and node.style not in ("|", ">"):
        return end
    return start + len(text[start:end].rstrip())


def _added(text: str, mapping: yaml.MappingNode, name: str, value: Scalar) -> str:
    """The line goes behind the last key's own: what stands between that one and the next section is the next one's."""
    last_key, last = mapping.value[-1]
    entry = f"{name}: {_written(value, None)}"
    end = _end(text, last)
    if mapping.flow_style:
        return f"{text[:end]}, {entry}{text[end:]}"
    newline = "\r\n" if "\r\n" in text else "\n"
    line_end = text.find("\n", end)
    head, rest = (text + newline, "") if line_end < 0 else (text[: line_end + 1], text[line_end + 1 :])
    return f"{head}{' ' * last_key.start_mark.column}{entry}{newline}{rest}"


def _written(value: Scalar, style: str | None) -> str:
    """`value` as the strict reader reads it back, in quotes where the old one had them or where it has to be."""
    if not isinstance(value, str):
        return "null" if value is None else json.dumps(value)
    if style in ("'", '"') and "'" not in value and "\\" not in value and '"' not in value and value.isprintable():
        return f"{style}{value}{style}"
    if _PLAIN.fullmatch(value) and plain_scalar(value) == (value, None):
        return value
    return json.dumps(value, ensure_ascii=False)
