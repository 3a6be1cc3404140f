"""A generated repository cut down until it trains in seconds: few rows, short training. Nothing else changes."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from finetune.config.project import load_project
from finetune.data.records import Record, RecordReader
from finetune.data.splits import assign, split_key
from finetune.errors import Problems

ROWS = {"train": 8, "valid": 3, "test": 3}
"""Rows of every class in each split: the shortest ones, since time goes with tokens."""
SETTINGS: dict[str, dict[str, str | None]] = {
    "task_definition.yaml": {"data.expected_rows": "70"},
    "configs/training_config.yaml": {"optimiser.epochs": "1", "optimiser.learning_rate": "1e-3"},
    "configs/benchmark_config.yaml": {
        "bootstrap.samples": "200", "quantisations": "[f16, Q8_0]", "tolerances.merged": "0.3",
        "tolerances.f16": "0.3", "tolerances.Q8_0": "0.3", "tolerances.Q4_K_M": None,
    },
}  # fmt: skip
"""The only values that differ from a fresh bake; one row of 15 is 0.07, so tolerances of 0.03 would compare noise."""


def small_files(tree: Path, threshold: float) -> dict[str, str]:
    """The files of the baked repository `tree` to change, with their content; `threshold` is that of the gate."""
    files = {"data/raw/sample.jsonl": "".join(f"{line}\n" for line in _rows(tree))}
    for name, values in SETTINGS.items():
        text = (tree / name).read_text(encoding="utf-8")
        for key, value in values.items():
            text = set_value(text, key, value)
        files[name] = text
    files["task_definition.yaml"] = set_value(files["task_definition.yaml"], "metrics.threshold", str(threshold))
    return files


def set_value(text: str, key: str, value: str | None) -> str:
    """YAML `text` with the one value of `key` ("section.name") replaced, comments kept; None removes its line."""
    *sections, name = key.split(".")
    place = "".join(f"^{section}:[^\n]*\n(?:[ #][^\n]*\n|\n)*?" for section in sections)
    pattern = rf"({place})(^{'  ' * len(sections)}{name}: )[^\n#]*?((?: +#[^\n]*)?\n)"
    changed, count = re.subn(pattern, r"\1" if value is None else rf"\g<1>\g<2>{value}\g<3>", text, flags=re.MULTILINE)
    assert count == 1, f"{key}: {count} lines"
    return changed


def row(text: str, label: str) -> str:
    """One line of data/raw."""
    return json.dumps({"input": text, "label": label}, ensure_ascii=False) + "\n"


def _rows(tree: Path) -> Iterator[str]:
    """Lines of the sample, the shortest of each class in each split, in the sample's order."""
    project = load_project(tree)
    file = project.paths.raw / "sample.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines()
    taken: dict[tuple[str, object], list[Record]] = defaultdict(list)
    for record in sorted(RecordReader(project.task, Problems()).read(file, "sample.jsonl"), key=_length):
        split = assign(split_key(record), project.benchmark.splits)
        place = taken[split, record.reference]
        if len(place) < ROWS[split]:
            place.append(record)
    wanted = len(project.task.label_names) * sum(ROWS.values())
    numbers = sorted(record.line for records in taken.values() for record in records)
    assert len(numbers) == wanted, f"{len(numbers)} rows of {wanted}"
    return (lines[number - 1] for number in numbers)


def _length(record: Record) -> tuple[int, int]:
    return len(record.input), record.line
