"""May this adapter pass, by the thresholds of the checkout that asks? What it judges comes from a machine not trusted.

Thresholds, gate conditions, verdict and advice are this checkout's own; of the report only the numbers are taken, after
its form, its test set and the answers behind it are what they must be. Whatever is missing fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from finetune.config.project import Project
from finetune.evaluation.advice import advise
from finetune.evaluation.gate import FAILED, LIMITED, PASSED, gate
from finetune.evaluation.report_parts import GateRow
from finetune.evaluation.report_schema import EvaluationReport, Report
from finetune.github.train.kept_predictions import check_predictions
from finetune.github.train.report_file import MAX_BYTES, read_report
from finetune.github.train.strict_json import Unreadable, read_bytes

_OWN_DATA = "trained on the current data"
_ROUNDING = 1e-6
"""The report keeps six digits."""


@dataclass(frozen=True)
class Verdict:
    """What this checkout says about one report."""

    passed: bool
    rows: list[GateRow]
    """The gate's conditions with the values found; empty when the report could not be read."""
    reasons: list[str]
    """Why it did not pass, everything at once: what is missing, wrong or too low. Empty exactly when it passed."""
    report: EvaluationReport | None
    """The report with thresholds, gate rows, verdict and advice of this checkout; None when it could not be read."""


def judge(project: Project, report: bytes | Path, *, test_rows: int, test_sha256: str, predictions: Path) -> Verdict:
    """Judge evaluation_report.yaml (its content or path) by `project`'s thresholds; never raises for what it holds.

    `test_rows` and `test_sha256` describe the test set that main's code made of the input; `predictions` is the folder
    with adapter.jsonl and its manifest.
    """
    try:
        values = read_report(read_bytes(report, MAX_BYTES) if isinstance(report, Path) else report)
    except Unreadable as refusal:
        reasons = [f"evaluation_report.yaml: {refusal}"]
        reasons += check_predictions(predictions, rows=test_rows, test_sha256=test_sha256)
        return Verdict(False, [], reasons, None)
    reasons = [
        f"evaluation_report.yaml: {fault}" for fault in _inconsistencies(project, values, test_rows, test_sha256)
    ]
    adapter = values.provenance.adapter
    reasons += check_predictions(predictions, rows=test_rows, test_sha256=test_sha256, adapter=adapter)
    rows, verdict = _gate(project, values)
    reasons += [_missed(row) for row in rows if not row.passed]
    if verdict == LIMITED:
        reasons.append("evaluation_report.yaml: a limited run, not comparable")
    passed = verdict == PASSED and not reasons
    return Verdict(passed, rows, reasons, _judged(project, values, rows, passed))


def _inconsistencies(project: Project, report: Report, test_rows: int, test_sha256: str) -> list[str]:
    """Why the numbers are not those of this task on this test set, or contradict each other."""
    faults = []
    task, primary, metric = report.task, report.primary, project.task.metrics.primary
    if task.type != project.task.task_type:
        faults.append(f"task.type is {task.type}, not {project.task.task_type}")
    if task.smoke:
        faults.append("task.smoke: a smoke run is no evaluation")
    if primary.metric != metric:
        faults.append(f"primary.metric is {ascii(primary.metric)[:60]}, not {metric}")
    for name in (metric, *sorted(project.benchmark.thresholds)):
        if name not in report.metrics:
            faults.append(f"metrics.{name} is missing")
    listed = report.metrics.get(primary.metric)
    if listed is not None and abs(listed - primary.value) > _ROUNDING:
        faults.append(f"primary.value is {primary.value:g}, metrics say {listed:g}")
    for place, rows in (
        ("outputs.rows", report.outputs.rows),
        ("data.rows", report.data.rows),
        ("errors.rows", report.errors.rows),
        ("speed.rows", report.speed.rows),
    ):
        if rows != test_rows:
            faults.append(f"{place} is {rows}, the test set has {test_rows} rows")
    if report.data.test_sha256 != test_sha256:
        faults.append("data.test_sha256 names another test set")
    return faults


def _gate(project: Project, report: Report) -> tuple[list[GateRow], str]:
    """The evaluation's own gate over the report's numbers, with this checkout's thresholds."""
    primary, zero_shot = project.task.metrics.primary, report.baselines.zero_shot
    low, high = report.intervals.get(primary) or (0.0, 0.0)
    own_data = [row.passed for row in report.gates if row.name == _OWN_DATA]
    return gate(
        project,
        report.metrics,
        interval=(low, high),
        difference=zero_shot.difference if zero_shot else None,
        trained_on_this_data=own_data == [True],
        limited=report.limited,
    )


def _missed(row: GateRow) -> str:
    if row.value is None or row.threshold is None:
        return f"{row.name}: {row.note or 'no'}"
    note = f" ({row.note})" if row.note else ""
    return f"{row.name} is {row.value:.3f}, wanted at least {row.threshold:.3f}{note}"


def _judged(project: Project, report: Report, rows: list[GateRow], passed: bool) -> EvaluationReport | None:
    """The report as this checkout would have written it over the same numbers; None without its primary metric."""
    metric = project.task.metrics.primary
    if metric not in report.metrics:
        return None
    floor = next(row for row in rows if row.name == metric)
    primary = report.primary.model_copy(
        update={
            "metric": metric,
            "value": report.metrics[metric],
            "threshold": project.task.metrics.threshold,
            "ci": report.intervals[metric],
            "passed": floor.passed,
        }
    )
    verdict = PASSED if passed else LIMITED if report.limited else FAILED
    judged = EvaluationReport(**{**dict(report), "verdict": verdict, "primary": primary, "gates": rows})
    return judged.model_copy(update={"advice": advise(project, judged)})
