"""The data report as Markdown: verdict, what is wrong, distribution, lengths, duplicates, languages, checks, files.

Names are escaped; messages, which quote the data, stand in a fence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from finetune.data.report.facts import (
    NOT_CHECKED,
    checks,
    count,
    duplicate_counts,
    first_problems,
    language_sentences,
    limit_sentence,
    near_sentences,
    not_checked,
    nothing_wrong,
    off_sentence,
    problem_kinds,
    row_sentence,
    scripts,
    share,
    sparkline,
    split_rows,
)
from finetune.data.report.schema import DataReport
from finetune.data.splits import SPLITS
from finetune.errors import Problem
from finetune.markdown import fenced, plain, table
from finetune.remedies import remedy_lines

_BAR = 12
_LISTED = 20


def render_markdown(report: DataReport) -> str:
    """The report for people, in the order of their questions."""
    sections = [
        _verdict(report),
        _problems(report),
        _distribution(report),
        _lengths(report),
        _duplicates(report),
        _languages(report),
        _checks(report),
        _files(report),
    ]
    return "\n\n".join(part for section in sections for part in section if part) + "\n"


def _verdict(report: DataReport) -> list[str]:
    problems = report.problems
    verdict = "No errors" if report.valid else "Errors: training will not start"
    text = f"**{verdict}.** {count(problems.errors, 'error')}, {count(problems.warnings, 'warning')} in "
    text += f"{count(report.rows.read, 'row')}. {row_sentence(report)}"
    if skipped := not_checked(report):
        text += f" **{count(skipped, 'check')} not done**, see Checks."
    return [f"# Data report: {plain(report.task)}", text]


def _problems(report: DataReport) -> list[str]:
    found = report.problems
    total = found.errors + found.warnings
    if not total:
        return ["## What is wrong", nothing_wrong(report)]
    lines = [str(problem) for problem in first_problems(found.problems)]
    hidden = total - len(lines)
    kinds = ", ".join(f"{n:,} × {plain(code)}" for code, n in problem_kinds([p.code for p in found.problems]))
    listed = f"; of the first {len(found.problems):,}: " if len(found.problems) < total else ": "
    head = f"{count(found.errors, 'error')}, {count(found.warnings, 'warning')}{listed}{kinds}."
    listing = fenced("\n".join(lines + ([f"… and {hidden:,} more"] if hidden > 0 else [])))
    return ["## What is wrong", head, listing, remedy_list(found.problems)]


def _distribution(report: DataReport) -> list[str]:
    rows = [(name, n, share(n, report.rows.accepted)) for name, n in split_rows(report)]
    parts = ["## Distribution", _table(("split", "rows", "share"), rows)]
    if report.imbalance:
        ratio, limit = report.imbalance.ratio, report.imbalance.limit
        parts.append(f"The largest class has {ratio:.2f} times the rows of the smallest; the limit is {limit:g}.")
    if report.classes:
        parts.append(_class_table(report))
    if report.stratification and (off := report.stratification.off):
        parts.append(f"{off_sentence(report.stratification)}; of a class, in a split:")
        listed = [(plain(o.name), o.split, f"{o.share:.1%}", f"{o.target:.1%}") for o in off[:_LISTED]]
        parts.append(_table(("class", "split", "share", "target"), listed, left=2))
        if len(off) > _LISTED:
            parts.append(f"… and {len(off) - _LISTED:,} more.")
    return parts


def _class_table(report: DataReport) -> str:
    """Every class by size, and all rows; columns for rows that are left out only where there are any."""
    classes = sorted(report.classes.items(), key=lambda item: -item[1].rows)
    most = classes[0][1].rows or 1
    left = ("train", "valid") if report.rows.left_out else ()
    rows = [
        (
            plain(name),
            c.rows,
            *(getattr(c, split) for split in SPLITS),
            *(getattr(c, f"left_{split}") for split in left),
            "█" * -(-c.rows * _BAR // most),
        )
        for name, c in classes
    ]
    if report.task_type == "classification":  # elsewhere a row counts in every class that occurs in it
        near = report.duplicates.searched
        gone = [getattr(near.left_out, split) for split in left] if near else [0 for _ in left]
        rows.append(("all rows", report.rows.accepted, *(getattr(report.rows, split) for split in SPLITS), *gone, ""))
    listing = _table(("class", "rows", *SPLITS, *(f"left out of {split}" for split in left), ""), rows)
    several = "A row counts in every class that occurs in it." if report.task_type == "extraction" else ""
    return f"{several}\n\n{listing}" if several else listing


def _lengths(report: DataReport) -> list[str]:
    rows, said = [], []
    for field in ("input", "output"):
        lengths = getattr(report.characters, field)
        histogram = getattr(report.length_histogram, field) if report.length_histogram else None
        if lengths:
            line = f"`{spark}`" if (spark := sparkline(histogram)) else ""
            rows.append((field, lengths.min, lengths.median, lengths.p95, lengths.max, line))
        if sentence := limit_sentence(histogram, lengths):
            said.append(f"{field.capitalize()}: {sentence[0].lower()}{sentence[1:]}")
    if not rows:
        return []
    table = _table(("field", "shortest", "median", "95 %", "longest", ""), rows)
    return ["## Lengths in characters", table, " ".join(said)]


def _duplicates(report: DataReport) -> list[str]:
    rows = [(what, n) for what, n, _ in duplicate_counts(report)]
    rows += [("rows with a group", report.groups.rows), ("distinct groups", report.groups.distinct)]
    parts = ["## Duplicates and groups", _table(("what", "rows"), rows)]
    near = report.duplicates.searched
    parts.append(" ".join(near_sentences(near)) or f"Near-duplicates: **{NOT_CHECKED}**.")
    if near and near.examples:
        pairs = [
            (
                f"{plain(pair.path)}:{pair.line}",
                pair.split,
                f"{plain(pair.other_path)}:{pair.other_line}",
                pair.other_split,
                f"{pair.score:.2f}",
            )
            for pair in near.examples[:_LISTED]
        ]
        parts.append(_table(("row", "in", "near-duplicate of", "in", "similarity"), pairs, left=4))
        if near.rows > len(pairs):
            parts.append(f"… and {near.rows - len(pairs):,} more; data_report.json lists {len(near.examples):,}.")
    return parts


def _languages(report: DataReport) -> list[str]:
    languages = report.languages
    if languages is None:
        return []
    rows = [(plain(name), n, share(n, languages.rows)) for name, n in scripts(languages)]
    said = [f"Declared: {plain(languages.declared)}.", *language_sentences(languages)]
    return ["## Languages", " ".join(said), _table(("rows with", "rows", "share"), rows) if rows else ""]


def _checks(report: DataReport) -> list[str]:
    rows = [
        (plain(check.name), "done" if check.done else f"**{NOT_CHECKED}**", check.found or plain(check.reason))
        for check in checks(report)
    ]
    return ["## Checks", _table(("check", "state", "found, or why not"), rows, left=3)]


def _files(report: DataReport) -> list[str]:
    rows = [(plain(name), f.rows, f.bytes, plain(f.sha256[:16])) for name, f in report.files.items()]
    return ["## Files", _table(("file", "rows", "bytes", "sha256"), rows)] if rows else []


def remedy_list(problems: Sequence[Problem]) -> str:
    """A bullet for each code, where the people of the task read another language than the messages'."""
    return "\n".join(f"- {plain(line)}" for line in remedy_lines(problem.code for problem in problems))


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1) -> str:
    return "\n".join(table(heads, rows, left))
