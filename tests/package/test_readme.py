"""README's table of the task says what the configurations say, and scripts/checklist.py keeps it so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune.config.project import load_project
from finetune.evidence.checklist import update
from finetune.evidence.facts import Facts
from finetune.evidence.readme import task_table
from finetune.evidence.registry import EVIDENCE

EMPTY = "# x\n\n<!-- task:start {} -->\nold\n<!-- task:end -->\n\nscripts/03_train.py small-task mine\n"


def edited(root: Path, **values: object) -> None:
    file = root / "task_definition.yaml"
    changed = {**yaml.safe_load(file.read_text(encoding="utf-8")), **values}
    file.write_text(yaml.safe_dump(changed, allow_unicode=True), encoding="utf-8")


@pytest.mark.parametrize(("language", "words"), [("en", "is at least"), ("zh-TW", "測試集上")])
def test_checklist_writes_the_table_and_only_that(make_project: Callable[..., Any], language: str, words: str) -> None:
    root = make_project("classification").paths.root
    readme = root / "README.md"
    readme.write_bytes(EMPTY.format(language).replace("\n", "\r\n").encode())
    facts = Facts(root)
    assert EVIDENCE["readme"](facts).status == "failed"
    update(root)
    text = readme.read_bytes().decode("utf-8")
    assert words in text and "old" not in text and text.count("\n") == text.count("\r\n")
    assert text.endswith("mine\r\n") and EVIDENCE["readme"](Facts(root)).status == "done"
    edited(root, license="MIT")
    assert EVIDENCE["readme"](Facts(root)).status == "failed"
    update(root)
    assert "| mit |" in readme.read_bytes().decode("utf-8")


def test_readme_without_markers_or_of_a_smoke_run_is_left_alone(make_project: Callable[..., Any]) -> None:
    root = make_project("classification").paths.root
    for content in (b"# mine\n", b"\xff\xfe broken", EMPTY.format("en").encode()):
        (root / "README.md").write_bytes(content)
        update(root, smoke=content.startswith(b"# x"))
        assert (root / "README.md").read_bytes() == content


def test_many_labels_are_counted_and_a_local_model_is_no_link(make_project: Callable[..., Any]) -> None:
    root = make_project("classification").paths.root
    labels = [{"name": f"label-{n}", "description": f"number {n}"} for n in range(23)]
    output = {**yaml.safe_load((root / "task_definition.yaml").read_text())["output"], "labels": labels}
    edited(root, output={**output, "example": "label-0"})
    table = task_table(load_project(root), chinese=False)
    assert "`label-19` … and 3 more |" in table and "label-20" not in table
    assert "另有 3 個" in task_table(load_project(root), chinese=True)
    assert "huggingface.co/models/" not in table
