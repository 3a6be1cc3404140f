"""release_manifest.json: which files of a repository on the Hub are a release's, written beside them.

Others keep files there too: a licence, pictures, an importance matrix. The next release replaces and deletes what this
list names, and nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from finetune.errors import FinetuneError
from finetune.provenance import write_json
from finetune.receipts import PublishedFile

RELEASE = "release_manifest.json"
LARGEST = 1_000_000
"""Bytes; a larger file of this name is none of ours."""
_SHOWN = 8


class ReleaseManifest(BaseModel):
    """The whole of release_manifest.json."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    version: str
    files: dict[str, PublishedFile]
    """By path; this file is not among them."""

    def write(self, path: Path) -> Path:
        write_json(path, self.model_dump(mode="json"))
        return path


def written_before(content: bytes | None) -> frozenset[str]:
    """Paths that the release whose manifest this is has written, with the manifest; none for a damaged one."""
    if content is None:
        return frozenset()
    try:
        return frozenset({RELEASE, *ReleaseManifest.model_validate_json(content).files})
    except ValueError:
        return frozenset()


@dataclass(frozen=True)
class Changes:
    """What a release does to one repository, by path."""

    added: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    """Written by no release, and left alone."""
    foreign: tuple[str, ...] = ()
    """Written by no release, and in the way of a file of this one."""

    @classmethod
    def of(
        cls, planned: Collection[str], different: Collection[str], there: Collection[str], ours: Collection[str]
    ) -> Changes:
        """From what is planned, which of that is not there with the same bytes, what is there, and what is ours."""
        present = set(there)
        return cls(
            added=tuple(sorted(set(different) - present)),
            replaced=tuple(sorted(set(different) & present & set(ours))),
            deleted=tuple(sorted((present & set(ours)) - set(planned))),
            kept=tuple(sorted(present - set(ours) - set(planned))),
            foreign=tuple(sorted((set(different) & present) - set(ours))),
        )

    @property
    def nothing(self) -> bool:
        return not (self.added or self.replaced or self.deleted)

    def sentence(self) -> str:
        """`added: a, b; deleted: c; kept, written by no release: LICENSE`, or that there is nothing to do."""
        named = {"added": self.added, "replaced": self.replaced, "deleted": self.deleted}
        parts = [f"{name}: {some(paths)}" for name, paths in named.items() if paths] or ["nothing to change"]
        if self.kept:
            parts.append(f"kept, written by no release: {some(self.kept)}")
        if self.foreign:
            parts.append(f"in the way, written by no release: {some(self.foreign)}")
        return "; ".join(parts)

    def require_free(self, repo: str) -> None:
        """Raise FinetuneError (E821) where a file that no release wrote would be overwritten."""
        if self.foreign:
            fix = "move it to another name on the Hub (Files and versions), or delete it there, then run again"
            raise FinetuneError(f"{repo} has {some(self.foreign)}, which no release wrote", fix, "E821")

    def to_json(self) -> dict[str, Any]:
        named: Mapping[str, tuple[str, ...]] = vars(self)
        return {name: list(paths) for name, paths in named.items()}


def some(paths: Collection[str], limit: int = _SHOWN) -> str:
    """The first of `paths`, and how many more."""
    more = f" and {len(paths) - limit} more" if len(paths) > limit else ""
    return ", ".join(list(paths)[:limit]) + more
