"""The data report as one HTML file, and its pictures for other pages; every text of the data is escaped."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from finetune.data.report import pictures
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
    split_rows,
)
from finetune.data.report.schema import DataReport
from finetune.html_page import render_page
from finetune.markdown import one_line
from finetune.remedies import remedies

TEMPLATES = Path(__file__).parent / "templates"
FILTERS: dict[str, Callable[..., Any]] = {
    "rows": lambda number, noun="": count(number, noun) if noun else f"{number:,}",
    "share": share,
    "visible": one_line,
}


def render_html(report: DataReport) -> str:
    """The page; sections in the order of a reader's questions, the verdict first."""
    found, skipped = report.problems, not_checked(report)
    problems = [str(problem) for problem in first_problems(found.problems)]
    total = found.errors + found.warnings
    state = "bad" if not report.valid else "limited" if found.warnings or skipped else "good"
    return render_page(
        "data_report.html.j2",
        folders=[TEMPLATES],
        filters=FILTERS,
        report=report,
        state=state,
        lang=report.languages.declared if report.languages else "",
        skipped=skipped,
        nothing=nothing_wrong(report),
        problems=problems,
        remedies=remedies(problem.code for problem in found.problems),
        hidden=total - len(problems),
        kinds=problem_kinds([problem.code for problem in found.problems]),
        more_kinds=total > len(found.problems),
        row_sentence=row_sentence(report),
        off_sentence=off_sentence(report.stratification) if report.stratification else "",
        near_sentences=near_sentences(report.duplicates.searched),
        language_sentences=language_sentences(report.languages) if report.languages else [],
        scripts=_scripts(report),
        checks=checks(report),
        not_checked_word=NOT_CHECKED,
        **data_pictures(report),
    )


def data_pictures(report: DataReport) -> dict[str, Any]:
    """Splits, classes, lengths and copies as pictures, for this page and for the evaluation's."""
    copies = duplicate_counts(report)
    splits = split_rows(report)
    return {
        "splits": splits,
        "split_bar": pictures.both(lambda width: pictures.split_bar(splits, width)),
        "class_bars": pictures.both(lambda width: pictures.class_bars(report.classes, report.imbalance, width))
        if report.classes else None,
        "lengths": _lengths(report),
        "copies": pictures.both(lambda width: pictures.count_bars(copies, width)),
    }  # fmt: skip


def _lengths(report: DataReport) -> list[dict[str, Any]]:
    """A histogram a field; none of a classification's answers, which are names from a short list."""
    rows = []
    for field in ("input",) if report.task_type == "classification" else ("input", "output"):
        found = getattr(report.length_histogram, field) if report.length_histogram else None
        lengths = getattr(report.characters, field)
        if found and any(rows for _, _, rows in found.bins):
            picture = pictures.both(partial(pictures.histogram, found, lengths))
            rows.append({"field": field, "sentence": limit_sentence(found, lengths), "picture": picture})
    return rows


def _scripts(report: DataReport) -> Any:
    found = scripts(report.languages) if report.languages else []
    if not found:
        return None
    return pictures.both(lambda width: pictures.count_bars([(name, rows, "plain") for name, rows in found], width))
