"""A prompt at which every line is one question to the task's model."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator

from finetune.config.project import Project
from finetune.console import answer as show
from finetune.console import say
from finetune.errors import OK, FinetuneError
from finetune.evaluation.backends import ZERO_SHOT
from finetune.inference.artefacts import choose
from finetune.inference.asking import LoadedModel
from finetune.interrupts import is_ctrl_c

BASE, QUIT = "/base", ("/quit", "/exit", "/q")
_COMMAND = re.compile(r"/[a-z?]+", re.IGNORECASE)
_HELP = """  a line   is asked on its own, behind the task's system prompt, as in training; nothing is remembered
  /base    turn to the base model, and back
  /quit    the end; so do Ctrl-D, and Ctrl-C at the prompt"""


def chat(project: Project, artefact: str | None = None) -> int:
    """Answer each line of standard input until its end; answers on standard output, everything else on standard error.

    A line that cannot be answered is said to be so, with its code, and the next one is asked for.
    """
    tuned = choose(project, artefact)
    say(f"{project.task.task_name}: {project.task.description}\n{_HELP}")
    try:
        _talk(project, tuned, _lines())
    except KeyboardInterrupt as stopped:
        if not is_ctrl_c(stopped):
            raise
        say("")
    return OK


def _talk(project: Project, tuned: str, lines: Iterator[str]) -> None:
    current = tuned
    while current:
        try:
            with LoadedModel(project, current) as model:
                command = _until_command(model, lines)
        except FinetuneError as missing:
            if current == tuned:
                raise
            say(f"  no base model: {missing}")
            current = tuned
            continue
        if command != BASE:
            return
        current = tuned if current == ZERO_SHOT else ZERO_SHOT
        if tuned == ZERO_SHOT:
            say("  it is the base model that answers already")


def _until_command(model: LoadedModel, lines: Iterator[str]) -> str:
    """Questions and answers until a command is typed, which is returned; empty at the end of input."""
    for text in lines:
        command = text.strip().lower()
        if command == BASE or command in QUIT:
            return command
        if _COMMAND.fullmatch(command):
            say(_HELP)
        elif command:
            _answer(model, text)
    return ""


def _answer(model: LoadedModel, text: str) -> None:
    refused = model.refusals([text])
    for problem in refused.errors:
        say(f"  {problem}")
    if refused.error_count:
        return
    try:
        (answer,) = model.ask([text])
    except KeyboardInterrupt as stopped:
        if not is_ctrl_c(stopped):
            raise
        say("  stopped; Ctrl-C once more ends")
        return
    for line in model.shown(answer):
        show(line)


def _lines() -> Iterator[str]:
    """Lines as they are typed, with history and editing at a terminal; of a pipe, its lines."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        for line in sys.stdin.buffer:
            yield line.decode("utf-8", "surrogateescape").rstrip("\r\n")
        return
    sys.stdin.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - input() edits lines and keeps a history as soon as it is imported
    with contextlib.suppress(EOFError):
        while True:
            yield input("> ")
    say("")
