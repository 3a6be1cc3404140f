"""The evaluation report: one model, written as YAML (for machines), Markdown (a comment), HTML (for people)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from finetune import machinery
from finetune.config.project import Project
from finetune.data.chat_format import EvaluationRecord
from finetune.data.report.building import data_report_of
from finetune.errors import FinetuneError
from finetune.evaluation.advice import advise
from finetune.evaluation.curve import read_curve
from finetune.evaluation.errors import analyse
from finetune.evaluation.gate import gate, verdict
from finetune.evaluation.markdown import render_markdown
from finetune.evaluation.predictions import ArtefactScore
from finetune.evaluation.report_parts import (
    Baselines,
    ClassRow,
    Data,
    Majority,
    Outputs,
    Primary,
    Provenance,
    Task,
    ZeroShot,
)
from finetune.evaluation.report_schema import EvaluationReport
from finetune.evaluation.statistics import confidence_interval, paired_difference
from finetune.provenance import MANIFEST, NO_MANIFEST, digest, environment, read_manifest, sha256, write_text

REPORT_VERSION = 1
DIGITS = 6
"""Of every float in a report."""


def build_report(
    project: Project,
    tuned: ArtefactScore,
    records: list[EvaluationRecord],
    *,
    zero_shot: ArtefactScore | None = None,
    majority: Majority | None = None,
    limited: bool = False,
) -> EvaluationReport:
    """Everything measured on the adapter, compared, judged and explained, ready for `write_report`.

    `records` are the test records behind the predictions. `limited` stamps a run over part of the test set: its gate
    never passes. FinetuneError (E508) where the adapter's manifest leaves something out, or a value is out of range.
    """
    try:
        report = _rounded(_measured(project, tuned, records, zero_shot, majority, limited))
    except ValidationError as error:
        part = [] if error.title == EvaluationReport.__name__ else [error.title.lower()]
        places = [".".join([*part, *map(str, detail["loc"])]) for detail in error.errors()[:5]]
        message = f"the report lacks {', '.join(places)}, or it is out of range"
        raise FinetuneError(message, "train again with scripts/03_train.py, then evaluate", "E508") from None
    return report.model_copy(update={"advice": advise(project, report)})


def _measured(
    project: Project,
    tuned: ArtefactScore,
    records: list[EvaluationRecord],
    zero_shot: ArtefactScore | None,
    majority: Majority | None,
    limited: bool,
) -> EvaluationReport:
    """The report with every digit, before its advice. ValidationError for a part that is not whole."""
    task, settings = project.task, project.benchmark.bootstrap
    primary, scores = task.metrics.primary, tuned.scores
    intervals = {name: confidence_interval(rows, settings) for name, rows in scores.statistics.items()}
    baselines: dict[str, ZeroShot | Majority] = {}
    difference = None
    if zero_shot:
        difference = paired_difference(scores.statistics[primary], zero_shot.scores.statistics[primary], settings)
        baselines["zero_shot"] = ZeroShot(
            value=zero_shot.metrics[primary],
            metrics=zero_shot.metrics,
            difference=difference,
            unparseable=zero_shot.scores.unparseable,
            unfinished=zero_shot.scores.unfinished,
        )
    if majority:
        baselines["majority"] = majority
    recorded = (read_manifest(project.paths.adapter / MANIFEST) or NO_MANIFEST).facts
    data = recorded.get("data", {})
    rows, judged = gate(
        project,
        tuned.metrics,
        interval=intervals[primary],
        difference=difference,
        trained_on_this_data=_lies_here(project, data.get("train_sha256")),
        limited=limited,
    )
    return EvaluationReport(
        report_version=REPORT_VERSION,
        task=Task(
            name=task.task_name,
            type=task.task_type,
            description=task.description,
            language=task.language,
            benchmark_version=project.benchmark.version,
            smoke=project.smoke,
        ),
        verdict=judged,
        limited=limited,
        primary=Primary(
            metric=primary,
            value=tuned.metrics[primary],
            threshold=task.metrics.threshold,
            ci=list(intervals[primary]),
            confidence=settings.confidence,
            passed=next(row.passed for row in rows if row.name == primary),
        ),
        metrics=tuned.metrics,
        intervals={name: list(interval) for name, interval in intervals.items()},
        outputs=Outputs(rows=len(records), unparseable=scores.unparseable, unfinished=scores.unfinished),
        per_class=_with_baseline(scores.per_class, zero_shot),
        confusion=scores.confusion,
        baselines=Baselines.model_validate(baselines),  # one that was not run is left out
        gates=rows,
        errors=analyse(task, tuned.predictions, {record.id: record.input for record in records}),
        training=read_curve(project.paths.adapter / "training_log.jsonl"),
        speed=tuned.speed,
        data=Data.model_validate({"test_sha256": sha256(project.paths.test), "rows": len(records), **data}),
        provenance=_provenance(project, tuned, recorded),
        advice=[],
    )


def write_report(project: Project, report: EvaluationReport) -> None:
    """Write evaluation_report.html, .md and, last, .yaml: where the YAML is, the other two are of the same run.

    The verdict is drawn anew from the gate rows and, where step 07 has added them, the artefact rows.
    """
    from finetune.evaluation.page import render_html

    judged = verdict(report.gates, limited=report.limited, artefacts=report.artefacts)
    report = report.model_copy(update={"verdict": judged})
    data = data_report_of(project.paths, report.data.test_sha256)
    write_text(project.paths.report_html, render_html(report, data))
    write_text(project.paths.report_md, render_markdown(report))
    # Leaf lists and mappings on one line each: a confusion matrix stays a matrix.
    values = report.model_dump(mode="json", exclude_unset=True)
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)
    write_text(project.paths.report_yaml, text)


def read_report(project: Project) -> EvaluationReport | None:
    """The last written report, or None when there is none, it is damaged or of another version."""
    try:
        return EvaluationReport.model_validate(yaml.safe_load(project.paths.report_yaml.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None


def keep_artefacts(report: EvaluationReport, previous: EvaluationReport | None) -> EvaluationReport:
    """With step 07's rows from the previous report, while they are about the same adapter and test set."""
    if not previous or not previous.artefacts or report.limited:
        return report
    same = [(each.provenance.adapter, each.data.test_sha256) for each in (report, previous)]
    return report.model_copy(update={"artefacts": previous.artefacts}) if same[0] == same[1] else report


def _lies_here(project: Project, train_sha256: str | None) -> bool:
    """Whether the training split the adapter's manifest names is the one here; no name or no split proves nothing."""
    return bool(train_sha256) and project.paths.train.is_file() and sha256(project.paths.train) == train_sha256


def _with_baseline(rows: list[ClassRow], zero_shot: ArtefactScore | None) -> list[ClassRow]:
    before = {row.name: row.f1 for row in zero_shot.scores.per_class} if zero_shot else {}
    return [row.model_copy(update={"zero_shot_f1": before.get(row.name)}) for row in rows]


def _provenance(project: Project, tuned: ArtefactScore, recorded: Mapping[str, Any]) -> Provenance:
    """`recorded` are the facts of the adapter's manifest."""
    training = project.training
    return Provenance.model_validate({
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "adapter": tuned.digest,
        "base": recorded.get("base"),
        "method": training.method,
        "seed": training.seed,
        "configuration": digest({
            "task": project.task.model_dump(mode="json"), "training": training.model_dump(mode="json"),
            "benchmark": project.benchmark.model_dump(mode="json"),
        }),
        "trained_in": recorded.get("result"),
        "bootstrap": project.benchmark.bootstrap.model_dump(mode="json"),
        "environment": environment(Path(project.paths.root)),
        "machinery": machinery.recorded(),
    })  # fmt: skip


def _rounded(report: EvaluationReport) -> EvaluationReport:
    """Every float to DIGITS digits."""

    def rounded(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: rounded(item) for key, item in value.items()}
        if isinstance(value, list):
            return [rounded(item) for item in value]
        return round(value, DIGITS) if isinstance(value, float) else value

    return EvaluationReport.model_validate(rounded(report.model_dump(exclude_unset=True)))
