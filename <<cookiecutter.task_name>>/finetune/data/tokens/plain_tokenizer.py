"""The base model's tokenizer with the tokenizers package alone: as much of a transformers tokenizer as we ask for.

chat_format takes it in place of transformers' own, so that prompts and answers are encoded by the one prompt function
also where neither torch nor transformers is installed. A test holds the token ids of both against each other.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from finetune.data.tokens.base_tokenizer import BaseTokenizer
from finetune.data.tokens.control_tokens import Unproved


class PlainTokenizer:
    """Token ids and rendered conversations of `base`; the vocabulary is read when it is first needed."""

    def __init__(self, base: BaseTokenizer) -> None:
        self._base = base

    @property
    def eos_token(self) -> str:
        return self._base.named("eos_token")

    def named(self, name: str) -> str:
        """The text of bos_token, eos_token …; empty where the tokenizer has none."""
        return self._base.named(name)

    def apply_chat_template(
        self, messages: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool, **options: Any
    ) -> str:
        """The rendered text, never ids. Raises jinja2.TemplateError as transformers does."""
        assert not tokenize
        return self._base.render(messages, options, ask=add_generation_prompt)

    def __call__(self, text: str, add_special_tokens: bool = False) -> dict[str, list[int]]:
        """{"input_ids": …}. Raises Unproved where the package is missing or refuses tokenizer.json."""
        return {"input_ids": self._encode(text, add_special_tokens)}

    def count(self, text: str) -> int:
        """Number of tokens of `text`, without special tokens around it."""
        return len(self._encode(text, False))

    def _encode(self, text: str, add_special_tokens: bool) -> list[int]:
        return self._tokenizer.encode_batch_fast([text], add_special_tokens=add_special_tokens)[0].ids

    @cached_property
    def _tokenizer(self) -> Any:
        try:
            from tokenizers import Tokenizer
        except ModuleNotFoundError:
            raise Unproved("the package tokenizers is not installed") from None
        try:
            tokenizer = Tokenizer.from_file(str(self._base.folder / "tokenizer.json"))
        except Exception as refusal:  # the package raises nothing narrower
            raise Unproved(f"the tokenizers package refuses tokenizer.json ({str(refusal)[:80]})") from None
        tokenizer.no_truncation()  # what the file says about both is for other uses
        tokenizer.no_padding()
        return tokenizer
