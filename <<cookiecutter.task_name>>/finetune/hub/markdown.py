"""Filters of the card templates: other people's text becomes inert, numbers get fixed digits."""

from __future__ import annotations

import re

from finetune.evaluation.markdown import one_line, plain


def text(value: object) -> str:
    """`value` on one line with nothing in it that Markdown acts on; safe in a table cell too."""
    return plain(" ".join(str(value).split()))


def code(value: object) -> str:
    """`value` as inline code; the delimiter is longer than any run of backticks in it."""
    inner = one_line(" ".join(str(value).split()))
    ticks = "`" * (_longest_run(inner) + 1)
    pad = " " if inner.startswith("`") or inner.endswith("`") else ""
    return f"{ticks}{pad}{inner}{pad}{ticks}"


def fence(value: object, language: str = "") -> str:
    """`value` as a code block; the fence is longer than any run of backticks in it."""
    inner = "\n".join(one_line(line) for line in str(value).strip("\n").split("\n"))
    ticks = "`" * max(3, _longest_run(inner) + 1)
    return f"{ticks}{language}\n{inner}\n{ticks}"


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
    "text": text, "code": code, "fence": fence, "number": number, "signed": signed, "size": size, "python": repr,
}  # fmt: skip


def _longest_run(value: str) -> int:
    return max((len(run) for run in re.findall("`+", value)), default=0)
