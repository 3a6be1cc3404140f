"""build/release: the files of a release on their way from the GPU runner to the jobs that may write to the repository.

Read as strictly as anything that comes from another machine: the files its manifest names, regular, of their hash, of
bounded size, and nothing else. The record is text at five known paths.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from finetune.config.project import Project
from finetune.errors import FinetuneError
from finetune.github.release.tags import Tag
from finetune.provenance import MANIFEST, FileFacts, read_manifest
from finetune.receipts import PublishedFile
from finetune.sealed import deviations

NOTES, SUMS, RECORD = "notes.md", "SHA256SUMS", "record"
MAX_ASSET = 2 * 1024**3
"""GitHub takes a file below 2 GiB as a release asset."""
MAX_TEXT = 2 * 1024**2
MAX_FILES = 40
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def iteration_path(tag: Tag) -> str:
    return f"iterations/{tag.name}.yaml"


def recorded_commit(iteration: bytes | str) -> str:
    """The commit that an iteration file names; words where it names none."""
    try:
        return str(yaml.safe_load(iteration)["commit"])
    except (yaml.YAMLError, KeyError, TypeError, UnicodeDecodeError, RecursionError):
        return "an unreadable commit"


def recorded_paths(tag: Tag) -> tuple[str, ...]:
    """What the record of a release may change in the repository."""
    return (iteration_path(tag), "docs/integration_guide.md", "task_definition.yaml", "CHECKLIST.md", "README.md")


class LinkedFile(PublishedFile):
    """A file that is too large to attach: the notes say where it is."""

    url: str


@dataclass(frozen=True)
class Bundle:
    """What is to be attached and what is to be recorded, verified."""

    notes: str
    assets: dict[str, Path]
    """Files of the GitHub release by name, each below MAX_ASSET."""
    sha256: dict[str, str]
    """of each asset"""
    record: dict[str, str]
    """New content of files of the repository by path."""


def bundle_folder(project: Project) -> Path:
    return project.paths.root / "build" / "release"


def read_bundle(project: Project, tag: Tag, commit: str) -> Bundle:
    """The release's files; FinetuneError (E648) when they are not whole, not of this tag, or not what they may be."""
    folder = bundle_folder(project)
    manifest = read_manifest(folder / MANIFEST)
    if manifest is None:
        raise _refused("is not there or incomplete")
    facts, outputs = manifest.facts, manifest.outputs
    if (facts.get("tag"), facts.get("commit")) != (tag.name, commit):
        raise _refused(f"is of {ascii(facts.get('tag'))[:40]} at {ascii(facts.get('commit'))[:14]}")
    _check_files(folder, outputs, {f"{RECORD}/{path}" for path in recorded_paths(tag)})
    paths = {name: folder / name for name in outputs}
    assets = {name: paths[name] for name in outputs if "/" not in name and name != NOTES}
    record = {name.removeprefix(f"{RECORD}/"): _text(paths[name], name) for name in outputs if "/" in name}
    if NOTES not in outputs or (record and iteration_path(tag) not in record):
        raise _refused(f"has no {NOTES}, or a record without its iteration")
    return Bundle(_text(paths[NOTES], NOTES), assets, {name: outputs[name].sha256 for name in assets}, record)


def _check_files(folder: Path, outputs: dict[str, FileFacts], allowed: set[str]) -> None:
    """Refuse the first file that a release has no place for, that the manifest does not name, or names otherwise."""
    for name in outputs:
        if not (_NAME.fullmatch(name) or name in allowed):
            raise _refused(f"holds {ascii(name)[:80]}, which is no file of a release")
    for deviation in deviations(folder, outputs, beside=[MANIFEST], most=MAX_FILES, limit=lambda _: MAX_ASSET - 1):
        if deviation.kind in ("unlisted", "missing", "flood"):
            raise _refused("holds other files than its manifest names")
        if deviation.kind == "irregular":
            raise _refused(f"holds {ascii(deviation.name)[:80]} as a link or device")
        if deviation.kind == "size" and deviation.bytes >= MAX_ASSET:
            raise _refused(f"holds {deviation.name} of {deviation.bytes:,} bytes, more than a release asset may have")
        raise _refused(f"holds another {deviation.name} than was put into it")


def _text(path: Path, name: str) -> str:
    if path.stat().st_size > MAX_TEXT:
        raise _refused(f"holds {name} of {path.stat().st_size:,} bytes")
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise _refused(f"holds {name}, which is not UTF-8") from None


def _refused(why: str) -> FinetuneError:
    fix = "run the workflow's model job again, it gathers the files anew"
    return FinetuneError(f"build/release {why}", fix, "E648")
