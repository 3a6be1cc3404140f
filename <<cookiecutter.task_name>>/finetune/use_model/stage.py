"""scripts/use_model.py: look at a base model, then write configs/tokenizer and configs/training_config.yaml.

The tokenizer is written first and the configuration last, by rename: a run that is killed between leaves the old model
configured, with tokenizer files that name another one and are therefore not used (W244), and the next run finishes.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

from finetune import provenance
from finetune.config.editing import Scalar, edited
from finetune.config.loading import build
from finetune.config.project import Project
from finetune.config.strict_yaml import Located, parse_yaml
from finetune.config.training import TrainingConfig
from finetune.console import report_problems, say
from finetune.data.tokens.base_tokenizer import BaseTokenizer
from finetune.errors import OK, FinetuneError, Problems
from finetune.training.tokenizer_files import write_tokenizer
from finetune.use_model.candidate import Candidate
from finetune.use_model.finding import find_candidate, link_folder
from finetune.use_model.judging import Judged, judge
from finetune.use_model.memory import Proposal, propose
from finetune.use_model.outcome import show_checks, show_diff, show_facts

THINKING = {"on": True, "off": False}
MIN_LENGTH = 16
"""Smallest max_length that the schema takes."""


def use_model(
    project: Project,
    model: str,
    revision: str | None = None,
    method: str | None = None,
    thinking: str | None = None,
    dry_run: bool = False,
) -> int:
    """Make `model` the base model, or say everything that speaks against it and change nothing.

    Raises FinetuneError (E299) for an option that is none, BadInput with every finding of `judge`, and what
    `find_candidate` raises.
    """
    _check_options(method, thinking)
    problems, file = Problems(), project.paths.training_config
    with find_candidate(project, model, revision) as candidate:
        judged = judge(project, candidate, THINKING.get(thinking or ""), problems)
        if judged:
            _judge_context(project, judged, problems, candidate.id)
        problems.raise_if_errors()
        assert judged is not None
        old = file.read_bytes().decode("utf-8")
        planned = _validated(project, edited(old, _edits(project, candidate, judged, method)))
        need = _memory(planned, candidate, problems)
        changes: dict[str, Scalar] = {}
        if need and need.fits and need.method == planned.training.method:
            changes["batch.per_device"] = need.per_device
        text = edited(old, {**_edits(project, candidate, judged, method), **changes})
        planned = _validated(project, text)
        show_facts(candidate, judged, need)
        show_diff(old, text, project.paths.relative(file))
        show_checks(project, planned, BaseTokenizer(candidate.folder))
        report_problems(problems)
        if dry_run:
            say("nothing was written: --dry-run")
            return OK
        link_folder(planned, candidate)
        write_tokenizer(planned, candidate.folder)
    if text != old:
        provenance.write_bytes(file, text.encode("utf-8"))
    _say_next(planned)
    return OK


def _check_options(method: str | None, thinking: str | None) -> None:
    for name, value, known in (("method", method, ("lora", "qlora")), ("thinking", thinking, tuple(THINKING))):
        if value is not None and value not in known:
            raise FinetuneError(f"--{name} {value[:40]!r} is not known", f"one of {', '.join(known)}", "E299")


def _edits(project: Project, candidate: Candidate, judged: Judged, method: str | None) -> dict[str, Scalar]:
    """The values that follow from the model, and what was asked for."""
    same = project.training.base_model.id == candidate.id
    licence = judged.licence or (project.training.base_model.license if same else "unknown")
    edits: dict[str, Scalar] = {
        "base_model.id": candidate.id,
        "base_model.revision": candidate.revision,
        "base_model.license": licence,
        "base_model.enable_thinking": judged.thinking,
    }
    if method:
        edits["method"] = method
    if judged.context and project.training.max_length > judged.context:
        edits["max_length"] = judged.context
    return edits


def _validated(project: Project, text: str) -> Project:
    """The project with `text` as its training configuration; what the reader refuses is never written."""
    problems = Problems()
    shown = project.paths.relative(project.paths.training_config)
    values = parse_yaml(text, shown, problems)
    training = build(TrainingConfig, values, problems) if isinstance(values, Located) else None
    problems.raise_if_errors()
    assert training is not None
    return replace(project, training=training)


def _memory(planned: Project, candidate: Candidate, problems: Problems) -> Proposal | None:
    """The proposal, with W295 where fitting would change the result; None where config.json tells too little."""
    from transformers import AutoConfig

    try:
        config: Any = AutoConfig.from_pretrained(candidate.folder, local_files_only=True)
        need = propose(planned, config, candidate.parameters)
    except (AttributeError, TypeError, ValueError):
        return None
    room = f"{need.room or 0:.1f} are usable"
    if not need.fits:
        message = f"needs about {need.fit_gib:.1f} GiB even as qlora with one row at once, {room}"
        problems.add(candidate.id, "W295", message, "a smaller model, a larger GPU, or a lower max_length")
    elif need.method != planned.training.method:
        message = f"needs about {need.gib:.1f} GiB as {planned.training.method}, {room}"
        fix = f"--method qlora, about {need.fit_gib:.1f} with batch.per_device {need.per_device}; it changes the result"
        problems.add(candidate.id, "W295", message, fix)
    elif need.per_device != planned.training.batch.per_device:
        say(f"  batch.per_device {need.per_device}: as configured about {need.gib:.1f} GiB would be needed")
    return need


def _judge_context(project: Project, judged: Judged, problems: Problems, shown: str) -> None:
    """Add E226 where the model's context holds no row, W297 where the GGUF files would be served beyond it."""
    context, answer = judged.context, project.task.output.max_new_tokens
    if context is None:
        return
    if context <= max(answer, MIN_LENGTH):
        message = f"its {context} positions leave no room for a prompt beside output.max_new_tokens {answer}"
        problems.add(shown, "E226", message, "choose a model with a longer context")
    served = project.benchmark.generation.context
    if served > context:
        message = f"generation.context is {served}, it was made for {context} positions"
        fix = f"set generation.context in configs/benchmark_config.yaml to {context}"
        problems.add(shown, "W297", message, fix)


def _say_next(planned: Project) -> None:
    base = planned.training.base_model
    say(f"base model: {base.id} at {base.revision[:12]}")
    say("next:")
    say("  make validate convert      # the rows against the new tokenizer")
    say("  make train evaluate        # the old adapter does not fit")
    say(f"  git add configs && git commit -m {shlex.quote(f'Base model {base.id}')}")
