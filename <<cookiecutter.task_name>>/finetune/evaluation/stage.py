"""Step 04: adapter and baselines over the test set, report, gate."""

from __future__ import annotations

from finetune.config.project import Project
from finetune.console import say, table
from finetune.data.stage import require_current
from finetune.errors import OK, FinetuneError, GateFailed
from finetune.evaluation.backends import ADAPTER, artefact_path
from finetune.evaluation.baselines import majority, zero_shot
from finetune.evaluation.gate import PASSED
from finetune.evaluation.predictions import read_test, score_artefact
from finetune.evaluation.report import build_report, keep_artefacts, read_report, write_report
from finetune.evaluation.report_schema import EvaluationReport
from finetune.interrupts import rerun


@rerun("models that have answered every row are not asked again, the others start over")
def evaluate(project: Project, force: bool = False, limit: int | None = None, report_only: bool = False) -> int:
    """Score adapter and baselines, write the report, then judge.

    Kept predictions are reused while nothing they depend on has changed; `force` asks the models again. With `limit`,
    only the first rows are run and the gate cannot pass. A smoke run is stamped the same way, but it is no failure: one
    epoch of a small model shows that the pipeline runs. Raises GateFailed after the report is written, unless
    `report_only` leaves the judgement to another (the workflow judges by main's thresholds); FinetuneError when the
    data, the adapter or its base is missing or does not belong here.
    """
    if limit is not None and limit < 1:
        raise FinetuneError(f"--limit {limit} leaves no rows", "give a positive number", "E415")
    records = read_test(project, limit)
    require_current(project)
    _check_adapter(project)
    limited = limit is not None or project.smoke
    wanted = project.benchmark.baselines
    tuned = score_artefact(project, ADAPTER, limit=limit, force=force)
    before = zero_shot(project, limit=limit, force=force) if "zero_shot" in wanted else None
    constant = majority(project, records) if "majority" in wanted else None
    report = build_report(project, tuned, records, zero_shot=before, majority=constant, limited=limited)
    report = keep_artefacts(report, read_report(project))
    write_report(project, report)
    _show(project, report)
    if project.smoke and limit is None:
        say("a smoke run is not judged")
    elif report_only:
        say(f"{report.verdict}; the report is written, judging it is left to its reader")
    elif report.verdict != PASSED:
        missed = [row.name for row in report.gates if not row.passed]
        reason = f"gate failed: {', '.join(missed)}" if missed else report.verdict
        advice = f"see What to do next in {project.paths.relative(project.paths.report_md)}"
        raise GateFailed(reason, "run without --limit" if limited else advice, "E476")
    return OK


def _check_adapter(project: Project) -> None:
    """Whole and of this base, before anything is loaded; an outdated one is measured, and does not pass the gate."""
    from finetune.training.adapter import outdated, read_whole_adapter, require_base
    from finetune.training.base_model import resolve_base

    artefact_path(project, ADAPTER)
    manifest, base = read_whole_adapter(project), resolve_base(project)
    require_base(project, manifest, base)
    if stale := outdated(project, manifest, base):
        say(f"W310 {stale.message}. Fix: {stale.fix}")


def _show(project: Project, report: EvaluationReport) -> None:
    primary, before = report.primary, report.baselines.zero_shot
    low, high = primary.ci
    table(
        f"Evaluation over {report.outputs.rows} test rows",
        ("metric", "zero-shot", "tuned", "interval", "threshold", "verdict"),
        [
            (
                primary.metric,
                f"{before.value:.3f}" if before else "–",
                f"{primary.value:.3f}",
                f"{low:.3f} to {high:.3f}",
                f"{primary.threshold:.3f}",
                report.verdict,
            )
        ],
    )
    for row in report.gates:
        if not row.passed or row.note:
            say(f"  {'✓' if row.passed else '✗'} {row.name}" + (f": {row.note}" if row.note else ""))
    say(f"report: {project.paths.relative(project.paths.report_html)}")
