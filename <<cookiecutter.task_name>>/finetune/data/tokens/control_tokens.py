"""Control tokens of the base model's tokenizer: none in a text, and a templated row has as many as the template."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from finetune.characters import DROPPED
from finetune.config.task import TaskDefinition
from finetune.data.chat_format import completion_text, system_text
from finetune.data.records import Row
from finetune.data.tokens.base_tokenizer import BaseTokenizer

_QUESTION, _ANSWER = "QUESTIONGOESHERE", "ANSWERGOESHERE"
_NEUTRAL = "SYSTEMGOESHERE"


class ControlTokens:
    """Finds the names of control tokens in texts, also in full-width letters or with invisible characters between."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = {fold(name): name for name in names}
        self.signs = frozenset(_rarest(name) for name in self._names if name)
        """A folded text without any of these characters spells no control token."""
        longest_first = sorted(filter(None, self._names), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def find(self, text: str) -> str | None:
        """The first control token that `text` spells, as the tokenizer writes it."""
        found = self._pattern.search(fold(text))
        return self._names[found[0]] if found else None


def _rarest(name: str) -> str:
    """The character of a name that ordinary text has least of: the first that is no letter, digit or common sign."""
    return next((sign for sign in name if not sign.isalnum() and sign not in " .,-'"), name[0])


def fold(text: str) -> str:
    """`text` in Unicode normal form NFKC, without invisible characters."""
    return text if text.isascii() else DROPPED.sub("", unicodedata.normalize("NFKC", text))


class Unproved(Exception):
    """The count cannot be made here; the message says why."""


class TemplateProof:
    """Counts control tokens of templated rows with the tokenizer itself and compares with the template's own number.

    Control tokens are cut out of a text before anything else is tokenised, so a tokenizer that keeps its added tokens
    and its normaliser, but has an empty vocabulary otherwise, finds exactly the same ones, at a tenth of the time.
    """

    def __init__(self, base: BaseTokenizer, task: TaskDefinition, options: dict[str, Any]) -> None:
        """Raises Unproved where the tokenizers package or a usable chat template is missing."""
        self._task = task
        self._ids = set(base.control_tokens.values())
        self._tokenizer, self.keeps_characters = _added_tokens_only(base)
        head, self._middle, self._tail = _pieces(base, system_text(task), options)
        self.expected = self._count([head + _QUESTION + self._middle + _ANSWER + self._tail])[0]
        """Control tokens of the template around one question and one answer, the system prompt included."""
        neutral = _pieces(base, _NEUTRAL, options)
        plain = self._count([neutral[0] + _QUESTION + neutral[1] + _ANSWER + neutral[2]])[0]
        self.in_system_prompt = self.expected - plain
        """Control tokens that the system prompt adds: 0, or the task definition is wrong."""
        # A text is cut at its control tokens: what lies before the last one of the head changes nothing after it.
        starts = [at for name in base.control_tokens if (at := head.rfind(name)) >= 0]
        self._head = head[max(starts, default=0) :]
        self._cut = self._count([head])[0] - self._count([self._head])[0]

    def surplus(self, rows: Sequence[Row]) -> list[int]:
        """For each row, its control tokens minus the template's own."""
        texts = [
            self._head + row.input + self._middle + completion_text(self._task, row.reference) + self._tail
            for row in rows
        ]
        return [count + self._cut - self.expected for count in self._count(texts)]

    def _count(self, texts: list[str]) -> list[int]:
        encoded = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [sum(token in self._ids for token in encoding.ids) for encoding in encoded]


def _added_tokens_only(base: BaseTokenizer) -> tuple[Any, bool]:
    """The tokenizer, and whether its normaliser makes no other characters than Unicode's own normal forms do."""
    try:
        from tokenizers import Tokenizer
    except ModuleNotFoundError:
        raise Unproved("the package tokenizers is not installed") from None
    values = msgspec.json.decode((base.folder / "tokenizer.json").read_bytes())
    added = {token["content"]: token["id"] for token in values["added_tokens"]}
    rest = "\0"
    model = {"type": "WordLevel", "vocab": {**added, rest: max(added.values(), default=0) + 1}, "unk_token": rest}
    unused = dict.fromkeys(("pre_tokenizer", "post_processor", "decoder", "truncation", "padding"))
    try:
        tokenizer = Tokenizer.from_str(msgspec.json.encode({**values, **unused, "model": model}).decode("utf-8"))
        return tokenizer, _keeps_characters(values.get("normalizer"))
    except Exception as refusal:  # the package raises nothing narrower
        raise Unproved(f"the tokenizers package refuses tokenizer.json ({str(refusal)[:80]})") from None


def _keeps_characters(normaliser: Any) -> bool:
    if normaliser is None:
        return True
    parts = normaliser.get("normalizers")
    if parts is not None:
        return all(map(_keeps_characters, parts))
    spaces = normaliser.get("pattern") == {"String": " "}  # a space becomes the sign of a space
    return normaliser.get("type") in ("NFC", "NFD", "NFKC", "NFKD", "Prepend") or spaces


def _pieces(base: BaseTokenizer, system: str, options: dict[str, Any]) -> tuple[str, str, str]:
    """What the template writes before the question, between question and answer, and after the answer."""
    from jinja2.exceptions import TemplateError

    if not base.template:
        raise Unproved("the base model has no chat template")
    conversation = [("system", system), ("user", _QUESTION), ("assistant", _ANSWER)]
    try:
        text = base.render([{"role": role, "content": content} for role, content in conversation], options)
    except TemplateError as refusal:
        raise Unproved(f"the chat template cannot be rendered here ({type(refusal).__name__})") from None
    head, asked, rest = text.partition(_QUESTION)
    middle, answered, tail = rest.partition(_ANSWER)
    if not asked or not answered or _QUESTION in rest or _ANSWER in tail:
        raise Unproved("the chat template does not render question and answer exactly once")
    return head, middle, tail
