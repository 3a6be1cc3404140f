"""A stateful GitHub REST API for tests, over HTTP on this machine.

    with start_github(repository.path, artifacts) as server:
        env = {"GITHUB_API_URL": server.url, "GITHUB_TOKEN": OWNER_TOKEN}
        server.github.fail("POST", "/comments$", status=502)       # hub_store.Fault lists what can fail

The real gh talks to it through a proxy: GH_HOST=github.localhost HTTP_PROXY=server.url NO_PROXY=127.0.0.1
(`gh_environment`). A workflow's token has the rights of the job that runs now, as on GitHub; what it may not do is
answered 403 and kept in `github.refused`.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from . import github_actions, github_git, github_releases, github_settings
from .github_api import dispatch
from .github_store import OWNER_TOKEN, Store
from .hub_api import Reply, Request, query_of
from .hub_store import Fault

ROUTES = (github_actions, github_git, github_releases, github_settings)
"""Imported for the routes they register."""


class GitHubServer(ThreadingHTTPServer):
    """Serves one Store on a free local port."""

    daemon_threads = True

    def __init__(self, store: Store) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.github = store

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def gh_environment(self, config: Path) -> dict[str, str]:
        """What makes the real gh talk to this server as the repository's owner."""
        return {
            "GH_HOST": "github.localhost",
            "GH_REPO": f"github.localhost/{self.github.repository}",
            "GH_TOKEN": OWNER_TOKEN,
            "HTTP_PROXY": self.url,
            "NO_PROXY": "127.0.0.1",
            "GH_CONFIG_DIR": str(config),
            "GH_PROMPT_DISABLED": "1",
            "GH_NO_UPDATE_NOTIFIER": "1",
            "NO_COLOR": "1",
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: GitHubServer

    def log_message(self, *arguments: object) -> None:
        """Silent: tests look at github.requests."""

    def _handle(self) -> None:
        github, url = self.server.github, urlsplit(self.path)
        path = re.sub(r"^/api/v3(?=/)", "", url.path)  # what clients put before it for an Enterprise server
        body = self._read_body()
        # A page's link must lead back the way the request came: gh gives its token to its own host only.
        base = f"{url.scheme}://{url.netloc}{url.path.removesuffix(path)}" if url.scheme else self.server.url
        request = Request(self.command, path, query_of(url.query), self.headers, body, base)
        fault = None
        if not path.startswith("/_harness/"):
            fault = self._note(request, path + (f"?{url.query}" if url.query else ""))
        if fault:
            time.sleep(fault.delay)
            if fault.action:
                fault.action()
            if fault.drop_after_bytes is not None:
                return self._hang_up()
        works = fault and (fault.apply_first or fault.lose_reply or fault.action or fault.delay)
        if fault and not works:
            return self._send(Reply({"message": "injected fault"}, fault.status, fault.headers))
        reply = dispatch(github, request)
        if fault and fault.lose_reply:
            return self._hang_up()
        if fault and fault.apply_first:
            reply = Reply({"message": "injected fault after the work was done"}, fault.status, fault.headers)
        self._send(reply)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = do_HEAD = _handle

    def _read_body(self) -> bytes:
        if "chunked" not in (self.headers.get("transfer-encoding") or ""):
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):  # as gh sends what it reads from a pipe
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _note(self, request: Request, target: str) -> Fault | None:
        """Record the request and take the planned fault it meets, if any."""
        github = self.server.github
        with github.lock:
            github.requests.append((request.method, target))
            is_json = request.body[:1] in (b"{", b"[") and "/assets" not in target
            github.bodies.append(json.loads(request.body) if is_json else None)
            for fault in github.faults:
                if fault.method != request.method or not fault.pattern.search(target):
                    continue
                if fault.after:
                    fault.after -= 1
                elif fault.times:
                    fault.times -= 1
                    return fault
        return None

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _send(self, reply: Reply) -> None:
        is_bytes = isinstance(reply.body, bytes)
        data = reply.body if is_bytes else json.dumps(reply.body).encode()
        if reply.status == 204:
            data = b""
        kind = "application/octet-stream" if is_bytes else "application/json; charset=utf-8"
        headers = {"Content-Type": kind, "Content-Length": str(len(data)), "X-GitHub-Request-Id": "fake"}
        self.send_response(reply.status)
        for name, value in {**headers, **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


@contextmanager
def start_github(git_dir: Path, artifacts: Path) -> Iterator[GitHubServer]:
    """A running GitHub with one repository, whose git data lies in the bare repository `git_dir`."""
    server = GitHubServer(Store(git_dir, artifacts))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
