"""Ollama's Modelfile: quoting that its reader undoes, proven by reading it back as that reader does.

A value in triple quotes ends at the first line that ends in triple quotes, and the reader drops every character that Go
does not call printable (finetune/export/go_template.py), so such texts are refused here. See ollama's parser/parser.go.
"""

from __future__ import annotations

from collections.abc import Iterable

from finetune.errors import FinetuneError
from finetune.export.go_template import printable

QUOTE = '"""'


def quotable(text: str) -> bool:
    """Whether a Modelfile can hold `text` unchanged."""
    return QUOTE not in text and all(printable(character) for character in text)


def compose(commands: Iterable[tuple[str, str]]) -> str:
    """A Modelfile of (command, value) pairs, e.g. ("PARAMETER stop", "<|im_end|>").

    FinetuneError (E530) for a value that it cannot hold.
    """
    commands = list(commands)
    lines = []
    for command, value in commands:
        if not quotable(value):
            raise FinetuneError(
                f"an Ollama Modelfile cannot hold the value of {command}", "remove triple quotes and odd spaces", "E530"
            )
        plain = value.isascii() and value.isprintable() and not set(value) & set(' "')
        lines.append(f"{command} {value if plain and value else QUOTE + value + QUOTE}")
    text = "\n".join(lines) + "\n"
    if read(text) != commands:
        raise FinetuneError("the Modelfile does not read back as it was written", "report this prompt as a bug", "E530")
    return text


def read(text: str) -> list[tuple[str, str]]:
    """(command, value) pairs as Ollama's reader sees them."""
    commands = []
    lines = text.split("\n")
    position = 0
    while position < len(lines):
        line = lines[position]
        position += 1
        if not line.strip() or line.startswith("#"):
            continue
        command, _, value = line.partition(" ")
        if command == "PARAMETER":
            name, _, value = value.partition(" ")
            command = f"PARAMETER {name}"
        while not _closed(value) and position < len(lines):
            value += "\n" + lines[position]
            position += 1
        value = "".join(character for character in value.strip() if printable(character))
        commands.append((command, value[3:-3] if value.startswith(QUOTE) else value.strip('"')))
    return commands


def _closed(value: str) -> bool:
    value = value.strip()
    return not value.startswith(QUOTE) or (len(value) >= 2 * len(QUOTE) and value.endswith(QUOTE))
