"""The data report: what lies in data/raw, per class and split, with every problem; as JSON and as Markdown."""

from __future__ import annotations

import html
import re
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from finetune.data.checks import Checks
from finetune.data.splits import SPLITS
from finetune.errors import Problem, Problems
from finetune.paths import Paths
from finetune.provenance import write_json, write_text

REPORT_VERSION = 1
_SHOWN = 50
_BAR = 30


def build_report(
    *, task_name: str, task_type: str, expected_rows: int, max_imbalance: float, raw: Mapping[str, Any],
    inputs: Mapping[str, str], rows_read: int, checks: Checks, problems: Problems,
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
            **{split: checks.rows[split] for split in SPLITS},
        },
        "classes": {
            name: {"rows": count, **{split: checks.classes[split][name] for split in SPLITS}}
            for name, count in totals.items()
        },
        "imbalance": None if ratio is None else {"ratio": round(ratio, 3), "limit": max_imbalance},
        "characters": {"input": _summary(checks.input_chars), "output": _summary(checks.output_chars)},
        "duplicates": {"exact": checks.exact_duplicates, "conflicting": checks.conflicts},
        "groups": {"rows": len(checks.group_of), "distinct": len(set(checks.group_of.values()))},
        "problems": problems.to_json(),
    }


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
