"""What an evidence function answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["done", "open", "failed"]
MAX_TEXT = 240


@dataclass(frozen=True)
class Finding:
    """A status and its evidence in one line; `open` means: nothing here proves it."""

    status: Status
    text: str


def done(text: str) -> Finding:
    return Finding("done", one_line(text))


def not_yet(text: str) -> Finding:
    """Open: the evidence is missing, or belongs to other data, another configuration or other files."""
    return Finding("open", one_line(text))


def failed(text: str) -> Finding:
    """The evidence is there and says no."""
    return Finding("failed", one_line(text))


def one_line(text: str) -> str:
    """`text` as one short printable line for a terminal; what writes it into Markdown makes it inert there."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    plain = " ".join(plain.split()).replace("<", "‹").replace(">", "›").replace("`", "'").replace("@", "＠")
    return plain if len(plain) <= MAX_TEXT else plain[: MAX_TEXT - 1] + "…"
