"""Which of the project's models answers, and how many tokens it takes."""

from __future__ import annotations

import difflib
from pathlib import Path

from finetune.config.project import Project
from finetune.console import resolved
from finetune.data.tokens.base_tokenizer import BaseTokenizer, find_base_tokenizer, tokenizer_on_disk
from finetune.errors import FinetuneError
from finetune.evaluation.backends import ADAPTER, MERGED, ZERO_SHOT, artefact_path, gguf_path
from finetune.paths import Paths

TRANSFORMERS = (ZERO_SHOT, ADAPTER, MERGED)
"""Artefacts that transformers runs; every other name is a quantisation of the GGUF files."""


def choose(project: Project, asked: str | None) -> str:
    """The artefact `asked` for, or the first that exists of adapter, merged and the GGUF files as they are configured.

    The adapter comes first because it is the newest: the others are made from it.
    Raises FinetuneError for a name that is none (E441), and for a model that is not made yet (E401).
    """
    names = (ADAPTER, MERGED, *project.benchmark.quantisations)
    if asked is None:
        made = [name for name in names if exists(project, name)]
        if not made:
            _nothing_made(project)
        resolved("artefact", made[0], "asked for none" if len(made) == 1 else f"the first of {', '.join(made)}")
        return made[0]
    if asked not in (*names, ZERO_SHOT) and not _is_gguf(project, asked):
        every = (*names, ZERO_SHOT)
        spelled = {name.casefold(): name for name in every} | {"base": ZERO_SHOT}
        near = difflib.get_close_matches(asked.casefold()[:80], list(spelled), 1, 0.6)
        fix = f"did you mean {spelled[near[0]]}? " if near else ""
        raise FinetuneError(
            f"there is no artefact {asked[:60]!r}",
            f"{fix}one of {', '.join(every)} ({ZERO_SHOT}: the base model)",
            "E441",
        )
    artefact_path(project, asked)
    resolved("artefact", asked, "asked for")
    return asked


def exists(project: Project, artefact: str) -> bool:
    """Whether the step that makes this artefact has run."""
    try:
        artefact_path(project, artefact)
    except FinetuneError:
        return False
    return True


def shown_path(project: Project, artefact: str) -> str:
    """Where the artefact's files are, for a message."""
    path = artefact_path(project, artefact)
    return project.training.base_model.id if path is None else project.paths.relative(path)


def context(project: Project, artefact: str) -> int | None:
    """Tokens that prompt and answer may have together; None where the model does not say.

    A broken config.json says nothing either: `open_backend` names it among all that is broken.
    """
    if artefact not in TRANSFORMERS:
        return project.benchmark.generation.context
    from finetune.training.model_files import read_json

    _, values = read_json(_model_folder(project, artefact) / "config.json")
    text = values.get("text_config")
    limit = (text if isinstance(text, dict) and text else values).get("max_position_embeddings")
    return limit if isinstance(limit, int) and limit > 0 else None


def tokenizer_files(project: Project, artefact: str) -> BaseTokenizer | None:
    """The tokenizer files all artefacts share; None where none of them is on this disk as tokenizer.json."""
    base = find_base_tokenizer(project)
    if base or artefact not in TRANSFORMERS:
        return base
    folder = _model_folder(project, artefact)
    return BaseTokenizer(folder) if (folder / "tokenizer.json").is_file() else None


def _model_folder(project: Project, artefact: str) -> Path:
    if artefact == MERGED:
        return project.paths.merged
    base = tokenizer_on_disk(project)  # resolving it would read a local model's weights for its fingerprint
    if base and (base.folder / "config.json").is_file():
        return base.folder
    from finetune.training.base_model import resolve_base

    return resolve_base(project).path


def _is_gguf(project: Project, name: str) -> bool:
    path = gguf_path(project, name)
    return path.parent == project.paths.gguf and path.is_file()


def _nothing_made(project: Project) -> None:
    """Say which step makes the first artefact, and whether the other kind of run has one."""
    try:
        artefact_path(project, ADAPTER)
    except FinetuneError as missing:
        other = Paths(project.paths.root, not project.smoke)
        fix = missing.fix
        if (other.adapter / "adapter_config.json").is_file():
            add = "leave --smoke out" if project.smoke else "add --smoke (with make: SMOKE=1)"
            fix += f"; to use that of the {'full' if project.smoke else 'smoke'} run, {add}"
        raise FinetuneError(missing.message, fix, missing.code) from None
