"""GGUF files run by llama.cpp in a process of its own: the artefact people will download, with its own template."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from finetune.config.project import Project
from finetune.console import resolved
from finetune.errors import FinetuneError, ModelFault
from finetune.evaluation.completions import Completion, Message
from finetune.evaluation.llama_child import REDO, LlamaChild, RuntimeFault
from finetune.evaluation.llama_messages import A, Complete, Completed, Request, Tokenise, Tokens
from finetune.evaluation.llama_runtime import SWITCH, ExtraBuffers, crash_note, extra_buffers, runtime_facts
from finetune.evaluation.llama_worker import NO_NUMBER, TEMPLATE_KEY
from finetune.threads import Load, fitting


class LlamaCppBackend:
    """Greedy decoding by llama-cpp-python; llama.cpp keeps the tokens two prompts begin with in its cache.

    The prompt is rendered from the file's own `tokenizer.chat_template` (by transformers' sandboxed renderer, nothing
    of the training tokenizer) and tokenised by llama.cpp with the file's own vocabulary and BOS rule.

    Where llama.cpp crashes before it has answered once, it is started again without its extra buffer types, and log and
    report say so. A later crash is a RuntimeFault: answers by two kinds of kernels would be no measurement.
    """

    def __init__(self, name: str, gguf_path: Path, project: Project) -> None:
        from finetune.data.chat_format import template_options

        self.name = name
        self._path = gguf_path
        self._context = project.benchmark.generation.context
        self._options = template_options(project.training)
        threads = fitting(Load())
        self._threads = threads.count
        self._answered = False
        resolved("threads", threads.count, threads.reason)
        self._start(extra_buffers())

    def _start(self, extra: ExtraBuffers) -> None:
        """Load the file in a new process, and once more without extra buffer types when it crashes with them."""
        self._extra = extra
        self._child = LlamaChild(self._path)
        try:
            loaded = self._child.load(context=self._context, threads=self._threads, extra_buffers=extra.on)
        except RuntimeFault as fault:
            self._fall_back(fault)
            return
        except BaseException:
            self._child.close()
            raise
        if not loaded.template:
            self._child.close()
            raise ModelFault(f"{self._path.name} holds no {TEMPLATE_KEY}", REDO, "E471")
        if all(value == NO_NUMBER for value in loaded.logits):
            self._child.close()
            raise ModelFault(f"{self._path.name} computes no numbers (NaN): its weights are damaged", REDO, "E470")
        self._template = loaded.template
        self._specials: dict[str, Any] = loaded.special_tokens
        # llama.cpp's own chat code removes a BOS that both the template and the vocabulary would add.
        self._add_bos = loaded.add_bos
        self.runtime = runtime_facts(loaded, extra)
        """how this file is run, for the report"""

    def _fall_back(self, fault: RuntimeFault) -> None:
        """Start without extra buffer types; raises `fault` where they cannot have been the reason, or answers exist."""
        if not fault.is_crash or not self._extra.on:
            raise fault.shown()
        if self._answered:
            fault.fix = f"run the same command again with {SWITCH}=off in the environment (docs/runtime.md)"
            raise fault.shown()
        note = crash_note(fault)
        resolved("extra_buffers", "off", f"{self._path.name}: {note}")
        self._start(ExtraBuffers(False, note))

    def _ask(self, request: Request, kind: type[A], doing: str) -> A:
        if self._child.closed:  # Ctrl-C ended the answer before, and chat.py goes on
            self._start(self._extra)
        try:
            return self._child.ask(request, kind, doing)
        except RuntimeFault as fault:
            self._fall_back(fault)
        try:
            return self._child.ask(request, kind, doing)
        except RuntimeFault as fault:
            raise fault.shown() from None

    def prompt_text(self, messages: Sequence[Message]) -> str:
        """The prompt as the file's own template renders it, ready for the answer."""
        from transformers.utils.chat_template_utils import render_jinja_template

        rendered: Any = render_jinja_template(
            [list(messages)],
            chat_template=self._template,
            add_generation_prompt=True,
            **self._specials,
            **self._options,
        )
        return str(rendered[0][0])

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        text = self.prompt_text(messages)
        bos = self._specials.get("bos_token", "")
        add_bos = self._add_bos and not (bos and text.startswith(bos))
        return self._ask(Tokenise(text, add_bos), Tokens, "reading a prompt with").ids

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
            answer = self._ask(Complete(prompt, max_new_tokens), Completed, "answering with")
            self._answered = True
            yield Completion(answer.text, answer.tokens, answer.seconds, answer.finished)

    def close(self) -> None:
        self._child.close()
