"""What a text must be for the model to answer it: shown characters, no control token, no more tokens than fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from finetune.characters import is_blank
from finetune.config.project import Project
from finetune.data.text_rules import check_text, shown
from finetune.data.tokens.control_tokens import ControlTokens, Unproved
from finetune.data.tokens.lengths import TokenLengths
from finetune.inference.artefacts import TRANSFORMERS, context, tokenizer_files

AddProblem = Callable[[str, str, str], None]
"""Called with (code, message, fix) for each finding."""
_UNANSWERABLE = ("E116",)
_HIDDEN = ("E117", "W117")


@dataclass
class Oddities:
    """Texts that are answered, though training had none like them."""

    long: list[int] = field(default_factory=list)
    """[number of texts, line of the first] with more than input.max_chars characters"""
    hidden: list[int] = field(default_factory=list)
    """the same for texts with invisible or bidirectional characters"""


class TextChecks:
    """Checks texts one by one against one artefact; the model itself is not loaded."""

    def __init__(self, project: Project, artefact: str) -> None:
        self._task = project.task
        self._artefact, self._context = artefact, context(project, artefact)
        self._new = project.task.output.max_new_tokens
        self._served = artefact not in TRANSFORMERS
        self._tokens: ControlTokens | None = None
        self._lengths: TokenLengths | None = None
        self.oddities = Oddities()
        self._read_tokenizer(project)

    def _read_tokenizer(self, project: Project) -> None:
        """Where no tokenizer can be read here, general rules stand in, and the model itself refuses long rows."""
        base = tokenizer_files(project, self._artefact)
        if base is None:
            return
        try:
            self._tokens = ControlTokens(base.control_tokens)
            if self._context is not None:
                room = project.training.model_copy(update={"max_length": self._context - self._new})
                self._lengths = TokenLengths(base, self._task, room)
        except (Unproved, OSError, msgspec.MsgspecError, UnicodeError, KeyError):
            return

    def check(self, text: Any, name: str, line: int, report: AddProblem) -> bool:
        """Report what makes `text` impossible to answer; whether nothing does. `name` is what a message calls it."""
        refusals: list[tuple[str, str, str]] = []
        if text is None:
            refusals.append(("E122", f"{name} is null", "write a text"))
        elif not isinstance(text, str):
            refusals.append(("E123", f"{name} is not text", "write it in double quotes"))
        elif is_blank(text):
            refusals.append(("E124", f"{name} is empty", "write a text, or leave the row out"))
        else:
            refusals += self._signs(text, name, line)
            if len(text) > self._task.input.max_chars:
                _count(self.oddities.long, line)
            if not refusals and (too_long := self._too_long(text, name)):
                refusals.append(too_long)
        for problem in refusals:
            report(*problem)
        return not refusals

    def _signs(self, text: str, name: str, line: int) -> list[tuple[str, str, str]]:
        refusals: list[tuple[str, str, str]] = []
        hidden = False

        def take(code: str, message: str, fix: str) -> None:
            nonlocal hidden
            hidden = hidden or code in _HIDDEN
            if code in _UNANSWERABLE or (code == "E130" and self._tokens is None):
                refusals.append((code, message.replace('field ""', name), fix))

        check_text(text, "", take)
        if hidden:
            _count(self.oddities.hidden, line)
        if self._tokens and (token := self._tokens.find(text)):
            what = f"{name}: {shown(token)} is a control token of the model"
            refusals.append(("E130", what, "remove or rewrite it; a chat model obeys it"))
        return refusals

    def _too_long(self, text: str, name: str) -> tuple[str, str, str] | None:
        lengths = self._lengths
        if lengths is None or len(text.encode("utf-8", "surrogatepass")) <= lengths.budget_bytes:
            return None
        try:
            prompt, _ = lengths.count(text, "")
        except Unproved:
            self._lengths = None
            return None
        if prompt + self._new <= (self._context or 0):
            return None
        what = f"{name}: {prompt} tokens of the prompt and up to {self._new} of the answer exceed the "
        what += f"{self._context} of {self._artefact}; nothing is cut"
        fix = "shorten the text"
        if self._served:
            fix += f", or raise generation.context in configs/benchmark_config.yaml to {prompt + self._new} or more"
        return "E442", what, fix


def _count(counted: list[int], line: int) -> None:
    counted[:] = [counted[0] + 1, counted[1]] if counted else [1, line]
