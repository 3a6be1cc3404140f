"""The report as Markdown for a pull-request comment: verdict first, tables, dataset text only inside fences."""

from __future__ import annotations

from collections.abc import Iterable

from finetune.evaluation.gate import LIMITED, PASSED
from finetune.evaluation.report_parts import GateRow
from finetune.evaluation.report_schema import ArtefactRow, EvaluationReport
from finetune.markdown import CHARACTERS, fenced, folded, one_line, plain, table
from finetune.numbers import format_number, format_signed, format_size

CLASSES = 60
"""Rows of the per-class table; the weakest come first, the HTML has all."""
ERRORS = 10


def render_markdown(report: EvaluationReport) -> str:
    """Markdown of a report, at most CHARACTERS characters."""
    sections = [
        [f"## {_headline(report)}", "", _summary(report)],
        _gates(report),
        _artefacts(report),
        _metrics(report),
        _advice(report),
        _classes(report),
        _confusions(report),
        _errors(report),
        _provenance(report),
    ]
    lines: list[str] = []
    for number, section in enumerate(sections):
        if section and sum(map(len, [*lines, *section])) + len(lines) + len(section) > CHARACTERS:
            lines += ["", f"_{len(sections) - number} further sections are in evaluation_report.html._"]
            break
        if section:
            lines += ["", *section]
    return "\n".join(lines).strip() + "\n"


def _headline(report: EvaluationReport) -> str:
    mark = {PASSED: "✅ Passed", LIMITED: "⚠️ Limited run, not comparable"}.get(report.verdict, "❌ Failed")
    primary = report.primary
    return (
        f"{mark}: {plain(primary.metric)} {format_number(primary.value)} (threshold {format_number(primary.threshold)})"
    )


def _summary(report: EvaluationReport) -> str:
    primary, rows = report.primary, report.outputs.rows
    low, high = primary.ci
    text = f"{primary.confidence:.0%} interval {format_number(low)} to {format_number(high)} over {rows} test rows."
    if zero := report.baselines.zero_shot:
        text += f" Zero-shot {format_number(zero.value)}, difference {format_signed(zero.difference.difference)}."
    if majority := report.baselines.majority:
        text += f" Constant answer {format_number(majority.value)}."
    if missed := [row.name for row in judged_rows(report) if not row.passed]:
        text += f" Not passed: {', '.join(map(plain, missed))}."
    return text


def judged_rows(report: EvaluationReport) -> list[GateRow | ArtefactRow]:
    return [*report.gates, *(row for row in report.artefacts if not row.is_open)]


def _gates(report: EvaluationReport) -> list[str]:
    rows = (
        (
            "✅" if row.passed else "❌",
            plain(row.name),
            format_number(row.value),
            format_number(row.threshold),
            plain(row.note),
        )
        for row in report.gates
    )
    return ["### Gate", "", *table(("", "condition", "value", "at least", "note"), rows)]


def _artefacts(report: EvaluationReport) -> list[str]:
    if not report.artefacts:
        return []
    rows = (
        (
            "open" if row.is_open else "✅" if row.passed else "❌",
            plain(row.name),
            format_number(row.value),
            format_signed(row.difference),
            format_number(row.tolerance),
            format_size(row.bytes),
            format_number(row.tokens_per_s, 1),
        )
        for row in report.artefacts
    )
    heads = ("", "artefact", report.primary.metric, "against adapter", "tolerance", "size", "tokens/s")
    notes = [line for note in runtime_notes(report.artefacts) for line in ("", plain(note))]
    return ["### Artefacts", "", *table(heads, rows), *notes]


def runtime_notes(artefacts: Iterable[ArtefactRow]) -> list[str]:
    """One sentence for each way in which GGUF files were not run as llama.cpp does by itself; none where all were."""
    names: dict[str, list[str]] = {}
    for row in artefacts:
        if note := row.runtime and row.runtime.note:
            names.setdefault(note, []).append(row.name)
    return [f"{', '.join(files)} ran with {note}." for note, files in names.items()]


def _metrics(report: EvaluationReport) -> list[str]:
    baselines = report.baselines.items()
    heads = ["metric", "tuned", "interval", *(name.replace("_", "-") for name, _ in baselines)]
    rows = [
        (
            plain(name),
            format_number(value),
            " to ".join(map(format_number, report.intervals[name])),
            *(format_number(baseline.metrics.get(name)) for _, baseline in baselines),
        )
        for name, value in report.metrics.items()
    ]
    outputs, speed = report.outputs, report.speed
    note = (
        f"{outputs.unparseable} of {outputs.rows} answers unparseable, {outputs.unfinished} cut off; "
        f"{format_number(speed.rows_per_s, 1)} rows/s, {format_number(speed.tokens_per_s, 1)} tokens/s."
    )
    if before := report.baselines.zero_shot:
        note += f" Zero-shot: {before.unparseable} unparseable, {before.unfinished} cut off."
    return ["### Metrics", "", *table(heads, rows), "", note]


def _advice(report: EvaluationReport) -> list[str]:
    if not report.advice:
        return []
    items = (
        f"- **{plain(item.symptom)}** ({plain(item.id)}): {plain(item.evidence)}. → {plain(item.remedy)}."
        for item in report.advice
    )
    return ["### What to do next", "", *items]


def _classes(report: EvaluationReport) -> list[str]:
    classes = sorted(report.per_class, key=lambda row: (row.f1, row.name))
    if not classes:
        return []
    rows = (
        (
            plain(row.name),
            format_number(row.f1),
            format_number(row.zero_shot_f1),
            format_number(row.precision),
            format_number(row.recall),
            str(row.support),
        )
        for row in classes[:CLASSES]
    )
    more = [] if len(classes) <= CLASSES else ["", f"… and {len(classes) - CLASSES} better ones."]
    heads = ("class", "F1", "zero-shot F1", "precision", "recall", "support")
    return _folded(f"Per class, weakest first ({len(classes)})", [*table(heads, rows), *more])


def _confusions(report: EvaluationReport) -> list[str]:
    pairs = report.errors.confused_pairs
    if not pairs:
        return []
    rows = ((plain(p.expected), plain(p.predicted), str(p.count), plain(", ".join(p.ids))) for p in pairs[:10])
    return ["### Confused", "", *table(("expected", "predicted", "rows", "for example"), rows)]


def _errors(report: EvaluationReport) -> list[str]:
    worst = report.errors.worst[:ERRORS]
    if not worst:
        return []
    text = "\n\n".join(
        f"row       {one_line(row.id)}\ninput     {one_line(row.input)}\n"
        f"expected  {one_line(row.expected)}\nanswer    {one_line(row.answer)}"
        for row in worst
    )
    return _folded(f"Worst {len(worst)} of {report.errors.errors} errors", fenced(text).split("\n"))


def _provenance(report: EvaluationReport) -> list[str]:
    origin, data = report.provenance, report.data
    base = origin.base
    facts = [
        f"base {base.id} at {base.revision}",
        f"adapter {origin.adapter[:16]}",
        f"test set {data.test_sha256[:16]} ({data.rows} rows)",
        f"benchmark version {report.task.benchmark_version}",
        f"commit {origin.environment.git_commit}",
        f"created {origin.created}",
        *filter(None, [origin.machinery]),
    ]
    return ["<sub>" + "; ".join(map(plain, facts)) + "</sub>"]


def _folded(title: str, lines: Iterable[str]) -> list[str]:
    return folded(plain(title), "\n".join(lines)).split("\n")
