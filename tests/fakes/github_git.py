"""Endpoints of the fake GitHub that read and write git data, backed by a real bare repository."""

from __future__ import annotations

import base64
from typing import Any

from .github_api import REPO, invalid, page, route
from .github_store import Access, Store
from .hub_api import Reply, Request
from .hub_store import ApiError

SHA = "(?P<sha>[0-9a-f]{40})"
MAX_BLOB = 100 * 2**20


# Reading


@route("GET", f"{REPO}/git/trees/(?P<ref>.+)", "contents:read")
def get_tree(store: Store, request: Request, access: Access, ref: str) -> dict[str, Any]:
    """One level, or with `recursive` all of them; more entries than the limit come truncated."""
    try:
        name = store.git("rev-parse", "--verify", "--quiet", f"{ref}^{{tree}}").decode().strip()
    except ApiError:
        name = store.git("rev-parse", f"{store.commit(ref)}^{{tree}}").decode().strip()
    options = ["-r", "-t"] if "recursive" in request.query else []
    entries = []
    for line in store.git("ls-tree", "-z", "--long", *options, name).split(b"\0")[:-1]:
        meta, path = line.split(b"\t", 1)
        mode, kind, sha, size = meta.decode().split()
        entry = {"path": path.decode("utf-8", "replace"), "mode": mode, "type": kind, "sha": sha}
        entries.append(entry | ({"size": int(size)} if kind == "blob" else {}))
    limit = store.tree_limit
    truncated = limit is not None and len(entries) > limit
    return {"sha": name, "tree": entries[:limit] if truncated else entries, "truncated": truncated}


@route("GET", f"{REPO}/git/blobs/{SHA}", "contents:read")
def get_blob(store: Store, request: Request, access: Access, sha: str) -> Reply | dict[str, Any]:
    data = store.git("cat-file", "blob", sha)
    if len(data) > MAX_BLOB:
        raise ApiError(403, "This API returns blobs up to 100 MB in size.")
    if "raw" in (request.headers.get("accept") or ""):
        return Reply(data)
    content = base64.encodebytes(data).decode()
    return {"sha": sha, "size": len(data), "encoding": "base64", "content": content}


def commit_json(store: Store, sha: str) -> dict[str, Any]:
    shown = store.git("show", "-s", "--format=%T%n%P%n%B", sha).decode("utf-8", "replace")
    tree, parents, message = shown.split("\n", 2)
    return {
        "sha": sha,
        "tree": {"sha": tree},
        "parents": [{"sha": parent} for parent in parents.split()],
        "message": message.strip(),
    }


@route("GET", f"{REPO}/git/commits/{SHA}", "contents:read")
def get_git_commit(store: Store, request: Request, access: Access, sha: str) -> dict[str, Any]:
    return commit_json(store, store.commit(sha))


@route("GET", f"{REPO}/commits/(?P<ref>[^/]+(?:/[^/]+)?)", "contents:read")
def get_commit(store: Store, request: Request, access: Access, ref: str) -> dict[str, Any]:
    commit = commit_json(store, store.commit(ref))
    return {"sha": commit["sha"], "parents": commit["parents"], "commit": commit}


@route("GET", f"{REPO}/branches/(?P<branch>.+)", "contents:read")
def get_branch(store: Store, request: Request, access: Access, branch: str) -> dict[str, Any]:
    return {"name": branch, "commit": {"sha": store.commit(f"refs/heads/{branch}")}, "protected": False}


@route("GET", f"{REPO}/compare/(?P<base>.+?)\\.\\.\\.(?P<head>.+)", "contents:read")
def compare(store: Store, request: Request, access: Access, base: str, head: str) -> dict[str, Any]:
    """How two commits lie to each other: ahead, behind, identical or diverged, seen from the base."""
    left, right = store.commit(base), store.commit(head)
    merge_base = store.git("merge-base", left, right).decode().strip()
    behind, ahead = map(int, store.git("rev-list", "--left-right", "--count", f"{left}...{right}").split())
    status = {(False, False): "identical", (True, False): "ahead", (False, True): "behind"}.get(
        (ahead > 0, behind > 0), "diverged"
    )
    changes = store.git("diff", "--name-status", "--no-renames", "-z", merge_base, right).decode("utf-8", "replace")
    parts = changes.split("\0")[:-1]
    names = {"A": "added", "M": "modified", "D": "removed", "T": "changed"}
    files = [{"filename": path, "status": names[kind]} for kind, path in zip(parts[::2], parts[1::2], strict=True)]
    return {
        "status": status,
        "ahead_by": ahead,
        "behind_by": behind,
        "total_commits": ahead,
        "files": files[:300],
        "base_commit": {"sha": left},
        "merge_base_commit": {"sha": merge_base},
        "commits": [],
    }


@route("GET", f"{REPO}/contents/(?P<path>.+)", "contents:read")
def get_contents(store: Store, request: Request, access: Access, path: str) -> dict[str, Any]:
    commit = store.commit(request.query.get("ref") or store.default_branch)
    sha = store.git("rev-parse", "--verify", "--quiet", f"{commit}:{path}").decode().strip()
    data = store.git("cat-file", "blob", sha)
    content = base64.encodebytes(data).decode()
    return {"path": path, "sha": sha, "size": len(data), "type": "file", "encoding": "base64", "content": content}


# References


def ref_json(store: Store, ref: str) -> dict[str, Any]:
    sha = store.git("rev-parse", "--verify", "--quiet", ref).decode().strip()
    kind = store.git("cat-file", "-t", sha).decode().strip()
    return {"ref": ref, "node_id": "REF", "object": {"sha": sha, "type": kind}}


@route("GET", f"{REPO}/git/ref/(?P<ref>.+)", "contents:read")
def get_ref(store: Store, request: Request, access: Access, ref: str) -> dict[str, Any]:
    return ref_json(store, f"refs/{ref}")


@route("GET", f"{REPO}/git/matching-refs/(?P<ref>.+)", "contents:read")
def matching_refs(store: Store, request: Request, access: Access, ref: str) -> Reply:
    names = store.git("for-each-ref", "--format=%(refname)", f"refs/{ref}*").decode().split()
    return page(request, [ref_json(store, name) for name in names])


@route("POST", f"{REPO}/git/refs", "contents:write")
def create_ref(store: Store, request: Request, access: Access) -> Reply:
    asked = request.json()
    if not asked["ref"].startswith("refs/"):
        raise invalid("Reference name must start with 'refs/'")
    try:
        ref_json(store, asked["ref"])
    except ApiError:
        _forbid_workflow_changes(store, access, asked["sha"])
        store.git("update-ref", asked["ref"], store.commit(asked["sha"]))
        return Reply(ref_json(store, asked["ref"]), 201)
    raise ApiError(422, "Reference already exists")


@route("PATCH", f"{REPO}/git/refs/(?P<ref>.+)", "contents:write")
def update_ref(store: Store, request: Request, access: Access, ref: str) -> dict[str, Any]:
    asked, name = request.json(), f"refs/{ref}"
    old, new = ref_json(store, name)["object"]["sha"], store.commit(asked["sha"])
    if not asked.get("force") and store.git("merge-base", old, new).decode().strip() != old:
        raise ApiError(422, "Update is not a fast forward")
    _forbid_workflow_changes(store, access, new)
    store.git("update-ref", name, new)
    for pull in store.pulls.values():
        if name == f"refs/heads/{pull.head_ref}" and pull.head_repo == store.repository and pull.state == "open":
            pull.head_sha = new
    return ref_json(store, name)


@route("DELETE", f"{REPO}/git/refs/(?P<ref>.+)", "contents:write")
def delete_ref(store: Store, request: Request, access: Access, ref: str) -> Reply:
    ref_json(store, f"refs/{ref}")
    store.git("update-ref", "-d", f"refs/{ref}")
    return Reply(status=204)


def _forbid_workflow_changes(store: Store, access: Access, sha: str) -> None:
    """A workflow's token may not push a change of workflow files, whatever its permissions."""
    base = store.git("merge-base", store.commit(store.default_branch), store.commit(sha)).decode().strip()
    if access.run and store.git("diff", "--name-only", base, sha, "--", ".github/workflows"):
        raise ApiError(403, "refusing to allow a GitHub App to update workflows without `workflows` permission")


# Writing objects


@route("POST", f"{REPO}/git/blobs", "contents:write")
def create_blob(store: Store, request: Request, access: Access) -> Reply:
    asked = request.json()
    is_base64 = asked.get("encoding") == "base64"
    data = base64.b64decode(asked["content"]) if is_base64 else asked["content"].encode()
    return Reply({"sha": store.git("hash-object", "-w", "--stdin", data=data).decode().strip()}, 201)


@route("POST", f"{REPO}/git/trees", "contents:write")
def create_tree(store: Store, request: Request, access: Access) -> Reply:
    """`base_tree` with entries laid over it; `sha: null` removes one, `content` makes a blob."""
    asked = request.json()
    entries: dict[str, tuple[str, str]] = {}
    if base := asked.get("base_tree"):
        for line in store.git("ls-tree", "-r", "-z", base).split(b"\0")[:-1]:
            meta, path = line.split(b"\t", 1)
            mode, _, sha = meta.decode().split()
            entries[path.decode("utf-8", "surrogateescape")] = (mode, sha)
    for entry in asked["tree"]:
        if "content" in entry:
            data = entry["content"].encode()
            sha = store.git("hash-object", "-w", "--stdin", data=data).decode().strip()
        elif entry["sha"] is None:
            if entries.pop(entry["path"], None) is None:
                raise ApiError(422, f"GitRPC::BadObjectState: {entry['path']} is not in the tree")
            continue
        else:
            sha = entry["sha"]
        entries[entry["path"]] = (entry["mode"], sha)
    return Reply({"sha": _write_tree(store, entries)}, 201)


def _write_tree(store: Store, entries: dict[str, tuple[str, str]]) -> str:
    """Nested trees from flat paths, through git mktree."""
    lines, folders = [], {}
    for path, entry in entries.items():
        first, _, rest = path.partition("/")
        if rest:
            folders.setdefault(first, {})[rest] = entry
        else:
            lines.append(f"{entry[0]} {'commit' if entry[0] == '160000' else 'blob'} {entry[1]}\t{first}")
    lines += [f"040000 tree {_write_tree(store, inner)}\t{name}" for name, inner in folders.items()]
    data = "".join(f"{line}\0" for line in lines).encode("utf-8", "surrogateescape")
    return store.git("mktree", "-z", data=data).decode().strip()


@route("POST", f"{REPO}/git/commits", "contents:write")
def create_commit(store: Store, request: Request, access: Access) -> Reply:
    asked = request.json()
    parents = [part for parent in asked.get("parents", []) for part in ("-p", store.commit(parent))]
    identity = {"name": access.login, "email": f"{access.login}@users.noreply.github.com"}
    identity |= asked.get("author") or {}
    options = ["-c", f"user.name={identity['name']}", "-c", f"user.email={identity['email']}"]
    made = store.git(*options, "commit-tree", asked["tree"], *parents, "-m", asked["message"]).decode().strip()
    return Reply(commit_json(store, made), 201)
