"""Bad answers, K1 to K12: refused by the hook with variable, rule and an accepted example, and nothing left on disk.

Further hostile answers, and what holds for any text, are in test_hostile_answers.py. One thing is out of a hook's
reach: an answer given as an argument in the template's own signs (description='<< 1/0 >>') is source code to
cookiecutter, which renders it before any hook runs. init_project.py, whose answers come from a file, refuses it (E254).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT
from finetune.config.project import load_project
from test_hooks import pre

CASES: list[tuple[str, dict[str, str], str, str]] = [
    ("K1 parent folders", {"task_name": "../../evil"}, "task_name", "lower case English letters"),
    ("K2 absolute path", {"task_name": "{outside}"}, "task_name", "lower case English letters"),
    ("K3 two folders", {"task_name": "a/b"}, "task_name", "lower case English letters"),
    ("K4 .git", {"task_name": ".git"}, "task_name", "lower case English letters"),
    ("K5 empty", {"task_name": ""}, "task_name", "2 to 63"),
    ("K6 quote", {"task_name": 'a"b'}, "task_name", "lower case English letters"),
    ("K6 line break", {"description": "one\nversion: 2"}, "description", "line breaks"),
    ("K7 expression", {"description": "${{ github.event.issue.title }}"}, "description", "mean something to templates"),
    ("K8 division", {"description": "{{ 1/0 }}"}, "description", "mean something to templates"),
    ("K8 raw", {"description": "{% raw %}"}, "description", "mean something to templates"),
    ("K9 long id", {"hub_namespace": "n" * 90}, "hub_namespace", "the Hub allows 96"),
    ("K10 keyword", {"task_name": "class"}, "task_name", "reserved by Python"),
    ("K10 soft keyword", {"task_name": "match"}, "task_name", "reserved by Python"),
    ("K10 digit first", {"task_name": "1st-task"}, "task_name", "a letter first"),
    ("K11 emoji", {"task_name": "router-\U0001f600"}, "task_name", "lower case English letters"),
    ("K11 right to left", {"task_name": "\u05e0\u05ea\u05d1"}, "task_name", "lower case English letters"),
    ("K11 override", {"description": "routes \u202eevil"}, "description", "direction and invisible"),
    ("K12 commas", {"labels": "billing, shipping", "sample_data": "no"}, "labels", "commas do not separate"),
    ("K12 colon", {"labels": "a: one: two; b: three", "sample_data": "no"}, "labels", "second colon"),
    ("K12 full-width", {"labels": "帳務，物流", "sample_data": "no"}, "labels", "commas do not separate"),
]


def answer(template: Path, output: Path, answers: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Cookiecutter as people run it."""
    command = [sys.executable, "-m", "cookiecutter", str(template), "--no-input", "--default-config", "-o", str(output)]
    return run([*command, *(f"{name}={value}" for name, value in answers.items())])


def run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    full = {**os.environ, "PYTHONPATH": "", "PYTHONIOENCODING": "utf-8", "COLUMNS": "200", **environment}
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=full, check=False)


@pytest.mark.parametrize(("case", "answers", "variable", "rule"), CASES, ids=[row[0] for row in CASES])
def test_a_bad_answer_gets_its_sentence_and_leaves_nothing(
    template: Path, tmp_path: Path, case: str, answers: dict[str, str], variable: str, rule: str
) -> None:
    output = tmp_path / "deep" / "output"
    output.mkdir(parents=True)
    answers = {
        name: value.format(outside=tmp_path / "outside") if case.startswith("K2") else value
        for name, value in answers.items()
    }
    done = answer(template, output, answers)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("  - ")]
    about = [line for line in lines if line.startswith(f"  - {variable}: ")]
    # An absolute path may also be too long for the Hub, where the temporary folder lies deep.
    assert about == lines or case.startswith("K2")
    assert all(". For example: " in line for line in lines)
    assert any(rule in line for line in about)
    # Not of the hook, and not of cookiecutter, whose 2.7 would show one below the message.
    assert "Traceback" not in done.stderr + done.stdout
    # cookiecutter itself keeps the last answers in the home folder, for --replay.
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert {path for path in left if not path.startswith("home")} == {"deep", "deep/output"}


@pytest.mark.parametrize("case", ["task_name", "description", "hub_namespace", "labels"])
def test_the_accepted_example_of_a_sentence_is_accepted(template: Path, tmp_path: Path, case: str) -> None:
    wrong = {"labels": "billing, shipping"}.get(case, "{{ 1/0 }}")
    extra = {"sample_data": "no"}
    done = answer(template, tmp_path / "first", {case: wrong, **extra})
    line = next(line for line in done.stderr.splitlines() if line.startswith(f"  - {case}: "))
    example = line.split(". For example: ")[1]
    again = answer(template, tmp_path / "second", {case: example, **extra})
    assert again.returncode == 0, again.stderr
    assert len(list((tmp_path / "second").iterdir())) == 1


TYPED = {
    "description": '把客戶的 $HOME 分給「誰」; it\'s `x` \\ "y" 😀',
    "labels": "正面：好；負面：壞",
    "sample_data": "no",
    "threshold": "2",
    "code_owners": "@an-org/models @me",
}


def test_a_refused_answer_is_shown_as_it_was_typed(template: Path, tmp_path: Path) -> None:
    done = answer(template, tmp_path, {**TYPED, "description": TYPED["description"] + "\u202e", "threshold": "２"})
    assert f"description: '{TYPED['description']}<U+202E>'" in done.stderr
    assert "threshold: '２'" in done.stderr and "\\u" not in done.stderr and "\u202e" not in done.stderr


def command_in(message: str) -> str:
    """The command to try again, which a person would copy."""
    return message.split("change what is wrong, and run it.\n\n")[1].split("\n\n")[0]


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_command_to_try_again_works_once_the_fault_is_gone(template: Path, tmp_path: Path, shell: str) -> None:
    command = command_in(answer(template, tmp_path / "out", TYPED).stderr)
    again = run([shell, "-c", command])
    assert again.returncode == 1 and command_in(again.stderr) == command
    done = run([shell, "-c", command.replace("threshold=2", "threshold=0.9")])
    assert done.returncode == 0, done.stderr
    task = load_project(tmp_path / "out" / "ticket-router").task
    assert task.description == TYPED["description"] and task.label_names == ("正面", "負面")
    assert "@an-org/models @me" in (tmp_path / "out/ticket-router/.github/CODEOWNERS").read_text(encoding="utf-8")


def test_an_answer_in_the_templates_own_signs_is_text_in_the_command(template: Path, tmp_path: Path) -> None:
    """Typed at a question it is text; as an argument it would be source code."""
    signs = {"labels": "a<<b: one <% x; c<#d: two", "description": "1 << 2", "sample_data": False, "threshold": "0.8"}
    given = {name: pre.as_template(value) if isinstance(value, str) else value for name, value in signs.items()}
    command = command_in(answer(template, tmp_path / "out", given).stderr)
    done = run(["bash", "-c", re.sub("[\"']?description=.*", "description=fine \\\\", command)])
    assert done.returncode == 0, done.stderr
    assert load_project(tmp_path / "out" / "ticket-router").task.label_names == ("a<<b", "c<#d")


def test_cruft_ends_with_the_message_too_and_its_command_works(template: Path, tmp_path: Path) -> None:
    source = tmp_path / "template"
    shutil.copytree(template, source)
    for git in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "template"]):
        subprocess.run(["git", "-C", str(source), *git], check=True)
    cruft = [sys.executable, "-m", "cruft", "create", str(source), "--output-dir", str(tmp_path / "out"), "-y"]
    done = run([*cruft, "--extra-context", json.dumps(TYPED)])
    assert done.returncode and "Traceback" not in done.stderr + done.stdout
    assert not (tmp_path / "out" / "ticket-router").exists()
    again = run(["sh", "-c", command_in(done.stderr).replace('"threshold": "2"', '"threshold": "0.9"')])
    assert again.returncode == 0, again.stderr
    assert load_project(tmp_path / "out" / "ticket-router").task.label_names == ("正面", "負面")
    assert (tmp_path / "out" / "ticket-router" / ".cruft.json").exists()


CALLS = [
    (
        ["/usr/bin/python3", "/usr/local/bin/cookiecutter", "gh:o/t", "-o", "x"],
        {},
        "cookiecutter gh:o/t -o x --no-input",
    ),
    (
        ["python", "/h/.cache/uv/archive-v0/A/bin/cookiecutter", "t", "license=mit"],
        {"UV": "/b/uv"},
        "uvx cookiecutter t",
    ),
    (["python", "/h/.local/pipx/.cache/A/bin/cruft", "create", "t", "-y"], {}, "pipx run cruft create t --no-input"),
    (["python3.11", "-I", "-m", "cookiecutter", "t", "--replay-file", "r"], {}, "python3.11 -I -m cookiecutter t --no"),
    (["python", "-m", "cruft", "create", "t", "--extra-context", "{}"], {}, "python -m cruft create t --no-input"),
    (["python", "/opt/bin/cookiecutter", "t"], {"PATH": ""}, "/opt/bin/cookiecutter t --no-input"),
    (["python", "-m", "cruft", "update"], {}, ""),
    (["python", "/opt/bin/pytest", "cookiecutter"], {}, ""),
    (["make", "cookiecutter"], {}, ""),
    ([], {}, ""),
]


@pytest.mark.parametrize(("caller", "environment", "start"), CALLS)
def test_the_command_starts_as_the_user_started(
    tmp_path: Path,
    questions: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caller: list[str],
    environment: dict[str, str],
    start: str,
) -> None:
    tools = ["uvx", "pipx"] if start.startswith(("uvx", "pipx")) else ["cookiecutter"]
    for tool in tools:
        (tmp_path / tool).touch(mode=0o755)
    if start.startswith("pipx"):
        (tmp_path / "uvx").unlink()
    path = environment.get("PATH", str(tmp_path))
    monkeypatch.setenv("PATH", path)
    answers = {name: value[0] if isinstance(value, list) else value for name, value in questions.items()}
    command = pre.try_again(answers, caller, {"PATH": path, **environment})
    assert command.startswith(start) and bool(command) == bool(start)
    assert command.count("license") == bool(command)


def test_only_cookiecutter_and_cruft_themselves_are_stopped() -> None:
    """What bakes through the library gets the exit code of the hook, and no signal."""
    assert [pre.calling_tool(caller) is not None for caller, _, _ in CALLS] == [True] * 7 + [False] * 3


def test_an_old_cookiecutter_is_told_which_one_is_needed(tmp_path: Path) -> None:
    """Before 2.6 the hook runs with its literal as it stands."""
    done = run([sys.executable, str(ROOT / "hooks" / "pre_gen_project.py")])
    assert done.returncode == 1 and "needs cookiecutter 2.6 or newer" in done.stderr and "uvx" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_row_of_the_list_has_its_case() -> None:
    assert {case.split()[0] for case, *_ in CASES} == {f"K{number}" for number in range(1, 13)}
