"""One table of what is code, policy, recipe and data: CODEOWNERS, fingerprint and reports agree with it."""

from __future__ import annotations

import subprocess

import pytest
from pydantic import BaseModel

from finetune.config.benchmark import BenchmarkConfig
from finetune.config.task import TaskDefinition
from finetune.config.training import TrainingConfig
from finetune.github.train.checkout import is_input
from finetune.inventory import (
    BENCHMARK,
    FORK_FIXED,
    MEASURED,
    NOT_TRAINED,
    OWNED,
    PARTS,
    POLICY,
    READ_BY_STEPS,
    START,
    STEP_FOLDERS,
    STEPS,
    TASK,
    TRAINING,
    is_machinery,
    is_policy,
    kind_of,
    policy_sections,
    recipe,
)
from repository import ROOT

SCHEMAS: dict[str, type[BaseModel]] = {TASK: TaskDefinition, BENCHMARK: BenchmarkConfig, TRAINING: TrainingConfig}


def tracked() -> list[str]:
    found = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=False)
    files = [name for name in found.stdout.split("\0") if name]
    return files or [p.relative_to(ROOT).as_posix() for p in ROOT.rglob("*") if p.is_file() and ".git/" not in str(p)]


def test_codeowners_has_a_line_for_each_row_of_the_table_and_no_other() -> None:
    lines = (ROOT / ".github/CODEOWNERS").read_text(encoding="utf-8").splitlines()
    owned = [line.split()[0] for line in lines if line and not line.startswith("#")]
    assert owned == [f"/{name}" for name in OWNED]


def test_every_owned_path_is_told_by_its_name_or_by_its_keys() -> None:
    """So that the promise in CODEOWNERS holds: whoever has to approve a change finds it in the reports."""
    for name in OWNED:
        assert is_machinery(f"{name}x" if name.endswith("/") else name) or kind_of(name) == "policy"
    for path in (TASK, BENCHMARK, TRAINING):
        assert kind_of(path) == "policy" and POLICY[path]


def test_what_a_training_run_is_given_is_of_a_kind() -> None:
    given = [path for path in tracked() if is_input(path)]
    assert {*STEPS, START, TASK, BENCHMARK, TRAINING, *READ_BY_STEPS} <= set(given)
    assert [path for path in given if kind_of(path) is None] == []


def test_names_of_the_table_exist() -> None:
    for name in PARTS:
        if name not in ("tests/", "configs/tokenizer/"):  # an owner's folder, and one that is fetched
            assert (ROOT / name).exists(), name
    assert all((ROOT / "finetune" / folder).is_dir() for folder in STEP_FOLDERS)
    assert all((ROOT / name).is_file() for name in (*STEPS, START, *READ_BY_STEPS))


@pytest.mark.parametrize("path", SCHEMAS)
def test_every_key_of_the_table_is_one_of_the_schema(path: str) -> None:
    for key in filter(None, POLICY[path]):
        model: type[BaseModel] = SCHEMAS[path]
        *sections, last = key.split(".")
        for section in sections:
            annotation = model.model_fields[section].annotation
            assert isinstance(annotation, type) and issubclass(annotation, BaseModel)
            model = annotation
        assert last in model.model_fields, key
    assert {*(key.split(".")[0] for key in NOT_TRAINED), *FORK_FIXED} <= TrainingConfig.model_fields.keys()
    assert BenchmarkConfig.model_fields.keys() >= MEASURED


def test_the_recipe_is_what_the_adapter_depends_on() -> None:
    values = {"seed": 1, "checks": {}, "logging_steps": 5, "checkpoints": {"per_epoch": 2, "keep": 3}}
    assert recipe(values) == {"seed": 1, "checkpoints": {"per_epoch": 2}}
    assert recipe({"checkpoints": None}) == {"checkpoints": None}  # of a damaged manifest


def test_one_list_of_keys_serves_both_reports() -> None:
    assert policy_sections(BENCHMARK) is None and is_policy(BENCHMARK, "anything.at.all")
    assert policy_sections(TRAINING) == {"base_model": True, "checks": True}
    assert policy_sections(TASK)["metrics"] is True and policy_sections(TASK)["data"]["duplicates"] is True
    for key, policy in {
        "metrics": True,
        "metrics.threshold": True,
        "metrics[x].y": True,
        "metricsx": False,
        "data.duplicates": True,
        "data.balance": False,
        "output.labels[a].description": False,
    }.items():
        assert is_policy(TASK, key) == policy, key
    assert not is_policy("README.md", "x")


def test_the_longest_name_decides() -> None:
    assert (kind_of("configs/smoke_config.yaml"), kind_of("configs/accelerate/ddp.yaml")) == ("policy", "recipe")
    assert (kind_of("data/raw/a.jsonl"), kind_of("data/x"), kind_of("finetune"), kind_of("Makefile.bak")) == (
        "data",
        None,
        None,
        None,
    )
