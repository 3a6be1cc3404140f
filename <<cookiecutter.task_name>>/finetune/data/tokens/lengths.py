"""The length of a row in tokens, as training will count it, against max_length; most rows are never tokenised."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from finetune.config.task import TaskDefinition
from finetune.config.training import TrainingConfig
from finetune.data.chat_format import completion_suffix, prompt_messages, prompt_text, template_options
from finetune.data.tokens.base_tokenizer import BaseTokenizer
from finetune.data.tokens.bounds import NFC_GROWTH, token_bound
from finetune.data.tokens.control_tokens import Unproved
from finetune.data.tokens.plain_tokenizer import PlainTokenizer
from finetune.errors import FinetuneError

FIX = "shorten the row, or raise max_length in configs/training_config.yaml"
_QUESTION = "QUESTIONGOESHERE"
_PROBES = ("", "x", " x \n", '"x"\\\n\t<&>é中', "</think>x", "<tool_response>x</tool_response>", "x" * 999)
"""Texts that a template might treat in some special way; where it makes one longer, nothing is taken for granted."""


def too_long(prompt: int, answer: int, limit: int) -> tuple[str, str] | None:
    """(code, message) of a row of that many tokens, None where it fits; training refuses the row with the same words.

    E139: not even one token of the answer has room, all labels would be masked and the loss NaN. E138: a row is never
    cut, because an answer without its end teaches the model not to stop.
    """
    if prompt >= limit:
        return "E139", (
            f"the prompt alone has {prompt} tokens, max_length is {limit}: no token of the answer would be trained"
        )
    if prompt + answer > limit:
        return "E138", (
            f"{prompt + answer} tokens (prompt {prompt}, answer {answer}), max_length is {limit}: "
            "training refuses the row rather than cut its answer"
        )
    return None


class TokenLengths:
    """Checks rows one by one and counts what it found: rows `tokenised`, `over` the limit, and the `longest` in tokens.

    `budget_bytes`: a row whose input and completion have at most so many UTF-8 bytes together never exceeds
    max_length, whatever they say; below zero where every row has to be tokenised. `check` need not be called for it.
    """

    def __init__(self, base: BaseTokenizer, task: TaskDefinition, training: TrainingConfig) -> None:
        """Raises Unproved where rows cannot be counted here, and what reading damaged tokenizer files raises."""
        self._task, self.limit, self._options = task, training.max_length, template_options(training)
        self._tokenizer = PlainTokenizer(base)
        self.tokenised = self.over = self.longest = 0
        head, middle, self._suffix = self._template()
        self._fixed, self._fixed_tokens = "", 0
        """Beginning of every prompt that is encoded apart from the rest, and its tokens."""
        self.template = self._tokenizer.count(head + middle) + self._tokenizer.count(self._suffix)
        """Tokens of a row with empty input and empty answer."""
        self._around = ("", "", "")
        self.budget_bytes = self._normal_budget = -1
        self._answer_tax: int | None = None
        self._bound(base, head, middle)

    def _template(self) -> tuple[str, str, str]:
        """What the template writes before and after the question, and after the answer."""
        try:
            text = self._prompt(_QUESTION)
            suffix = completion_suffix(self._tokenizer, prompt_messages(self._task, _QUESTION), self._options)  # type: ignore[arg-type]
        except FinetuneError as refusal:
            raise Unproved(refusal.message) from None
        head, found, middle = text.partition(_QUESTION)
        if not found or _QUESTION in middle:
            raise Unproved("the chat template does not render the question exactly once")
        return head, middle, suffix

    def _prompt(self, text: str) -> str:
        return prompt_text(self._tokenizer, prompt_messages(self._task, text), self._options)  # type: ignore[arg-type]

    def _bound(self, base: BaseTokenizer, head: str, middle: str) -> None:
        """Set the budgets, where tokenizer and template allow any."""
        bound = token_bound(base.folder)
        if bound is None or not all(self._stands_between(head, probe, middle) for probe in _PROBES):
            return
        count = self._tokenizer.count
        start, end, stop = bound.last_cut(head), bound.first_cut(middle), bound.first_cut(self._suffix)
        tokens = count(head[:start]) + count(middle[end:]) + count(self._suffix[stop:])
        self._around = head[start:], middle[:end], self._suffix[:stop]
        self._answer_tax = count(self._suffix[stop:]) + len(self._suffix[:stop].encode()) + bound.extra
        self._growth = NFC_GROWTH if bound.nfc else 1
        room = self.limit - tokens - 2 * bound.extra  # two texts between control tokens: question and answer
        bytes_around = sum(len(text.encode()) for text in self._around)
        self._normal_budget = room - bytes_around
        self.budget_bytes = room // NFC_GROWTH - bytes_around if bound.nfc else self._normal_budget
        if bound.apart:
            self._fixed, self._fixed_tokens = head[:start], count(head[:start])

    def _stands_between(self, head: str, probe: str, middle: str) -> bool:
        try:
            text = self._prompt(probe)
        except FinetuneError:
            return False
        inner = len(text) - len(head) - len(middle)
        between = text[len(head) : len(head) + inner] if inner >= 0 else ""
        return text == head + between + middle and len(between.encode()) <= len(probe.encode())

    def check(self, text: str, completion: str) -> tuple[str, str] | None:
        """None where the row fits, else (code, message) with its numbers of tokens: E138, or E139.

        `text` is the record's input, `completion` what `completion_text` makes of its reference. Raises Unproved where
        the vocabulary has to be read and the package is gone.
        """
        size = len(text.encode("utf-8", "surrogatepass")) + len(completion.encode("utf-8", "surrogatepass"))
        if size <= self.budget_bytes or (size <= self._normal_budget and self._is_normal(text, completion)):
            return None
        prompt, answer = self.count(text, completion)
        self.tokenised += 1
        self.longest = max(self.longest, prompt + answer)
        found = too_long(prompt, answer, self.limit)
        self.over += found is not None
        return found

    def count(self, text: str, completion: str) -> tuple[int, int]:
        """Tokens of the prompt and of the answer with its end, exactly as training encodes them."""
        prompt, fixed = self._prompt(text), 0
        if self._fixed and prompt.startswith(self._fixed):
            prompt, fixed = prompt[len(self._fixed) :], self._fixed_tokens
        return fixed + self._tokenizer.count(prompt), self.answer(completion)

    def answer(self, completion: str) -> int:
        """Tokens of an answer with its end."""
        return self._tokenizer.count(completion + self._suffix)

    def surely_fits(self, completion: str, cap: int) -> bool:
        """Whether the answer with its end has at most `cap` tokens by its UTF-8 bytes alone, whatever it says."""
        if self._answer_tax is None:
            return False
        size, room = len(completion.encode("utf-8", "surrogatepass")), cap - self._answer_tax
        return size * self._growth <= room or (size <= room and unicodedata.is_normalized("NFC", completion))

    def _is_normal(self, text: str, completion: str) -> bool:
        """Whether normal form C leaves what is encoded together as it is."""
        before, after, end = self._around
        pieces: Sequence[str] = (before + text + after, completion + end)
        return all(piece.isascii() or unicodedata.is_normalized("NFC", piece) for piece in pieces)
