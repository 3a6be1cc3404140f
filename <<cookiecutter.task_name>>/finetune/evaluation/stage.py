"""Step 04: adapter and baselines over the test set, report, gate."""

from __future__ import annotations

from finetune.config.project import Project
from finetune.console import say, table
from finetune.data.stage import data_inputs
from finetune.errors import OK, FinetuneError, GateFailed
from finetune.evaluation.backends import ADAPTER
from finetune.evaluation.baselines import majority, zero_shot
from finetune.evaluation.gate import PASSED
from finetune.evaluation.predictions import read_test, score_artefact
from finetune.evaluation.report import build_report, keep_artefacts, read_report, write_report
from finetune.provenance import MANIFEST, is_current, read_manifest


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
    if not is_current(project.paths.data_manifest, data_inputs(project)):
        stale = "the converted data is not that of data/raw and task_definition.yaml"
        raise FinetuneError(stale, "run scripts/02_convert_format.py", "E416")
    limited = limit is not None or project.smoke
    wanted = project.benchmark.baselines
    tuned = score_artefact(project, ADAPTER, limit=limit, force=force)
    _same_base(project)
    before = zero_shot(project, limit=limit, force=force) if "zero_shot" in wanted else None
    constant = majority(project, records) if "majority" in wanted else None
    report = build_report(project, tuned, records, zero_shot=before, majority=constant, limited=limited)
    keep_artefacts(report, read_report(project))
    write_report(project, report)
    _show(project, report)
    if project.smoke and limit is None:
        say("a smoke run is not judged")
    elif report_only:
        say(f"{report['verdict']}; the report is written, judging it is left to its reader")
    elif report["verdict"] != PASSED:
        missed = [row["name"] for row in report["gates"] if not row["passed"]]
        reason = f"gate failed: {', '.join(missed)}" if missed else report["verdict"]
        advice = f"see What to do next in {project.paths.relative(project.paths.report_md)}"
        raise GateFailed(reason, "run without --limit" if limited else advice, "E476")
    return OK


def _same_base(project: Project) -> None:
    """An adapter on another base than it was trained on gives numbers that mean nothing."""
    from finetune.training.base_model import resolve_base

    manifest = read_manifest(project.paths.adapter / MANIFEST)
    recorded = ((manifest or {}).get("facts", {}).get("base") or {}).get("fingerprint")
    if recorded != resolve_base(project).fingerprint:
        strange = "models/adapter was trained on another base model" if recorded else "models/adapter has no manifest"
        raise FinetuneError(strange, "run scripts/03_train.py", "E417")


def _show(project: Project, report: dict) -> None:
    primary, before = report["primary"], report["baselines"].get("zero_shot")
    low, high = primary["ci"]
    table(
        f"Evaluation over {report['outputs']['rows']} test rows",
        ("metric", "zero-shot", "tuned", "interval", "threshold", "verdict"),
        [(
            primary["metric"], f"{before['value']:.3f}" if before else "–", f"{primary['value']:.3f}",
            f"{low:.3f} to {high:.3f}", f"{primary['threshold']:.3f}", report["verdict"],
        )],
    )  # fmt: skip
    for row in report["gates"]:
        if not row["passed"] or row["note"]:
            say(f"  {'✓' if row['passed'] else '✗'} {row['name']}" + (f": {row['note']}" if row["note"] else ""))
    say(f"report: {project.paths.relative(project.paths.report_html)}")
