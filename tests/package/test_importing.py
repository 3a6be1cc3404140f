"""Files as each tool writes them → data/raw: the same rows come back, and step 01 accepts them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import exports
import exports_spans
from conftest import raw_rows
from finetune.console import run
from finetune.data.stage import validate
from finetune.importing.command import import_data

DEFAULTS: dict[str, Any] = {
    "input": "",
    "label": "",
    "id": "",
    "group": "",
    "map_label": None,
    "sheet": "",
    "name": "",
    "encoding": "",
    "delimiter": "",
    "header": None,
    "offsets": "",
    "strict": False,
    "partial": False,
    "dry_run": False,
}
WRITERS = {
    "classification": exports.CLASSIFICATION,
    "extraction": exports_spans.EXTRACTION,
    "generation": exports.GENERATION,
}
CASES = [(task_type, form) for task_type, writers in WRITERS.items() for form in writers]


def importing(root: Path, *files: Path, **options: Any) -> int:
    return run(import_data, project=root, files=list(files), **(DEFAULTS | options))


def written(root: Path, name: str) -> list[dict[str, Any]]:
    lines = (root / "data" / "raw" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture
def empty(make_project):
    """A repository without data; `empty("extraction")` is one of another task."""

    def make(task_type: str = "classification", **parts: Any) -> Path:
        project = make_project(task_type, **parts)
        (project.paths.raw / "rows.jsonl").unlink()
        return project.paths.root

    return make


@pytest.mark.parametrize(("task_type", "form"), CASES, ids=[f"{t}-{n}" for t, n in CASES])
def test_rows_come_back_from_every_form_and_pass_step_01(empty, tmp_path, capsys, task_type: str, form: str) -> None:
    root, rows = empty(task_type), raw_rows(task_type)
    writers = {
        "classification": exports.CLASSIFICATION,
        "extraction": exports_spans.EXTRACTION,
        "generation": exports.GENERATION,
    }
    source = writers[task_type][form](tmp_path, rows)
    assert importing(root, source, name="rows") == 0, capsys.readouterr().err
    found = written(root, "rows")
    assert [{key: row[key] for key in rows[0]} for row in found] == rows
    assert run(validate, project=root) == 0, capsys.readouterr().err
    said = capsys.readouterr().err
    assert "all 60 records can be taken" in said and f"wrote data/raw/rows.jsonl: {len(rows)} rows" in said
    before = (root / "data" / "raw" / "rows.jsonl").read_bytes()
    assert importing(root, source, name="rows") == 0
    assert "is up to date" in capsys.readouterr().err
    assert (root / "data" / "raw" / "rows.jsonl").read_bytes() == before
    assert [file.name for file in (root / "data" / "raw").iterdir()] == ["rows.jsonl"]
