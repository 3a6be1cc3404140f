"""What an evidence function answers, and the registry the checklist looks it up in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    from finetune.evidence.facts import Facts

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
    """`text` fit for a list item: printable, no line break, no HTML or Markdown that a reader's browser would obey."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    plain = " ".join(plain.split()).replace("<", "‹").replace(">", "›").replace("`", "'").replace("@", "＠")
    return plain if len(plain) <= MAX_TEXT else plain[: MAX_TEXT - 1] + "…"


Evidence = Callable[["Facts"], Finding]
Function = TypeVar("Function", bound=Evidence)
EVIDENCE: dict[str, Evidence] = {}


def evidence(function: Function) -> Function:
    """Register an evidence function under its name, which checklist.yaml uses."""
    if function.__name__ in EVIDENCE:
        raise ValueError(f"two evidence functions are called {function.__name__}")
    EVIDENCE[function.__name__] = function
    return function
