"""What reaches the terminal, the Actions runner and the shell: one message and one exit code a failure."""

from __future__ import annotations

import errno
import io
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finetune import console
from finetune.config.project import Project
from finetune.errors import BadInput, FinetuneError, GateFailed, Interrupted, ModelFault, Problems, StorageFault
from repository import ROOT

Capture = pytest.CaptureFixture[str]
HOSTILE = "\x1b]0;x\x07 \r::error::owned\n  ::set-env name=A::b\n##[command]rm -rf\u202e \x9b31m\ud800"


@pytest.fixture
def root(make_project: Callable[..., Project]) -> Path:
    return make_project().paths.root


@pytest.fixture(autouse=True)
def _no_actions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.delenv("FINETUNE_DEBUG", raising=False)


def assert_harmless(text: str) -> None:
    """Nothing that a terminal or the Actions runner obeys; the runner trims a line before it looks for `::`."""
    assert all(sign in "\n\t" or sign.isprintable() for sign in text)
    assert "##[" not in text
    assert not any(line.strip().startswith("::") for line in re.split("[\r\n]", text))


def wrong(cause: BaseException | None = None) -> RuntimeError:
    failure = RuntimeError("could not write")
    failure.__cause__ = cause
    return failure


def bad_input() -> BadInput:
    problems = Problems()
    problems.add("data/raw/a.jsonl", "E110", "not JSON", "quote it", line=3)
    return BadInput(problems)


FAILURES = [
    (bad_input(), 2, "data/raw/a.jsonl:3: E110 not JSON. Fix: quote it"),
    (FinetuneError("no adapter", "run 03", "E401"), 2, "E401 no adapter. Fix: run 03"),
    (ModelFault("loss is NaN", "lower it", "E501"), 70, "E501 loss is NaN. Fix: lower it"),
    (StorageFault("the Hub refuses", code="E972"), 74, "E972 the Hub refuses"),
    (Interrupted("asked to stop", code="E975"), 75, "E975 asked to stop"),
    (GateFailed("0.7 is below 0.8", code="E601"), 76, "E601 0.7 is below 0.8"),
    (OSError(errno.ENOSPC, "No space left", "out.bin"), 74, "E974 no space left on the device (out.bin)"),
    (OSError(errno.EDQUOT, "quota"), 74, "E974 no space left on the device."),
    (PermissionError(errno.EACCES, "Permission denied", "/x"), 74, "E974 Permission denied (/x)"),
    (ConnectionError("the server\nhung up"), 74, "E974 the server hung up"),
    (TimeoutError(), 74, "E974 TimeoutError"),
    (KeyboardInterrupt(), 75, "E975 stopped by Ctrl-C. Fix: run the same command again: it starts over"),
    (MemoryError(), 70, "E971 the machine ran out of memory"),
    (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), 70, "E971 the device ran out of memory"),
    (wrong(OSError(errno.ENOSPC, "No space left")), 74, "E974 no space left on the device"),
    (RuntimeError("SafetensorError: No space left on device (os error 28)"), 74, "E974 no space left on the device"),
    (RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"), 74, "E974 no space left"),
    (ValueError("shapes\ndo not match"), 70, "E999 unexpected ValueError: shapes do not match (test_console.py:"),
    (RecursionError("too deep"), 70, "E999 unexpected RecursionError"),
    (AssertionError(), 70, "E999 unexpected AssertionError"),
]


@pytest.mark.parametrize(("failure", "code", "message"), FAILURES, ids=lambda value: type(value).__name__)
def test_every_failure_has_its_exit_code_and_one_message(
    failure: BaseException, code: int, message: str, root: Path, capsys: Capture
) -> None:
    def step(project: Project) -> None:
        raise failure

    assert console.run(step, project=root) == code
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0].startswith(message)
    assert len(lines) == (2 if isinstance(failure, BadInput) else 1)  # a list of problems ends with its total
    assert "Traceback" not in err


def test_a_step_gets_its_project_and_options_and_its_own_exit_code(root: Path, capsys: Capture) -> None:
    def step(project: Project, force: bool) -> int | None:
        assert (project.paths.root, project.smoke) == (root.resolve(), False)
        return 76 if force else None

    assert console.run(step, project=root, force=False) == 0
    assert console.run(step, project=root, force=True) == 76
    assert capsys.readouterr() == ("", "")


def test_a_broken_configuration_stops_before_the_step(root: Path, capsys: Capture) -> None:
    (root / "task_definition.yaml").write_text("a: [", encoding="utf-8")
    assert console.run(lambda project: pytest.fail("the step ran"), project=root) == 2
    assert "task_definition.yaml:" in capsys.readouterr().err


def test_debugging_shows_the_traceback(root: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINETUNE_DEBUG", "1")
    assert console.run(lambda project: 1 // 0, project=root) == 70
    assert "Traceback" in capsys.readouterr().err


def test_a_hostile_message_is_shown_harmless(root: Path, capsys: Capture) -> None:
    def step(project: Project) -> None:
        raise ValueError(HOSTILE)

    console.run(step, project=root)
    console.say(HOSTILE)
    console.resolved(HOSTILE, HOSTILE, HOSTILE)
    console.table(HOSTILE, [HOSTILE, "b"], [[HOSTILE, 1]])
    out, err = capsys.readouterr()
    assert out == "" and "owned" in err
    assert_harmless(err)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.sampled_from(" \t\r\n:#[]error\x1b\x85\u2028\u202e") | st.characters(), max_size=30))
def test_no_text_becomes_a_command(capsys: Capture, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    problems = Problems()
    problems.add(text, "E1", text, text, line=1, key=text)
    console.say(text)
    assert_harmless(capsys.readouterr().err)
    console.report_problems(problems)
    out, err = capsys.readouterr()
    assert_harmless(err)
    assert out.count("\n") == 1 and out.startswith("::error file=")
    assert all(sign in "\n\t" or sign.isprintable() for sign in out)


def test_plain_text_is_shown_as_it_is(capsys: Capture) -> None:
    text = "[bold]not markup[/bold] :bug: a::b C:\\x\\ 中文 100% \\[x]"
    console.say(text)
    assert capsys.readouterr().err == text + "\n"


def test_long_lines_are_not_wrapped(capsys: Capture) -> None:
    console.say("word " * 100 + "::end")
    assert capsys.readouterr().err.count("\n") == 1


def test_a_table_shows_every_cell(capsys: Capture) -> None:
    console.table("Scores", ["artefact", "f1"], [["adapter [new]", 0.9], ["Q8_0", None]])
    err = capsys.readouterr().err
    for cell in ("Scores", "artefact", "adapter [new]", "0.9", "Q8_0", "None"):
        assert cell in err


def test_json_goes_to_standard_output_alone(root: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")

    def step(project: Project, as_json: bool) -> None:
        raise bad_input()

    assert console.run(step, project=root, as_json=True) == 2
    out, err = capsys.readouterr()
    assert err == "" and out.count("\n") == 1
    assert json.loads(out)["problems"][0]["line"] == 3
    assert out.isascii()


def test_json_is_printed_when_nothing_is_wrong(capsys: Capture) -> None:
    console.report_problems(Problems(), as_json=True)
    assert json.loads(capsys.readouterr().out) == {"errors": 0, "warnings": 0, "problems": []}
    console.report_problems(Problems())
    assert capsys.readouterr() == ("", "")


def test_annotations_are_escaped_as_the_runner_reads_them(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    problems = Problems()
    problems.add("a,b:c%.jsonl", "E1", "100%\n::error::x", "mend: it, now", line=3, key="k")
    problems.add("b.yaml", "W1", "odd")
    console.report_problems(problems)
    assert capsys.readouterr().out.splitlines() == [
        "::error file=a%2Cb%3Ac%25.jsonl,line=3,title=E1::k: 100%25%0A::error::x. Fix: mend: it, now",
        "::warning file=b.yaml,title=W1::odd",
    ]


def test_at_most_fifty_annotations(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    problems = Problems()
    for _ in range(60):
        problems.add("a", "E1", "x")
    console.report_problems(problems)
    assert capsys.readouterr().out.count("::error") == 50


def test_a_runner_without_unicode_still_gets_its_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding="ascii"))
    problems = Problems()
    problems.add("資料.jsonl", "E1", "錯誤")
    console.report_problems(problems)
    sys.stdout.flush()
    assert out.getvalue().startswith(b"::error file=\\u8cc7")


# Progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    yield now


def work(items: Iterator[int], clock: list[float], seconds: float) -> list[int]:
    done = []
    for item in items:
        clock[0] += seconds
        done.append(item)
    return done


def test_short_work_shows_nothing(capsys: Capture, clock: list[float]) -> None:
    assert work(console.progress(range(1000), "rows"), clock, 0.0019) == list(range(1000))
    assert capsys.readouterr() == ("", "")


def test_long_work_shows_the_tenths_after_two_seconds(capsys: Capture, clock: list[float]) -> None:
    work(console.progress(iter(range(100)), "rows", total=100), clock, 0.1)
    assert capsys.readouterr().err.splitlines() == [f"  rows: {done}/100" for done in range(20, 101, 10)]


def test_a_few_slow_items_are_shown_one_by_one(capsys: Capture, clock: list[float]) -> None:
    work(console.progress([1, 2, 3], "models"), clock, 60)
    assert capsys.readouterr().err.splitlines() == ["  models: 1/3", "  models: 2/3", "  models: 3/3"]


def test_work_of_unknown_length_and_empty_work_pass_through(clock: list[float]) -> None:
    assert work(console.progress(iter([5, 6]), "rows"), clock, 9) == [5, 6]
    assert work(console.progress([], "rows"), clock, 9) == []


def test_an_error_in_the_work_passes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        list(console.progress((1 // n for n in (1, 0)), "rows", total=2))


def test_a_terminal_gets_a_bar() -> None:
    code = "from finetune.console import progress; assert list(progress([1, 2], '[rows]')) == [1, 2]"
    screen, terminal = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"}
    subprocess.run([sys.executable, "-c", code], stderr=terminal, env=environment, check=True)
    os.close(terminal)
    with os.fdopen(screen, "rb", 0) as reader:
        shown = reader.read(65536).decode("utf-8")
    assert "[rows]" in shown and "2/2" in shown
