"""The endpoints of the fake Hub that `huggingface_hub` calls when it publishes and reads model repositories."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

import yaml

from .hub_store import LARGE_BYTES, LARGE_SUFFIXES, ApiError, Hub, Identity, StoredFile

FRONT = re.compile(r"---\r?\n(.*?)\r?\n---\r?\n", re.DOTALL)
MODEL = r"/api/models/(?P<repo>[^/]+/[^/]+)"


@dataclass
class Request:
    """One HTTP request, body read."""

    method: str
    path: str
    query: dict[str, str]
    headers: Any
    body: bytes
    base: str
    """scheme://host:port the client used."""

    @property
    def authorization(self) -> str | None:
        return self.headers.get("authorization")

    def json(self) -> Any:
        return json.loads(self.body or b"{}")


@dataclass
class Reply:
    """One HTTP answer; a dict or list body becomes JSON."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


Route = Callable[..., Reply | dict[str, Any] | list[Any]]
ROUTES: list[tuple[str, re.Pattern[str], Route]] = []


def route(method: str, pattern: str) -> Callable[[Route], Route]:
    """Register a handler for METHOD and a path pattern; named groups arrive unquoted as keyword arguments."""

    def register(handler: Route) -> Route:
        ROUTES.append((method, re.compile(f"^{pattern}$"), handler))
        return handler

    return register


def dispatch(hub: Hub, request: Request) -> Reply:
    """Run the matching route; unknown paths are 404 with their name, so a missing endpoint is seen at once."""
    for method, pattern, handler in ROUTES:
        found = pattern.match(request.path)
        if found and method == ("GET" if request.method == "HEAD" else request.method):
            arguments = {name: unquote(value) for name, value in found.groupdict().items() if value is not None}
            try:
                with hub.lock:
                    reply = handler(hub, request, **arguments)
            except ApiError as error:
                headers = {"X-Error-Message": error.message} | ({"X-Error-Code": error.code} if error.code else {})
                return Reply(error.body or {"error": error.message}, error.status, headers)
            return reply if isinstance(reply, Reply) else Reply(reply)
    return Reply({"error": f"fake hub: no route {request.method} {request.path}"}, 404)


# Identity


@route("GET", "/api/whoami-v2")
def whoami(hub: Hub, request: Request) -> dict[str, Any]:
    who = hub.identity(request.authorization)
    orgs = [{"name": org, "roleInOrg": "write"} for org in who.orgs]
    return {"type": "user", "name": who.name, "orgs": orgs, "auth": {"accessToken": {"role": who.role}}}


@route("POST", "/oauth/token")
def exchange_token(hub: Hub, request: Request) -> Reply:
    """Trusted Publishing: an id token whose claims fit the repository's publisher becomes a token for it alone."""
    asked = request.json()
    payload = asked["subject_token"].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    wanted = hub.publishers.get(asked["resource"])
    if not wanted or any(claims.get(name) != value for name, value in wanted.items()):
        message = "No trusted publisher matches the claims of this token"
        return Reply({"error": "invalid_grant", "error_description": message}, 400)
    token = "hf_jwt_" + hashlib.sha256(asked["resource"].encode()).hexdigest()[:16]
    hub.tokens[token] = Identity("publisher", repos=(asked["resource"],))
    return Reply({"access_token": token, "token_type": "bearer", "expires_in": 3600})


# Repositories and references


@route("POST", "/api/repos/create")
def create_repo(hub: Hub, request: Request) -> Reply | dict[str, Any]:
    asked = request.json()
    namespace = asked.get("organization") or hub.identity(request.authorization).name
    name = f"{namespace}/{asked['name']}"
    who = hub.check_write(request.authorization, name)
    if who.repos:
        raise ApiError(401, "This token may not create repositories")
    url = f"{request.base}/{name}"
    if name in hub.repos:
        return Reply({"error": "You already created this model repo", "url": url}, 409)
    hub.create(name, private=asked.get("visibility") == "private" or asked.get("private") is True)
    return {"url": url, "name": name, "id": name}


@route("GET", f"{MODEL}/auth-check/write")
def may_write(hub: Hub, request: Request, repo: str) -> dict[str, Any]:
    hub.repo(repo)
    hub.check_write(request.authorization, repo)
    return {}


@route("GET", f"{MODEL}/refs")
def refs(hub: Hub, request: Request, repo: str) -> dict[str, Any]:
    found = hub.repo(repo)

    def listed(names: dict[str, str], kind: str) -> list[dict[str, str]]:
        return [{"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": sha} for name, sha in names.items()]

    return {"branches": listed(found.branches, "heads"), "tags": listed(found.tags, "tags"), "converts": []}


@route("POST", f"{MODEL}/tag/(?P<revision>.+)")
def create_tag(hub: Hub, request: Request, repo: str, revision: str) -> dict[str, Any]:
    hub.check_write(request.authorization, repo)
    found, tag = hub.repo(repo), request.json()["tag"]
    sha = found.resolve(revision)
    if tag in found.tags:
        raise ApiError(409, "Tag reference exists already")
    found.tags[tag] = sha
    return {}


# Files


@route("GET", f"{MODEL}/tree/(?P<revision>[^/]+)")
def tree(hub: Hub, request: Request, repo: str, revision: str) -> list[dict[str, Any]]:
    return [file.entry(path) for path, file in sorted(hub.files(repo, revision).items())]


@route("GET", r"/(?P<repo>[^/]+/[^/]+)/(?:resolve|raw)/(?P<revision>[^/]+)/(?P<path>.+)")
def download(hub: Hub, request: Request, repo: str, revision: str, path: str) -> Reply:
    sha = hub.readable(request.authorization, repo, files=True).resolve(revision)
    file = hub.files(repo, sha).get(path)
    if file is None:
        raise ApiError(404, "Entry not found", "EntryNotFound")
    headers = {"X-Repo-Commit": sha, "ETag": f'"{file.sha256 or file.oid}"', "Content-Length": str(file.size)}
    if file.sha256:
        headers |= {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(file.size)}
    return Reply(b"" if request.method == "HEAD" else hub.read(repo, path, sha), headers=headers)


@route("POST", "/api/validate-yaml")
def validate_card(hub: Hub, request: Request) -> Reply | dict[str, Any]:
    """The check that `create_commit` runs on README.md before it uploads anything."""
    front = FRONT.match(request.json()["content"])
    if not front:
        return {"errors": [], "warnings": [{"message": "empty or missing yaml metadata in repo card"}]}
    try:
        card = yaml.safe_load(front[1]) or {}
    except yaml.YAMLError as error:
        return Reply({"errors": [{"message": f"YAML parse error: {error}"}], "warnings": []}, 400)
    texts = ("license", "library_name", "pipeline_tag", "base_model_relation")
    wrong = [name for name in texts if not isinstance(card.get(name, ""), str)]
    if wrong:
        return Reply({"errors": [{"message": f"{name} must be a string"} for name in wrong], "warnings": []}, 400)
    return {"errors": [], "warnings": []}


@route("POST", f"{MODEL}/preupload/(?P<revision>.+)")
def preupload(hub: Hub, request: Request, repo: str, revision: str) -> dict[str, Any]:
    hub.check_write(request.authorization, repo)
    current, modes = hub.files(repo, revision), []
    for file in request.json()["files"]:
        large = file["path"].endswith(LARGE_SUFFIXES) or file["size"] > LARGE_BYTES
        old = current.get(file["path"])
        mode = "lfs" if large else "regular"
        oid = (old.sha256 or old.oid) if old else None
        modes.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    return {"files": modes, "commitOid": hub.repo(repo).resolve(revision)}


@route("POST", r"/(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch")
def lfs_batch(hub: Hub, request: Request, repo: str) -> dict[str, Any]:
    hub.check_write(request.authorization, repo)
    objects = []
    for asked in request.json()["objects"]:
        entry: dict[str, Any] = {"oid": asked["oid"], "size": asked["size"]}
        if hub.stored_size(asked["oid"]) is None:
            verify = {"href": f"{request.base}/_lfs/verify", "header": {}}
            entry["actions"] = {"upload": _upload_action(hub, request, asked), "verify": verify}
        objects.append(entry)
    return {"transfer": "multipart" if hub.part_size else "basic", "objects": objects}


def _upload_action(hub: Hub, request: Request, asked: dict[str, Any]) -> dict[str, Any]:
    target = f"{request.base}/_lfs/{asked['oid']}"
    parts = -(-asked["size"] // hub.part_size) if hub.part_size else 1
    if parts == 1:
        return {"href": target, "header": {}}
    urls = {str(number): f"{target}?part={number}" for number in range(1, parts + 1)}
    return {"href": f"{target}/complete", "header": {"chunk_size": str(hub.part_size), **urls}}


@route("PUT", r"/_lfs/(?P<sha256>[0-9a-f]{64})")
def upload(hub: Hub, request: Request, sha256: str) -> Reply:
    if "part" not in request.query:
        hub.store(sha256, request.body)
        return Reply()
    (hub.objects / f"{sha256}.{int(request.query['part']):05}").write_bytes(request.body)
    return Reply(headers={"ETag": f'"{hashlib.md5(request.body).hexdigest()}"'})


@route("POST", r"/_lfs/(?P<sha256>[0-9a-f]{64})/complete")
def complete(hub: Hub, request: Request, sha256: str) -> dict[str, Any]:
    parts = [hub.objects / f"{sha256}.{part['partNumber']:05}" for part in request.json()["parts"]]
    hub.store(sha256, b"".join(part.read_bytes() for part in parts))
    for part in parts:
        part.unlink()
    return {}


@route("POST", "/_lfs/verify")
def verify(hub: Hub, request: Request) -> dict[str, Any]:
    asked = request.json()
    if hub.stored_size(asked["oid"]) != asked["size"]:
        raise ApiError(404, "LFS object not found")
    return {}


@route("GET", f"{MODEL}/xet-(?:write|read)-token/(?P<revision>.+)")
def xet_token(hub: Hub, request: Request, repo: str, revision: str) -> Reply:
    """Where hf_xet keeps its chunks: a folder of this machine, instead of the content-addressed server."""
    url, expires = f"local://{hub.xet_folder}", int(time.time()) + 3600
    headers = {"X-Xet-Cas-Url": url, "X-Xet-Token-Expiration": str(expires), "X-Xet-Access-Token": "x"}
    return Reply({"casUrl": url, "exp": expires, "accessToken": "x"}, headers=headers)


@route("POST", f"{MODEL}/commit/(?P<revision>.+)")
def commit(hub: Hub, request: Request, repo: str, revision: str) -> dict[str, Any]:
    """One ndjson line an operation; all of them become one commit, or none does."""
    hub.check_write(request.authorization, repo)
    found, title = hub.repo(repo), ""
    files: dict[str, StoredFile] = dict(hub.files(repo, revision))
    for line in filter(None, request.body.splitlines()):
        operation = json.loads(line)
        kind, value = operation["key"], operation["value"]
        if kind == "header":
            title = value.get("summary", "")
            if value.get("parentCommit") not in (None, found.resolve(revision)):
                raise ApiError(412, "A commit has happened since. Please refresh and try again.")
        elif kind == "file":
            files[value["path"]] = hub.small_file(value["path"], base64.b64decode(value["content"]))
        elif kind == "lfsFile":
            files[value["path"]] = hub.large_file(value["path"], value["oid"])
        elif kind == "deletedFile":
            files.pop(value["path"], None)
        else:
            raise ApiError(400, f"fake hub: unknown operation {kind}")
    sha = found.add_commit(revision, files, title)
    return {"success": True, "commitOid": sha, "commitUrl": f"{request.base}/{repo}/commit/{sha}", "hookOutput": ""}


def query_of(text: str) -> dict[str, str]:
    """The last value of every query parameter."""
    return {name: values[-1] for name, values in parse_qs(text).items()}
