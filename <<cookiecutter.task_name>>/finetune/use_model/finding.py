"""Finds the model that was asked for: a folder on this disk, a repository of the Hub, or its copy in the cache."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from finetune import provenance
from finetune.config.base import is_hub_id
from finetune.config.project import Project
from finetune.config.training import BaseModelConfig
from finetune.console import progress, say
from finetune.errors import FinetuneError, StorageFault
from finetune.training.base_download import download, gated_fault
from finetune.training.base_model import PACKAGED, resolve_base
from finetune.use_model.candidate import SMALL_FILES, Candidate, count_parameters, read_card

_PAGE = re.compile(
    r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/([^/\s]+/[^/\s?#]+)(?:/(?:tree|blob)/([^/\s?#]+))?\S*"
)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_SECONDS = 10
_OFFLINE = "give a folder with the model (docs/models.md), or run again with network"


@contextmanager
def find_candidate(project: Project, model: str, revision: str | None) -> Iterator[Candidate]:
    """The model, with its small files on this disk until the block ends.

    Raises FinetuneError for what is neither (E290), no model in a folder (E301) or a name that is taken (E302), and
    StorageFault when the Hub is out of reach (E972), refuses (E973), has none (E978) or fails (E815).
    """
    if page := _PAGE.fullmatch(model.strip()):
        model, revision = page[1], revision or page[2]
    if model.startswith((".", "/", "~", "models/")):
        if revision is not None:
            fix = "leave --revision away: a folder is known by the digest of its files"
            raise FinetuneError("a folder has no revisions", fix, "E299")
        yield _folder(project, model)
    elif is_hub_id(model):
        with tempfile.TemporaryDirectory() as scratch:
            yield _of_hub(project, model, revision, Path(scratch))
    else:
        fix = "write OWNER/NAME as on the Hub, or a folder: ./NAME, /path/to/NAME, models/base/NAME"
        raise FinetuneError(f"{model[:100]!r} is neither a Hub id nor a folder", fix, "E290")


# A folder


def _folder(project: Project, model: str) -> Candidate:
    path = Path(model).expanduser()
    root, base = project.paths.root, project.paths.base
    folder = path if path.is_absolute() else next((p for p in (root / path, Path.cwd() / path) if p.is_dir()), path)
    folder = Path(folder.absolute())
    if not (folder / "config.json").is_file():
        what = "no folder" if not folder.is_dir() else "no config.json in"
        if any(folder.glob("*.gguf")):
            what = "only GGUF files in"
        fix = "give a folder with config.json, *.safetensors and tokenizer.json, as transformers saves it"
        raise FinetuneError(f"{what} {model}", fix, "E301")
    link = None
    if folder.is_relative_to(base):
        name = folder.relative_to(base).as_posix()
    else:
        name, link = folder.resolve().name, folder.resolve()
        place = base / name
        taken = place.is_symlink() or place.exists()
        if taken and place.resolve() != link:
            raise FinetuneError(f"models/base/{name} is another model", "remove it, or rename the folder", "E302")
    if not all(_NAME.fullmatch(part) for part in name.split("/")):
        fix = "rename it: letters, digits, - _ and . only"
        raise FinetuneError(f"{name[:100]!r} cannot stand in the configuration", fix, "E290")
    digest = provenance.tree_digest(folder, through=lambda files: progress(files, f"reading {name}"))
    sizes = {p.relative_to(folder).as_posix(): p.stat().st_size for p in folder.rglob("*") if p.is_file()}
    return Candidate(
        id=f"models/base/{name}",
        revision=digest[:40],
        folder=folder,
        source="local",
        files=sizes,
        card=read_card(folder / "README.md"),
        parameters=count_parameters(folder),
        link=link,
    )


# The Hub


def _of_hub(project: Project, model: str, revision: str | None, scratch: Path) -> Candidate:
    info = _ask(model, revision)
    if info is None:
        return _without_hub(project, model, revision)
    if info.id != model:
        say(f"  {model} is now called {info.id}")
    files = {sibling.rfilename: sibling.size or 0 for sibling in info.siblings or []}
    found = Candidate(
        id=info.id,
        revision=info.sha,
        folder=scratch,
        source="hub",
        files=files,
        card=info.card_data.to_dict() if info.card_data else {},
        gated=info.gated or "",
        private=bool(info.private),
        parameters=info.safetensors.total if info.safetensors else None,
    )
    wanted = [name for name in SMALL_FILES if name in files]
    if wanted:
        download(found.id, found.revision, patterns=wanted, folder=scratch)
    return found


def _ask(model: str, revision: str | None) -> Any | None:
    """What the Hub says about the model; None where it is out of reach."""
    import httpx2
    from huggingface_hub import HfApi, constants, errors

    from finetune.hub_retry import describe, given_up, is_transient, retrying

    if constants.HF_HUB_OFFLINE:
        return None
    unreachable = StorageFault(f"cannot reach the Hub for {model}", _OFFLINE, "E972")

    def ask() -> Any:
        try:
            return HfApi().model_info(model, revision=revision, files_metadata=True, timeout=_SECONDS)
        except httpx2.TransportError:
            raise unreachable from None  # not tried again: there may be a copy on this disk

    try:
        return retrying(ask, model)
    except StorageFault:
        return None
    except errors.GatedRepoError as error:
        raise gated_fault(model, error.response.status_code) from None
    except errors.RevisionNotFoundError:
        raise StorageFault(f"{model} has no revision {str(revision)[:60]}", "leave --revision away", "E978") from None
    except errors.RepositoryNotFoundError:
        fix = "check the spelling; a private one needs a login that may read it: hf auth login, or HF_TOKEN"
        raise StorageFault(f"the Hub has no model {model} that this login may see", fix, "E978") from None
    except Exception as error:
        if is_transient(error):
            raise given_up(error, model) from None
        if not isinstance(error, errors.HfHubHTTPError):
            raise
        raise StorageFault(f"the Hub refuses {model}: {describe(error)}", "read the model's page", "E973") from None


def _without_hub(project: Project, model: str, revision: str | None) -> Candidate:
    """The model from the Hub's cache, or from the package that carries it; what its page says remains unknown."""
    from huggingface_hub import errors, snapshot_download

    try:
        folder = Path(
            snapshot_download(model, revision=revision, allow_patterns=list(SMALL_FILES), local_files_only=True)
        )
    except (errors.LocalEntryNotFoundError, OSError, ValueError):
        return _of_package(project, model, revision)
    if not (folder / "config.json").is_file():
        raise StorageFault(f"cannot reach the Hub for {model}, and its copy here is not whole", _OFFLINE, "E972")
    say(f"  the Hub is out of reach: {model} as it lies in the cache, without what its page says")
    return _on_disk(model, folder.name, folder, "cache")


def _of_package(project: Project, model: str, revision: str | None) -> Candidate:
    from finetune.config.project import load_project

    known = load_project(project.paths.root, smoke=True).training.base_model
    commit = revision or (known.revision if known.id == model else None)
    if model not in PACKAGED or commit is None:
        raise StorageFault(f"cannot reach the Hub for {model}, and there is no copy here", _OFFLINE, "E972")
    chosen = BaseModelConfig(id=model, revision=commit, license=known.license if known.id == model else "unknown")
    there = replace(project, training=project.training.model_copy(update={"base_model": chosen}))
    found = _on_disk(model, commit, resolve_base(there).path, "package")
    return replace(found, card={"license": chosen.license})


def _on_disk(model: str, commit: str, folder: Path, source: str) -> Candidate:
    sizes = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
    return Candidate(
        id=model,
        revision=commit,
        folder=folder,
        source=source,
        files=sizes,
        card=read_card(folder / "README.md"),
        parameters=count_parameters(folder),
    )


def link_folder(project: Project, candidate: Candidate) -> None:
    """Make models/base/NAME a link to a folder elsewhere; nothing where it is one already."""
    if candidate.link is None:
        return
    place = project.paths.root / candidate.id
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.exists():
        place.unlink(missing_ok=True)
        place.symlink_to(candidate.link, target_is_directory=True)
        say(f"  {candidate.id} is a link to {candidate.link}")
