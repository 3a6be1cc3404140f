"""Filters of the card templates: other people's text becomes inert, numbers get fixed digits."""

from __future__ import annotations

from functools import partial

from finetune.markdown import code, fenced, plain


def text(value: object) -> str:
    """`value` on one line with nothing in it that Markdown acts on; safe in a table cell too."""
    return plain(" ".join(str(value).split()))


def fence(value: object, language: str = "") -> str:
    """`value` as a code block, without the empty lines around it."""
    return fenced(str(value).strip("\n"), language)


def number(value: object, digits: int = 3) -> str:
    """A measured value with fixed digits; a dash where nothing was measured."""
    return f"{value:.{digits}f}" if isinstance(value, (int, float)) else "–"


def signed(value: object, digits: int = 3) -> str:
    """A difference with its sign."""
    return f"{value:+.{digits}f}" if isinstance(value, (int, float)) else "–"


def size(value: object) -> str:
    """Bytes as people read them; MB are 10^6 bytes, as the Hub shows them."""
    if not isinstance(value, (int, float)):
        return "–"
    return f"{value / 1e6:,.1f} MB" if value >= 1e5 else f"{value:,} bytes"


FILTERS = {
    "text": text,
    "code": partial(code, bar="|"),
    "cell": partial(code, bar="\\|"),
    "fence": fence,
    "number": number,
    "signed": signed,
    "size": size,
    "python": repr,
}
