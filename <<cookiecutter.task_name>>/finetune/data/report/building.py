"""The data report: what lies in data/raw, per class and split, with every problem; as JSON, Markdown and HTML."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import msgspec

from finetune.config.project import Project
from finetune.data.checks import Checks
from finetune.data.plan import class_table
from finetune.data.report.markdown import render_markdown
from finetune.data.report.page import render_html
from finetune.data.report.schema import DataReport, checked_report
from finetune.data.scan.near_duplicates import THRESHOLD
from finetune.data.scan.survey import Survey
from finetune.data.splits import SPLITS
from finetune.paths import Paths
from finetune.provenance import read_manifest, write_json, write_text

REPORT_VERSION = 2
_EXAMPLES = 20
_BINS = 40


def build_report(
    project: Project, files: Mapping[str, Any], inputs: Mapping[str, str], survey: Survey, checks: Checks
) -> dict[str, Any]:
    """The report's content. `inputs` are the digests it is bound to: other data, another task, another report."""
    task, counts = project.task, survey.counts
    ratio = checks.imbalance()
    return {
        "report_version": REPORT_VERSION,
        "valid": survey.problems.error_count == 0,
        "task": task.task_name,
        "task_type": task.task_type,
        "inputs": dict(inputs),
        "files": {name: {**facts, "rows": survey.lines.get(name, 0)} for name, facts in files.items()},
        "rows": {
            "read": sum(survey.lines.values()),
            "accepted": checks.accepted,
            "expected": task.data.expected_rows,
            "left_out": len(checks.left_out),
            **{split: checks.rows[split] for split in SPLITS},
        },
        "classes": class_table(checks),
        "imbalance": None if ratio is None else {"ratio": round(ratio, 3), "limit": task.data.max_imbalance},
        "stratification": _stratification(checks),
        "characters": {"input": _summary(counts.input_chars), "output": _summary(counts.output_chars)},
        "length_histogram": {
            "input": {"limit": task.input.max_chars, "bins": _bins(counts.input_chars)},
            "output": {"limit": None, "bins": _bins(counts.output_chars)},
        },
        "duplicates": {
            "exact": checks.exact_duplicates, "conflicting": checks.conflicts, "near": _near(survey, checks),
        },
        "languages": counts.languages.facts(task.language),
        "groups": {"rows": len(survey.groups), "distinct": len(set(survey.groups.values()))},
        "row_checks": _row_checks(survey, checks),
        "problems": survey.problems.to_json(),
    }  # fmt: skip


def _row_checks(survey: Survey, checks: Checks) -> dict[str, Any]:
    """What was checked row by row, with the numbers of rows and findings where it was done."""
    counts = survey.counts
    found = {
        "template_proof": {"rows": checks.accepted},
        "token_lengths": {"tokenised": counts.tokenised, "over": counts.over, "longest": counts.longest},
        "personal_data": {"texts": counts.personal},
    }
    return {
        name: {**fact, **(found.get(name, {}) if fact["status"] == "done" else {})}
        for name, fact in survey.row_checks.items()
    }


def _stratification(checks: Checks) -> dict[str, Any] | None:
    """The classes whose shares chance does not explain; None where there are no classes."""
    if not checks.class_names:
        return None
    off = [
        {"class": name, "split": split, "share": round(share, 4), "target": target}
        for name, split, share, target in checks.uneven()
    ]
    return {"off": off}


def _near(survey: Survey, checks: Checks) -> dict[str, Any]:
    policy = survey.project.task.data.near_duplicates
    if policy == "ignore":
        return {"status": "skipped", "reason": "data.near_duplicates is ignore"}
    examples = []
    for near in sorted(survey.near, key=lambda near: -near.score)[:_EXAMPLES]:
        (path, line), (other_path, other_line) = survey.place(near.row), survey.place(near.other)
        examples.append(
            {
                "path": path,
                "line": line,
                "split": checks.split_of(near.row),
                "other_path": other_path,
                "other_line": other_line,
                "other_split": checks.split_of(near.other),
                "score": round(near.score, 3),
            }
        )
    left_out = Counter(checks.split_of(near.row) for near in checks.left_out)
    return {
        "status": "done",
        "policy": policy,
        "threshold": THRESHOLD,
        "rows": len(survey.near),
        "left_out": {split: left_out[split] for split in SPLITS[:-1]},
        "other_answer": checks.near_conflicts,
        "examples": examples,
    }


def _summary(lengths: Counter[int]) -> dict[str, int] | None:
    """Smallest, median, 95th percentile (nearest rank) and largest; None for no rows."""
    if not lengths:
        return None
    ordered = sorted(lengths)
    reached = list(accumulate(lengths[length] for length in ordered))
    count = reached[-1]

    def rank(position: int) -> int:
        return ordered[bisect_right(reached, position)]

    # Nearest rank: ceil(p * n) - 1, in integers so that no rounding error picks a neighbour.
    return {
        "min": ordered[0],
        "median": rank((count - 1) // 2),
        "p95": rank(-(-95 * count // 100) - 1),
        "max": ordered[-1],
    }


def _bins(lengths: Counter[int]) -> list[tuple[int, int, int]]:
    """(from, to, rows) of bins of equal width, `to` exclusive; the last one ends after the longest."""
    if not lengths:
        return []
    width = max(lengths) // _BINS + 1
    bins = Counter[int]()
    for length, rows in lengths.items():
        bins[length // width] += rows
    return [(number * width, (number + 1) * width, bins[number]) for number in range(max(bins) + 1)]


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
    if manifest is None or manifest.facts.get("test_sha256") != test_sha256:
        return None
    try:
        report = msgspec.json.decode(paths.data_report_json.read_bytes(), type=DataReport)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return report if report.inputs == manifest.inputs else None
