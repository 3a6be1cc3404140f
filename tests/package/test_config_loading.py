"""Configuration files: what is wrong in them gets a code, a file and a line, all of it at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from config_files import BENCHMARK, TASK, TRAINING, Make, pinned_repository, problems_of
from finetune.config.project import Project, load_project
from finetune.errors import Problem

Change = Callable[..., list[Problem]]


@pytest.fixture
def root(make_project: Make) -> Path:
    return pinned_repository(make_project)


@pytest.fixture
def change(root: Path) -> Change:
    """`change(TRAINING, "  epochs: 2", "  epochs: .nan")` edits one line and returns (problems, its line number)."""

    def edit(name: str, old: str, new: str) -> Any:
        text = (root / name).read_text(encoding="utf-8")
        assert text.count(old + "\n") == 1, (old, text)
        line = text[: text.index(old + "\n")].count("\n") + 1
        (root / name).write_text(text.replace(old + "\n", new + "\n"), encoding="utf-8")
        return problems_of(root), line

    return edit


def test_the_unchanged_repository_loads(root: Path) -> None:
    assert problems_of(root) == []


def test_c1_a_rate_without_a_dot_is_a_number(root: Path) -> None:
    file = root / TRAINING
    text = file.read_text(encoding="utf-8").replace("learning_rate: 0.001", "learning_rate: 1e-4")
    file.write_text(text, encoding="utf-8")
    assert load_project(root).training.optimiser.learning_rate == 1e-4


@pytest.mark.parametrize(
    ("name", "old", "new", "code", "key"),
    [
        (TASK, "language: en", "language: no", "E201", "language"),
        (TRAINING, "  r: 4", "  r: 010", "E202", "lora.r"),
        (TRAINING, "  learning_rate: 0.001", "  learning_rate: .nan", "E203", "optimiser.learning_rate"),
        (TRAINING, "  epochs: 2", "  epochs: true", "E204", "optimiser.epochs"),
        (TRAINING, "  per_device: 4", "  per_device: 8.5", "E204", "batch.per_device"),
        (TRAINING, "  per_device: 4", '  per_device: "8"', "E204", "batch.per_device"),
        (TRAINING, "  epochs: 2", "  epochs:", "E204", "optimiser.epochs"),
        (TRAINING, "  epochs: 2", "  epochs: 2\n  epochs: 3", "E205", "optimiser.epochs"),
        (TRAINING, "  epochs: 2", "  epochs: 2\n  epochz: 3", "E206", "optimiser.epochz"),
        (TRAINING, "method: lora", "method: lora\ntrust_remote_code: true", "E206", "trust_remote_code"),
        (TASK, "task_name: small-task", "task_name: Small Task", "E204", "task_name"),
        (TASK, "task_name: small-task", "", "E215", "task_name"),
        (TRAINING, f"  revision: {'0' * 40!r}", "", "E215", "base_model.revision"),
        (TASK, "  max_chars: 400", "  max_chars: 0", "E224", "input.max_chars"),
        (TASK, "task_type: classification", "task_type: clasification", "E228", "task_type"),
        (TRAINING, "  id: models/base/tiny", "  id: ../../etc/passwd", "E223", "base_model.id"),
    ],
)  # fmt: skip
def test_c2_to_c8_a_wrong_value_is_named_with_file_line_and_key(
    change: Change, name: str, old: str, new: str, code: str, key: str
) -> None:
    problems, line = change(name, old, new)
    if code in ("E205", "E206"):
        line += 1  # the added line is the wrong one
    if code == "E215":  # what is missing stands nowhere: the section's own line, if it is in one
        line = line - 2 if "." in key else None
    assert [(p.path, p.code, p.line, p.key) for p in problems] == [(name, code, line, key)]


@pytest.mark.parametrize(
    ("old", "new", "near"),
    [
        ("optimiser:", "optimizer:", "optimiser"),
        ("  per_device: 4", "  per_devise: 4", "per_device"),
        ("  epochs: 2", "  epoch: 2", "epochs"),
        ("max_length: 512", "maxlength: 512", "max_length"),
    ],
)
def test_c8_an_unknown_key_gets_the_nearest_name(change: Change, old: str, new: str, near: str) -> None:
    problems, line = change(TRAINING, old, new)
    unknown = [p for p in problems if p.code == "E206"]
    assert [(p.path, p.line) for p in unknown] == [(TRAINING, line)]
    assert unknown[0].fix == f"did you mean {near}?"


def test_c8_an_unknown_key_in_a_list_gets_the_nearest_name(change: Change) -> None:
    problems, line = change(TASK, "  - name: billing", "  - nam: billing")
    found = [(p.code, p.line, p.key, p.fix) for p in problems]
    assert ("E206", line, "output.labels.0.nam", "did you mean name?") in found


def test_c25_trust_remote_code_is_refused_with_the_reason(change: Change) -> None:
    problems, _ = change(TRAINING, "  id: models/base/tiny", "  id: models/base/tiny\n  trust_remote_code: true")
    assert [p.code for p in problems] == ["E206"]
    assert "never run" in problems[0].message


def test_c22_a_missing_file_is_named_with_the_nearest_name(root: Path) -> None:
    (root / TRAINING).rename(root / "configs" / "training_config.yml")
    assert [(p.path, p.code, p.fix) for p in problems_of(root)] == [
        (TRAINING, "E221", "did you mean training_config.yml?")
    ]


def test_c22_a_folder_and_a_pipe_are_no_files(root: Path) -> None:
    (root / TASK).unlink()
    (root / TASK).mkdir()
    (root / TRAINING).unlink()
    os.mkfifo(root / TRAINING)  # opening it would wait for ever
    assert [(p.path, p.code) for p in problems_of(root)] == [(TASK, "E221"), (TRAINING, "E221")]


def test_a_repository_that_lost_its_files_names_them(root: Path) -> None:
    for name in (TASK, BENCHMARK):
        (root / name).unlink()
    assert [(p.path, p.code) for p in problems_of(root)] == [(TASK, "E221"), (BENCHMARK, "E221")]


def test_a_folder_that_is_no_repository_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    missing = problems_of(folder)
    folder.mkdir()
    empty = problems_of(folder)
    assert [(p.path, p.code) for p in (*missing, *empty)] == [(TASK, "E247")] * 2
    assert missing[0].message == f"no task repository here: {folder} is no folder"
    assert empty[0].message == f"no task repository here: {folder} has no task_definition.yaml"
    assert empty[0].fix == "cd into the repository that was generated, or name it with --project DIR"
    (folder / "task_definiton.yaml").write_text("task_name: x\n", encoding="utf-8")
    assert problems_of(folder)[0].fix.startswith("rename task_definiton.yaml to task_definition.yaml")


@pytest.mark.parametrize("below", ["scripts", "data/raw"])
def test_a_folder_inside_a_repository_names_the_root(root: Path, monkeypatch: pytest.MonkeyPatch, below: str) -> None:
    (root / below).mkdir(parents=True, exist_ok=True)
    (problem,) = problems_of(root / below)
    assert problem.code == "E247" and problem.fix == f"the repository is {root}: cd {root}, or use --project with it"
    monkeypatch.chdir(root / below)
    (problem,) = problems_of(Path("."))
    assert problem.fix == f"the repository is {root}: cd {'/'.join('..' for _ in Path(below).parts)}"


def test_the_problems_of_all_files_come_at_once(root: Path) -> None:
    for name, old, new in (
        (TASK, "language: en", "language: no"),
        (TASK, "version: 1", "version: 1\nstatos: draft"),
        (TRAINING, "  epochs: 2", "  epochs: -1"),
        (TRAINING, "  r: 4", "  r: four"),
        (BENCHMARK, "  train: 0.6", "  train: 0.7"),
    ):
        text = (root / name).read_text(encoding="utf-8")
        assert old in text
        (root / name).write_text(text.replace(old, new, 1), encoding="utf-8")
    found = problems_of(root)
    assert sorted((p.path, p.code) for p in found) == sorted(
        [(TASK, "E201"), (TASK, "E206"), (TRAINING, "E224"), (TRAINING, "E204"), (BENCHMARK, "E224")]
    )
    assert all(p.line for p in found)


def test_a_refused_value_is_reported_once(change: Change) -> None:
    problems, _ = change(TRAINING, "version: 1", "version: 1\nseed: no")
    assert [p.code for p in problems] == ["E201"]


# Anything else: a coded, located problem, never a traceback

KEYS = st.sampled_from(["version", "task_name", "output", "labels", "metrics", "hub", "data", "no", "x\ny", "::error"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
BOUNDED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def assert_every_file_is_judged(root: Path) -> None:
    for name in (TASK, TRAINING, BENCHMARK):
        found = [p for p in problems_of(root) if p.path == name]
        assert all(p.code[0] == "E" and p.code[1:].isdigit() and "\n" not in str(p) for p in found)


@BOUNDED
@given(st.binary(max_size=60) | st.text(alphabet="ab:-[]{}&*!%@`'\"\\#|>?,~\t\n 0.e1\ufeff\x85\u2028", max_size=40))
@example('"\\U00110000"')
@example("%YAML 1.1\n---\n")
@example("? \n: 1")
@example("a: !<tag:x> 1")
def test_no_bytes_make_a_traceback(root: Path, content: bytes | str) -> None:
    data = content if isinstance(content, bytes) else content.encode("utf-8")
    for name in (TASK, TRAINING, BENCHMARK):
        (root / name).write_bytes(data)
    assert {p.path for p in problems_of(root)} == {TASK, TRAINING, BENCHMARK}
    assert_every_file_is_judged(root)


@BOUNDED
@given(st.sampled_from([TASK, TRAINING, BENCHMARK]), st.data())
def test_no_value_at_any_key_makes_a_traceback(make_project: Callable[..., Project], name: str, data: Any) -> None:
    root = make_project().paths.root
    values = yaml.safe_load((root / name).read_text(encoding="utf-8"))
    parent = values
    while True:
        key = data.draw(st.sampled_from(sorted(parent)))
        if not isinstance(parent[key], dict) or data.draw(st.booleans()):
            break
        parent = parent[key]
    parent[key] = data.draw(VALUES)
    text = yaml.safe_dump(values, allow_unicode=True)
    (root / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    assert_every_file_is_judged(root)
