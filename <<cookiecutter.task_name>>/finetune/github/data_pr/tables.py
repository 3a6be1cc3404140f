"""Pieces the data report is put together from: names, tables, bars and folds that no text of the data can break."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from finetune import markdown
from finetune.markdown import code, fenced, folded

LISTED = 20
"""Entries of a list."""
TABLE = 100
"""Rows of a table."""
FOLDED_FROM = 13
"""Rows of a table that is folded away."""
_NAME = 60
_BAR = 12
_EIGHTHS = " ▏▎▍▌▋▊▉"
_LINE = 240

Rows = Iterable[Sequence[object]]


def name(text: str, limit: int = _NAME) -> str:
    """`text` as inline code: there GitHub looks for no mention, link or markup, which escapes alone do not prevent."""
    return code(clipped(text, limit)) if text.strip() else "–"


def lines(texts: Iterable[str], more: int = 0) -> str:
    """One line each in a code block, and how many more there are."""
    shown = [clipped(text, _LINE) for text in texts]
    return fenced("\n".join([*shown, *([f"… and {more:,} more"] if more > 0 else [])]), "text")


def diff(texts: Iterable[str]) -> str:
    """Lines that begin with "+ ", "- " or two spaces, coloured as additions and removals."""
    return fenced("\n".join(clipped(text, _LINE) for text in texts), "diff")


def table(heads: Sequence[str], rows: Rows, left: int = 1) -> str:
    """A GitHub table; its cells must be safe already. The first `left` columns and those without a head stand left."""
    return "\n".join(markdown.table(heads, rows, left))


def long_table(
    title: str, heads: Sequence[str], rows: Sequence[Sequence[object]], ends: Rows = (), left: int = 1
) -> str:
    """At most TABLE rows, folded away when they are many; `ends` are the sums below them."""
    hidden = len(rows) - TABLE
    more = [[*[""] * (left - 1), f"… and {hidden:,} more", *[""] * (len(heads) - left)]] if hidden > 0 else []
    text = table(heads, [*rows[:TABLE], *more, *ends], left)
    return text if len(rows) < FOLDED_FROM else folded(f"{title} ({len(rows):,})", text)


def bar(part: int, most: int) -> str:
    """A bar of blocks, exact to the eighth of one; nothing only for nothing."""
    whole, eighth = divmod(-(-part * _BAR * 8 // most), 8) if most else (0, 0)
    return "█" * min(whole, _BAR) + _EIGHTHS[eighth].strip()


def clipped(text: str, limit: int = _LINE) -> str:
    """The text's first `limit` characters on one line; an ellipsis says that there are more."""
    line = re.sub(r"\s", " ", text)
    return line if len(line) <= limit else line[: limit - 1] + "…"
