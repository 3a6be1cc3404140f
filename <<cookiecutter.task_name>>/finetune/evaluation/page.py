"""The report as one HTML file: no script, no external resource, light and dark by the reader's preference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from finetune import machinery
from finetune.data.report import page as data_page
from finetune.data.report.schema import DataReport
from finetune.evaluation import charts
from finetune.evaluation.gate import LIMITED, PASSED, is_open
from finetune.evaluation.markdown import number, runtime_notes, signed, size
from finetune.html_page import render_page

TEMPLATES = Path(__file__).parent / "templates"
ARTEFACT_KEYS = (
    "name", "file", "bytes", "value", "difference", "tolerance", "passed", "status", "reason", "agreement",
    "tokens_equal", "tokens_per_s",
)  # fmt: skip
BASELINE_NAMES = {"zero_shot": "zero-shot", "majority": "constant answer"}


def render_html(report: dict[str, Any], data: DataReport | None = None) -> str:
    """HTML of a report as `build_report` makes it; every text from data or models is escaped by the template.

    `data` is the report of the data behind it, whose pictures are shown where it is given.
    """
    artefacts = [{key: row.get(key) for key in ARTEFACT_KEYS} for row in report.get("artefacts") or ()]
    primary, curve, confusion = report["primary"], report["training"], report["confusion"]
    baselines = [(BASELINE_NAMES.get(name, name), row["value"]) for name, row in report["baselines"].items()]
    filters = {"number": number, "signed": signed, "size": size, "percent": _percent, **data_page.FILTERS}
    return render_page(
        "report.html.j2",
        folders=[TEMPLATES, data_page.TEMPLATES],
        filters=filters,
        report=report,
        artefacts=artefacts,
        runtime_notes=runtime_notes(report.get("artefacts") or ()),
        state={PASSED: "good", LIMITED: "limited"}.get(report["verdict"], "bad"),
        missed=[row["name"] for row in (*report["gates"], *artefacts) if not row["passed"] and not is_open(row)],
        classes=sorted(report["per_class"], key=lambda row: (row["f1"], row["name"])),
        baseline_names=BASELINE_NAMES,
        scale=charts.scale(primary["value"], primary["ci"], primary["threshold"], baselines, primary["passed"]),
        matrix=charts.heat_map(confusion["labels"], confusion["columns"], confusion["counts"]) if confusion else None,
        largest_matrix=charts.LARGEST_MATRIX,
        curve=charts.loss_curve(curve) if curve else None,
        machinery=machinery.sentence(report["provenance"].get("machinery")),
        data=data,
        shown=data_page.data_pictures(data) if data else None,
    )


def _percent(value: float) -> str:
    return f"{value:.0%}"
