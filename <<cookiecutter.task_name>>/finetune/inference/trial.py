"""A text or a few, answered on the spot: by the tuned model, and by the base model beside it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import msgspec

from finetune.config.project import Project
from finetune.console import answer as show
from finetune.console import say
from finetune.errors import OK, FinetuneError
from finetune.evaluation.backends import ZERO_SHOT
from finetune.inference.answers import Answer
from finetune.inference.artefacts import choose
from finetune.inference.asking import LoadedModel

_WIDTH = 12


def try_texts(
    project: Project,
    texts: Sequence[str] = (),
    artefact: str | None = None,
    stdin: bool = False,
    base: bool = True,
    lines: bool = False,
) -> int:
    """Answer `texts`, with `stdin` each line of standard input too; without any, the example of the task definition.

    Answers go to standard output, with `lines` as JSON, one object a text. With `base`, the base model is asked too;
    where it cannot be loaded, that is said and nothing else is lost. Raises BadInput for texts that cannot be answered.
    """
    asked = [*texts, *(_piped() if stdin else ())]
    if not asked:
        if stdin:
            raise FinetuneError("standard input holds no text", "write one text a line", "E449")
        say("  no text is given: this is input.example of task_definition.yaml. Your own: make try TEXT='…'")
        asked = [project.task.input.example]
    tuned = LoadedModel(project, choose(project, artefact))
    tuned.refusals(asked).raise_if_errors()
    answered = [(tuned, _answers(tuned, asked))]
    if base and tuned.name != ZERO_SHOT:
        plain = LoadedModel(project, ZERO_SHOT)
        try:
            answered.append((plain, _answers(plain, asked)))
        except FinetuneError as missing:
            say(f"  no answer of the base model: {missing}")
    for index, text in enumerate(asked):
        if lines:
            row = {"text": text} | {model.name: msgspec.to_builtins(answers[index]) for model, answers in answered}
            show(json.dumps(row, ensure_ascii=False))
            continue
        for part in text.splitlines():
            show(part)
        for model, answers in answered:
            for line in model.shown(answers[index], "  ", _WIDTH):
                show(line)
    return OK


def _answers(model: LoadedModel, texts: Sequence[str]) -> list[Answer]:
    with model:
        return model.ask(texts)


def _piped() -> list[str]:
    """Lines of standard input that are not blank; what is no UTF-8 is left to the checks."""
    content = sys.stdin.buffer.read().removeprefix(b"\xef\xbb\xbf")
    lines = content.decode("utf-8", "surrogateescape").split("\n")
    return [line.removesuffix("\r") for line in lines if line.strip()]
