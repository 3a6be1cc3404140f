"""This task's own files: they load, the data passes step 01, the prompt names every label. Base install, seconds.

`make test` runs it, and ci with every change. Tests of your own go into other files beside it: a later version of the
template may bring a newer one of this.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from finetune import remedies
from finetune.config.project import Project, load_project
from finetune.console import guarded
from finetune.data.chat_format import system_text
from finetune.data.stage import validate
from finetune.errors import OK
from finetune.evidence.readme import replace_task

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def project() -> Project:
    """task_definition.yaml and the files of configs/; what is wrong with one is said with file and key."""
    remedies.use(ROOT)
    return load_project(ROOT)


def test_the_data_passes_step_01(project: Project, tmp_path: Path) -> None:
    """Over a copy, so that no report of yours is replaced."""
    if not any(project.paths.raw.glob("*.jsonl")):
        pytest.skip("no rows in data/raw yet")
    for name in ("configs", "data/raw"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copyfile(project.paths.task_definition, tmp_path / "task_definition.yaml")
    assert guarded(lambda: validate(load_project(tmp_path))) == OK, "its problems stand below, as of make validate"


def test_the_prompt_names_every_label_or_type(project: Project) -> None:
    prompt = system_text(project.task)
    names = [*project.task.label_names, *project.task.entity_type_names]
    assert [name for name in names if name not in prompt] == []
    assert "{labels}" not in prompt and "{entity_types}" not in prompt


def test_the_smoke_run_is_the_same_task_on_a_cpu(project: Project) -> None:
    smoke = load_project(ROOT, smoke=True)
    assert smoke.task == project.task and smoke.benchmark.splits == project.benchmark.splits
    assert smoke.training.device == "cpu" and smoke.paths.adapter != project.paths.adapter


def test_the_table_of_readme_is_that_of_the_configuration(project: Project) -> None:
    text = (ROOT / "README.md").read_bytes().decode("utf-8")
    assert replace_task(text, project) in (text, None), "run: make checklist"
