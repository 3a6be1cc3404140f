"""The smoke file: laid over two configurations key by key, its own lines blamed, read by smoke runs alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from config_files import BENCHMARK, SMOKE, Make, pinned_repository, problems_of
from finetune.config.loading import merge
from finetune.config.project import load_project
from finetune.errors import Problem


@pytest.fixture
def root(make_project: Make) -> Path:
    return pinned_repository(make_project)


def lay(root: Path, text: str) -> list[Problem]:
    (root / SMOKE).write_text(text, encoding="utf-8")
    return problems_of(root, smoke=True)


def test_the_smoke_file_is_laid_over_both_configurations_key_by_key(root: Path) -> None:
    assert lay(root, "training:\n  optimiser: {epochs: 1}\nbenchmark:\n  quantisations: [f16]\n") == []
    plain, smoke = load_project(root), load_project(root, smoke=True)
    assert (plain.training.optimiser.epochs, smoke.training.optimiser.epochs) == (2.0, 1.0)
    assert smoke.training.optimiser.learning_rate == plain.training.optimiser.learning_rate
    assert smoke.benchmark.quantisations == ("f16",)
    assert smoke.smoke and not plain.smoke


def test_a_wrong_value_of_the_smoke_file_is_located_there(root: Path) -> None:
    found = lay(root, "training:\n  optimiser:\n    epochs: -1\n  lora: {rank: 3}\n")
    assert sorted((p.path, p.code, p.line, p.key) for p in found) == [
        (SMOKE, "E206", 4, "training.lora.rank"),
        (SMOKE, "E224", 3, "training.optimiser.epochs"),
    ]


def test_a_rule_across_files_blames_the_file_the_value_came_from(root: Path) -> None:
    lines = (root / BENCHMARK).read_text(encoding="utf-8").splitlines()
    assert [(p.path, p.code, p.line, p.key) for p in lay(root, "training:\n  max_length: 1024\n")] == [
        (BENCHMARK, "E226", lines.index("  context: 768") + 1, "generation.context")
    ]
    assert [(p.path, p.code, p.line, p.key) for p in lay(root, "benchmark:\n  generation:\n    context: 256\n")] == [
        (SMOKE, "E226", 3, "benchmark.generation.context")
    ]


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [("task: {language: en}\n", "E206", 1), ("training: 5\n", "E204", 1), ("benchmark:\n", "E204", 1)],
)
def test_other_sections_of_the_smoke_file_are_refused(root: Path, text: str, code: str, line: int) -> None:
    assert [(p.path, p.code, p.line) for p in lay(root, text)] == [(SMOKE, code, line)]


def test_the_smoke_file_is_read_only_for_smoke_runs(root: Path) -> None:
    (root / SMOKE).write_text("training: {no: such}\n", encoding="utf-8")
    assert problems_of(root) == []
    (root / SMOKE).unlink()
    assert [(p.path, p.code) for p in problems_of(root, smoke=True)] == [(SMOKE, "E221")]


def test_merge_goes_mapping_by_mapping_and_changes_neither_side() -> None:
    base, override = {"a": {"b": 1, "c": [1, 2]}, "d": 1}, {"a": {"c": [3]}, "d": {"e": 1}}
    assert merge(base, override) == {"a": {"b": 1, "c": [3]}, "d": {"e": 1}}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": 1} and override == {"a": {"c": [3]}, "d": {"e": 1}}
