"""What people see: facts about the model, the changed lines, and which checks judge otherwise from now on."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

import msgspec

from finetune.config.project import Project
from finetune.console import say
from finetune.data.chat_format import template_options
from finetune.data.tokens.base_tokenizer import BaseTokenizer, find_base_tokenizer
from finetune.data.tokens.control_tokens import Unproved
from finetune.data.tokens.lengths import TokenLengths
from finetune.training.adapter import RecordedBase, read_adapter_manifest
from finetune.use_model.candidate import Candidate
from finetune.use_model.judging import Judged
from finetune.use_model.memory import Proposal

_SHOWN_TOKENS = 4
_SOURCES = {"hub": "the Hub", "cache": "the Hub's cache on this disk", "package": "its package", "local": "this disk"}


def show_facts(candidate: Candidate, judged: Judged, need: Proposal | None) -> None:
    """One line each: what it is, how large, what it allows."""
    size = f"{candidate.parameters / 1e6:,.0f} million" if candidate.parameters else "unknown"
    memory = "memory unknown"
    if need:
        room = f"{need.room:.1f} usable" if need.room else "the machine's memory"
        memory = f"about {need.gib:.1f} GiB of {room}"
    thinking = {None: "no switch", False: "switched off", True: "switched on"}[judged.thinking]
    gate = f"yes, {candidate.gated}" if candidate.gated else "no" if candidate.source == "hub" else "unknown"
    lines = {
        "revision": candidate.revision,
        "architecture": f"{judged.architecture} ({judged.model_type})",
        "parameters": size,
        "context": f"{judged.context} tokens" if judged.context else "unknown",
        "licence": judged.licence or "none named",
        "gated": gate,
        "thinking": thinking,
        "GGUF": {"yes": "llama.cpp's converter knows it", "unknown": "unknown"}[judged.converter],
        "training": memory,
    }
    say(f"{candidate.id}, from {_SOURCES[candidate.source]}")
    for name, value in lines.items():
        say(f"  {name:<13}{value}")


def show_diff(old: str, new: str, shown: str) -> None:
    """The changed lines of the configuration, without surroundings."""
    lines = list(difflib.unified_diff(old.splitlines(), new.splitlines(), n=0, lineterm=""))[2:]
    changed = [line for line in lines if not line.startswith("@@")]
    say(f"{shown}:" if changed else f"{shown} stays as it is")
    for line in changed:
        say(f"  {line}")


def show_checks(old: Project, new: Project, tokenizer: BaseTokenizer) -> None:
    """Which checks judge otherwise with the new model, with the numbers they compare."""
    if old.training == new.training:
        return
    lines = [*_tokens(old, new, tokenizer), *_results(old, new)]
    if lines:
        say("what changes:")
    for line in lines:
        say(f"  {line}")


def _tokens(old: Project, new: Project, tokenizer: BaseTokenizer) -> Iterator[str]:
    before = find_base_tokenizer(old)
    found, known = _control_tokens(tokenizer), _control_tokens(before)
    if found != known:
        fresh = sorted(found - known, key=len)
        listed = ", ".join(fresh[:_SHOWN_TOKENS]) + (" …" if len(fresh) > _SHOWN_TOKENS else "")
        was = f" instead of {len(known)}" if before else ""
        yield f"01 looks for {len(found)} control tokens{was} in every text" + (f"; new: {listed}" if fresh else "")
    now, then = _overhead(new, tokenizer), _overhead(old, before)
    if now and now != then:
        was = f", it was {then}" if then else ""
        limit = new.training.max_length
        yield f"01 counts lengths anew: a row without text has {now} of max_length {limit} tokens{was}"


def _control_tokens(tokenizer: BaseTokenizer | None) -> set[str]:
    try:
        return set(tokenizer.control_tokens) if tokenizer else set()
    except (OSError, UnicodeError, msgspec.MsgspecError):
        return set()


def _overhead(project: Project, tokenizer: BaseTokenizer | None) -> int | None:
    """Tokens of a row with empty input and answer."""
    if tokenizer is None:
        return None
    try:
        return TokenLengths(tokenizer, project.task, project.training).template
    except (Unproved, OSError, UnicodeError, msgspec.MsgspecError, ValueError, KeyError):
        return None


def _results(old: Project, new: Project) -> Iterator[str]:
    base, paths = new.training.base_model, new.paths
    if (options := template_options(new.training)) and options != template_options(old.training):
        yield f"every prompt is rendered with {', '.join(f'{k}={v}'.lower() for k, v in options.items())}"
    manifest = read_adapter_manifest(paths.adapter)
    trained_on = manifest.facts.base if manifest else RecordedBase()
    if trained_on.id and (trained_on.id, trained_on.revision) != (base.id, base.revision):
        yield f"models/adapter was trained on {trained_on.id}: train again, until then 04 to 08 refuse or remeasure it"
    if old.training.method != new.training.method:
        yield f"method {new.training.method}: another adapter, trained anew"
    yield "a pull request with this change trains again; from a fork it is refused (E623)"
    if base.id.startswith("models/base/"):
        yield "train.yml has no such folder: on a GPU runner only a model of the Hub is trained (E624)"
