"""What is written from the schemas: current, complete, and of one mind with the loader."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from config_files import BENCHMARK, TASK, TRAINING, Make, problems_of
from finetune.config.loading import merge
from finetune.config.schemas import CONFIGURATIONS, FOLDER, REFERENCE, files, json_schema


def sections(schema: dict[str, Any], at: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every section of a schema by its dotted key, itself first."""
    if "properties" in schema:
        yield at, schema
        for key, value in schema["properties"].items():
            yield from sections(value, f"{at}.{key}" if at else key)
    elif "properties" in schema.get("items", {}):
        yield from sections(schema["items"], f"{at}[]")


@pytest.mark.parametrize("path", sorted(files()), ids=lambda path: path.name)
def test_the_written_files_are_current(path: Path) -> None:
    written = path.read_text(encoding="utf-8") if path.is_file() else ""
    assert written == files()[path], "run: python -m finetune.config.schemas"


def test_no_other_schema_lies_beside_them() -> None:
    assert {path for path in FOLDER.iterdir()} == set(files()) - {REFERENCE}


@pytest.mark.parametrize("name", list(CONFIGURATIONS))
def test_every_section_is_closed_and_every_key_described(name: str) -> None:
    schema = json_schema(name)
    Draft7Validator.check_schema(schema)
    found = list(sections(schema))
    assert len(found) > 3
    for at, section in found:
        assert section["additionalProperties"] is False, at
        for key, value in section["properties"].items():
            assert value.get("description", "").rstrip(".").strip(), f"{at}.{key} has no docstring beneath it"
    assert "$ref" not in json.dumps(schema) and "prefixItems" not in json.dumps(schema)


@pytest.mark.parametrize("name", list(CONFIGURATIONS))
def test_the_page_has_a_row_for_every_key(name: str) -> None:
    page = REFERENCE.read_text(encoding="utf-8")
    part = page.partition(f"## {name}\n")[2].partition("\n## ")[0]
    for at, section in sections(json_schema(name)):
        table = part.partition(f"### {at}\n")[2].partition("\n### ")[0] if at else part
        for key, value in section["properties"].items():
            assert f"| `{key}` |" in table or "properties" in value, (at, key)


def test_the_page_says_range_default_rule_and_meaning() -> None:
    page = REFERENCE.read_text(encoding="utf-8")
    for row in (
        "| `max_chars` | whole number, at least 1, at most 200,000 | `2000` |",
        "| `threshold` | number, above 0, at most 1 | 0.8, or 0.3 for generation |",
        "| `adapter` | text | namespace/task_name-lora | The LoRA adapter's repository. |",
        "| `task_type` | `classification`, `extraction`, `generation` | **required** |",
        "| `learning_rate` | [number, number] | `[1e-5, 2e-5]` |",
        "### base_model\n\nThe model that is adapted. Required.",
    ):
        assert row in page, row


def test_the_definition_that_the_page_prints_loads(make_project: Make) -> None:
    page = REFERENCE.read_text(encoding="utf-8")
    printed = page.partition("```yaml\n")[2].partition("```")[0]
    root = make_project().paths.root
    (root / TASK).write_text(printed, encoding="utf-8")
    assert problems_of(root) == []


EDITS = [
    (TASK, {}, True),
    (TASK, {"input": {"max_char": 5}}, False),
    (TASK, {"task_type": "clasification"}, False),
    (TASK, {"metrics": {"threshold": "high"}}, False),
    (TASK, {"metrics": {"threshold": 0}}, False),
    (TASK, {"metrics": {"primary": "rouge_l"}}, False),
    (TASK, {"metrics": {"secondary": ["chrf"]}}, False),
    (TASK, {"system_prompt": "Choose."}, False),
    (TASK, {"output": {"labels": [{"name": "one", "description": "d"}]}}, False),
    (TASK, {"output": {"labels": [{"name": "one"}, {"name": "two", "description": "d"}]}}, False),
    (TASK, {"hub": None}, False),
    (TASK, {"version": 2}, False),
    (TRAINING, {}, True),
    (TRAINING, {"lora": {"r": "16"}}, False),
    (TRAINING, {"lora": {"target_modules": ["q_proj"]}}, True),
    (TRAINING, {"lora": {"target_modules": 3}}, False),
    (TRAINING, {"optimizer": {"epochs": 3}}, False),
    (TRAINING, {"seed": -1}, False),
    (TRAINING, {"checks": {"epochs": [1]}}, False),
    (TRAINING, {"optimiser": {"warmup_ratio": 1.5}}, False),
    (TRAINING, {"base_model": {"revision": "a b"}}, False),
    (BENCHMARK, {}, True),
    (BENCHMARK, {"splits": {"train": 1.2}}, False),
    (BENCHMARK, {"baselines": ["zeroshot"]}, False),
    (BENCHMARK, {"quantisations": ["q8_0"]}, False),
    (BENCHMARK, {"tolerances": {"f16": "small"}}, False),
    (BENCHMARK, {"version": 0}, False),
]


@pytest.mark.parametrize(("name", "edit", "accepted"), EDITS)
def test_the_schema_and_the_loader_say_the_same(
    make_project: Make, name: str, edit: dict[str, Any], accepted: bool
) -> None:
    root = make_project().paths.root
    values = merge(yaml.safe_load((root / name).read_text(encoding="utf-8")), edit)
    (root / name).write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    assert (not list(Draft7Validator(json_schema(name)).iter_errors(values))) == accepted
    assert (problems_of(root) == []) == accepted


@pytest.mark.parametrize(
    ("name", "key"),
    [
        (TASK, "task_name"), (TASK, "task_type"), (TASK, "description"), (TASK, "language"), (TASK, "hub.namespace"),
        (TASK, "output.labels"), (TRAINING, "base_model.id"), (TRAINING, "base_model.revision"), (TASK, "hub"),
        (BENCHMARK, "splits.test"), (BENCHMARK, "tolerances"), (TASK, "output.labels.0.description"),
    ],
)  # fmt: skip
def test_what_is_required_is_missed_by_both(make_project: Make, name: str, key: str) -> None:
    root = make_project().paths.root
    values = yaml.safe_load((root / name).read_text(encoding="utf-8"))
    *outer, last = key.split(".")
    section = values
    for part in outer:
        section = section[int(part) if part.isdigit() else part]
    del section[last]
    (root / name).write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    assert list(Draft7Validator(json_schema(name)).iter_errors(values))
    problems = problems_of(root)
    assert problems and all(f"{last}: " in problem.fix for problem in problems), [str(problem) for problem in problems]
