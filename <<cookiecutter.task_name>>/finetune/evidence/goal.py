"""Phase 1: the task is defined."""

from __future__ import annotations

from finetune.config.task_defaults import SUGGESTED_THRESHOLD
from finetune.evidence.facts import Facts
from finetune.evidence.findings import Finding, done, failed, not_yet
from finetune.evidence.registry import evidence

_UNWRITTEN = ("TODO", "TBD", "FIXME", "待填", "待補")


def _unwritten(**texts: str) -> Finding | None:
    """Open while a text still holds the generator's placeholder."""
    for name, text in texts.items():
        if any(sign in text for sign in _UNWRITTEN):
            return not_yet(f"{name.replace('__', '.')} still holds a placeholder (task_definition.yaml)")
    return None


def _left_out(facts: Facts, *keys: str) -> Finding | None:
    """Open while something that only a person knows is left to its default."""
    assert facts.project
    left = [key for key in keys if key in facts.project.derived]
    return not_yet(f"{', '.join(left)}: still the default, write your own (task_definition.yaml)") if left else None


@evidence
def task_name(facts: Facts) -> Finding:
    return facts.refused("task_definition.yaml", "task_name") or done(
        f"task_name {facts.task.task_name} (task_definition.yaml)"
    )


@evidence
def task_type(facts: Facts) -> Finding:
    return facts.refused("task_definition.yaml", "task_type") or done(f"task_type {facts.task.task_type}")


@evidence
def input_format(facts: Facts) -> Finding:
    if refusal := facts.refused("task_definition.yaml", "input", "language"):
        return refusal
    given = facts.task.input
    return (
        _left_out(facts, "input.description", "input.example")
        or _unwritten(input__description=given.description, input__example=given.example)
        or done(f"field {given.field}, {facts.task.language}, at most {given.max_chars} characters, one example")
    )


@evidence
def output_format(facts: Facts) -> Finding:
    if refusal := facts.refused("task_definition.yaml", "output"):
        return refusal
    output = facts.task.output
    if left_out := _left_out(facts, "output.example") if facts.task.task_type != "classification" else None:
        return left_out
    if unwritten := _unwritten(output__description=output.description, output__example=output.example):
        return unwritten
    form = {
        "classification": f"one of {len(output.labels)} labels",
        "extraction": f"JSON entities of {len(output.entity_types)} types",
        "generation": "free text",
    }[facts.task.task_type]
    return done(f"field {output.field}: {form}, at most {output.max_new_tokens} tokens, one example")


@evidence
def labels(facts: Facts) -> Finding:
    if refusal := facts.refused("task_definition.yaml", "output.labels", "output.entity_types", "system_prompt"):
        return refusal
    named = facts.task.output.labels or facts.task.output.entity_types
    if not named:
        return done(f"not needed: {facts.task.task_type} has no labels")
    unwritten = _unwritten(**{f"output__{item.name}": f"{item.name} {item.description}" for item in named})
    return unwritten or done(f"{len(named)} distinct names, each with a description that goes into the system prompt")


@evidence
def primary_metric(facts: Facts) -> Finding:
    return facts.refused("task_definition.yaml", "metrics.primary") or done(
        f"metrics.primary {facts.task.metrics.primary} fits {facts.task.task_type}"
    )


@evidence
def threshold(facts: Facts) -> Finding:
    if refusal := facts.refused("task_definition.yaml", "metrics.threshold"):
        return refusal
    value = facts.task.metrics.threshold
    note = "" if value >= SUGGESTED_THRESHOLD else f"; warning: below the suggested {SUGGESTED_THRESHOLD:.2f}"
    return done(f"{facts.task.metrics.primary} ≥ {value:g}{note}")


@evidence
def secondary_metrics(facts: Facts) -> Finding:
    if refusal := facts.refused("task_definition.yaml", "metrics.secondary"):
        return refusal
    listed = facts.task.metrics.secondary
    if not listed:
        return not_yet("metrics.secondary is empty (task_definition.yaml)")
    return done("metrics.secondary " + ", ".join(listed))


@evidence
def expected_rows(facts: Facts) -> Finding:
    if refusal := facts.refused("task_definition.yaml", "data.expected_rows"):
        return refusal
    planned = facts.task.data.expected_rows
    rows = facts.data_report.rows.accepted if facts.data_report_problem is None else None
    return done(f"data.expected_rows {planned}" + ("" if rows is None else f"; the data report counts {rows}"))


@evidence
def gpu_resources(facts: Facts) -> Finding:
    if refusal := facts.refused("task_definition.yaml", "resources"):
        return refusal
    resources = facts.task.resources
    memory = f"{resources.gpu_memory_gb} GB" if resources.gpu_memory_gb else "CPU"
    return done(f"preset {resources.preset}: {memory}; preflight of 03_train.py compares it with the runner")


@evidence
def base_model_chosen(facts: Facts) -> Finding:
    if refusal := facts.refused("configs/training_config.yaml", "base_model"):
        return refusal
    base = facts.training.base_model
    if not base.pinned:
        return failed(f"{base.id}: revision {base.revision} is not pinned (configs/training_config.yaml)")
    return done(f"{base.id} at {base.revision[:12]}, licence {base.license}")
