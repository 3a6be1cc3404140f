"""What every backend takes and gives: messages in, completions out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

Message = dict[str, str]


@dataclass(frozen=True)
class Completion:
    """One greedy answer."""

    text: str
    """decoded without special tokens"""
    tokens: int
    """tokens written, the EOS token included"""
    seconds: float
    """wall time; of a batch, this answer's equal share"""
    finished: bool
    """an EOS token came before the token cap"""
    confidence: float | None = None
    """probability the model gives to the whole answer, 0..1; None where the backend does not say"""


class Backend(Protocol):
    """What evaluation and parity checks need from a model."""

    name: str

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of the rendered prompt, as this backend feeds them to its model."""
        ...

    def generate(self, conversations: Sequence[Sequence[Message]], max_new_tokens: int) -> Iterator[Completion]:
        """One completion a conversation, in order."""
        ...

    def close(self) -> None:
        """Give the memory back."""
        ...
