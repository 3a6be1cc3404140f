"""The tag a release runs on: a semantic version, the commit that is checked out, and still the one on GitHub."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.config.project import Project
from finetune.errors import FinetuneError
from finetune.git import git
from finetune.github.client.actions import env, sha40
from finetune.versions import Version, parse_tag

if TYPE_CHECKING:
    from finetune.github.client.api import GitHub

_TAGS = "refs/tags/"
_MAX_NESTED = 5


@dataclass(frozen=True)
class Tag:
    """v1.2.3 or v1.2.3-rc.1, as pushed."""

    name: str

    @property
    def version(self) -> str:
        return self.name.removeprefix("v")

    @property
    def prerelease(self) -> bool:
        return self._read.prerelease

    @property
    def order(self) -> tuple[object, ...]:
        """Sorts by the precedence of semver.org."""
        return self._read.order

    @property
    def _read(self) -> Version:
        version = parse_tag(self.name)
        assert version, "read_tag makes the tags"
        return version


def read_tag(ref: str) -> Tag | None:
    """The tag of a full reference; None when it is no semantic version with a leading v."""
    version = parse_tag(ref.removeprefix(_TAGS)) if ref.startswith(_TAGS) else None
    return Tag(version.tag) if version else None


def release_tag() -> Tag:
    """The tag this run was started by (GITHUB_REF); E640 when it is no release tag."""
    ref = env("GITHUB_REF")
    tag = read_tag(ref)
    if tag is None:
        raise FinetuneError(f"{ref[:80]!a} is no release tag", "push a tag such as v1.2.3", "E640")
    return tag


def commit_of(root: Path, revision: str) -> str | None:
    """The commit a revision, tag object or ref stands for; None where there is none."""
    done = git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    return sha40(os.fsdecode(done.stdout).strip()) if done.returncode == 0 else None


def checked_out(project: Project, tag: Tag) -> str:
    """The commit checked out here; E643 unless it is the one that this run and the tag here are about."""
    root = project.paths.root
    head, wanted, local = (commit_of(root, name) for name in ("HEAD", env("GITHUB_SHA"), f"refs/tags/{tag.name}"))
    if head is None or head != wanted or local not in (None, head):
        message = f"{tag.name} is at {_short(local)}, this run is about {_short(wanted)}, checked out is {_short(head)}"
        raise FinetuneError(message, "start the run of the tag again from its own page; tags must not move", "E643")
    return head


def require_unmoved(github: GitHub, tag: Tag, commit: str) -> None:
    """E643 unless the tag exists on GitHub and still stands for `commit`: publishing would create or move it."""
    now = tag_commit(github, tag)
    if now != commit:
        message = f"{tag.name} stood for {commit[:12]} when this run began, now it is {'gone' if not now else now[:12]}"
        fix = "put the tag back and run again; scripts/setup_github.py forbids to move or delete tags"
        raise FinetuneError(message, fix, "E643")


def tag_commit(github: GitHub, tag: Tag) -> str | None:
    """The commit that GitHub's tag stands for, through an annotated tag's own object; None where there is no tag."""
    from finetune.github.client.api import ApiError

    try:
        target = github.get(f"/repos/{{repo}}/git/ref/tags/{tag.name}")["object"]
    except ApiError as error:
        if error.status == 404:
            return None
        raise
    for _ in range(_MAX_NESTED):
        if target["type"] != "tag":
            break
        target = github.get(f"/repos/{{repo}}/git/tags/{sha40(target['sha'])}")["object"]
    return sha40(target["sha"]) if target["type"] == "commit" else None


def _short(commit: str | None) -> str:
    return commit[:12] if commit else "nothing"
