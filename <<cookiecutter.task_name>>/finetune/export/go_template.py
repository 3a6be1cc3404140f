"""The part of Go's text/template that our Ollama templates use: writing literals, and executing a template.

Executing is there to prove a template: what Ollama will render is computed here and compared with the chat template,
byte for byte. Anything outside of this part is an error, never a guess. See https://pkg.go.dev/text/template.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from finetune.evaluation.completions import Message

_ACTION = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
_CONDITION = re.compile(r'if eq (?:\.Role "([a-z]+)"|\$i ([0-9]+))')
_LOOP = "range $i, $_ := .Messages"
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}


def printable(character: str) -> bool:
    """Whether Ollama's Modelfile reader keeps the character: Go's strconv.IsPrint, and line breaks and tabs in quotes.

    Spaces other than U+0020 are not: an ideographic space in a SYSTEM text silently disappears.
    """
    return character in " \n\r\t" or unicodedata.category(character)[0] in "LMNPS"


def literal(text: str) -> str:
    """`text` as it must stand in a template, and in a Modelfile around it, to come out unchanged.

    Braces that would open an action, triple quotes and what the Modelfile reader drops become string actions.
    """

    def action(match: re.Match[str]) -> str:
        return "{{ " + quoted(match[0]) + " }}"

    hidden = "".join(sorted({re.escape(c) for c in text if not printable(c)}))
    odd = '"{3,}' + (f"|[{hidden}]+" if hidden else "")
    # A brace right before an action, written or made here, would belong to the action.
    return re.sub(rf"\{{(?=\{{|\Z|{odd})|{odd}", action, text)


def quoted(text: str) -> str:
    """A Go string literal of ASCII characters."""
    parts = []
    for character in text:
        point = ord(character)
        if character in '"\\':
            parts.append("\\" + character)
        elif 0x20 <= point < 0x7F:
            parts.append(character)
        else:
            parts.append(f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}")
    return '"' + "".join(parts) + '"'


@dataclass(frozen=True)
class _Token:
    kind: str
    """text, or the action's source without its delimiters"""
    value: str


def execute(template: str, messages: Sequence[Message]) -> str:
    """What Go renders for `{"Messages": messages}`; ValueError for syntax outside of the part we write."""
    tokens = list(_tokens(template))
    rendered, rest = _block(tokens, 0, list(messages), None, ())
    if rest != len(tokens):
        raise ValueError(f"unexpected {tokens[rest].value!r}")
    return rendered


def _tokens(template: str) -> Iterator[_Token]:
    position, trim = 0, False
    for match in _ACTION.finditer(template):
        source = match[1]
        text = template[position : match.start()]
        if trim:
            text = text.lstrip(" \t\r\n")
        if source.startswith("- "):
            text, source = text.rstrip(" \t\r\n"), source[1:]
        trim = source.endswith(" -")
        if text:
            yield _Token("text", text)
        yield _Token("action", (source[:-1] if trim else source).strip())
        position = match.end()
    text = template[position:].lstrip(" \t\r\n") if trim else template[position:]
    if "{{" in text:
        raise ValueError("unclosed action")
    if text:
        yield _Token("text", text)


def _block(
    tokens: list[_Token], start: int, messages: list[Message], index: int | None, stops: tuple[str, ...]
) -> tuple[str, int]:
    """Render from `start` until an action that begins with one of `stops`; `index` is the message that the dot is."""
    parts: list[str] = []
    position = start
    while position < len(tokens):
        token = tokens[position]
        if token.kind == "text":
            parts.append(token.value)
        elif stops and token.value.startswith(stops):
            break
        elif token.value == ".Content" and index is not None:
            parts.append(messages[index]["content"])
        elif string := _STRING.fullmatch(token.value):
            parts.append(_unquoted(string[1]))
        elif token.value == _LOOP and index is None:
            # The body is walked once even for no message, to find its end.
            rounds = [_block(tokens, position + 1, messages, turn, ("end",)) for turn in range(len(messages))]
            parts += [rendered for rendered, _ in rounds]
            position = rounds[0][1] if rounds else _closing(tokens, position)
        elif token.value.startswith("if ") and index is not None:
            rendered, position = _branches(tokens, position, messages, index)
            parts.append(rendered)
        else:
            raise ValueError(f"unsupported action {token.value!r}")
        position += 1
    return "".join(parts), position


def _branches(tokens: list[_Token], start: int, messages: list[Message], index: int) -> tuple[str, int]:
    """An if … else if … else … end chain; returns the first branch that holds, and the position of its end."""
    chosen: str | None = None
    position, condition = start, tokens[start].value
    while True:
        holds = condition == "" or _holds(condition, messages, index)
        rendered, position = _block(tokens, position + 1, messages, index, ("else", "end"))
        if holds and chosen is None:
            chosen = rendered
        if position >= len(tokens):
            raise ValueError("an if without end")
        if tokens[position].value == "end":
            return chosen or "", position
        condition = tokens[position].value.removeprefix("else").strip()


def _holds(condition: str, messages: list[Message], index: int) -> bool:
    match = _CONDITION.fullmatch(condition)
    if match is None:
        raise ValueError(f"unsupported condition {condition!r}")
    return messages[index]["role"] == match[1] if match[1] else index == int(match[2])


def _closing(tokens: list[_Token], start: int) -> int:
    depth = 0
    for position in range(start, len(tokens)):
        value = tokens[position].value if tokens[position].kind == "action" else ""
        depth += value.startswith(("if ", "range ")) - (value == "end")
        if depth == 0:
            return position
    raise ValueError("a range without end")


def _unquoted(text: str) -> str:
    def character(match: re.Match[str]) -> str:
        return chr(int(match[1] or match[2], 16)) if match[1] or match[2] else _ESCAPES[match[3]]

    return re.sub(r"\\u([0-9a-f]{4})|\\U([0-9a-f]{8})|\\(.)", character, text)
