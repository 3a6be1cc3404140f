"""What to do next: the checklist's quick reference (8.1 to 8.5), a remedy only where the report shows its symptom."""

from __future__ import annotations

from collections.abc import Iterator

from finetune.config.project import Project
from finetune.evaluation.report_parts import Advice
from finetune.evaluation.report_schema import Report
from finetune.hints import for_smoke

NOTICEABLE = 0.01
"""Share of outputs from which a wrong form is worth a remedy."""
WEAK_BY = 0.10
"""A class is weak when it misses the threshold and lies this far below the mean of the classes."""
WIDE = 0.10
"""A confidence interval wider than this hides most improvements."""
CHECKLIST_ID = {"overfitting": "8.3", "underfitting": "4.15", "no-learning": "4.10", "spike": "4.10"}
"""Items of CHECKLIST.md by the code of a training finding."""


def advise(project: Project, report: Report) -> list[Advice]:
    """What the report gives reason for, most pressing first; ids are those of CHECKLIST.md."""
    rules = (_stale, _format, _baseline, _low_score, _weak_classes, _confusions, _training, _memory, _noise)
    found = [item for rule in rules for item in rule(project, report)]
    return [item.model_copy(update={"remedy": for_smoke(item.remedy)}) for item in found] if project.smoke else found


def _item(id: str, symptom: str, evidence: str, remedy: str) -> Advice:
    return Advice(id=id, symptom=symptom, evidence=evidence, remedy=remedy)


def _stale(project: Project, report: Report) -> Iterator[Advice]:
    if any(row.name == "trained on the current data" and not row.passed for row in report.gates):
        yield _item(
            "5.3",
            "the adapter belongs to other data",
            "its manifest names another data/chat_format",
            "run scripts/03_train.py, then evaluate again",
        )


def _format(project: Project, report: Report) -> Iterator[Advice]:
    outputs = report.outputs
    rows = outputs.rows
    if outputs.unfinished / rows > NOTICEABLE:
        yield _item(
            "8.5",
            "answers are cut off",
            f"{outputs.unfinished} of {rows} answers ran into the token cap",
            f"raise output.max_new_tokens (now {project.task.output.max_new_tokens}) if right answers are longer; "
            "otherwise the model has not learnt to stop: train longer",
        )
    if outputs.unparseable / rows > NOTICEABLE:
        yield _item(
            "8.5",
            "wrong output format",
            f"{outputs.unparseable} of {rows} answers cannot be parsed",
            "state the format in system_prompt, train longer, or constrain decoding where the model is served "
            "(a GBNF grammar in llama.cpp, guided decoding in vLLM)",
        )


def _baseline(project: Project, report: Report) -> Iterator[Advice]:
    primary, baselines = report.primary, report.baselines
    majority = baselines.majority
    if majority and primary.value <= majority.value:
        # Only a label may stand here: the comment shows other texts from data inside fences alone.
        answer = f" “{majority.answer}”" if project.task.task_type == "classification" else " the same"
        yield _item(
            "8.1",
            "no better than a constant answer",
            f"always answering{answer} reaches {majority.value:.3f}",
            "the model has not learnt the task: check data/chat_format by eye, then raise optimiser.learning_rate",
        )
    difference = baselines.zero_shot.difference if baselines.zero_shot else None
    if difference and difference.low <= 0:
        yield _item(
            "4.15",
            "training brought nothing measurable",
            f"difference to zero-shot {difference.difference:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})",
            "raise optimiser.learning_rate or optimiser.epochs; LoRA often wants ten times the full fine-tuning rate",
        )


def _low_score(project: Project, report: Report) -> Iterator[Advice]:
    primary = report.primary
    if not primary.passed:
        yield _item(
            "8.1",
            "low score",
            f"{primary.metric} {primary.value:.3f}, wanted {primary.threshold:.3f}",
            "read the errors below with their row ids; correct or add data first, tune hyper-parameters second",
        )


def _weak_classes(project: Project, report: Report) -> Iterator[Advice]:
    classes = report.per_class
    present = [row for row in classes if row.support]
    if not present:
        return
    for row in classes:
        if not row.support:
            yield _item(
                "3.3",
                f"“{row.name}” is not tested",
                "it has no row in the test split",
                "add data for it: what is not measured cannot be released with confidence",
            )
    mean = sum(row.f1 for row in present) / len(present)
    weak = [r for r in present if r.f1 < project.task.metrics.threshold and r.f1 < mean - WEAK_BY]
    for row in sorted(weak, key=lambda row: row.f1)[:5]:
        pairs = [p for p in report.errors.confused_pairs if p.expected == row.name]
        taken = f", mostly taken for “{pairs[0].predicted}” ({pairs[0].count}×)" if pairs else ""
        yield _item(
            "8.2",
            f"“{row.name}” is weak",
            f"F1 {row.f1:.3f} against {mean:.3f} on average, {row.support} in the test split{taken}",
            "add data for it"
            + (", or set data.balance: oversample" if project.task.data.balance == "none" else "")
            + ("; see rows " + ", ".join(pairs[0].ids) if pairs else ""),
        )


def _confusions(project: Project, report: Report) -> Iterator[Advice]:
    if project.task.task_type != "classification":
        return
    counts = {(pair.expected, pair.predicted): pair.count for pair in report.errors.confused_pairs}
    for (first, second), count in counts.items():
        back = counts.get((second, first), 0)
        if first < second and back and count + back >= 3:
            yield _item(
                "5.11",
                f"“{first}” and “{second}” are taken for each other",
                f"{count}× and {back}×",
                "sharpen the two descriptions in task_definition.yaml and look for rows labelled inconsistently",
            )


def _training(project: Project, report: Report) -> Iterator[Advice]:
    passed = report.primary.passed
    for finding in report.training.findings if report.training else ():
        if finding.code != "underfitting" or not passed:  # a loss that still falls is no fault of a good adapter
            yield _item(CHECKLIST_ID.get(finding.code, "4.10"), finding.code, finding.text, finding.change)


def _memory(project: Project, report: Report) -> Iterator[Advice]:
    recovered = report.provenance.trained_in.recovered if report.provenance.trained_in else []
    if recovered:
        fits = recovered[-1].to_per_device
        yield _item(
            "8.4",
            "out of memory, recovered",
            f"training went on with {fits} rows at once, the effective batch stayed",
            f"set batch.per_device: {fits} (now {project.training.batch.per_device}), or method: qlora",
        )


def _noise(project: Project, report: Report) -> Iterator[Advice]:
    low, high = report.primary.ci
    if high - low > WIDE:
        yield _item(
            "5.2",
            "the test set is small",
            f"{report.outputs.rows} rows leave {report.primary.metric} between {low:.3f} and {high:.3f}",
            "add data: four times the test rows halve this interval",
        )
