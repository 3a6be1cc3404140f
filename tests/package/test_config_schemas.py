"""What holds for all configuration schemas: frozen, documented, in the user's words, and consistent between files."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from pydantic import ValidationError

from config_files import BENCHMARK, TASK, TRAINING, Make, refused
from finetune.config.task_defaults import METRICS
from finetune.errors import BadInput


@pytest.mark.parametrize("task_type", list(METRICS))
def test_each_task_type_loads_frozen(make_project: Make, task_type: str) -> None:
    project = make_project(task_type)
    assert project.task.task_type == task_type
    with pytest.raises(ValidationError, match="frozen"):
        project.task.metrics.threshold = 0.1


@pytest.mark.parametrize("seed", [-1, 2**32, None, True, 1.0, "7"])
def test_c29_a_seed_that_a_generator_would_refuse(make_project: Make, seed: object) -> None:
    assert refused(make_project, training={"seed": seed}, benchmark={"bootstrap": {"seed": seed}}) == [
        (TRAINING, "E227", "seed"),
        (BENCHMARK, "E227", "bootstrap.seed"),
    ]


def test_c29_the_largest_seed_is_accepted_and_a_missing_one_is_fixed(make_project: Make, tmp_path: Path) -> None:
    assert make_project(training={"seed": 2**32 - 1}).training.seed == 2**32 - 1
    assert make_project(root=tmp_path / "other").training.seed == make_project(root=tmp_path / "third").training.seed


@pytest.mark.parametrize("threshold", [0, 0.0, -0.5, 1.01, 80])
def test_c30_a_threshold_that_passes_everything_or_nothing(make_project: Make, threshold: float) -> None:
    found = refused(
        make_project, task={"metrics": {"threshold": threshold}}, benchmark={"thresholds": {"accuracy": threshold}}
    )
    assert found == [(TASK, "E228", "metrics.threshold"), (BENCHMARK, "E228", "thresholds.accuracy")]


def test_c28_lengths_of_the_three_files_fit_together(make_project: Make) -> None:
    found = refused(make_project, training={"max_length": 1024}, benchmark={"generation": {"context": 512}})
    assert found == [(BENCHMARK, "E226", "generation.context")]
    found = refused(make_project, task={"output": {"max_new_tokens": 512}}, training={"max_length": 512})
    assert found == [(TRAINING, "E226", "max_length")]


def test_messages_speak_the_users_language(make_project: Make) -> None:
    with pytest.raises(BadInput) as failure:
        make_project(
            task={"output": {"labels": ["a"]}, "hub": [1]},
            training={"max_length": 1.5, "device": "gpu", "lora": {"r": "x"}},
            benchmark={"baselines": "majority", "splits": None},
        )
    text = str(failure.value)
    for wanted in ("a whole number", "a list", "key: value pairs", "an empty value"):
        assert wanted in text
    for ours in ("tuple", "dict", "instance", "Named", "None", "Input should"):
        assert ours not in text


@pytest.mark.parametrize("name", ["task", "training", "benchmark"])
def test_every_section_is_documented(name: str) -> None:
    module = importlib.import_module(f"finetune.config.{name}")
    sections = [item for item in vars(module).values() if isinstance(item, type) and item.__module__ == module.__name__]
    assert sections and [section.__name__ for section in sections if not section.__doc__] == []


@pytest.mark.parametrize(("context", "enough"), [(512, False), (512 + 8 - 1, False), (512 + 8, True)])
def test_the_context_holds_the_longest_row_and_the_longest_answer(
    make_project: Make, context: int, enough: bool
) -> None:
    benchmark = {"generation": {"context": context}}
    if enough:
        make_project(benchmark=benchmark)
    else:
        assert refused(make_project, benchmark=benchmark) == [(BENCHMARK, "E226", "generation.context")]
