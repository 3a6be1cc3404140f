"""A project with an adapter on the tiny model, and rows to ask it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from exporting import write_adapter
from finetune.data.stage import convert

_adapter: list[tempfile.TemporaryDirectory[str]] = []


def ready(make_project: Callable[..., Any], task_type: str = "classification", **changes: Any) -> Any:
    """A project whose adapter exists (made once, then copied); its answers are nonsense, and always the same."""
    project = make_project(task_type, base=True, **changes)
    if not _adapter:
        first = make_project(base=True, root=project.paths.root.with_name("first"))
        convert(first)
        write_adapter(first, scale=3)  # large enough that the answers depend on the question
        _adapter.append(tempfile.TemporaryDirectory(prefix="finetune-tests-"))
        shutil.copytree(first.paths.adapter, _adapter[0].name, dirs_exist_ok=True)
        shutil.rmtree(first.paths.root)
    shutil.copytree(_adapter[0].name, project.paths.adapter)
    return project


def jsonl(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def texts(count: int) -> list[dict[str, Any]]:
    return [{"id": f"r{i}", "input": f"message {i}: " + "the parcel is late " * (i % 4)} for i in range(count)]
