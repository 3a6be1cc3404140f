"""How a request to the fake GitHub is routed, allowed and paged; and the endpoints of pull requests and their comments.

https://docs.github.com/rest is what they follow; fields nobody reads are left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import unquote, urlencode

from .github_store import Access, Comment, Pull, Status, Store, now
from .hub_api import Reply, Request
from .hub_store import ApiError

REPO = r"/repos/(?P<repo>[^/]+/[^/]+)"
MAX_BODY = 65_536
MAX_DESCRIPTION = 140

Handler = Callable[..., "Reply | dict[str, Any] | list[Any]"]


@dataclass(frozen=True)
class Route:
    """One endpoint; `needs` are `scope:level` pairs, of which the token must have one ("admin" is the owner alone)."""

    method: str
    pattern: re.Pattern[str]
    needs: tuple[str, ...]
    handler: Handler


ROUTES: list[Route] = []
PUBLIC = ("metadata:none",)
ADMIN = ("admin",)


def route(method: str, pattern: str, *needs: str) -> Callable[[Handler], Handler]:
    """Register `handler(store, request, access, **named groups)` for METHOD and a path pattern."""

    def register(handler: Handler) -> Handler:
        ROUTES.append(Route(method, re.compile(f"^{pattern}$"), needs or PUBLIC, handler))
        return handler

    return register


def dispatch(store: Store, request: Request) -> Reply:
    """Run the matching route; an unknown path is 404 with its name, so that a missing endpoint is seen at once."""
    for entry in ROUTES:
        found = entry.pattern.match(request.path)
        if found and entry.method == request.method:
            values = {name: unquote(value) for name, value in found.groupdict().items() if value is not None}
            try:
                with store.lock:
                    return _run(store, request, entry, values)
            except ApiError as error:
                return Reply(error.body or {"message": error.message, "status": str(error.status)}, error.status)
    return Reply({"message": f"fake GitHub: no route {request.method} {request.path}"}, 404)


def _run(store: Store, request: Request, entry: Route, values: dict[str, str]) -> Reply:
    if request.path.startswith(("/_harness/", "/_storage/")):
        access = Access("harness")
    else:
        access = store.access(request.authorization)
    if values.pop("repo", store.repository).lower() != store.repository.lower():
        raise ApiError(404, "Not Found")
    allowed = access.permissions is None if entry.needs == ADMIN else access.may(*entry.needs)
    if not allowed:
        assert access.run is not None
        job = " / ".join(access.run.job or ("?", "?"))
        store.refused.append(f"{request.method} {request.path} ({job}) needs {' or '.join(entry.needs)}")
        raise ApiError(403, "Resource not accessible by integration")
    reply = entry.handler(store, request, access, **values)
    return reply if isinstance(reply, Reply) else Reply(reply)


def page(request: Request, items: Sequence[Any], key: str | None = None) -> Reply:
    """One page of `items`, in an object below `key` where the endpoint wraps its list; 30 a page, at most 100."""
    size = min(int(request.query.get("per_page", 30)), 100)
    number = int(request.query.get("page", 1))
    part = list(items[(number - 1) * size : number * size])
    headers = {}
    if len(items) > number * size:
        last = -(-len(items) // size)
        headers["Link"] = ", ".join(
            f'<{request.base}{request.path}?{urlencode({**request.query, "page": target})}>; rel="{name}"'
            for name, target in (("next", number + 1), ("last", last))
        )
    return Reply({"total_count": len(items), key: part} if key else part, 200, headers)


def invalid(message: str, **error: Any) -> ApiError:
    body = {"message": "Validation Failed", "errors": [{"message": message, **error}], "status": "422"}
    return ApiError(422, message, body=body)


def repository_json(name: str, store: Store) -> dict[str, Any]:
    owner, short = name.split("/")
    return {
        "id": 1,
        "node_id": "R_1",
        "name": short,
        "full_name": name,
        "private": False,
        "visibility": "public",
        "owner": {"login": owner, "type": "Organization"},
        "default_branch": store.default_branch,
        "fork": name != store.repository,
        "html_url": f"https://github.com/{name}",
        "permissions": {"admin": True, "push": True, "pull": True},
    }


# The repository and its pull requests


@route("GET", REPO)
def get_repository(store: Store, request: Request, access: Access) -> dict[str, Any]:
    return repository_json(store.repository, store)


@route("GET", "/user")
def get_user(store: Store, request: Request, access: Access) -> dict[str, Any]:
    return {"login": access.login, "type": "User"}


def pull_json(store: Store, pull: Pull) -> dict[str, Any]:
    url = f"https://github.com/{store.repository}/pull/{pull.number}"
    return {
        "number": pull.number,
        "state": pull.state,
        "title": pull.title,
        "body": pull.body,
        "locked": pull.locked,
        "user": {"login": pull.login, "type": "User"},
        "html_url": url,
        "draft": False,
        "merged": False,
        "head": {
            "sha": pull.head_sha,
            "ref": pull.head_ref,
            "label": f"{pull.head_repo.split('/')[0]}:{pull.head_ref}",
            "repo": repository_json(pull.head_repo, store),
        },
        "base": {
            "sha": store.commit(pull.base_ref),
            "ref": pull.base_ref,
            "repo": repository_json(store.repository, store),
        },
    }


@route("GET", f"{REPO}/pulls/(?P<number>[0-9]+)", "pull-requests:read")
def get_pull(store: Store, request: Request, access: Access, number: str) -> dict[str, Any]:
    return pull_json(store, store.pull(number))


@route("GET", f"{REPO}/pulls", "pull-requests:read")
def list_pulls(store: Store, request: Request, access: Access) -> Reply:
    found = [pull_json(store, pull) for pull in store.pulls.values()]
    wanted = request.query.get("state", "open")
    found = [pull for pull in found if wanted in ("all", pull["state"])]
    if head := request.query.get("head"):
        found = [pull for pull in found if pull["head"]["label"] == head]
    if base := request.query.get("base"):
        found = [pull for pull in found if pull["base"]["ref"] == base]
    return page(request, found[::-1])


@route("POST", f"{REPO}/pulls", "pull-requests:write")
def create_pull(store: Store, request: Request, access: Access) -> Reply:
    asked = request.json()
    head, base = asked["head"].split(":")[-1], asked["base"]
    sha = store.commit(f"refs/heads/{head}")
    same = [pull for pull in store.pulls.values() if (pull.head_ref, pull.state) == (head, "open")]
    if same:
        raise invalid(f"A pull request already exists for {store.repository.split('/')[0]}:{head}.")
    if not store.git("rev-list", f"{store.commit(base)}..{sha}"):
        raise invalid(f"No commits between {base} and {head}")
    if not store.settings.workflow["can_approve_pull_request_reviews"] and access.run:
        raise ApiError(403, "GitHub Actions is not permitted to create or approve pull requests.")
    pull = Pull(
        max(store.pulls, default=0) + 1,
        head,
        store.repository,
        sha,
        base,
        asked["title"],
        asked.get("body") or "",
        login=access.login,
    )
    store.pulls[pull.number] = pull
    return Reply(pull_json(store, pull), 201)


@route("PATCH", f"{REPO}/pulls/(?P<number>[0-9]+)", "pull-requests:write")
def update_pull(store: Store, request: Request, access: Access, number: str) -> dict[str, Any]:
    pull, asked = store.pull(number), request.json()
    for name in ("title", "body", "state"):
        if asked.get(name) is not None:
            setattr(pull, name, asked[name])
    return pull_json(store, pull)


@route("GET", f"{REPO}/commits/(?P<sha>[0-9a-f]+)/pulls", "pull-requests:read")
def pulls_of_commit(store: Store, request: Request, access: Access, sha: str) -> Reply:
    return page(request, [pull_json(store, pull) for pull in store.pulls.values() if pull.head_sha == sha])


# Comments and statuses


def comment_json(store: Store, comment: Comment) -> dict[str, Any]:
    url = f"https://github.com/{store.repository}/pull/{comment.number}#issuecomment-{comment.id}"
    kind = "Bot" if comment.login.endswith("[bot]") else "User"
    return {
        "id": comment.id,
        "node_id": f"IC_{comment.id}",
        "body": comment.body,
        "html_url": url,
        "user": {"login": comment.login, "type": kind},
        "created_at": now(),
        "updated_at": now(),
        "performed_via_github_app": {"slug": comment.app} if comment.app else None,
    }


def _comment_body(request: Request) -> str:
    body = request.json().get("body")
    if not isinstance(body, str) or not body:
        raise invalid("body can't be blank")
    if len(body) > MAX_BODY or len(body.encode()) > 4 * MAX_BODY:
        raise invalid(f"body is too long (maximum is {MAX_BODY} characters)")
    return body


@route("GET", f"{REPO}/issues/(?P<number>[0-9]+)/comments", "pull-requests:read", "issues:read")
def list_comments(store: Store, request: Request, access: Access, number: str) -> Reply:
    store.pull(number)
    return page(request, [comment_json(store, c) for c in store.comments.values() if c.number == int(number)])


@route("POST", f"{REPO}/issues/(?P<number>[0-9]+)/comments", "pull-requests:write", "issues:write")
def create_comment(store: Store, request: Request, access: Access, number: str) -> Reply:
    if store.pull(number).locked:
        raise ApiError(403, "Unable to create comment because issue is locked.")
    comment = store.add_comment(int(number), access.login, _comment_body(request), access.app)
    return Reply(comment_json(store, comment), 201)


def _comment(store: Store, access: Access, number: str) -> Comment:
    if int(number) not in store.comments:
        raise ApiError(404, "Not Found")
    comment = store.comments[int(number)]
    if access.permissions is not None and comment.login != access.login:
        raise ApiError(403, "You may not edit a comment of someone else")
    return comment


@route("PATCH", f"{REPO}/issues/comments/(?P<number>[0-9]+)", "pull-requests:write", "issues:write")
def update_comment(store: Store, request: Request, access: Access, number: str) -> dict[str, Any]:
    comment = _comment(store, access, number)
    comment.body = _comment_body(request)
    return comment_json(store, comment)


@route("DELETE", f"{REPO}/issues/comments/(?P<number>[0-9]+)", "pull-requests:write", "issues:write")
def delete_comment(store: Store, request: Request, access: Access, number: str) -> Reply:
    store.comments.pop(_comment(store, access, number).id)
    return Reply(status=204)


@route("POST", f"{REPO}/statuses/(?P<sha>[0-9a-f]{{40}})", "statuses:write")
def create_status(store: Store, request: Request, access: Access, sha: str) -> Reply:
    asked = request.json()
    if asked.get("state") not in ("pending", "success", "failure", "error"):
        raise invalid("state is not included in the list")
    if len(asked.get("description") or "") > MAX_DESCRIPTION:
        raise invalid(f"description is too long (maximum is {MAX_DESCRIPTION} characters)")
    store.commit(sha)
    status = Status(
        sha, asked["state"], asked.get("context", "default"), asked.get("description") or "", asked.get("target_url")
    )
    store.statuses.append(status)
    return Reply(asdict(status), 201)


@route("GET", f"{REPO}/commits/(?P<ref>.+)/statuses", "statuses:read")
def list_statuses(store: Store, request: Request, access: Access, ref: str) -> Reply:
    sha = store.commit(ref)
    return page(request, [asdict(status) for status in reversed(store.statuses) if status.sha == sha])
