"""The data report: what lies in data/raw, per class and split, with every problem; as JSON, Markdown and HTML."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any

import msgspec

from finetune.data.checks import Checks
from finetune.data.report_markdown import render_markdown
from finetune.data.report_page import render_html
from finetune.data.report_schema import DataReport, checked_report
from finetune.data.splits import SPLITS
from finetune.errors import Problems
from finetune.paths import Paths
from finetune.provenance import read_manifest, write_json, write_text

REPORT_VERSION = 2
_BINS = 40


def build_report(
    *, task_name: str, task_type: str, expected_rows: int, max_imbalance: float, raw: Mapping[str, Any],
    inputs: Mapping[str, str], rows_read: int, checks: Checks, problems: Problems, max_chars: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The report's content. `inputs` are the digests it is bound to: other data, another task, another report."""
    totals = checks.totals()
    ratio = checks.imbalance()
    accepted = sum(checks.rows.values())
    return {
        "report_version": REPORT_VERSION,
        "valid": problems.error_count == 0,
        "task": task_name,
        "task_type": task_type,
        "inputs": dict(inputs),
        "files": dict(raw),
        "rows": {
            "read": rows_read,
            "accepted": accepted,
            "expected": expected_rows,
            "left_out": accepted - sum(checks.rows[split] for split in SPLITS),
            **{split: checks.rows[split] for split in SPLITS},
        },
        "classes": {
            name: {"rows": count, **{split: checks.classes[split][name] for split in SPLITS}}
            for name, count in totals.items()
        },
        "imbalance": None if ratio is None else {"ratio": round(ratio, 3), "limit": max_imbalance},
        "characters": {"input": _summary(checks.input_chars), "output": _summary(checks.output_chars)},
        "length_histogram": {
            "input": _histogram(checks.input_chars, max_chars), "output": _histogram(checks.output_chars, None),
        },
        "duplicates": {"exact": checks.exact_duplicates, "conflicting": checks.conflicts, "near": None},
        "groups": {"rows": len(checks.group_of), "distinct": len(set(checks.group_of.values()))},
        "languages": None,
        "stratification": None,
        "problems": problems.to_json(),
    }  # fmt: skip


def _summary(lengths: array[int]) -> dict[str, int] | None:
    """Smallest, median, 95th percentile (nearest rank) and largest; None for no rows."""
    if not lengths:
        return None
    ordered = sorted(lengths)
    last = len(ordered) - 1
    # Nearest rank: ceil(p * n) - 1, in integers so that no rounding error picks a neighbour.
    return {
        "min": ordered[0], "median": ordered[last // 2], "p95": ordered[-(-95 * len(ordered) // 100) - 1],
        "max": ordered[last],
    }  # fmt: skip


def _histogram(lengths: array[int], limit: int | None) -> dict[str, Any] | None:
    """Rows in at most _BINS bins of equal width from 0 to the longest; None for no rows."""
    if not lengths:
        return None
    width = max(lengths) // _BINS + 1
    rows = [0] * (max(lengths) // width + 1)
    for length in lengths:
        rows[length // width] += 1
    return {"limit": limit, "bins": [[n * width, (n + 1) * width, count] for n, count in enumerate(rows)]}


def write_data_report(paths: Paths, report: Mapping[str, Any]) -> None:
    """Write data_report.html, .md and, last, .json: where the JSON is, the other two are of the same run."""
    checked = checked_report(report)
    write_text(paths.data_report_html, render_html(checked))
    write_text(paths.data_report_md, render_markdown(checked))
    write_json(paths.data_report_json, report)


def read_data_report(paths: Paths, test_sha256: str) -> DataReport | None:
    """The report of the very data that this test set was converted from; None when there is no such report.

    The manifest of step 02 ties the two together: it names the test set and the digests of what it was made from.
    """
    manifest = read_manifest(paths.data_manifest)
    if manifest is None or manifest["facts"].get("test_sha256") != test_sha256:
        return None
    try:
        report = msgspec.json.decode(paths.data_report_json.read_bytes(), type=DataReport)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return report if report.inputs == manifest["inputs"] else None
