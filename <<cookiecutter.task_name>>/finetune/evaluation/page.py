"""The report as one HTML file: no script, no external resource, light and dark by the reader's preference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from finetune.data.report import page as data_page
from finetune.data.report.schema import DataReport
from finetune.evaluation import charts
from finetune.evaluation.gate import LIMITED, PASSED
from finetune.evaluation.markdown import judged_rows, runtime_notes
from finetune.evaluation.report_schema import EvaluationReport
from finetune.html_page import render_page
from finetune.numbers import format_number, format_signed, format_size

TEMPLATES = Path(__file__).parent / "templates"
BASELINE_NAMES = {"zero_shot": "zero-shot", "majority": "constant answer"}


def render_html(report: EvaluationReport, data: DataReport | None = None) -> str:
    """HTML of a report as `build_report` makes it; every text from data or models is escaped by the template.

    `data` is the report of the data behind it, whose pictures are shown where it is given.
    """
    primary, curve, confusion = report.primary, report.training, report.confusion
    baselines = [(BASELINE_NAMES.get(name, name), row.value) for name, row in report.baselines.items()]
    filters: dict[str, Callable[..., Any]] = {
        "number": format_number,
        "signed": format_signed,
        "size": format_size,
        "percent": _percent,
        **data_page.FILTERS,
    }
    return render_page(
        "report.html.j2",
        folders=[TEMPLATES, data_page.TEMPLATES],
        filters=filters,
        report=report,
        artefacts=report.artefacts,
        runtime_notes=runtime_notes(report.artefacts),
        state={PASSED: "good", LIMITED: "limited"}.get(report.verdict, "bad"),
        missed=[row.name for row in judged_rows(report) if not row.passed],
        classes=sorted(report.per_class, key=lambda row: (row.f1, row.name)),
        baseline_names=BASELINE_NAMES,
        scale=charts.scale(primary.value, primary.ci, primary.threshold, baselines, primary.passed),
        matrix=charts.heat_map(confusion.labels, confusion.columns, confusion.counts) if confusion else None,
        largest_matrix=charts.LARGEST_MATRIX,
        curve=charts.loss_curve(curve) if curve else None,
        machinery=str(report.provenance.machinery or ""),
        data=data,
        shown=data_page.data_pictures(data) if data else None,
    )


def _percent(value: float) -> str:
    return f"{value:.0%}"
