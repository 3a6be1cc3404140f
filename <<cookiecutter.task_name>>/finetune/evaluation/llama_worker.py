"""llama.cpp in a process of its own: requests of llama_messages.py come in, each is answered by one of its answers.

    python -m finetune.evaluation.llama_worker PARENT_PID

Started by finetune/evaluation/llama_child.py, never by hand. A request that fails is answered too, and signs
of life may come before an answer.
"""

from __future__ import annotations

import ctypes
import math
import os
import signal
import sys
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

from finetune.child_process import end_with
from finetune.evaluation.llama_messages import (
    Alive,
    Answer,
    Complete,
    Completed,
    Failed,
    Load,
    Loaded,
    ReadVocabulary,
    Tokenise,
    Tokens,
    Vocabulary,
    read_request,
    to_line,
)

BEAT_SECONDS = 1.0
WARM_UP = 32
"""Tokens read before a file counts as loaded: a batch, which takes other matrix kernels than a single token."""
SHOWN_LOGITS = 512
NO_NUMBER = 1e30
"""Stands for a logit that is infinite or NaN; JSON has neither."""
TEMPLATE_KEY = "tokenizer.chat_template"


class Runner:
    """One GGUF file; greedy decoding. llama.cpp keeps the tokens two prompts begin with in its cache."""

    def __init__(self, asked: Load, alive: Callable[[], None]) -> None:
        import llama_cpp
        from llama_cpp._logger import set_verbose

        class Llama(llama_cpp.Llama):
            def eval(self, tokens: Any) -> None:
                """Read tokens batch by batch, with a sign of life after each."""
                for start in range(0, max(len(tokens), 1), self.n_batch):
                    super().eval(tokens[start : start + self.n_batch])
                    alive()

        if not asked.extra_buffers:
            _switch_off_extra_buffers()
        self._alive = alive
        self._llama = Llama(
            asked.path,
            n_ctx=asked.context,
            n_gpu_layers=-1,
            n_threads=asked.threads,
            n_threads_batch=asked.threads,
            logits_all=False,
            verbose=True,
        )
        # What llama.cpp says while loading explains a failure to load, and nothing that comes later.
        self._llama.verbose = False
        set_verbose(False)
        sys.stderr.flush()
        os.ftruncate(2, 0)
        self._vocab = llama_cpp.llama_model_get_vocab(self._llama.model)
        self._logits = self._warm_up(asked.context)

    def _warm_up(self, context: int) -> list[float]:
        """Read a batch and one token more, so that kernels which crash do so now; the first logits after it."""
        import llama_cpp

        vocabulary = self._llama.n_vocab()
        self._llama.eval([token % vocabulary for token in range(max(1, min(WARM_UP, context - 2)))])
        self._llama.eval([0])
        logits = llama_cpp.llama_get_logits_ith(self._llama.ctx, -1)[: min(vocabulary, SHOWN_LOGITS)]
        self._llama.reset()
        return [value if math.isfinite(value) else NO_NUMBER for value in logits]

    def loaded(self) -> Loaded:
        import llama_cpp

        ids = {
            "bos_token": llama_cpp.llama_vocab_bos(self._vocab),
            "eos_token": llama_cpp.llama_vocab_eos(self._vocab),
            "pad_token": llama_cpp.llama_vocab_pad(self._vocab),
        }
        return Loaded(
            template=self._llama.metadata.get(TEMPLATE_KEY),
            special_tokens={name: self._piece(token) for name, token in ids.items() if token >= 0},
            add_bos=bool(llama_cpp.llama_vocab_get_add_bos(self._vocab)),
            version=metadata.version("llama-cpp-python"),
            system=" ".join(llama_cpp.llama_print_system_info().decode("utf-8", errors="replace").split()),
            logits=self._logits,
        )

    def tokenise(self, asked: Tokenise) -> Tokens:
        return Tokens(self._llama.tokenize(asked.text.encode("utf-8"), add_bos=asked.add_bos, special=True))

    def complete(self, asked: Complete) -> Completed:
        import llama_cpp

        began = time.perf_counter()
        tokens: list[int] = []
        finished = False
        written = 0
        for token in self._llama.generate(asked.ids, temp=0.0, repeat_penalty=1.0):
            written += 1
            finished = llama_cpp.llama_vocab_is_eog(self._vocab, token)
            if finished:
                break
            tokens.append(token)
            if written >= asked.max_new_tokens:
                break
        seconds = time.perf_counter() - began
        return Completed(self.detokenise(tokens), written, seconds, bool(finished))

    def _piece(self, token: int) -> str:
        """The token's literal text, special tokens included."""
        import llama_cpp

        return llama_cpp.llama_vocab_get_text(self._vocab, token).decode("utf-8", errors="replace")

    def detokenise(self, tokens: list[int]) -> str:
        """Tokens as text without special ones. (`Llama.detokenize` breaks on tokens longer than 32 bytes.)"""
        import llama_cpp

        if not tokens:
            return ""
        ids = (llama_cpp.llama_token * len(tokens))(*tokens)
        size = 16 * len(tokens)
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = llama_cpp.llama_detokenize(self._vocab, ids, len(tokens), buffer, size, False, False)
            if length >= 0:
                return buffer.raw[:length].decode("utf-8", errors="replace")
            size = -length  # the size it needs


def _switch_off_extra_buffers() -> None:
    """`Llama` takes every model parameter but this one (and swallows it unread); it gets its defaults from here."""
    from llama_cpp import llama_cpp as bindings

    defaults = bindings.llama_model_default_params

    def without() -> Any:
        parameters = defaults()
        parameters.use_extra_bufts = False
        return parameters

    bindings.llama_model_default_params = without


def read_vocabulary(path: str) -> Vocabulary:
    """What is known without the weights."""
    import llama_cpp

    parameters = llama_cpp.llama_model_default_params()
    parameters.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(path.encode(), parameters)
    if not model:
        raise ValueError(f"Failed to load model from file: {path}")
    return Vocabulary(bool(llama_cpp.llama_vocab_get_add_bos(llama_cpp.llama_model_get_vocab(model))))


def serve(parent: int) -> None:
    """Answer requests from standard input until it ends."""
    end_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and ends this process
    # Answers go where nothing else writes: whatever prints to standard output from now on, prints to the log.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    def say(answer: Answer) -> None:
        out.write(to_line(answer))
        out.flush()

    last_beat = time.monotonic()

    def alive() -> None:
        nonlocal last_beat
        if time.monotonic() - last_beat >= BEAT_SECONDS:
            last_beat = time.monotonic()
            say(Alive())

    runner: Runner | None = None
    for line in sys.stdin.buffer:
        request = read_request(line)
        try:
            if isinstance(request, Load):
                runner = Runner(request, alive)
                say(runner.loaded())
            elif isinstance(request, ReadVocabulary):
                say(read_vocabulary(request.path))
            else:
                assert runner is not None
                say(runner.tokenise(request) if isinstance(request, Tokenise) else runner.complete(request))
        except Exception as failure:  # the parent knows what was asked for, and so what to say about it
            if isinstance(failure, BrokenPipeError):
                return
            kind = "" if isinstance(failure, (ValueError, RuntimeError)) else f"{type(failure).__name__}: "
            say(Failed(f"{kind}{failure}", isinstance(failure, ImportError)))


if __name__ == "__main__":
    serve(int(sys.argv[1]))
    os._exit(0)  # nothing native is torn down: that may crash too
