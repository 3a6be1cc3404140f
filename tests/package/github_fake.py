"""A GitHub of exactly the answers a test gives it, over real HTTP: routes, recorded requests, faults.

    with GitHubFake({"GET /repos/acme/demo/pulls/{number}": {"state": "open"}}) as github:
        github.fail("GET", "/pulls/", 502, times=2)
        assert github.client().get("/repos/{repo}/pulls/7") == {"state": "open"}
        assert github.calls() == ["GET /repos/acme/demo/pulls/7"] * 3

A route is "METHOD /path"; `{name}` in it takes one component, `{name:path}` the rest. Its value is the answer itself
(a list is cut into pages with a Link header; bytes are sent as they are; None is 204) or a function of the Request
and the captured names that returns such a value or an Answer. What has no route is answered 404, a wrong token 401.
"""

from __future__ import annotations

import json
import os
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    import pytest

    from finetune.github.client.api import GitHub

TOKEN = "ghs_NeverShown0123456789"


@dataclass(frozen=True)
class Request:
    """What arrived; `body` is parsed when it was sent as JSON, else bytes, or None when there was none."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    """Names in lower case."""
    body: Any

    @property
    def token(self) -> str | None:
        return self.headers.get("authorization", "").removeprefix("Bearer ") or None


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: Any = None
    """JSON value, bytes, or None for no body; `{base}` in a header value becomes the server's own URL."""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Fault:
    """An answer given instead of the route's."""

    method: str
    pattern: re.Pattern[str]
    answer: Answer
    times: int
    drop: str
    done: bool


class GitHubFake:
    """`routes`, `requests` and `faults` may be read and changed at any time."""

    def __init__(
        self, routes: dict[str, Any] | None = None, *, token: str | None = TOKEN, repository: str = "acme/demo"
    ) -> None:
        self.routes: dict[str, Any] = dict(routes or {})
        self.token, self.repository = token, repository
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self._lock = threading.RLock()
        fake = self

        class Bound(_Handler):
            github = fake

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def client(self) -> GitHub:
        """The package's client, pointed here."""
        from finetune.github.client.api import GitHub

        return GitHub(self.token or "", self.repository, self.url)

    def environment(self, patch: pytest.MonkeyPatch) -> None:
        """What a step of a workflow finds in its environment, with waits of a millisecond."""
        values = {
            "GITHUB_TOKEN": self.token or "",
            "GITHUB_REPOSITORY": self.repository,
            "GITHUB_API_URL": self.url,
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_RUN_ID": "55",
            "LLM_FT_BACKOFF": "0.001",
        }
        for name, value in values.items():
            patch.setenv(name, value)

    def fail(
        self,
        method: str,
        pattern: str,
        status: int = 502,
        *,
        times: int = 1,
        headers: dict[str, str] | None = None,
        body: Any = None,
        drop: str = "",
        done: bool = False,
    ) -> None:
        """Answer the next `times` requests whose path holds `pattern` (a regular expression) with this status.

        `drop`: "reply" closes the connection without an answer, "body" in the middle of the route's own answer,
        "reset" breaks it in the middle of this fault's answer.
        `done`: the route's function runs before, so the change is made and only its answer is lost.
        """
        answer = Answer(status, {"message": "injected"} if body is None else body, headers or {})
        self.faults.append(Fault(method, re.compile(pattern), answer, times, drop, done))

    def calls(self, method: str = "") -> list[str]:
        """Requests so far as "METHOD /path", of one method or of all."""
        return [f"{r.method} {r.path}" for r in self.requests if r.method == (method or r.method)]

    def answer(self, request: Request) -> tuple[Answer, str]:
        """The answer, and how it is lost ("" for not at all)."""
        with self._lock:
            self.requests.append(request)
            if self.token is not None and request.token != self.token:
                return Answer(401, {"message": "Bad credentials"}), ""
            for fault in self.faults:
                if fault.times and fault.method == request.method and fault.pattern.search(request.path):
                    fault.times -= 1
                    given = self._route(request) if fault.done or fault.drop == "body" else fault.answer
                    return (given if fault.drop else fault.answer), fault.drop
            return self._route(request), ""

    def _route(self, request: Request) -> Answer:
        for route, value in self.routes.items():
            method, _, pattern = route.partition(" ")
            if method == request.method and (found := _pattern(pattern).fullmatch(request.path)):
                given = value(request, **found.groupdict()) if callable(value) else value
                if isinstance(given, Answer):
                    return given
                if isinstance(given, list) and method == "GET":
                    return paged(request, given)
                return Answer(204 if given is None else 201 if method == "POST" else 200, given)
        return Answer(404, {"message": "Not Found"})

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> GitHubFake:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def paged(request: Request, rows: list[Any], key: str = "") -> Answer:
    """One page of `rows` as GitHub cuts them; with `key` inside an object that also holds total_count."""
    size, page = min(100, int(request.query.get("per_page", 30))), int(request.query.get("page", 1))
    part = rows[(page - 1) * size : page * size]
    others = "".join(f"&{name}={value}" for name, value in request.query.items() if name not in ("per_page", "page"))
    link = {}
    if len(rows) > page * size:
        last = -(-len(rows) // size)
        links = ((page + 1, "next"), (last, "last"))
        link["Link"] = ", ".join(
            f'<{{base}}{request.path}?per_page={size}{others}&page={number}>; rel="{name}"' for number, name in links
        )
    return Answer(200, {"total_count": len(rows), key: part} if key else part, link)


def comment(number: int, body: str, login: str = "github-actions[bot]", app: str | None = None) -> dict[str, Any]:
    """A comment as GitHub lists it."""
    return {
        "id": number,
        "body": body,
        "user": {"login": login, "type": "Bot" if login.endswith("[bot]") else "User"},
        "html_url": f"https://github.com/acme/demo/pull/7#issuecomment-{number}",
        "created_at": f"2026-11-24T00:{number // 60 % 60:02d}:{number % 60:02d}Z",
        "performed_via_github_app": {"slug": app} if app else None,
    }


def comment_routes(rows: list[dict[str, Any]], number: int = 7, repository: str = "acme/demo") -> dict[str, Any]:
    """Routes that list, create and change the comments in `rows`, with GitHub's own limit on their length."""

    def refused(body: str) -> Answer | None:
        if 0 < len(body) <= 65_536 and len(body.encode()) <= 262_144:
            return None
        return Answer(422, {"message": "Validation Failed", "errors": [{"message": "body is too long"}]})

    def create(request: Request) -> Answer:
        row = comment(max((c["id"] for c in rows), default=1000) + 1, request.body["body"])
        return refused(row["body"]) or (rows.append(row) or Answer(201, row))

    def change(request: Request, comment_id: str) -> Answer:
        for row in rows:
            if row["id"] == int(comment_id):
                return refused(request.body["body"]) or Answer(200, row | (row.update(body=request.body["body"]) or {}))
        return Answer(404, {"message": "Not Found"})

    return {
        f"GET /repos/{repository}/issues/{number}/comments": lambda request: paged(request, rows),
        f"POST /repos/{repository}/issues/{number}/comments": create,
        f"PATCH /repos/{repository}/issues/comments/{{comment_id}}": change,
    }


def _pattern(route: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)(:path)?\}", route)
    text = ""
    for index in range(0, len(parts), 3):
        text += re.escape(parts[index])
        if index + 1 < len(parts):
            text += f"(?P<{parts[index + 1]}>{'.+' if parts[index + 2] else '[^/]+'})"
    return re.compile(text)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    github: GitHubFake

    def log_message(self, *arguments: object) -> None:
        pass

    def _handle(self) -> None:
        address = urlsplit(self.path)
        raw = b"".join(self._chunks()) or self.rfile.read(int(self.headers.get("Content-Length") or 0))
        is_json = self.headers.get("Content-Type", "").startswith("application/json")
        request = Request(
            self.command,
            unquote(address.path),
            {name: values[-1] for name, values in parse_qs(address.query).items()},
            {name.lower(): value for name, value in self.headers.items()},
            json.loads(raw) if raw and is_json else raw or None,
        )
        answer, drop = self.github.answer(request)
        if drop == "reply":
            self._hang_up()
            return
        content = answer.body if isinstance(answer.body, bytes) else b""
        if answer.body is not None and not isinstance(answer.body, bytes):
            content = json.dumps(answer.body).encode()
        self.send_response(answer.status)
        kind = "application/octet-stream" if isinstance(answer.body, bytes) else "application/json; charset=utf-8"
        headers = {"Content-Type": kind, "Content-Length": str(len(content)), **answer.headers}
        for name, value in headers.items():
            self.send_header(name, value.replace("{base}", self.github.url))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if drop else content)
        if drop == "body":
            self._hang_up()
        if drop == "reset":
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())

    def _chunks(self) -> Iterator[bytes]:
        """A body whose length was not known before, as gh sends what it reads from standard input."""
        while self.headers.get("Transfer-Encoding") == "chunked":
            size = int(self.rfile.readline(), 16)
            yield self.rfile.read(size)
            self.rfile.readline()
            if not size:
                return

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = do_DELETE = _handle


Handler = Callable[..., Any]
"""Type of a route's function: (Request, **captured names) -> value or Answer."""
