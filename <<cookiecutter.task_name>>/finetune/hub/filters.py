"""Filters of the card templates: other people's text becomes inert, numbers are those of numbers.py."""

from __future__ import annotations

from functools import partial

from finetune.markdown import code, fenced, plain
from finetune.numbers import format_number, format_signed, format_size


def text(value: object) -> str:
    """`value` on one line with nothing in it that Markdown acts on; safe in a table cell too."""
    return plain(" ".join(str(value).split()))


def fence(value: object, language: str = "") -> str:
    """`value` as a code block, without the empty lines around it."""
    return fenced(str(value).strip("\n"), language)


FILTERS = {
    "text": text,
    "code": partial(code, bar="|"),
    "cell": partial(code, bar="\\|"),
    "fence": fence,
    "number": format_number,
    "signed": format_signed,
    "size": format_size,
    "python": repr,
}
