"""Evaluation reports for tests: changed as plain values, then read as the model again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from finetune.config.project import Project
from finetune.evaluation.report import read_report, write_report
from finetune.evaluation.report_schema import EvaluationReport


def changed(report: EvaluationReport, change: Callable[[dict[str, Any]], object]) -> EvaluationReport:
    """The report after `change` of its values, as the file has them."""
    values = report.model_dump(mode="json", exclude_unset=True)
    change(values)
    return EvaluationReport.model_validate(values)


def rewrite(project: Project, change: Callable[[dict[str, Any]], object]) -> EvaluationReport:
    """Change the report that lies in the repository, and write its three files again."""
    report = read_report(project)
    assert report
    report = changed(report, change)
    write_report(project, report)
    return report


def row(name: str, **values: Any) -> dict[str, Any]:
    """A row of step 07 that passed, unless `values` say otherwise."""
    return {"name": name, "file": f"models/{name}", "status": "passed", "passed": True, **values}
