"""Whether an answer can be generated whole: its tokens and the one that ends it, against output.max_new_tokens.

An answer beyond the cap is cut, and can never be scored right, however well the model has learned it. Where there is a
tokenizer the tokens are counted. Without one they are at least the words between spaces: every tokenizer in use cuts
there, so an answer with too many words is refused for sure, and one with fewer is given the benefit of the doubt. So
it is in a smoke run, whose small model has a tokenizer of its own.
"""

from __future__ import annotations

from finetune.config.task import TaskDefinition
from finetune.data.chat_format import completion_text
from finetune.data.tokens.lengths import TokenLengths

_END = 1
"""The token that ends an answer, where nothing tells more."""


class AnswerLengths:
    """Checks completions one by one and counts those that are `cut`, and the tokens of the `longest` of them."""

    def __init__(self, task: TaskDefinition, lengths: TokenLengths | None) -> None:
        self._task, self._lengths, self.limit = task, lengths, task.output.max_new_tokens
        self.cut = self.longest = 0

    def may_be_cut(self, completion: str) -> bool:
        """False for most answers, without a tokenizer: those that cannot exceed the cap, whatever they say."""
        if self._lengths is None:
            return len(completion) > self.limit and len(completion.split()) + _END > self.limit
        return not self._lengths.surely_fits(completion, self.limit)

    def tokens(self, completion: str) -> int:
        """Tokens of the answer and its end; without a tokenizer the least number that they can be."""
        return self._lengths.answer(completion) if self._lengths else len(completion.split()) + _END

    def check(self, completion: str) -> tuple[str, str, str] | None:
        """(code, message, fix) of an answer that cannot be generated whole."""
        if not self.may_be_cut(completion) or (needed := self.tokens(completion)) <= self.limit:
            return None
        self.cut += 1
        self.longest = max(self.longest, needed)
        least = "" if self._lengths else "at least "
        what = f"the answer needs {least}{needed} tokens, output.max_new_tokens is {self.limit}: it would be cut"
        return "E158", what, raise_to(needed)

    def long_labels(self) -> dict[str, int]:
        """Tokens of every label that cannot be generated whole."""
        texts = {name: completion_text(self._task, name) for name in self._task.label_names}
        needed = {name: self.tokens(text) for name, text in texts.items() if self.may_be_cut(text)}
        return {name: tokens for name, tokens in needed.items() if tokens > self.limit}


def raise_to(tokens: int) -> str:
    """The fix."""
    return f"set output.max_new_tokens in task_definition.yaml to {tokens} or more, or shorten the answer"
