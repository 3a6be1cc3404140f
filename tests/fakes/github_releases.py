"""Releases and their files on the fake GitHub: drafts, uploads, publication."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from .github_api import REPO, invalid, page, route
from .github_store import Access, Asset, Release, Store
from .hub_api import Reply, Request
from .hub_store import ApiError

RELEASE = f"{REPO}/releases/(?P<number>[0-9]+)"
ASSET = f"{REPO}/releases/assets/(?P<number>[0-9]+)"
MAX_ASSET = 2 * 2**30


def asset_json(store: Store, request: Request, asset: Asset, tag: str) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(asset.data).hexdigest()}" if asset.state == "uploaded" else None
    return {
        "id": asset.id,
        "name": asset.name,
        "size": len(asset.data),
        "state": asset.state,
        "digest": digest,
        "content_type": asset.content_type,
        "url": f"{request.base}/repos/{store.repository}/releases/assets/{asset.id}",
        "browser_download_url": f"https://github.com/{store.repository}/releases/download/{tag}/{asset.name}",
    }


def release_json(store: Store, request: Request, release: Release) -> dict[str, Any]:
    base, web = f"{request.base}/repos/{store.repository}/releases", f"https://github.com/{store.repository}/releases"
    name = f"untagged-{release.id}" if release.draft else release.tag_name
    return {
        "id": release.id,
        "tag_name": release.tag_name,
        "name": release.name,
        "body": release.body,
        "draft": release.draft,
        "prerelease": release.prerelease,
        "target_commitish": release.target,
        "immutable": store.immutable_releases and not release.draft,
        "url": f"{base}/{release.id}",
        "html_url": f"{web}/tag/{name}",
        "upload_url": f"{base}/{release.id}/assets{{?name,label}}",
        "assets_url": f"{base}/{release.id}/assets",
        "assets": [asset_json(store, request, asset, release.tag_name) for asset in release.assets.values()],
    }


def find(store: Store, access: Access, number: str) -> Release:
    release = store.releases.get(int(number))
    if release is None or (release.draft and not access.may("contents:write")):
        raise ApiError(404, "Not Found")
    return release


@route("GET", f"{REPO}/releases", "contents:read")
def list_releases(store: Store, request: Request, access: Access) -> Reply:
    """Newest first; drafts only for those who may write."""
    found = [r for r in reversed(store.releases.values()) if not r.draft or access.may("contents:write")]
    return page(request, [release_json(store, request, release) for release in found])


@route("GET", f"{REPO}/releases/tags/(?P<tag>.+)", "contents:read")
def release_of_tag(store: Store, request: Request, access: Access, tag: str) -> dict[str, Any]:
    """Published ones only, whoever asks."""
    for release in store.releases.values():
        if release.tag_name == tag and not release.draft:
            return release_json(store, request, release)
    raise ApiError(404, "Not Found")


@route("GET", f"{REPO}/releases/latest", "contents:read")
def latest_release(store: Store, request: Request, access: Access) -> dict[str, Any]:
    for release in reversed(store.releases.values()):
        if not release.draft and not release.prerelease:
            return release_json(store, request, release)
    raise ApiError(404, "Not Found")


@route("GET", RELEASE, "contents:read")
def get_release(store: Store, request: Request, access: Access, number: str) -> dict[str, Any]:
    return release_json(store, request, find(store, access, number))


@route("POST", f"{REPO}/releases", "contents:write")
def create_release(store: Store, request: Request, access: Access) -> Reply:
    asked = request.json()
    tag = asked["tag_name"]
    if not asked.get("draft") and any(r.tag_name == tag and not r.draft for r in store.releases.values()):
        raise invalid("tag_name already exists", resource="Release", code="already_exists", field="tag_name")
    release = Release(
        store.next_id(),
        tag,
        asked.get("name") or tag,
        asked.get("body") or "",
        bool(asked.get("draft")),
        asked.get("target_commitish") or store.default_branch,
        bool(asked.get("prerelease")),
    )
    store.releases[release.id] = release
    return Reply(release_json(store, request, release), 201)


@route("PATCH", RELEASE, "contents:write")
def update_release(store: Store, request: Request, access: Access, number: str) -> dict[str, Any]:
    release, asked = find(store, access, number), request.json()
    for name in ("name", "body", "draft", "prerelease", "tag_name"):
        if asked.get(name) is not None:
            setattr(release, name, asked[name])
    if not release.draft:
        store.commit(f"refs/tags/{release.tag_name}")
    return release_json(store, request, release)


@route("DELETE", RELEASE, "contents:write")
def delete_release(store: Store, request: Request, access: Access, number: str) -> Reply:
    store.releases.pop(find(store, access, number).id)
    return Reply(status=204)


@route("GET", f"{RELEASE}/assets", "contents:read")
def list_assets(store: Store, request: Request, access: Access, number: str) -> Reply:
    release = find(store, access, number)
    return page(request, [asset_json(store, request, asset, release.tag_name) for asset in release.assets.values()])


@route("POST", f"{RELEASE}/assets", "contents:write")
def upload_asset(store: Store, request: Request, access: Access, number: str) -> Reply:
    """The name comes in the query; signs that a URL would have to escape become dots."""
    release = find(store, access, number)
    _changeable(store, release)
    name = re.sub(r"[^A-Za-z0-9._+-]", ".", request.query["name"])
    if not request.body or len(request.body) >= MAX_ASSET:
        raise invalid("size must be between 1 byte and 2 GiB")
    if any(asset.name == name for asset in release.assets.values()):
        raise invalid("already exists", resource="ReleaseAsset", code="already_exists", field="name")
    kind = request.headers.get("content-type")
    if not kind:
        raise ApiError(400, "Content-Type is required")
    asset = Asset(store.next_id(), name, request.body, kind)
    release.assets[asset.id] = asset
    return Reply(asset_json(store, request, asset, release.tag_name), 201)


def _changeable(store: Store, release: Release) -> None:
    if store.immutable_releases and not release.draft:
        raise ApiError(422, "Cannot change the assets of an immutable release")


def _owner(store: Store, number: str) -> Release:
    for release in store.releases.values():
        if int(number) in release.assets:
            return release
    raise ApiError(404, "Not Found")


@route("GET", ASSET, "contents:read")
def get_asset(store: Store, request: Request, access: Access, number: str) -> Reply | dict[str, Any]:
    release = _owner(store, number)
    asset = release.assets[int(number)]
    if "octet-stream" in (request.headers.get("accept") or ""):
        return Reply(asset.data)
    return asset_json(store, request, asset, release.tag_name)


@route("DELETE", ASSET, "contents:write")
def delete_asset(store: Store, request: Request, access: Access, number: str) -> Reply:
    release = _owner(store, number)
    _changeable(store, release)
    release.assets.pop(int(number))
    return Reply(status=204)
