"""The data report: what lies in data/raw, per class and split, with every problem; as JSON and as Markdown."""

from __future__ import annotations

import html
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from finetune.config.project import Project
from finetune.data.checks import Checks
from finetune.data.near_duplicates import THRESHOLD
from finetune.data.plan import class_table
from finetune.data.splits import SPLITS
from finetune.data.survey import Survey
from finetune.errors import Problem
from finetune.paths import Paths
from finetune.provenance import write_json, write_text

REPORT_VERSION = 2
_EXAMPLES = 20
_BINS = 40
_SHOWN = 50
_BAR = 30


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
        "groups": {"rows": len(survey.groups), "distinct": len(set(survey.groups.values()))},
        "row_checks": _row_checks(survey, checks),
        "problems": survey.problems.to_json(),
    }  # fmt: skip


def _row_checks(survey: Survey, checks: Checks) -> dict[str, Any]:
    """What was checked row by row, with the numbers of rows and findings where it was done."""
    found = {"template_proof": {"rows": checks.accepted}, "personal_data": {"texts": survey.counts.personal}}
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
    for near in survey.near[:_EXAMPLES]:
        (path, line), (other_path, other_line) = survey.place(near.row), survey.place(near.other)
        examples.append({
            "path": path, "line": line, "split": checks.split_of(near.row), "other_path": other_path,
            "other_line": other_line, "other_split": checks.split_of(near.other), "score": round(near.score, 3),
        })  # fmt: skip
    left_out = Counter(checks.split_of(near.row) for near in checks.left_out)
    return {
        "status": "done", "policy": policy, "threshold": THRESHOLD, "rows": len(survey.near),
        "left_out": {split: left_out[split] for split in SPLITS[:-1]}, "other_answer": checks.near_conflicts,
        "examples": examples,
    }  # fmt: skip


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
        "min": ordered[0], "median": rank((count - 1) // 2), "p95": rank(-(-95 * count // 100) - 1), "max": ordered[-1],
    }  # fmt: skip


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
    """Write data_report.json and data_report.md."""
    write_text(paths.data_report_md, render_markdown(report))
    write_json(paths.data_report_json, report)


def render_markdown(report: Mapping[str, Any]) -> str:
    """The report for people; names are escaped, everything that may quote the data stands in a fence."""
    rows, problems = report["rows"], report["problems"]
    verdict = "no errors" if report["valid"] else "errors: training will not start"
    parts = [
        f"# Data report: {cell(report['task'])}",
        f"**{verdict}**, {problems['errors']} errors, {problems['warnings']} warnings; "
        f"{rows['accepted']} of {rows['read']} rows accepted, {rows['expected']} expected.",
        "## Rows",
        _table(("split", "rows", "share"), [(s, rows[s], _share(rows[s], rows["accepted"])) for s in SPLITS]),
    ]
    if report["classes"]:
        parts += ["## Classes", _class_table(report["classes"])]
        if report["imbalance"]:
            imbalance = report["imbalance"]
            parts.append(f"Largest to smallest class: {imbalance['ratio']:.2f} (limit {imbalance['limit']:g}).")
    parts += [
        "## Lengths in characters",
        _table(
            ("field", "min", "median", "p95", "max"),
            [(name, *summary.values()) for name, summary in report["characters"].items() if summary],
        ),
        "## Duplicates and groups",
        _table(
            ("what", "rows"),
            [
                ("exact duplicates after normalisation", report["duplicates"]["exact"]),
                ("same input, other answer", report["duplicates"]["conflicting"]),
                ("rows with a group", report["groups"]["rows"]),
                ("distinct groups", report["groups"]["distinct"]),
            ],
        ),
        "## Files",
        _table(
            ("file", "rows", "bytes", "sha256"),
            [(cell(name), f["rows"], f["bytes"], f["sha256"][:16]) for name, f in report["files"].items()],
        ),
    ]
    if problems["problems"]:
        parts += ["## Problems", _problems(problems)]
    return "\n\n".join(parts) + "\n"


def _class_table(classes: Mapping[str, Mapping[str, int]]) -> str:
    most = max((counts["rows"] for counts in classes.values()), default=0) or 1
    rows = [
        (cell(name), *(counts[key] for key in ("rows", *SPLITS)), "█" * -(-counts["rows"] * _BAR // most))
        for name, counts in classes.items()
    ]
    return _table(("class", "rows", *SPLITS, ""), rows)


def _problems(problems: Mapping[str, Any]) -> str:
    lines = [str(Problem(**problem)) for problem in problems["problems"][:_SHOWN]]
    hidden = problems["errors"] + problems["warnings"] - len(lines)
    return fenced("\n".join(lines + ([f"… and {hidden} more"] if hidden else [])))


def fenced(text: str) -> str:
    """`text` in a code fence that nothing inside can close, with other control characters escaped."""
    text = "".join(c if c == "\n" or c.isprintable() else f"\\u{ord(c):04x}" for c in text)
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def cell(text: str) -> str:
    """`text` for a Markdown table: no HTML, no links, mentions or emphasis, no cell border."""
    plain = html.escape("".join(c for c in text if c.isprintable()), quote=False)
    return re.sub(r"([\\`*_{}\[\]()#+!|~@])", r"\\\1", plain)


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(value) for value in line) + " |" for line in lines)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "–"
