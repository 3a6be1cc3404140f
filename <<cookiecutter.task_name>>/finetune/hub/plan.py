"""What a release puts where: the exact files of the three repositories, with size and sha256."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from finetune.config.project import Project
from finetune.errors import FinetuneError
from finetune.hub.release_manifest import RELEASE, Changes, ReleaseManifest
from finetune.provenance import MANIFEST, digest, read_manifest, sha256
from finetune.receipts import PublishedFile
from finetune.versions import parse_version

KINDS = ("adapter", "gguf", "merged")
"""The three repositories, in the order in which they are committed and tagged."""

CARD = "README.md"


@dataclass(frozen=True)
class PlannedFile:
    """A file on this disk and its place in the repository."""

    path: str
    source: Path
    bytes: int
    sha256: str

    @cached_property
    def git_oid(self) -> str:
        """The sha1 git gives these bytes: how the Hub names small files, which it does not keep as LFS objects."""
        header = b"blob %d\0" % self.bytes
        return hashlib.sha1(header + self.source.read_bytes()).hexdigest()


@dataclass(frozen=True)
class RepoPlan:
    """Everything that a release writes into one repository."""

    kind: str
    repo: str
    tag: str
    message: str
    files: tuple[PlannedFile, ...]

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)


@dataclass(frozen=True)
class ReleasePlan:
    """The three repositories of one version."""

    version: str
    repositories: tuple[RepoPlan, ...]

    @property
    def tag(self) -> str:
        return f"v{self.version}"

    @property
    def digest(self) -> str:
        """Fingerprint of every name and byte: equal plans need no second upload."""
        contents = {r.repo: {file.path: file.sha256 for file in r.files} for r in self.repositories}
        return digest({"tag": self.tag, "contents": contents})

    def to_json(self, project: Project, changes: Mapping[str, Changes]) -> dict[str, Any]:
        """`changes` by repository, for those whose files on the Hub could be read."""
        return {
            "version": self.version,
            "tag": self.tag,
            "digest": self.digest,
            "repositories": [
                {
                    "kind": planned.kind,
                    "repo": planned.repo,
                    "message": planned.message,
                    "bytes": planned.bytes,
                    "changes": changes[planned.repo].to_json() if planned.repo in changes else None,
                    "files": [
                        {
                            "path": file.path,
                            "source": project.paths.relative(file.source),
                            "bytes": file.bytes,
                            "sha256": file.sha256,
                        }
                        for file in planned.files
                    ],
                }
                for planned in self.repositories
            ],
        }


def resolve_version(project: Project, asked: str | None, dry_run: bool) -> str:
    """Version without its v: as asked, else the Git tag of this GitHub run, else the released one (dry run only).

    Raises FinetuneError (E817) when there is none or it is no semantic version.
    """
    tag = os.environ.get("GITHUB_REF_NAME") if os.environ.get("GITHUB_REF_TYPE") == "tag" else None
    value = asked or tag or ((project.task.released_version or "0.0.0") if dry_run else None)
    if not value:
        fix = "pass --version 1.0.0 (make upload FLAGS='--version 1.0.0')"
        raise FinetuneError("no version to publish", fix, "E817")
    version = parse_version(value.removeprefix("v"))
    if version is None:
        raise FinetuneError(f"{value[:40]!r} is no version", "write it as 1.2.3", "E817")
    return version.text


def folder_of(project: Project, kind: str) -> Path:
    """Where the artefact of a repository lies."""
    return {"adapter": project.paths.adapter, "gguf": project.paths.gguf, "merged": project.paths.merged}[kind]


def repo_of(project: Project, kind: str) -> str:
    return str(getattr(project.task.hub, kind))


def artefact_files(project: Project, kind: str) -> Iterator[PlannedFile]:
    """The files an artefact's manifest vouches for, a README of other tools left out: the card takes its place.

    The manifests themselves stay here: they record durations, and the same model made twice must publish the same
    bytes. The adapter's is the exception: it is the record of the one training that happened.
    """
    folder = folder_of(project, kind)
    manifest = read_manifest(folder / MANIFEST)
    assert manifest is not None, "checked before planning"
    for name, recorded in sorted(manifest.outputs.items()):
        if name != CARD:
            yield PlannedFile(name, folder / name, recorded.bytes, recorded.sha256)
    if kind == "adapter":
        yield planned_file("training_manifest.json", folder / MANIFEST)


def planned_file(path: str, source: Path) -> PlannedFile:
    return PlannedFile(path, source, source.stat().st_size, sha256(source))


def plan_release(project: Project, version: str, cards: dict[str, Path]) -> ReleasePlan:
    """The plan for checked artefacts and the cards written for them; writes the release manifests beside those."""
    repositories = []
    for kind in KINDS:
        files = [*artefact_files(project, kind), planned_file(CARD, cards[kind])]
        published = {file.path: PublishedFile(bytes=file.bytes, sha256=file.sha256) for file in files}
        manifest = ReleaseManifest(version=version, files=dict(sorted(published.items())))
        files.append(planned_file(RELEASE, manifest.write(cards[kind].with_name(RELEASE))))
        message = f"{project.task.task_name} v{version}"
        ordered = tuple(sorted(files, key=lambda file: file.path))
        repositories.append(RepoPlan(kind, repo_of(project, kind), f"v{version}", message, ordered))
    return ReleasePlan(version, tuple(repositories))
