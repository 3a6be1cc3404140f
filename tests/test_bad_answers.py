"""Bad answers, K1 to K12: refused by the hook with variable, rule and an accepted example, and nothing left on disk.

Further hostile answers, and what holds for any text, are in test_hostile_answers.py. One thing is out of a hook's
reach: an answer given as an argument in the template's own signs (description='<< 1/0 >>') is source code to
cookiecutter, which renders it before any hook runs. init_project.py, whose answers come from a file, refuses it (E219).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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
    ("K11 emoji", {"description": "routes \U0001f600"}, "description", "emoji"),
    ("K11 right to left", {"task_name": "\u05e0\u05ea\u05d1"}, "task_name", "lower case English letters"),
    ("K11 override", {"description": "routes \u202eevil"}, "description", "direction and invisible"),
    ("K12 commas", {"labels": "billing, shipping", "sample_data": "no"}, "labels", "commas do not separate"),
    ("K12 colon", {"labels": "a: one: two; b: three", "sample_data": "no"}, "labels", "second colon"),
    ("K12 hash", {"labels": "a#b: one; c: two", "sample_data": "no"}, "labels", "no label name"),
]


def answer(template: Path, output: Path, answers: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Cookiecutter as people run it."""
    command = [sys.executable, "-m", "cookiecutter", str(template), "--no-input", "--default-config", "-o", str(output)]
    given = [f"{name}={value}" for name, value in answers.items()]
    environment = {**os.environ, "PYTHONPATH": "", "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [*command, *given], capture_output=True, text=True, encoding="utf-8", env=environment, check=False
    )  # fmt: skip


@pytest.mark.parametrize(("case", "answers", "variable", "rule"), CASES, ids=[row[0] for row in CASES])
def test_a_bad_answer_gets_its_sentence_and_leaves_nothing(
    template: Path, tmp_path: Path, case: str, answers: dict[str, str], variable: str, rule: str
) -> None:
    output = tmp_path / "deep" / "output"
    output.mkdir(parents=True)
    answers = {name: value.format(outside=tmp_path / "outside") if case.startswith("K2") else value
               for name, value in answers.items()}  # fmt: skip
    done = answer(template, output, answers)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("  - ")]
    about = [line for line in lines if line.startswith(f"  - {variable}: ")]
    # An absolute path may also be too long for the Hub, where the temporary folder lies deep.
    assert about == lines or case.startswith("K2")
    assert all(". For example: " in line for line in lines)
    assert any(rule in line for line in about)
    assert "Traceback" not in done.stderr
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


def test_every_row_of_the_list_has_its_case() -> None:
    assert {case.split()[0] for case, *_ in CASES} == {f"K{number}" for number in range(1, 13)}
