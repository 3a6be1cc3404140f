"""One model at hand, asked a few texts at a time: what `make try` and `make chat` share."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType

from finetune.config.project import Project
from finetune.console import QUIET_SECONDS, say
from finetune.data.chat_format import prompt_messages
from finetune.errors import Problems
from finetune.evaluation.backends import ZERO_SHOT, open_backend
from finetune.evaluation.completions import Backend
from finetune.inference.answers import Answer, answer_of, certainty, in_words
from finetune.inference.artefacts import shown_path
from finetune.inference.checks import TextChecks


class LoadedModel:
    """Loads an artefact when it is entered, gives its memory back when it is left."""

    def __init__(self, project: Project, artefact: str) -> None:
        self.name = artefact
        self._project = project
        self._checks: TextChecks | None = None
        self._backend: Backend | None = None

    def __enter__(self) -> LoadedModel:
        say(f"  loading {self.title}: {shown_path(self._project, self.name)}")
        began = time.monotonic()
        self._backend = open_backend(self._project, self.name)
        if time.monotonic() - began > QUIET_SECONDS:
            say(f"  loaded in {time.monotonic() - began:.0f} s")
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        if self._backend is not None:
            self._backend.close()

    @property
    def title(self) -> str:
        return "base model" if self.name == ZERO_SHOT else self.name

    def refusals(self, texts: Sequence[str]) -> Problems:
        """Why texts cannot be answered, each called by its number; empty where all can."""
        problems = Problems()
        self._checks = self._checks or TextChecks(self._project, self.name)
        for number, text in enumerate(texts, 1):
            where = "text" if len(texts) == 1 else f"text {number}"

            def report(code: str, message: str, fix: str, where: str = where) -> None:
                problems.add(where, code, message, fix)

            if any("\ud800" <= sign <= "\udfff" for sign in text):
                report("E105", "not UTF-8", "type it in a UTF-8 terminal, or put it into a file")
                continue
            self._checks.check(text, "it", number, report)
        return problems

    def ask(self, texts: Sequence[str]) -> list[Answer]:
        """One answer a text, in order."""
        assert self._backend is not None
        task = self._project.task
        conversations = [prompt_messages(task, text) for text in texts]
        completions = self._backend.generate(conversations, task.output.max_new_tokens)
        return [answer_of(task, completion, number) for number, completion in enumerate(completions, 1)]

    def shown(self, answer: Answer, indent: str = "", width: int = 0) -> list[str]:
        """The answer for people: the model's name, what it wrote, and how sure it was."""
        lines = in_words(self._project.task, answer)
        how_sure = certainty(self._project.task, answer)
        if how_sure and len(lines) == 1:
            lines[0] += f"   ({how_sure})"
        elif how_sure:
            lines.append(f"({how_sure})")
        names = [self.title, *[""] * (len(lines) - 1)]
        return [f"{indent}{name:<{width}}  {line}" for name, line in zip(names, lines, strict=True)]
