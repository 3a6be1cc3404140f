"""The GitHub release of a tag: drafted, its files attached, published last. Whatever broke off, a second run completes.

A draft is nobody's yet, so its files are replaced until they are right. What is published stays as it is: the same
release again changes nothing, another one under the same tag is refused.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.config.project import Project
from finetune.console import say
from finetune.errors import OK, FinetuneError, StorageFault
from finetune.github.release.bundle import Bundle, read_bundle
from finetune.github.release.releases import IDENTITY, Asset, Release, find_release, list_assets, read_asset
from finetune.github.release.tags import Tag, checked_out, release_tag, require_unmoved

if TYPE_CHECKING:
    from finetune.github.client.api import ApiError, GitHub

MARKER = "<!-- llm-ft-template:release -->"
"""Before it in the notes stands what a person wrote into the draft; it is kept."""


def github_release(project: Project) -> int:
    """Draft, attach, publish. Raises FinetuneError for a wrong tag (E640, E643), a published release with other content
    (E644) or wrong files in build/release (E648), and StorageFault (E601, E649) when GitHub fails: run it again then.
    """
    from finetune.github.client.actions import summary
    from finetune.github.client.api import GitHub

    tag = release_tag()
    commit = checked_out(project, tag)
    bundle = read_bundle(project, tag, commit)
    github = GitHub.from_environment()
    require_unmoved(github, tag, commit)
    release = find_release(github, tag)
    if release is None:
        release = _create(github, tag, commit, bundle)
    if not release["draft"]:
        _require_same(github, tag, release, bundle)
        say(f"{tag.name} is published with exactly this content: {release['html_url']}")
        return OK
    _attach_all(github, release, bundle)
    # Long uploads lie between the first look and this one; publishing without a tag would create it.
    require_unmoved(github, tag, commit)
    release = _publish(github, tag, release, bundle)
    say(f"published {release['html_url']}")
    summary(f"## Release {tag.name}\n\nPublished: {release['html_url']}")
    return OK


def _create(github: GitHub, tag: Tag, commit: str, bundle: Bundle) -> Release:
    """A new draft; when the answer is lost, the draft that it made all the same."""
    from finetune.github.client.api import ApiError

    body = {
        "tag_name": tag.name,
        "target_commitish": commit,
        "name": tag.name,
        "body": _body("", bundle),
        "draft": True,
        "prerelease": tag.prerelease,
    }
    try:
        return github.post("/repos/{repo}/releases", body)
    except ApiError as error:
        if not (error.unsure or error.status == 422):
            raise
        return find_release(github, tag) or _retry_create(github, error, body)


def _retry_create(github: GitHub, error: ApiError, body: object) -> Release:
    """GitHub did not make the draft: asked a second time, unless it refused the first."""
    if error.status == 422:
        raise error
    return github.post("/repos/{repo}/releases", body)


def _require_same(github: GitHub, tag: Tag, release: Release, bundle: Bundle) -> None:
    """E644 unless the published release is this one: receipts and iteration byte for byte, every other file by name."""
    attached = list_assets(github, release)
    missing = sorted(bundle.assets.keys() - attached.keys())
    other = [name for name in IDENTITY if name in attached and not _same(github, attached[name], bundle)]
    if missing or other:
        differences = [f"lacks {', '.join(missing)}"] if missing else []
        differences += [f"has another {' and '.join(other)}"] if other else []
        fix = f"publish other content as a new version; to publish this again, gh release delete {tag.name} --yes first"
        raise FinetuneError(f"release {tag.name} is published and {'; it '.join(differences)}", fix, "E644")


def _same(github: GitHub, asset: Asset, bundle: Bundle) -> bool:
    """Whether an attached file has our bytes, by GitHub's digest or, where the server has none, by reading it."""
    if not asset.complete or asset.bytes != bundle.assets[asset.name].stat().st_size:
        return False
    digest = asset.sha256 or hashlib.sha256(read_asset(github, asset)).hexdigest()
    return digest == bundle.sha256[asset.name]


def _attach_all(github: GitHub, release: Release, bundle: Bundle) -> None:
    attached = list_assets(github, release)
    for name, path in sorted(bundle.assets.items()):
        if name in attached and _same(github, attached[name], bundle):
            continue
        if name in attached:
            _remove(github, attached[name])
        _attach(github, release, bundle, name, path)
    attached = list_assets(github, release)
    wrong = [name for name in bundle.assets if name not in attached or not _same(github, attached[name], bundle)]
    if wrong:
        message = f"GitHub holds {', '.join(sorted(wrong))} differently from what was sent; the draft stays"
        raise StorageFault(message, "run the job again", "E649")


def _attach(github: GitHub, release: Release, bundle: Bundle, name: str, path: Path) -> None:
    """Upload one file; after a failure look at what arrived, clear the remains away and send it again."""
    from finetune.github.client.api import ApiError

    for attempt in range(1, github.policy.attempts + 1):
        try:
            github.upload(release["upload_url"], path, name)
            say(f"  attached {name}")
            return
        except ApiError as error:
            # 422 after a lost answer: the name is taken by our own upload.
            if not (error.unsure or error.status == 422) or attempt == github.policy.attempts:
                raise
            failure = error
        _wait(github, attempt, failure)
        arrived = list_assets(github, release).get(name)
        if arrived is None:
            continue
        if _same(github, arrived, bundle):
            say(f"  attached {name}")
            return
        _remove(github, arrived)


def _wait(github: GitHub, attempt: int, error: ApiError) -> None:
    from finetune.github.client import api

    api.pause(github.wait(attempt, error))


def _remove(github: GitHub, asset: Asset) -> None:
    from finetune.github.client.api import ApiError

    try:
        github.delete(f"/repos/{{repo}}/releases/assets/{asset.id}")
    except ApiError as error:
        if error.status != 404:
            raise


def _publish(github: GitHub, tag: Tag, release: Release, bundle: Bundle) -> Release:
    values = {
        "tag_name": tag.name,
        "name": release.get("name") or tag.name,
        "body": _body(release.get("body") or "", bundle),
        "draft": False,
        "prerelease": tag.prerelease,
    }
    # "legacy": the highest version is the latest, so that a fix of an older line does not take its place.
    latest = {} if tag.prerelease else {"make_latest": "legacy"}
    return github.patch(f"/repos/{{repo}}/releases/{int(release['id'])}", values | latest)


def _body(before: str, bundle: Bundle) -> str:
    """Our notes below what a person wrote."""
    own = before.partition(MARKER)[0].rstrip()
    return f"{own}\n\n{MARKER}\n{bundle.notes}".lstrip()
