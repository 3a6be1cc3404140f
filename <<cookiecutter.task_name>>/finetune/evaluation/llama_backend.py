"""GGUF files run by llama.cpp, in this process: the artefact people will download, asked with its own chat template."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from finetune.config.project import Project
from finetune.console import resolved
from finetune.errors import FinetuneError, ModelFault
from finetune.evaluation.backends import Completion, Message

TEMPLATE_KEY = "tokenizer.chat_template"
REDO = "run scripts/06_convert_gguf.py --force"


class LlamaCppBackend:
    """Greedy decoding by llama-cpp-python; llama.cpp keeps the tokens two prompts begin with in its cache.

    The prompt is rendered from the file's own `tokenizer.chat_template` (by transformers' sandboxed renderer, nothing
    of the training tokenizer) and tokenised by llama.cpp with the file's own vocabulary and BOS rule.
    """

    def __init__(self, name: str, gguf_path: Path, project: Project) -> None:
        import llama_cpp

        from finetune.data.chat_format import template_options

        self.name = name
        self._context = project.benchmark.generation.context
        self._options = template_options(project.training)
        threads = _usable_cpus()
        resolved("threads", threads, "CPUs this process may use")
        try:
            self._llama = llama_cpp.Llama(
                str(gguf_path), n_ctx=self._context, n_gpu_layers=-1, n_threads=threads, n_threads_batch=threads,
                logits_all=False, verbose=False,
            )  # fmt: skip
        except (ValueError, RuntimeError, AssertionError) as failure:
            raise ModelFault(f"llama.cpp cannot load {gguf_path.name}: {failure}", REDO, "E470") from failure
        self._vocab = llama_cpp.llama_model_get_vocab(self._llama.model)
        self._template = self._llama.metadata.get(TEMPLATE_KEY)
        if not self._template:
            raise ModelFault(f"{gguf_path.name} holds no {TEMPLATE_KEY}", REDO, "E471")
        self._specials = self._special_tokens()
        # llama.cpp's own chat code removes a BOS that both the template and the vocabulary would add.
        self._add_bos = bool(llama_cpp.llama_vocab_get_add_bos(self._vocab))

    def prompt_text(self, messages: Sequence[Message]) -> str:
        """The prompt as the file's own template renders it, ready for the answer."""
        from transformers.utils.chat_template_utils import render_jinja_template

        (text,), _ = render_jinja_template(
            [list(messages)],
            chat_template=self._template,
            add_generation_prompt=True,
            **self._specials,
            **self._options,
        )
        return text

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        text = self.prompt_text(messages)
        bos = self._specials.get("bos_token", "")
        add_bos = self._add_bos and not (bos and text.startswith(bos))
        return self._llama.tokenize(text.encode("utf-8"), add_bos=add_bos, special=True)

    def generate(self, conversations: Sequence[Sequence[Message]], max_new_tokens: int) -> Iterator[Completion]:
        for messages in conversations:
            prompt = self.prompt_ids(messages)
            needed = len(prompt) + max_new_tokens
            if needed > self._context:
                raise FinetuneError(
                    f"a prompt of {len(prompt)} tokens and {max_new_tokens} new ones exceed {self._context}",
                    f"raise generation.context in configs/benchmark_config.yaml to {needed} or more",
                    "E402",
                )
            yield self._complete(prompt, max_new_tokens)

    def _complete(self, prompt: list[int], max_new_tokens: int) -> Completion:
        import llama_cpp

        began = time.perf_counter()
        tokens: list[int] = []
        finished = False
        written = 0
        for token in self._llama.generate(prompt, temp=0.0, repeat_penalty=1.0):
            written += 1
            finished = llama_cpp.llama_vocab_is_eog(self._vocab, token)
            if finished:
                break
            tokens.append(token)
            if written >= max_new_tokens:
                break
        return Completion(_text(self._vocab, tokens), written, time.perf_counter() - began, finished)

    def close(self) -> None:
        self._llama.close()

    def _special_tokens(self) -> dict[str, str]:
        """bos_token, eos_token … as templates expect them, from the file's vocabulary."""
        import llama_cpp

        ids = {
            "bos_token": llama_cpp.llama_vocab_bos(self._vocab),
            "eos_token": llama_cpp.llama_vocab_eos(self._vocab),
            "pad_token": llama_cpp.llama_vocab_pad(self._vocab),
        }
        return {name: _piece(self._vocab, token) for name, token in ids.items() if token >= 0}


def _piece(vocab: Any, token: int) -> str:
    """The token's literal text, special tokens included."""
    import llama_cpp

    return llama_cpp.llama_vocab_get_text(vocab, token).decode("utf-8", errors="replace")


def _text(vocab: Any, tokens: list[int]) -> str:
    """Tokens as text without special ones. (`Llama.detokenize` breaks on tokens longer than 32 bytes.)"""
    import llama_cpp

    if not tokens:
        return ""
    ids = (llama_cpp.llama_token * len(tokens))(*tokens)
    size = 16 * len(tokens)
    while True:
        buffer = ctypes.create_string_buffer(size)
        length = llama_cpp.llama_detokenize(vocab, ids, len(tokens), buffer, size, False, False)
        if length >= 0:
            return buffer.raw[:length].decode("utf-8", errors="replace")
        size = -length  # the size it needs


def _usable_cpus() -> int:
    """CPUs of this process (containers and taskset limit them), or OMP_NUM_THREADS where set."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdigit() and int(told) > 0:
        return int(told)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
