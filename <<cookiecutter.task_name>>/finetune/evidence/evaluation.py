"""Phase 5: the report is about this adapter and this test set, and its numbers follow from the kept predictions."""

from __future__ import annotations

from finetune.evaluation.gate import PASSED
from finetune.evaluation.predictions import score_kept
from finetune.evidence.facts import Facts
from finetune.evidence.findings import Finding, done, failed, not_yet
from finetune.evidence.registry import evidence
from finetune.evidence.values import finite_or_none

NAME = "evaluation_report.yaml"
ROUNDING = 1e-5
"""Values in the report are rounded to six digits."""


@evidence
def evaluated(facts: Facts) -> Finding:
    if facts.report_problem:
        return facts.report_problem
    report = facts.report
    return done(f"{report.outputs.rows} test rows, verdict: {report.verdict} ({NAME}, of this adapter)")


@evidence
def independent_test(facts: Facts) -> Finding:
    if facts.report_problem:
        return facts.report_problem
    overlap = facts.found.get("3.19")
    if overlap is None or overlap.status != "done":
        return not_yet("the test set is the report's, but 3.19 does not prove that it is apart from the training set")
    return done(f"data.test_sha256 {facts.report.data.test_sha256[:12]} is data/test.jsonl; no overlap (3.19)")


@evidence
def same_prompt(facts: Facts) -> Finding:
    if facts.report_problem:
        return facts.report_problem
    shape = facts.found.get("3.13")
    if shape is None or shape.status != "done":
        return not_yet("3.13 does not prove that training and test rows carry today's prompt")
    stale = [row for row in facts.report.gates if row.name == "trained on the current data" and not row.passed]
    if stale:
        return failed(f"{stale[0].note} ({NAME})")
    rows = [row for row in facts.report.artefacts if row.tokens_equal is not None]
    unequal = [row.name for row in rows if row.tokens_equal is not True]
    if unequal:
        return failed(f"{', '.join(unequal)} read other tokens than training ({NAME}: artefacts)")
    equal = f"; token ids equal in {len(rows)} artefacts" if rows else ""
    return done(f"one prompt function, the same system prompt in train, valid and test{equal}")


def recomputed(facts: Facts) -> float | Finding:
    """The primary metric computed again from the kept predictions; a finding when they cannot prove it.

    Raises ImportError where the train extra is not installed.
    """
    if facts.predictions_problem:
        return facts.predictions_problem
    assert facts.project, "ask unloaded() first"
    scores = score_kept(facts.project, facts.paths.predictions / "adapter.jsonl")
    return scores.metrics[facts.task.metrics.primary]


@evidence
def primary_reached(facts: Facts) -> Finding:
    if facts.report_problem:
        return facts.report_problem
    primary, metrics = facts.report.primary, facts.task.metrics
    value = finite_or_none(primary.value)
    if primary.metric != metrics.primary or value is None:
        return not_yet(f"{NAME} has no value of {metrics.primary}: run scripts/04_evaluate.py again")
    if facts.report.limited is not False:
        return not_yet(f"{NAME} is of a limited run: run scripts/04_evaluate.py without --limit")
    try:
        again = recomputed(facts)
    except ImportError:
        again = value
    if isinstance(again, Finding):
        return again
    if abs(again - value) > ROUNDING:
        return failed(f"{NAME} says {metrics.primary} {value:.4f}, the kept predictions give {again:.4f}")
    if primary.threshold != metrics.threshold:
        old, new = f"{primary.threshold:g}", f"{metrics.threshold:g}"
        return not_yet(f"{NAME} was judged by threshold {old}, the task says {new}: run scripts/04_evaluate.py again")
    low, high = primary.ci
    reached = primary.passed is True
    text = f"{metrics.primary} {value:.2f} {'≥' if reached else 'not ≥'} {metrics.threshold:.2f}"
    text += f", interval {low:.2f} to {high:.2f} ({NAME})"
    return done(text) if reached else failed(text)


@evidence
def f1_per_class(facts: Facts) -> Finding:
    if facts.report_problem:
        return facts.report_problem
    rows, names = facts.report.per_class, facts.task.label_names or facts.task.entity_type_names
    if not names:
        return done(f"not needed: {facts.task.task_type} has no classes")
    absent = set(names) - {row.name for row in rows if finite_or_none(row.f1) is not None}
    if absent:
        return not_yet(f"no F1 of {', '.join(sorted(absent)[:5])} ({NAME}: per_class)")
    lowest = min(rows, key=lambda row: row.f1)
    return done(f"{len(rows)} classes, lowest {lowest.name} {lowest.f1:.2f} ({NAME}: per_class)")


@evidence
def confusion_matrix(facts: Facts) -> Finding:
    if facts.report_problem:
        return facts.report_problem
    if facts.task.task_type != "classification":
        return done(f"not needed: {facts.task.task_type} has no confusion matrix")
    confusion = facts.report.confusion
    if confusion is None:
        return failed(f"no confusion matrix ({NAME})")
    counted = sum(sum(line) for line in confusion.counts)
    rows = facts.report.outputs.rows
    if counted != rows or confusion.labels != list(facts.task.label_names):
        return failed(f"the confusion matrix counts {counted} of {rows} rows ({NAME}: confusion)")
    right = sum(line[index] for index, line in enumerate(confusion.counts))
    return done(f"{right} of {rows} on the diagonal, {len(confusion.labels)} labels ({NAME}: confusion)")


@evidence
def error_analysis(facts: Facts) -> Finding:
    if facts.report_problem:
        return facts.report_problem
    errors = facts.report.errors
    pairs, worst = len(errors.confused_pairs), len(errors.worst)
    if errors.errors and not worst:
        return not_yet(f"{errors.errors} errors, none shown ({NAME}: errors)")
    return done(f"{errors.errors} of {errors.rows} wrong: {pairs} confused pairs, {worst} worst ({NAME}: errors)")


@evidence
def report_files(facts: Facts) -> Finding:
    if facts.report_problem:
        return facts.report_problem
    paths = (facts.paths.report_yaml, facts.paths.report_md, facts.paths.report_html)
    missing = [path.name for path in paths if not path.is_file() or not path.stat().st_size]
    if missing:
        return not_yet(f"{', '.join(missing)} missing: run scripts/04_evaluate.py --force")
    return done(", ".join(path.name for path in paths))


@evidence
def metrics_complete(facts: Facts) -> Finding:
    if facts.report_problem:
        return facts.report_problem
    report, wanted = facts.report, facts.task.metric_names
    missing = [name for name in wanted if finite_or_none(report.metrics.get(name)) is None]
    missing += [name for name in facts.benchmark.baselines if getattr(report.baselines, name) is None]
    if missing:
        return not_yet(f"{', '.join(missing)} missing in {NAME}")
    outputs, speed = report.outputs, report.speed
    return done(
        f"{', '.join(wanted)}; baselines {', '.join(facts.benchmark.baselines) or 'none'}; "
        f"{outputs.unparseable} unparseable; {speed.tokens_per_s:.0f} tokens/s ({NAME})"
    )


@evidence
def errors_recorded(facts: Facts) -> Finding:
    if facts.report_problem or facts.predictions_problem:
        return facts.report_problem or facts.predictions_problem or not_yet("")
    path = facts.paths.predictions / "adapter.jsonl"
    with open(path, "rb") as stream:
        rows = sum(1 for _ in stream)
    if rows != facts.report.outputs.rows:
        return failed(f"{facts.name(path)} has {rows} rows, the report {facts.report.outputs.rows}")
    return done(f"{rows} answers with their rows' ids in {facts.name(path)}")


def _remedy(facts: Facts, ids: tuple[str, ...], otherwise: str) -> Finding:
    """Not needed when the target is met; else what the report advises under these ids, still to be done."""
    if facts.report_problem:
        return facts.report_problem
    if facts.report.primary.passed is True:
        return done("not needed: the target is met")
    advice = next((item for item in facts.report.advice if item.id in ids), None)
    if advice:
        return not_yet(f"{advice.symptom}: {advice.evidence}; {advice.remedy} ({NAME}: advice)")
    return not_yet(otherwise)


@evidence
def patterns_analysed(facts: Facts) -> Finding:
    if facts.report_problem:
        return facts.report_problem
    if facts.report.primary.passed is True:
        return done("not needed: the target is met")
    pairs, advice = facts.report.errors.confused_pairs, facts.report.advice
    if not advice:
        return not_yet(f"no advice in {NAME}: run scripts/04_evaluate.py again")
    return done(f"{len(pairs)} confused pairs, {len(advice)} remedies with their evidence ({NAME}: errors, advice)")


@evidence
def data_improved(facts: Facts) -> Finding:
    about_data = ("8.2", "3.3", "5.2", "5.11", "8.5", "8.1")
    return _remedy(facts, about_data, "add or correct rows, see the errors in the report")


@evidence
def hyperparameters_tuned(facts: Facts) -> Finding:
    return _remedy(facts, ("8.3", "4.14", "4.15"), "the report names no setting: correct or add data first")


@evidence
def retrained(facts: Facts) -> Finding:
    return _remedy(facts, (), "after the change: scripts/03_train.py, then scripts/04_evaluate.py")


@evidence
def target_met(facts: Facts) -> Finding:
    if facts.report_problem:
        return facts.report_problem
    reached = facts.found.get("5.4")
    if reached is None or reached.status != "done":
        return Finding(reached.status if reached else "open", "the primary metric does not prove it, see 5.4")
    gates = facts.report.gates
    missed = [row.name for row in gates if row.passed is not True]
    if missed or not gates or facts.report.verdict != PASSED:
        return failed(f"verdict {facts.report.verdict}, gates missed: {', '.join(missed) or 'none'} ({NAME})")
    return done(f"{len(gates)} of {len(gates)} gates passed ({NAME})")
