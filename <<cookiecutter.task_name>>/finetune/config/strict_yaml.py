"""YAML without surprises: 1.2 scalars, no tags, aliases or repeated keys; every value keeps its file, line and key."""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from finetune.errors import Problems

Key = tuple[str | int, ...]

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|nan)", re.IGNORECASE)
_BOOLEAN_WORDS = {"yes", "no", "on", "off", "y", "n"}
_AMBIGUOUS_NUMBER = re.compile(
    r"[-+]?0[0-9_]+"  # octal in YAML 1.1
    r"|[-+]?0[xXoObB][0-9a-fA-F_]+"
    r"|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"  # base 60 in YAML 1.1
    r"|[-+]?(?=[0-9.]*_)[0-9][0-9_]*(\.[0-9_]*)?"
)
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?")
# What an escape in a double-quoted text can smuggle past the reader; line breaks and tabs are ordinary in a value.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass
class Located:
    """Plain values of one YAML file and the 1-based line of every key path."""

    path: str
    values: dict[str, Any]
    lines: dict[Key, int] = field(default_factory=dict)
    overlay: tuple[Located, Key] | None = None
    """Another file whose section at that key was laid over `values`."""

    def line(self, key: Key) -> int | None:
        """The line of `key`, or of its nearest parent that stands in the file."""
        while key and key not in self.lines:
            key = key[:-1]
        return self.lines.get(key)

    def report(self, problems: Problems, key: Key, code: str, message: str, fix: str) -> None:
        """Add a problem with `key` in the file its value came from."""
        path, line, shown = self.place(key)
        problems.add(path, code, message, fix, line=line, key=shown)

    def place(self, key: Key) -> tuple[str, int | None, str | None]:
        """Path, line and dotted key of the file that `key` came from."""
        if key and self.overlay:
            other, section = self.overlay
            if (*section, *key) in other.lines:
                return other.path, other.lines[(*section, *key)], dotted((*section, *key))
        return self.path, self.line(key), dotted(key) or None


class _Loader(yaml.SafeLoader):
    """Resolves no tag by itself, so that a node has one only if the file spells it."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        return None


def read_yaml(file: Path, shown: str, problems: Problems) -> Located | None:
    """Read one mapping from `file`; `shown` is the path in messages. None when problems keep it from being read."""
    text = _read_text(file, shown, problems)
    return None if text is None else parse_yaml(text, shown, problems)


def parse_yaml(text: str, shown: str, problems: Problems) -> Located | None:
    """The same of a text; None when problems keep it from being read."""
    root = _compose(text.removeprefix("\ufeff"), shown, problems)
    if root is None:
        return None
    located = Located(shown, {})
    for key_node, value_node in root.value:
        _add_entry(located.values, key_node, value_node, (), located, problems)
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
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        problems.add(shown, "E214", f"invalid UTF-8 at byte {error.start}", "save the file as UTF-8", line=line)
        return None


def _compose(text: str, shown: str, problems: Problems) -> yaml.MappingNode | None:
    """The root mapping of the file's only document."""
    try:
        if not _one_flat_document(text, shown, problems):
            return None
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        if "'\\t'" in str(error.problem):
            problems.add(shown, "E209", "a tab is used for indentation", "use spaces", line=line)
        else:
            problems.add(shown, "E209", f"not YAML: {error.problem}", "correct the syntax", line=line)
        return None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problems.add(shown, "E214", "a control character", "save as plain UTF-8 text", line=line)
        return None
    except (yaml.YAMLError, ValueError, OverflowError):
        # PyYAML lets chr() and int() of an oversized escape or version number through.
        problems.add(shown, "E209", "not YAML: a number or an escape out of range", "correct the syntax")
        return None
    if not isinstance(root, yaml.MappingNode):
        problems.add(shown, "E207", "the file must hold key: value pairs", "start from the generated file")
        return None
    if root.tag is not None:
        line = root.start_mark.line + 1
        problems.add(shown, "E210", "tags are not allowed", "write plain key: value pairs", line=line)
        return None
    return root


def _one_flat_document(text: str, shown: str, problems: Problems) -> bool:
    """Refuse aliases and deep nesting on the event stream: composing a bomb is cheap, walking it is not."""
    depth = documents = 0
    event: Any
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1
        documents += isinstance(event, yaml.DocumentStartEvent)
        if documents > 1:
            problems.add(shown, "E208", "more than one document in the file", "remove the second '---'", line=line)
            return False
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            problems.add(shown, "E211", "anchors and aliases are not allowed", "write the value out", line=line)
            return False
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            problems.add(shown, "E212", f"nested deeper than {MAX_DEPTH} levels", "flatten it", line=line)
            return False
    return True


def _add_entry(
    result: dict[str, Any],
    key_node: yaml.Node,
    value_node: yaml.Node,
    parent: Key,
    located: Located,
    problems: Problems,
) -> None:
    """Put one key of a mapping into `result`, or say what is wrong with it."""
    line = key_node.start_mark.line + 1
    above = dotted(parent) or None
    if not isinstance(key_node, yaml.ScalarNode) or key_node.tag is not None or key_node.value == "<<":
        problems.add(located.path, "E210", "keys must be plain text", "write a simple key", line=line, key=above)
        return
    name = key_node.value
    if not name.isprintable():
        message = f"a control character in the key {name[:60]!r}"
        problems.add(located.path, "E214", message, "remove it", line=line, key=above)
        return
    if name in result:
        key = dotted((*parent, name))
        problems.add(located.path, "E205", "key repeated", "keep one of them", line=line, key=key)
        return
    located.lines[(*parent, name)] = line
    result[name] = _build(value_node, (*parent, name), located, problems)


def _build(node: yaml.Node, key: Key, located: Located, problems: Problems) -> Any:
    """Plain Python values of `node`; problems are added and the offending value becomes None."""
    line = node.start_mark.line + 1
    located.lines.setdefault(key, line)
    if node.tag is not None:
        problems.add(located.path, "E210", "tags are not allowed", "write the plain value", line=line, key=dotted(key))
        return None
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            _add_entry(result, key_node, value_node, key, located, problems)
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_build(child, (*key, index), located, problems) for index, child in enumerate(node.value)]
    text = node.value
    value, refusal = plain_scalar(text) if node.style is None else (text, None)
    if refusal is None and _CONTROL.search(text):
        value, refusal = None, ("E214", "a control character in the text", "remove it")
    if refusal is not None:
        problems.add(located.path, *refusal, line=line, key=dotted(key))
    return value


def plain_scalar(text: str) -> tuple[Any, tuple[str, str, str] | None]:
    """Value of an unquoted scalar by YAML 1.2's core schema; what YAML 1.1 reads otherwise is refused, not guessed."""
    if text in ("", "~", "null", "Null", "NULL"):
        return None, None
    if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return text.lower() == "true", None
    quoted = f'quote it: "{text[:60]}"'
    if _AMBIGUOUS_NUMBER.fullmatch(text):
        message = f"{text[:60]!r} reads as different numbers in different tools"
        return None, ("E202", message, f"write a decimal number, or {quoted}")
    if _INT.fullmatch(text):
        return (int(text), None) if len(text) <= 20 else (None, ("E202", f"{len(text)} digits", "shorten it"))
    if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text), None
    if _FLOAT.fullmatch(text) or _NOT_FINITE.fullmatch(text):
        return None, ("E203", "must be a finite number", "write a number")
    if text.lower() in _BOOLEAN_WORDS:
        message = f"{text!r} is a boolean in some YAML readers and text in others"
        return None, ("E201", message, f"{quoted}, or write true or false")
    if _DATE.fullmatch(text):
        return None, ("E210", "a bare date", quoted)
    return text, None


def dotted(key: Key) -> str:
    """`key` as people write it: output.labels.0.name."""
    return ".".join(str(part) for part in key)
