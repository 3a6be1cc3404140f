"""The data report's own sections, beside those of the change: verdict, problems, distribution, lengths, checks.

Every list is cut to a screenful and says how many more there are: an ordinary report fits into a comment whole.
"""

from __future__ import annotations

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
    off_sentence,
    problem_kinds,
    row_sentence,
    scripts,
    share,
    sparkline,
    split_rows,
)
from finetune.data.report.markdown import remedy_list
from finetune.data.report.schema import DataReport, NearDuplicates, ProblemList, Stratification
from finetune.data.splits import SPLITS
from finetune.github.data_pr.schema import Changes
from finetune.github.data_pr.tables import FOLDED_FROM, LISTED, TABLE, bar, lines, long_table, name, table
from finetune.markdown import folded

_WIDTH = 1000
_CHARTED = range(FOLDED_FROM, TABLE + 1)
"""Numbers of classes whose table is folded away, and that a chart still has room for."""


def passed(report: DataReport | None, changes: Changes) -> bool:
    """Whether steps 01 and 02 both ended well."""
    checked = report is not None and report.valid and not report.problems.errors
    return checked and changes.converted and changes.configuration is None


def verdict(report: DataReport | None, changes: Changes, missing: str = "") -> str:
    """Whether training can start, and how much is wrong. `missing` says why there is no report."""
    if changes.configuration is not None:
        title = f"❌ Data report: {count(changes.configuration.errors, 'error')} in the configuration"
        return f"## {title}\n\nNo row was checked: the files that say how are wrong."
    if report is None:
        title = "❌ Data report: the data was not checked"
        return f"## {title}\n\nThe report of step 01 {missing}; the step's log says why."
    problems, rows = report.problems, report.rows
    found = f"{count(problems.errors, 'error')}, {count(problems.warnings, 'warning')}"
    mark = "✅" if passed(report, changes) else "❌"
    unfinished = "; step 02 did not finish" if report.valid and not problems.errors and not changes.converted else ""
    skipped = not_checked(report)
    open_checks = f" **{count(skipped, 'check')} not done**, see Checks." if skipped else ""
    stop = "" if mark == "✅" else " Training does not start before this is corrected."
    title = f"{mark} Data report: {count(rows.read, 'row')}, {found}{unfinished}"
    return f"## {title}\n\n{row_sentence(report)}{stop}{open_checks}"


def problems(found: ProblemList, nothing: str = "") -> str:
    """The first problems in a code block, and how many there are of each kind; `nothing` where there are none."""
    total = found.errors + found.warnings
    if not total:
        return f"### What is wrong\n\n{nothing or 'Nothing.'}"
    shown = first_problems(found.problems)
    codes = ", ".join(f"{n:,} × {name(code, 8)}" for code, n in problem_kinds([p.code for p in found.problems]))
    kept = f"of the first {len(found.problems):,} " if len(found.problems) < total else ""
    head = f"{count(found.errors, 'error')}, {count(found.warnings, 'warning')}; {kept}{codes}."
    parts = [head, lines(map(str, shown), total - len(shown)), remedy_list(found.problems)]
    return "\n\n".join(["### What is wrong", *filter(None, parts)])


def distribution(report: DataReport, changes: Changes) -> str:
    """Rows per class and split with bars; a chart where there are many classes."""
    rows, splits = report.rows, split_rows(report)
    if report.classes and not any(counts.left_out for counts in report.classes.values()):
        splits = splits[: len(SPLITS)]  # rows that are left out are counted in no class
    total = (rows.accepted, *(number for _, number in splits))
    shares = ("", *(share(number, rows.accepted) for _, number in splits))
    heads = ("rows", *(split for split, _ in splits))
    if not report.classes:
        return "### Distribution\n\n" + table(("", *heads), [("all rows", *total), ("share", *shares)])
    parts = ["### Distribution"]
    if report.imbalance:
        limit = f"the limit is {report.imbalance.limit:g}"
        parts.append(f"The largest class has {report.imbalance.ratio:.2f} times the rows of the smallest; {limit}.")
    classes = sorted(report.classes.items(), key=lambda item: item[1].rows)
    if len(classes) in _CHARTED:
        parts.append(_chart([counts.rows for _, counts in classes], _before([label for label, _ in classes], changes)))
    most = max(counts.rows for _, counts in classes)
    cells = [
        (number, name(label), c.rows, *(getattr(c, split.replace(" ", "_")) for split, _ in splits), bar(c.rows, most))
        for number, (label, c) in enumerate(classes, 1)
    ]
    ends = [("", "all rows", *total, ""), ("", "share", *shares, "")]
    title = "Rows per class and split, fewest first"
    parts.append(long_table(title, ("#", "class", *heads, ""), cells, ends, left=2))
    return "\n\n".join([*parts, *_off(report.stratification)])


def _off(found: Stratification | None) -> list[str]:
    """Classes that have in a split another share than the split has of all rows."""
    if found is None or not found.off:
        return []
    cells = [(name(row.name), row.split, f"{row.share:.1%}", f"{row.target:.1%}") for row in found.off]
    text = f"{off_sentence(found)}; of a class, in a split:"
    listed = table(("class", "split", "share", "target"), cells[:LISTED], left=2)
    return [text, listed + (f"\n\n… and {len(cells) - LISTED:,} more." if len(cells) > LISTED else "")]


def _before(labels: list[str], changes: Changes) -> list[int]:
    tallies = changes.rows.classes if changes.rows is not None else {}
    return [tallies[label].before if label in tallies else 0 for label in labels]


def _chart(rows: list[int], before: list[int]) -> str:
    """Bars by class number: no text of the data reaches the chart's own language."""
    # Room for the digits below every bar; blue bars and an orange line show on light and on dark pages.
    sizes = f"{{width: {_WIDTH}, height: 360, xAxis: {{labelFontSize: {min(14, _WIDTH * 2 // 3 // len(rows))}}}}}"
    colours = "{xyChart: {plotColorPalette: '#54aeff, #bc4c00'}}"
    numbers = list(range(1, len(rows) + 1))
    chart = [
        "---",
        f"config: {{xyChart: {sizes}, themeVariables: {colours}}}",
        "---",
        "xychart-beta",
        f"    x-axis {numbers}",
        f'    y-axis "rows" 0 --> {max(1, *rows, *before)}',
        f"    bar {rows}",
    ]
    note = "Rows by the number of the class in the table below"
    if any(before) and before != rows:
        chart.append(f"    line {before}")
        note += "; the line is the rows before the change"
    return "\n".join(["```mermaid", *chart, "```", "", f"{note}."])


def figures(report: DataReport) -> list[str]:
    """Lengths, then duplicates and groups."""
    rows, said = [], []
    for field, what in (("input", "input"), ("output", "answer")):
        lengths = getattr(report.characters, field)
        histogram = getattr(report.length_histogram, field) if report.length_histogram else None
        if lengths:
            line = f"`{spark}`" if (spark := sparkline(histogram)) else ""
            rows.append((what, lengths.min, lengths.median, lengths.p95, lengths.max, line))
        if sentence := limit_sentence(histogram, lengths):
            said.append(f"{what.capitalize()}: {sentence[0].lower()}{sentence[1:]}")
    heads = ("", "shortest", "median", "95 %", "longest", "")
    parts = ["### Lengths in characters", table(heads, rows), " ".join(said)] if rows else []
    return ["\n\n".join(filter(None, parts)), _duplicates(report)] if parts else [_duplicates(report)]


def _duplicates(report: DataReport) -> str:
    near = report.duplicates.searched
    found = [f"{number:,} {what}" for what, number, kind in duplicate_counts(report) if kind != "plain" and number]
    text = f"{', '.join(found).capitalize()}." if found else "No input occurs twice."
    if report.groups.rows:
        text += f" {count(report.groups.rows, 'row')} in {count(report.groups.distinct, 'group')}."
    said = " ".join(near_sentences(near)) or f"Near-duplicates: **{NOT_CHECKED}**."
    return "\n\n".join(["### Duplicates", text, said, *_pairs(near)])


def _pairs(near: NearDuplicates | None) -> list[str]:
    if near is None or not near.examples:
        return []
    shown = [
        f"{pair.score:.2f}  {pair.path}:{pair.line} ({pair.split}), "
        f"{pair.other_path}:{pair.other_line} ({pair.other_split})"
        for pair in near.examples[:LISTED]
    ]
    return [
        folded(
            "Near-duplicates in different splits",
            lines(shown, near.rows - len(shown)),
        )
    ]


def languages(report: DataReport) -> list[str]:
    """Rows by script; nothing where they were not looked at."""
    found = report.languages
    if found is None:
        return []
    listed = [f"{name(script)} {rows:,}" for script, rows in scripts(found)[:LISTED]]
    said = [f"Declared {name(found.declared)}.", *([f"Rows by script: {', '.join(listed)}."] if listed else [])]
    return ["### Languages\n\n" + " ".join([*said, *language_sentences(found)])]


def check_table(report: DataReport) -> str:
    """Which checks were done, and why the others were not: what was skipped never looks passed."""
    cells = [
        (
            check.name if check.known else name(check.name),
            "done" if check.done else f"**{NOT_CHECKED}**",
            check.found or (name(check.reason, 160) if check.reason else ""),
        )
        for check in checks(report)[:TABLE]
    ]
    return "### Checks\n\n" + table(("check", "state", ""), cells, left=3)
