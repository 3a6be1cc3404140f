"""All that speaks against a candidate, and all that its owner has to know, found before anything is written."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from finetune.config.project import Project
from finetune.console import say
from finetune.data.tokens.base_tokenizer import BaseTokenizer
from finetune.data.tokens.template_clock import DAY
from finetune.errors import FinetuneError, Problems
from finetune.export.converter_registry import convertible
from finetune.export.llama_cpp_source import find_converter
from finetune.use_model.architecture import architecture_of, context_of, judge_config, judge_files
from finetune.use_model.candidate import Candidate
from finetune.use_model.families import FAMILIES
from finetune.use_model.licences import judge_licence, named_licence
from finetune.use_model.template import TemplateFacts, look_at

INSTRUCT = "choose its instruct model (often NAME-Instruct or NAME-it): a base model without a template knows no roles"


@dataclass(frozen=True)
class Judged:
    """What was found out about a candidate that may be used."""

    model_type: str
    architecture: str
    context: int | None
    licence: str | None
    template: TemplateFacts
    thinking: bool | None
    """What enable_thinking has to be."""
    converter: str
    """What llama.cpp's converter says to the architecture."""


def judge(project: Project, candidate: Candidate, thinking: bool | None, problems: Problems) -> Judged | None:
    """The facts, or None where config.json could not be looked at; every finding is added to `problems`.

    Errors: E240 no chat template, E246 no tokenizer.json, E291–E294 see architecture, E295 no converter, E296 messages
    are refused, E297 no Ollama template, E298 thinking that cannot be switched. Warnings: W290, W291 licence, W292
    gate, W293 clock, W294 thinks always, W296 untested.
    """
    judge_licence(licence := named_licence(candidate.card), project.task.license, problems, candidate.id)
    if candidate.gated:
        _say_gate(candidate, problems)
    if not judge_files(candidate, problems):
        return None
    config = candidate.read_json("config.json")
    judge_config(candidate, config, problems)
    converter = _judge_converter(project, candidate.id, architecture_of(config), problems)
    template = _judge_template(project, candidate, thinking, problems)
    if thinking is not None and template.present and not template.hybrid:
        message = "its template has no switch enable_thinking"
        problems.add(candidate.id, "E298", message, "leave --thinking away")
    if not any(row.model_type == config.get("model_type") for row in FAMILIES):
        message = f"{config.get('model_type')} is no family that the template's own tests run"
        problems.add(candidate.id, "W296", message, "run make all on a few rows before you train in earnest")
    return Judged(
        str(config.get("model_type")),
        architecture_of(config),
        context_of(config),
        licence,
        template,
        bool(thinking) if template.hybrid else None,
        converter,
    )


def _say_gate(candidate: Candidate, problems: Problems) -> None:
    how = "by hand, which may take days" if candidate.gated == "manual" else "at once"
    message = f"it is gated: access is asked for on its page and granted {how}; a GPU job has no login"
    fix = "docs/models.md, Gated models; its tokenizer goes into git: commit it only where its terms let you"
    problems.add(candidate.id, "W292", message, fix)


def _judge_converter(project: Project, shown: str, architecture: str, problems: Problems) -> str:
    """Whether step 06 can make GGUF files; unknown where llama.cpp's sources cannot be had."""
    try:
        known = convertible(find_converter(project))
    except FinetuneError as failure:  # no runtime, or no package index: step 06 will say so with its fix
        say(f"  the GGUF converter was not asked: {failure.message}")
        return "unknown"
    if not known:
        return "unknown"
    if architecture not in known:
        message = f"the pinned llama.cpp makes no GGUF of {architecture or 'a model without architectures'}"
        problems.add(shown, "E295", message, "take another family, or set LLAMA_CPP_DIR to a newer checkout")
        return "no"
    return "yes"


def _judge_template(project: Project, candidate: Candidate, thinking: bool | None, problems: Problems) -> TemplateFacts:
    shown, base = candidate.id, BaseTokenizer(candidate.folder)
    if not (candidate.folder / "tokenizer.json").is_file():
        fix = "choose a model whose repository has one; transformers makes it from tokenizer.model by save_pretrained"
        problems.add(shown, "E246", "it has no tokenizer.json", fix)
    try:
        facts = look_at(base, project, thinking)
        _ = base.control_tokens if (candidate.folder / "tokenizer.json").is_file() else None
    except (OSError, UnicodeError, msgspec.MsgspecError, RecursionError):
        problems.add(shown, "E246", "its tokenizer files cannot be read", "check the repository or the folder")
        return TemplateFacts(present=True)
    if not facts.present:
        problems.add(shown, "E240", "it has no chat template", INSTRUCT)
    elif facts.refusal:
        problems.add(shown, "E296", f"its chat template does not fit: {facts.refusal}", "choose another base model")
    elif facts.ollama:
        message = f"Ollama's template cannot be made of its own, so step 06 would end ({facts.ollama})"
        problems.add(shown, "E297", message, "choose a family of docs/models.md that passes")
    if facts.clock:
        message = (
            f"its template asks for today's date, and is told {DAY:%d %b %Y}: in training and wherever it is served"
        )
        fix = "nothing to do, unless the task needs the date: then write it into the inputs"
        problems.add(shown, "W293", message, fix)
    if facts.always_thinks:
        message = "its prompts end with an opened thought: made to think first, it is trained to answer at once"
        problems.add(shown, "W294", message, "choose its sibling that does not think")
    return facts
