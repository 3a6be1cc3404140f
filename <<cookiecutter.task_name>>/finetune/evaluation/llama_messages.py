"""What the two ends of llama.cpp's process say to each other: requests one way, answers the other, one JSON line each.

Plain JSON carries them, not msgspec's: the path of a file may hold what is no UTF-8, and so may a failure's words.
"""

from __future__ import annotations

import json
from typing import Any, TypeVar

import msgspec


class _Request(msgspec.Struct, frozen=True, tag_field="do", tag=str.lower):
    """One line to the worker."""


class Load(_Request, frozen=True):
    """Load the file and run it once: Loaded."""

    path: str
    context: int
    threads: int
    extra_buffers: bool


class ReadVocabulary(_Request, frozen=True):
    """Load the vocabulary alone: Vocabulary."""

    path: str


class Tokenise(_Request, frozen=True):
    """The tokens of a text: Tokens."""

    text: str
    add_bos: bool


class Complete(_Request, frozen=True):
    """Answer a prompt: Completed."""

    ids: list[int]
    max_new_tokens: int


Request = Load | ReadVocabulary | Tokenise | Complete


class _Answer(msgspec.Struct, frozen=True, tag_field="is", tag=str.lower, forbid_unknown_fields=True):
    """One line from the worker."""


class Loaded(_Answer, frozen=True):
    template: str | None
    special_tokens: dict[str, str]
    """as templates expect them, from the file's vocabulary: {"bos_token": "<s>"}"""
    add_bos: bool
    version: str
    """of llama-cpp-python"""
    system: str
    """the instructions llama.cpp says it uses"""
    logits: list[float]
    """the first ones of a trial run; NO_NUMBER stands for what is not finite"""


class Vocabulary(_Answer, frozen=True):
    add_bos: bool
    """whether llama.cpp, and so Ollama, puts BOS before each prompt"""


class Tokens(_Answer, frozen=True):
    ids: list[int]


class Completed(_Answer, frozen=True):
    text: str
    tokens: int
    seconds: float
    finished: bool


class Failed(_Answer, frozen=True):
    reason: str
    missing: bool
    """it is the package that cannot be imported"""


class Alive(_Answer, frozen=True):
    """A sign of life before the answer."""


Answer = Loaded | Vocabulary | Tokens | Completed | Failed | Alive
A = TypeVar("A", bound=Answer)


def to_line(message: Request | Answer) -> bytes:
    return json.dumps(msgspec.to_builtins(message)).encode() + b"\n"


def read_request(line: bytes) -> Request:
    """ValueError for a line that is none."""
    request: Request = _read(line, Request)
    return request


def read_answer(line: bytes, kind: type[A]) -> A | Failed | Alive:
    """An answer of `kind`, or what may stand in its place; ValueError for a line that is none of them."""
    answer: A | Failed | Alive = _read(line, kind | Failed | Alive)
    return answer


def _read(line: bytes, kind: Any) -> Any:
    try:
        return msgspec.convert(json.loads(line), kind)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
