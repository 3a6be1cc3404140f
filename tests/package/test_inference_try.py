"""make try and make chat: any text arrives as it was typed, is answered, and is never executed."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from asking import ready
from finetune.console import run
from finetune.errors import BadInput, FinetuneError
from finetune.evaluation.completions import Completion
from finetune.inference import asking
from finetune.inference.asking import LoadedModel
from finetune.inference.chat import chat
from finetune.inference.trial import try_texts
from finetune.interrupts import Stopped
from repository import ROOT

PYTHON = os.path.normpath(sys.executable)  # in the template, what lies between has a name that no shell likes


class Scripted:
    """A backend that says its name and the text it was asked."""

    def __init__(self, project: Any, artefact: str) -> None:
        self.task, self.artefact = project.task, artefact

    def generate(self, conversations: Any, max_new_tokens: int) -> Iterator[Completion]:
        for messages in conversations:
            text = messages[-1]["content"]
            if self.task.task_type == "classification":
                text = "billing" if self.artefact == "adapter" else f"I think {text}"
            elif self.task.task_type == "extraction":
                text = '{"entities":[{"type":"product","text":"lamp"},{"type":"quantity","text":"2"}]}'
            yield Completion(text, 3, 0.1, self.artefact == "adapter", 0.876)

    def close(self) -> None:
        pass


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "open_backend", Scripted)


@pytest.mark.usefixtures("scripted")
@pytest.mark.parametrize(
    ("task_type", "shown"),
    [
        ("classification", [
            "hello", "  adapter       billing   (confidence 0.88)",
            "  base model    I think hello   (none of the labels, confidence 0.88, cut at output.max_new_tokens)",
        ]),
        ("extraction", [
            "hello",
            "  adapter       product: lamp", "                quantity: 2", "                (confidence 0.88)",
            "  base model    product: lamp", "                quantity: 2",
            "                (confidence 0.88, cut at output.max_new_tokens)",
        ]),
        ("generation", [
            "hello", "  adapter       hello   (confidence 0.88)",
            "  base model    hello   (confidence 0.88, cut at output.max_new_tokens)",
        ]),
    ],
)  # fmt: skip
def test_answers_stand_beside_each_other(
    make_project: Callable[..., Any], capsys: pytest.CaptureFixture[str], task_type: str, shown: list[str]
) -> None:
    assert try_texts(ready(make_project, task_type), ["hello"]) == 0
    assert capsys.readouterr().out.split("\n")[:-1] == shown


@pytest.mark.usefixtures("scripted")
def test_no_text_means_the_example_of_the_task(
    make_project: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    try_texts(ready(make_project), base=False)
    told = capsys.readouterr()
    assert told.out.startswith("where is my parcel\n") and "input.example" in told.err and "base" not in told.out


@pytest.mark.usefixtures("scripted")
def test_a_missing_base_model_costs_only_its_own_answer(
    make_project: Callable[..., Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_adapter(project: Any, artefact: str) -> Any:
        if artefact == "zero_shot":
            raise FinetuneError("the Hub is out of reach", "check the network", "E972")
        return Scripted(project, artefact)

    monkeypatch.setattr(asking, "open_backend", only_adapter)
    assert try_texts(ready(make_project), ["hello"]) == 0
    told = capsys.readouterr()
    assert "billing" in told.out and "no answer of the base model: E972" in told.err


@pytest.mark.parametrize(
    ("text", "code"),
    [(" ", "E124"), ("a\x00b", "E116"), ("<|im_start|>system", "E130"), ("\udce9", "E105"), ("word " * 3000, "E442")],
)
def test_a_text_that_cannot_be_answered(make_project: Callable[..., Any], text: str, code: str) -> None:
    with pytest.raises(BadInput) as caught:
        try_texts(ready(make_project), ["fine", text])
    (problem,) = caught.value.problems.errors
    assert (problem.code, problem.path) == (code, "text 2")


def test_what_a_model_writes_cannot_steer_the_terminal(
    make_project: Callable[..., Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hostile(Scripted):
        def generate(self, conversations: Any, max_new_tokens: int) -> Iterator[Completion]:
            yield Completion("a\n::set-output name=x::\x1b[2J", 3, 0.1, True, 0.5)

    monkeypatch.setattr(asking, "open_backend", Hostile)
    try_texts(ready(make_project, "generation"), ["hello"], base=False)
    told = capsys.readouterr().out
    assert "\\u001b[2J" in told and "\x1b" not in told
    assert not [line for line in told.split("\n") if line.strip().startswith("::")]


HOSTILE = [
    "$(touch marker)",
    "`touch marker`",
    "$(shell touch marker)",
    "${shell touch marker}",
    "'; touch marker; '",
    '"; touch marker; "',
    "$$(touch marker)",
    "$HOME \\ # % ; & | > marker",
    "--help",
    "-x",
    "a\nb",
    "$(error boom)",
    "50% off!",
    "quote ' and \" both",
    "我的包裹「在哪裡」？",
    "x=y := z",
    "\\",
    "$",
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("by", ["argument", "environment"])
def test_make_hands_over_any_text_as_it_is(tmp_path: Path, text: str, by: str) -> None:
    """A stand-in for Python writes down what it was called with."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nfor a in "$@"; do printf "%s\\0" "$a" >> called; done\n')
    python.chmod(0o755)
    (tmp_path / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    given = {"TEXT": text, "IN": text, "OUT": text + ".jsonl", "ARTEFACT": text}
    words = [f"{name}={value}" for name, value in given.items()] if by == "argument" else []
    for target in ("try", "predict", "chat"):
        done = subprocess.run(
            ["make", "--no-print-directory", target, f"PYTHON={python}", *words],
            cwd=tmp_path,
            text=True,
            capture_output=True,
            check=False,
            env={**os.environ, **(given if by == "environment" else {})},
        )
        assert done.returncode == 0, done.stderr
    called = (tmp_path / "called").read_bytes().decode().split("\0")[:-1]
    artefact = f"--artefact={text}"
    assert called == [
        "scripts/try_model.py",
        f"--text={text}",
        artefact,
        "scripts/predict.py",
        artefact,
        "--",
        text,
        text + ".jsonl",
        "scripts/chat.py",
        artefact,
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Makefile", "called", "python"]


def make(target: str, project: Any, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """The real target, with a real model."""
    return subprocess.run(
        ["make", "--no-print-directory", target, f"PYTHON={PYTHON}", f"FLAGS=--project {project.paths.root}", *words],
        cwd=ROOT,
        input=stdin,
        text=True,
        capture_output=True,
        check=False,
    )


def test_make_try_asks_both_models_for_real(make_project: Callable[..., Any]) -> None:
    project = ready(make_project)
    text = "$(touch marker) where's my `parcel`?"
    done = subprocess.run(
        [
            "make",
            "--no-print-directory",
            "try",
            f"PYTHON={PYTHON}",
            f"TEXT={text}",
            f"FLAGS=--json --project {project.paths.root}",
        ],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert row["text"] == text and row["adapter"]["text"] != row["zero_shot"]["text"]
    assert 0 <= row["adapter"]["confidence"] <= 1 and row["adapter"]["valid"] is False
    assert "loading adapter: models/adapter" in done.stderr and "loading base model" in done.stderr


def test_make_chat_answers_piped_lines_and_turns_to_the_base_model(make_project: Callable[..., Any]) -> None:
    project = ready(make_project)
    lines = ["where is my parcel", "", "<|im_end|>", "/nonsense", "/base", "where is my parcel", "/quit", "never asked"]
    done = make("chat", project, stdin="\n".join(lines))
    assert done.returncode == 0, done.stderr
    answers = [line for line in done.stdout.split("\n") if line.startswith(("adapter", "base model"))]
    assert [line.split("  ")[0] for line in answers] == ["adapter", "base model"]
    assert "E130" in done.stderr and "nothing is remembered" in done.stderr


def test_chat_without_a_model_says_the_step(make_project: Callable[..., Any]) -> None:
    done = make("chat", make_project(base=True), stdin="")
    assert "E401 no adapter in models/adapter. Fix: run scripts/03_train.py first" in done.stderr
    assert "Error 2" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("end", ["\x04", "\x03", "/quit\n"])
def test_chat_at_a_terminal_ends_cleanly(make_project: Callable[..., Any], end: str) -> None:
    project = ready(make_project)
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(ROOT)
        os.environ["PYTHONPATH"] = "."
        command = [sys.executable, "scripts/chat.py", "--project", str(project.paths.root)]
        os.execv(sys.executable, command)
    seen = _until(terminal, b"> ")
    os.write(terminal, b"where is my parcel\n")
    seen += _until(terminal, b"confidence", b"> ")
    seen += _until(terminal, press=end.encode())
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0, seen.decode(errors="replace")
    assert b"Traceback" not in seen and b"adapter" in seen


def _until(terminal: int, *marks: bytes, press: bytes = b"") -> bytes:
    """What the terminal shows until the marks came one after another; without any, until the program ends.

    `press` is pressed again every five seconds, as people do: CPython's readline loses a Ctrl-C that comes between
    its prompt and its select(), and answers so fast only come from machines.
    """
    seen = part = b""
    wanted = list(marks)
    end = time.monotonic() + 300
    os.write(terminal, press)
    while wanted or not marks:
        if not select.select([terminal], [], [], 5)[0]:
            assert time.monotonic() < end, seen.decode(errors="replace")
            os.write(terminal, press)
            continue
        try:
            block = os.read(terminal, 4096)
        except OSError:  # Linux: the other side is closed
            break
        if not block:
            break
        seen, part = seen + block, part + block
        while wanted and wanted[0] in part:
            part = part.partition(wanted.pop(0))[2]
    return seen


@pytest.mark.parametrize(("number", "ends"), [(signal.SIGINT, False), (signal.SIGTERM, True), (signal.SIGHUP, True)])
def test_only_the_keyboard_stops_one_answer_alone(
    make_project: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
    ends: bool,
) -> None:
    project, asked = ready(make_project), []

    def ask(model: LoadedModel, texts: list[str]) -> Any:
        asked.extend(texts)
        raise Stopped(number)

    monkeypatch.setattr(LoadedModel, "ask", ask)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: False, buffer=io.BytesIO(b"one\ntwo\n")))
    code = run(chat, project=project.paths.root)
    assert (code, asked) == ((75, ["one"]) if ends else (0, ["one", "two"]))
    assert ("E975" in capsys.readouterr().err) is ends
