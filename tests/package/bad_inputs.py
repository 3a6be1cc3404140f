"""What the tables of bad inputs share: a good repository, one bad thing in it, and everything that is said about it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from conftest import raw_rows
from finetune.console import run
from finetune.data.stage import convert, validate
from finetune.provenance import sha256

RAW, BAD = "data/raw", "data/raw/bad.jsonl"
Found = list[tuple[str, str, int | None]]
"""(code, path, line)"""
PLAN = "benchmarks/results/data_plan.json"
REPORT = {f"benchmarks/results/data_report.{kind}" for kind in ("json", "md", "html")}
CONVERTED = {"data/chat_format/train.jsonl", "data/chat_format/valid.jsonl", "data/test.jsonl"}


@dataclass(frozen=True)
class Bad:
    """A file data/raw/bad.jsonl beside sixty good rows, and what must be said about it."""

    case: str
    content: bytes
    found: Found = field(default_factory=list)
    says: str = ""
    task_type: str = "classification"


def bad(case: str, content: bytes, code: str = "", line: int | None = 1, says: str = "", **rest: Any) -> Any:
    """A pytest case with one problem, or none where the input is to be accepted."""
    found = [(code, BAD, line)] if code else []
    return pytest.param(Bad(case, content, found, says, **rest), id=case)


def row(text: str = "where is my parcel", label: Any = "shipping", **fields: Any) -> bytes:
    return json.dumps({"input": text, "label": label, **fields}, ensure_ascii=False).encode() + b"\n"


def rows(task_type: str = "classification") -> list[dict[str, Any]]:
    return raw_rows(task_type)


def tree(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    return {path.relative_to(root).as_posix(): sha256(path) for path in files}


def judge(root: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[dict[str, Any]], str]:
    """(exit code, problems, all that was printed) of 01, after asserting what holds for every bad input.

    No traceback and no unexpected exception, the same exit code from 02, no file written but the data report (and what
    it decided, for step 02), and no converted data unless everything is right.
    """
    before = tree(root)
    capsys.readouterr()
    code = run(validate, project=root, as_json=True)
    output = capsys.readouterr()
    problems = json.loads(output.out)["problems"]
    written = {name for name, content in tree(root).items() if before.get(name) != content}
    assert written <= REPORT | ({PLAN} if code == 0 else set())
    assert code == (2 if any(problem["code"][0] == "E" for problem in problems) else 0)
    assert run(convert, project=root) == code
    said = output.out + output.err + "".join(capsys.readouterr())
    assert "Traceback" not in said and "E999" not in said
    assert CONVERTED & set(tree(root)) == (CONVERTED if code == 0 else set())
    return code, problems, said


def places(problems: list[dict[str, Any]]) -> Found:
    return [(problem["code"], problem["path"], problem["line"]) for problem in problems]
