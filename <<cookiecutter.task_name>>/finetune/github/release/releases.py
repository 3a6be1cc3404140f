"""GitHub releases as they are: the one of a tag, its attached files, and what they hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetune.errors import FinetuneError
from finetune.github.release.bundle import recorded_commit
from finetune.github.release.tags import Tag
from finetune.receipts import RECEIPTS

if TYPE_CHECKING:
    from finetune.github.client.api import GitHub

Release = dict[str, Any]
ITERATION = "iteration.yaml"
IDENTITY = (RECEIPTS, ITERATION)
"""The attached files that say which release it is: every published byte, commit and measured value.

They come out the same each time. The reports and manifests beside them hold durations, so that a second run of the same
release writes other bytes, which means nothing.
"""
_REMOVE = "remove that release but keep its tag (gh release delete TAG --yes), then run the workflow again"


@dataclass(frozen=True)
class Asset:
    """An attached file as GitHub lists it."""

    id: int
    name: str
    bytes: int
    sha256: str | None
    """None where the server does not compute digests."""
    complete: bool
    """False for the remains of an upload that broke off."""


def find_release(github: GitHub, tag: Tag) -> Release | None:
    """The tag's release, drafts included where the token may see them: a published one first, else the oldest draft."""
    releases = [row for row in github.pages("/repos/{repo}/releases") if row.get("tag_name") == tag.name]
    return min(releases, key=lambda row: (bool(row["draft"]), int(row["id"])), default=None)


def list_assets(github: GitHub, release: Release) -> dict[str, Asset]:
    """Attached files by name."""
    rows = github.pages(f"/repos/{{repo}}/releases/{int(release['id'])}/assets")
    return {row["name"]: _asset(row) for row in rows}


def _asset(row: dict[str, Any]) -> Asset:
    algorithm, _, value = str(row.get("digest") or "").partition(":")
    return Asset(
        int(row["id"]),
        row["name"],
        int(row["size"]),
        value if algorithm == "sha256" else None,
        row.get("state") == "uploaded",
    )


def read_asset(github: GitHub, asset: Asset) -> bytes:
    return github.download(f"/repos/{{repo}}/releases/assets/{asset.id}", accept="application/octet-stream")


def is_published(github: GitHub, tag: Tag, commit: str) -> bool:
    """Whether the tag's release is out; E644 when it is not of `commit`: nothing could be attached to it later."""
    release = find_release(github, tag)
    if release is None or release["draft"]:
        return False
    attached = list_assets(github, release)
    if ITERATION not in attached:
        message = f"release {tag.name} is published already, and not by this workflow"
        raise FinetuneError(message, _REMOVE.replace("TAG", tag.name), "E644")
    recorded = recorded_commit(read_asset(github, attached[ITERATION]))
    if recorded != commit:
        message = f"release {tag.name} is published from {recorded[:12]}, the tag is now at {commit[:12]}"
        raise FinetuneError(message, "publish the new commit under a new version", "E644")
    return True
