"""A data report with everything in it, as step 01 writes it; tests change the part they are about."""

from __future__ import annotations

from typing import Any

import msgspec

from finetune.config.loading import merge
from finetune.data.report.schema import DataReport

NO_TOKENIZER = "no tokenizer of acme/base on this machine"


def counts(rows: int, left_out: int = 0) -> dict[str, int]:
    """Rows of a class, split 70 : 15 : 15."""
    valid = test = rows * 15 // 100
    train = rows - valid - test - left_out
    return {"rows": rows, "train": train, "valid": valid, "test": test, "left_train": left_out}


def problem(code: str, path: str = "data/raw/a.jsonl", line: int | None = 1, message: str = "wrong") -> dict[str, Any]:
    return {"path": path, "code": code, "message": message, "fix": "correct it", "line": line, "key": None}


def pair(number: int, path: str = "data/raw/a.jsonl") -> dict[str, Any]:
    return {
        "path": path,
        "line": number,
        "split": "train",
        "other_path": "data/raw/b.jsonl",
        "other_line": number + 1000,
        "other_split": "test",
        "score": 0.9,
    }


def report_values(**changes: Any) -> dict[str, Any]:
    """The whole of data_report.json; a changed section is merged into it, a list or None takes its place."""
    near = {
        "status": "done",
        "threshold": 0.65,
        "policy": "leave_out",
        "rows": 12,
        "left_out": {"train": 3, "valid": 1},
        "other_answer": 2,
        "examples": [pair(7)],
    }
    values: dict[str, Any] = {
        "report_version": 2, "valid": True, "task": "small-task", "task_type": "classification", "inputs": {"raw": "1"},
        "files": {"data/raw/a.jsonl": {"sha256": "ab" * 32, "rows": 640, "bytes": 40_960}},
        "rows": {
            "read": 640, "accepted": 640, "expected": 600, "train": 444, "valid": 95, "test": 97, "left_out": 4,
        },
        "classes": {"billing": counts(400, 3), "shipping": counts(160, 1), "account": counts(80)},
        "imbalance": {"ratio": 5.0, "limit": 3.0},
        "characters": {
            "input": {"min": 3, "median": 40, "p95": 90, "max": 119},
            "output": {"min": 7, "median": 7, "p95": 8, "max": 8},
        },
        "length_histogram": {
            "input": {"limit": 2000, "bins": [[n * 10, n * 10 + 10, (12 - n) * 8] for n in range(12)]},
            "output": {"limit": None, "bins": [[0, 1, 0], [7, 8, 600], [8, 9, 40]]},
        },
        "duplicates": {"exact": 6, "conflicting": 0, "near": near},
        "groups": {"rows": 30, "distinct": 10},
        "row_checks": {
            "control_tokens": {"status": "done", "names": 17},
            "template_proof": {"status": "done", "rows": 640, "template_tokens": 5},
            "personal_data": {"status": "done", "policy": "warn", "texts": 3},
            "token_lengths": {
                "status": "done", "limit": 1024, "template": 63, "tokenised": 12, "over": 0, "longest": 310,
            },
        },
        "languages": {
            "declared": "zh-TW", "scripts": {"Han": 600, "Latin": 40, "Kana": 0}, "mixed": 9, "simplified": 2,
            "rows": 640,
        },
        "stratification": {
            "off": [{"class": "account", "split": "valid", "share": 0.21, "target": 0.15}],
        },
        "problems": {"errors": 0, "warnings": 1, "problems": [problem("W149", "data/raw", None)]},
    }  # fmt: skip
    return merge(values, changes)


def report(**changes: Any) -> DataReport:
    """The same, read through its schema."""
    return msgspec.convert(report_values(**changes), DataReport)
