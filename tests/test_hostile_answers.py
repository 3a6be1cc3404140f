"""Answers that would break or escape the repository: refused with their sentence, nothing left on disk.

K1 to K12 as people meet them, on the command line, are in test_bad_answers.py; here are further ones and any text.
"""

from __future__ import annotations

import os
import string
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import Bake, BakedProject
from test_hooks import pre

HOSTILE = [
    ("K2", {"task_name": "/tmp/llm-ft-template-abs"}, "task_name"),
    ("K5 blank", {"task_name": "   "}, "task_name"),
    ("K6 newline", {"task_name": "a\npermissions: write-all"}, "task_name"),
    ("K6 description", {"description": 'a"\npermissions: write-all'}, "description"),
    ("K7", {"task_name": "${{ github.event.issue.title }}"}, "task_name"),
    ("K9 name", {"task_name": "n" * 300}, "task_name"),
    ("K11 emoji", {"task_name": "router\U0001f600"}, "task_name"),
    ("K12 colon", {"labels": "a: b: c; d: e", "sample_data": False}, "labels"),
    ("dot dot", {"task_name": ".."}, "task_name"),
    ("backslash", {"task_name": "a\\b"}, "task_name"),
    ("space", {"task_name": "my task"}, "task_name"),
    ("upper case", {"task_name": "Router"}, "task_name"),
    ("double hyphen", {"task_name": "a--b"}, "task_name"),
    ("outer hyphen", {"task_name": "ab-"}, "task_name"),
    ("one letter", {"task_name": "a"}, "task_name"),
    ("option", {"task_name": "--help"}, "task_name"),
    ("device", {"task_name": "com1"}, "task_name"),
    ("null byte", {"description": "a\0b"}, "description"),
    ("comment", {"description": "<!-- results:start -->"}, "description"),
    ("long description", {"description": "x" * 201}, "description"),
    ("empty description", {"description": ""}, "description"),
    ("zero width", {"labels": "a\u200bb: c; d: e", "sample_data": False}, "labels"),
    ("same label twice", {"labels": "Yes: a; yes: b", "sample_data": False}, "labels"),
    ("one label", {"labels": "yes: a", "sample_data": False}, "labels"),
    ("no labels", {"labels": "-", "sample_data": False}, "labels"),
    ("labels of generation", {"task_type": "generation", "labels": "a: b"}, "labels"),
    ("other labels than the sample", {"labels": "yes: a; no: b"}, "sample_data"),
    ("metric of another type", {"primary_metric": "rouge_l"}, "primary_metric"),
    ("metric of another type 2", {"task_type": "generation", "primary_metric": "accuracy"}, "primary_metric"),
    ("threshold 0", {"threshold": "0"}, "threshold"),
    ("threshold above 1", {"threshold": "1.5"}, "threshold"),
    ("threshold nan", {"threshold": "nan"}, "threshold"),
    ("threshold words", {"threshold": "0.8\nx: 1"}, "threshold"),
    ("namespace path", {"hub_namespace": "a/b"}, "hub_namespace"),
    ("namespace dots", {"hub_namespace": "a..b"}, "hub_namespace"),
    ("namespace empty", {"hub_namespace": ""}, "hub_namespace"),
    ("namespace yaml", {"hub_namespace": "x: y"}, "hub_namespace"),
    ("owners empty", {"code_owners": ""}, "code_owners"),
    ("owners without @", {"code_owners": "me"}, "code_owners"),
    ("owners email", {"code_owners": "me@example.org"}, "code_owners"),
    ("owners comma", {"code_owners": "@me, @you"}, "code_owners"),
    ("owners line", {"code_owners": "@me\n* @mallory"}, "code_owners"),
    ("owners path", {"code_owners": "@me * @mallory"}, "code_owners"),
    ("owners deep team", {"code_owners": "@org/team/other"}, "code_owners"),
    ("owners hyphens", {"code_owners": "@a--b"}, "code_owners"),
    ("owners many", {"code_owners": " ".join(["@me"] * 11)}, "code_owners"),
    ("owners long", {"code_owners": "@" + "a" * 101}, "code_owners"),
    ("owners expression", {"code_owners": "@${{ github.actor }}"}, "code_owners"),
]


def everything_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize(("answers", "variable"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_refused_with_nothing_left_on_disk(
    bake: Bake, tmp_path: Path, capfd: pytest.CaptureFixture[str], answers: dict[str, Any], variable: str
) -> None:
    from cookiecutter.exceptions import FailedHookException

    output = tmp_path / "deep" / "deeper" / "output"
    output.mkdir(parents=True)
    with pytest.raises(FailedHookException):
        bake(output=output, **answers)
    assert everything_in(tmp_path / "deep") == ["deeper", "deeper/output"]
    assert not Path("/tmp/llm-ft-template-abs").exists()
    error = capfd.readouterr().err
    line = next(line for line in error.splitlines() if line.startswith(f"  - {variable}: "))
    assert ". For example: " in line and "Traceback" not in error


def test_command_line_exits_1_with_the_sentence(template: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cookiecutter", str(template), "--no-input", "--default-config"]
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "out"), "task_name=a/b", "threshold=2"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ""},
        check=False,
    )
    assert done.returncode == 1
    assert "task_name: 'a/b'" in done.stderr and "threshold: '2'" in done.stderr and "Traceback" not in done.stderr
    assert everything_in(tmp_path / "out") == [] if (tmp_path / "out").exists() else True


@pytest.mark.parametrize("variable", ["task_type", "language", "preset", "license"])
def test_choices_are_closed(bake: Bake, tmp_path: Path, variable: str) -> None:
    with pytest.raises(ValueError, match="but the choices are"):
        bake(output=tmp_path / "out", **{variable: "other"})
    assert not (tmp_path / "out").exists()


ANY_TEXT = st.text(max_size=40) | st.text(alphabet=string.printable + "：；，「」\u202e\u200b😀", max_size=40)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_the_hook_accepts_is_safe_in_yaml(questions: dict[str, Any], data: st.DataObject) -> None:
    """Any text in any variable is refused, or one line that every rendered file can hold."""
    text = data.draw(ANY_TEXT)
    given_answers = {
        **questions,
        "task_type": "classification",
        "language": "en",
        "sample_data": False,
        "threshold": "0.8",
        "primary_metric": "macro_f1",
        "labels": "a: one; b: two",
        "description": "ok",
        "__asked_name": "ok-name",
    }
    variables = ["__asked_name", "description", "labels", "threshold", "hub_namespace", "code_owners"]
    variable = data.draw(st.sampled_from(variables))
    if pre.find_problems({**given_answers, variable: text}):
        return
    assert text.isprintable() and (variable == "labels" or not set(text) & set("<>{}"))
    quoted = "'" + text.strip().replace("'", "''") + "'"
    assert yaml.safe_load(f"x: {quoted}\ny: 1\n") == {"x": text.strip(), "y": 1}


ODD_TEXT = st.text(alphabet="ab '\"\\#:;,|-&*!%@`[]?~=.：；「」é好", min_size=1, max_size=30)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(description=ODD_TEXT, first=ODD_TEXT)
def test_accepted_text_keeps_every_file_well_formed(
    bake: Bake, tmp_path_factory: pytest.TempPathFactory, questions: dict[str, Any], description: str, first: str
) -> None:
    answers = {"description": description, "labels": f"one: {first}; two: the other", "sample_data": False}
    defaults = {"task_type": "classification", "language": "en", "primary_metric": "macro_f1", "threshold": "0.8"}
    if pre.find_problems({**questions, **defaults, **answers, "__asked_name": "ticket-router"}):
        return
    project: BakedProject = bake(output=tmp_path_factory.mktemp("odd"), **answers)
    task = project.load().task
    assert task.description == description.strip()
    # Not `first` itself: an empty part after its last semicolon is no label.
    assert [(label.name, label.description) for label in task.output.labels] == pre.parse_labels(answers["labels"])
    assert yaml.safe_load(project.text("CITATION.cff"))["abstract"] == description.strip()
