"""Strict YAML: YAML 1.2 scalars, no tags, aliases or repeated keys; every problem located and collected."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from finetune.errors import Problems

Key = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|nan)", re.IGNORECASE)
_BOOLEAN_WORDS = {"yes", "no", "on", "off", "y", "n"}
_AMBIGUOUS_NUMBER = re.compile(
    r"[-+]?0[0-9_]+|0[xXoObB][0-9a-fA-F_]+|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+|[0-9]+(_[0-9]+)+"
)
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?")


@dataclass
class Located:
    """Plain values of one YAML file and the 1-based line of every key path."""

    path: str
    values: dict[str, Any]
    lines: dict[Key, int] = field(default_factory=dict)

    def line(self, key: Key) -> int | None:
        """The line of `key`, or of its nearest parent that stands in the file."""
        while key and key not in self.lines:
            key = key[:-1]
        return self.lines.get(key)


class _Refused(Exception):
    """The document as a whole cannot be read; the problem is recorded already."""


def read_yaml(file: Path, shown: str, problems: Problems) -> Located | None:
    """Read one mapping from `file`; `shown` is the path in messages. None when problems keep it from being read."""
    text = _read_text(file, shown, problems)
    if text is None:
        return None
    try:
        # Aliases are refused on the event stream: composing a bomb is cheap, walking it is not.
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            line = event.start_mark.line + 1
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                problems.add(shown, "E211", "anchors and aliases are not allowed", "write the value out", line=line)
                return None
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                problems.add(shown, "E212", f"nested deeper than {MAX_DEPTH} levels", "flatten it", line=line)
                return None
        documents = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        if "'\\t'" in str(error.problem):
            problems.add(shown, "E209", "a tab is used for indentation", "use spaces", line=line)
        else:
            problems.add(shown, "E209", f"not YAML: {error.problem}", "correct the syntax", line=line)
        return None
    except yaml.YAMLError as error:
        problems.add(shown, "E214", f"unreadable characters: {str(error).splitlines()[0]}", "save as plain UTF-8 text")
        return None
    if len(documents) > 1:
        line = documents[1].start_mark.line + 1
        problems.add(shown, "E208", "more than one document in the file", "remove the second '---'", line=line)
        return None
    if not documents or not isinstance(documents[0], yaml.MappingNode):
        problems.add(shown, "E207", "the file must hold key: value pairs", "start from the generated file")
        return None
    located = Located(shown, {})
    located.values = _build(documents[0], (), located, problems)
    return located


def _read_text(file: Path, shown: str, problems: Problems) -> str | None:
    if not file.is_file():
        near = difflib.get_close_matches(file.name, [p.name for p in file.parent.glob("*.y*ml")], n=1)
        problems.add(shown, "E221", "file not found", f"did you mean {near[0]}?" if near else "restore the file")
        return None
    if file.stat().st_size > MAX_BYTES:
        problems.add(shown, "E213", f"larger than {MAX_BYTES // 1024} KiB", "shorten it to what it configures")
        return None
    data = file.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        problems.add(shown, "E214", f"invalid UTF-8 at byte {error.start}", "save the file as UTF-8", line=line)
        return None


def _build(node: yaml.Node, key: Key, located: Located, problems: Problems) -> Any:
    """Plain Python values of `node`; problems are added and the offending value becomes None."""
    line = node.start_mark.line + 1
    located.lines.setdefault(key, line)
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            name = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            at = key_node.start_mark.line + 1
            if name is None or key_node.tag == "tag:yaml.org,2002:merge":
                problems.add(located.path, "E210", "keys must be plain text", "write a simple key", line=at)
                continue
            if name in result:
                repeated = _dotted((*key, name))
                problems.add(located.path, "E205", "key repeated", "keep one of them", line=at, key=repeated)
                continue
            located.lines[(*key, name)] = at
            result[name] = _build(value_node, (*key, name), located, problems)
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_build(child, (*key, index), located, problems) for index, child in enumerate(node.value)]
    if node.tag.startswith("!") or (node.tag.startswith("tag:yaml.org,2002:") and _explicit_tag(node)):
        problems.add(located.path, "E210", "tags are not allowed", "write the plain value", line=line, key=_dotted(key))
        return None
    return _scalar(node, key, located, problems)


def _explicit_tag(node: yaml.Node) -> bool:
    implicit = yaml.SafeLoader("").resolve(yaml.ScalarNode, node.value, (node.style is None, node.style is not None))
    return node.tag != implicit


def _scalar(node: yaml.ScalarNode, key: Key, located: Located, problems: Problems) -> Any:
    """YAML 1.2 core schema for plain scalars; what YAML 1.1 would read otherwise is refused, not guessed."""
    text, line = node.value, node.start_mark.line + 1
    if node.style is not None:
        return text
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE"):
        return True
    if text in ("false", "False", "FALSE"):
        return False
    if _AMBIGUOUS_NUMBER.fullmatch(text):
        problems.add(
            located.path, "E202", f"{text!r} reads as different numbers in different tools",
            f'write a decimal number, or quote it: "{text}"', line=line, key=_dotted(key),
        )  # fmt: skip
        return None
    if _INT.fullmatch(text):
        return int(text) if len(text) <= 20 else _too_long(text, line, key, located, problems)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _NOT_FINITE.fullmatch(text):
        problems.add(located.path, "E203", "must be a finite number", "write a number", line=line, key=_dotted(key))
        return None
    if text.lower() in _BOOLEAN_WORDS:
        problems.add(
            located.path, "E201", f"{text!r} is a boolean in some YAML readers and text in others",
            f'quote it: "{text}", or write true or false', line=line, key=_dotted(key),
        )  # fmt: skip
        return None
    if _DATE.fullmatch(text):
        problems.add(located.path, "E210", "a bare date", f'quote it: "{text}"', line=line, key=_dotted(key))
        return None
    return text


def _too_long(text: str, line: int, key: Key, located: Located, problems: Problems) -> None:
    problems.add(located.path, "E202", f"a number of {len(text)} digits", "shorten it", line=line, key=_dotted(key))


def _dotted(key: Key) -> str:
    return ".".join(str(part) for part in key)


def merge(base: dict[str, Any], override: dict[str, Any]) -> dict[str, Any]:
    """`base` with the keys of `override` laid over it, mapping by mapping; lists and scalars are replaced whole."""
    merged = dict(base)
    for name, value in override.items():
        old = merged.get(name)
        merged[name] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def build(schema: type[Model], located: Located, problems: Problems) -> Model | None:
    """Validate the values against `schema`; every violation becomes a located problem."""
    before = problems.error_count
    try:
        return schema.model_validate(located.values, context={"problems": problems, "located": located})
    except ValidationError as error:
        for detail in error.errors():
            _add(schema, detail, located, problems)
        if problems.error_count == before:
            raise
        return None


def _add(schema: type[BaseModel], detail: ErrorDetails, located: Located, problems: Problems) -> None:
    key: Key = tuple(detail["loc"])
    line, shown = located.line(key), _dotted(key) or None
    kind, value = detail["type"], detail.get("input")
    if value is None and kind != "missing" and line in {p.line for p in problems.errors if p.path == located.path}:
        return  # the scalar itself was refused above, with the better message
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(str(key[-1]), _names_at(schema, key[:-1]), n=1)
        fix = f"did you mean {near[0]}?" if near else "remove it"
        reason = ": code from a model repository is never run" if key[-1] == "trust_remote_code" else ""
        problems.add(located.path, "E206", f"unknown key{reason}", fix, line=line, key=shown)
    elif kind == "missing":
        problems.add(located.path, "E215", "required key is missing", "add it", line=line, key=shown)
    elif kind == "value_error":
        code, message, fix = _own(str(detail["ctx"]["error"]))
        problems.add(located.path, code, message, fix, line=line, key=shown)
    elif kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal", "finite_number"):
        wanted = detail["msg"].removeprefix("Input should be ")
        problems.add(located.path, "E224", f"{value!r} is out of range", f"must be {wanted}", line=line, key=shown)
    elif kind == "literal_error":
        expected = detail["ctx"]["expected"]
        near = difflib.get_close_matches(str(value), re.findall(r"'([^']+)'", expected), n=1, cutoff=0.5)
        fix = f"did you mean {near[0]}?" if near else f"one of {expected}"
        problems.add(located.path, "E228", f"{str(value)[:60]!r} is not a known value", fix, line=line, key=shown)
    else:
        wanted = detail["msg"].removeprefix("Input should be ").replace("tuple", "list")
        kinds = {dict: "a mapping", list: "a list", tuple: "a list"}
        shown_value = kinds.get(type(value), f"{str(value)[:60]!r}")
        problems.add(located.path, "E204", f"{shown_value} is not {wanted}", f"write {wanted}", line=line, key=shown)


def _own(text: str) -> tuple[str, str, str]:
    """Our validators raise ValueError("CODE|message|fix"); anything else is a plain wrong value."""
    parts = text.split("|")
    return (parts[0], parts[1], parts[2]) if len(parts) == 3 else ("E204", text, "")


def _names_at(schema: type[BaseModel], key: Key) -> list[str]:
    """Field names of the sub-model that `key` leads to, for the nearest-name hint."""
    current: Any = schema
    for part in key:
        if isinstance(part, int):
            continue
        info = getattr(current, "model_fields", {}).get(part)
        if info is None:
            return []
        current = info.annotation
        for argument in getattr(current, "__args__", ()):
            if isinstance(argument, type) and issubclass(argument, BaseModel):
                current = argument
    return list(getattr(current, "model_fields", {}))
