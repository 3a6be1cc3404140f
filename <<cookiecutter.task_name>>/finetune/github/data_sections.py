"""The data report's own sections, beside those of the change: verdict, problems, distribution, lengths.

Every list is cut to a screenful and says how many more there are: an ordinary report fits into a comment whole.
"""

from __future__ import annotations

from collections import Counter

from finetune.data.splits import SPLITS
from finetune.github.data_schema import Changes, DataReport, ProblemList
from finetune.github.data_tables import FOLDED_FROM, TABLE, bar, count, lines, long_table, name, share, table

_PROBLEMS = 50
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
    usable = "All rows can be read" if rows.accepted == rows.read else f"{count(rows.accepted, 'row')} can be read"
    planned = f", {rows.expected:,} are planned" if rows.accepted < rows.expected else ""
    stop = "" if mark == "✅" else " Training does not start before this is corrected."
    return f"## {mark} Data report: {count(rows.read, 'row')}, {found}{unfinished}\n\n{usable}{planned}.{stop}"


def problems(found: ProblemList) -> str:
    """The first problems in a code block, and how many there are of each kind."""
    total = found.errors + found.warnings
    if not total:
        return "### What is wrong\n\nNothing."
    shown = found.problems[:_PROBLEMS]
    kinds = Counter(problem.code for problem in found.problems).most_common(8)
    codes = ", ".join(f"{number:,} × {name(code, 8)}" for code, number in kinds)
    kept = f"of the first {len(found.problems):,} " if len(found.problems) < total else ""
    head = f"{count(found.errors, 'error')}, {count(found.warnings, 'warning')}; {kept}{codes}."
    return f"### What is wrong\n\n{head}\n\n{lines(map(str, shown), total - len(shown))}"


def distribution(report: DataReport, changes: Changes) -> str:
    """Rows per class and split with bars; a chart where there are many classes."""
    rows = report.rows
    total = (rows.accepted, *(getattr(rows, split) for split in SPLITS))
    shares = ("", *(share(getattr(rows, split), rows.accepted) for split in SPLITS))
    if not report.classes:
        return "### Distribution\n\n" + table(("", "rows", *SPLITS), [("all rows", *total), ("share", *shares)])
    parts = ["### Distribution"]
    if report.imbalance:
        limit = f"the limit is {report.imbalance.limit:g}"
        parts.append(f"The largest class has {report.imbalance.ratio:.2f} times the rows of the smallest; {limit}.")
    classes = sorted(report.classes.items(), key=lambda item: item[1].rows)
    if len(classes) in _CHARTED:
        parts.append(_chart([counts.rows for _, counts in classes], _before([label for label, _ in classes], changes)))
    most = max(counts.rows for _, counts in classes)
    cells = [
        (number, name(label), c.rows, c.train, c.valid, c.test, bar(c.rows, most))
        for number, (label, c) in enumerate(classes, 1)
    ]
    ends = [("", "all rows", *total, ""), ("", "share", *shares, "")]
    heads = ("#", "class", "rows", *SPLITS, "")
    parts.append(long_table("Rows per class and split, fewest first", heads, cells, ends, left=2))
    return "\n\n".join(parts)


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
        "---", f"config: {{xyChart: {sizes}, themeVariables: {colours}}}", "---",
        "xychart-beta", f"    x-axis {numbers}", f'    y-axis "rows" 0 --> {max(1, *rows, *before)}', f"    bar {rows}",
    ]  # fmt: skip
    note = "Rows by the number of the class in the table below"
    if any(before) and before != rows:
        chart.append(f"    line {before}")
        note += "; the line is the rows before the change"
    return "\n".join(["```mermaid", *chart, "```", "", f"{note}."])


def figures(report: DataReport) -> str:
    """Lengths, duplicates and groups."""
    fields = (("input", report.characters.input), ("answer", report.characters.output))
    lengths = [(field, c.min, c.median, c.p95, c.max) for field, c in fields if c]
    parts = []
    if lengths:
        parts += ["### Lengths in characters", table(("", "shortest", "median", "95 %", "longest"), lengths)]
    exact, conflicting = report.duplicates.exact, report.duplicates.conflicting
    text = "No input occurs twice."
    if exact or conflicting:
        text = (
            f"{count(exact, 'row')} with the input and answer of an earlier row, {conflicting:,} with another answer."
        )
    if report.groups.rows:
        text += f" {count(report.groups.rows, 'row')} in {count(report.groups.distinct, 'group')}."
    return "\n\n".join([*parts, "### Duplicates", text])
