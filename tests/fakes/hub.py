"""A stateful Hugging Face Hub for tests; the real client talks to it through HF_ENDPOINT.

    with start_hub(tmp_path) as server:
        env = {"HF_ENDPOINT": server.url, "HF_TOKEN": "hf_test", "HF_HUB_DISABLE_XET": "1"}
        server.hub.fail("POST", "/commit/", apply_first=True)      # the first commit answers 500 after the fact

Uploads go the LFS way (one request, or parts) unless `hub_xet.enable` is called. hub_store.Fault lists what can fail.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from . import hub_pages  # noqa: F401  (registers its route)
from .hub_api import Reply, Request, dispatch, query_of
from .hub_store import Fault, Hub


class HubServer(ThreadingHTTPServer):
    """Serves one Hub on a free local port."""

    daemon_threads = True

    def __init__(self, hub: Hub) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = hub

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def log_message(self, *arguments: object) -> None:
        """Silent: tests look at hub.requests."""

    def _handle(self) -> None:
        hub, url = self.server.hub, urlsplit(self.path)
        fault = self._next_fault()
        if fault:
            time.sleep(fault.delay)
            if fault.action:
                fault.action()
            if fault.drop_after_bytes is not None:
                self.rfile.read(min(int(self.headers.get("content-length") or 0), fault.drop_after_bytes))
                return self._hang_up()
        body = self._read_body()
        if body is None:
            return self._hang_up()  # the client vanished in mid-upload: nothing is stored
        works = fault and (fault.apply_first or fault.lose_reply or fault.action or fault.delay)
        if fault and not works:
            return self._send(Reply({"error": "injected fault"}, fault.status, fault.headers))
        base = f"http://{self.headers['host']}"
        reply = dispatch(hub, Request(self.command, url.path, query_of(url.query), self.headers, body, base))
        if fault and fault.lose_reply:
            return self._hang_up()
        if fault and fault.apply_first:
            reply = Reply({"error": "injected fault after the work was done"}, fault.status, fault.headers)
        self._send(reply)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _handle

    def _next_fault(self) -> Fault | None:
        """Record the request and take the planned fault it meets, if any."""
        hub = self.server.hub
        with hub.lock:
            hub.requests.append((self.command, self.path))
            for fault in hub.faults:
                if fault.method != self.command or not fault.pattern.search(self.path):
                    continue
                if fault.after:
                    fault.after -= 1
                elif fault.times:
                    fault.times -= 1
                    return fault
        return None

    def _read_body(self) -> bytes | None:
        """The request's body, or None when the connection broke before its end."""
        if "chunked" in (self.headers.get("transfer-encoding") or ""):
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        return body if len(body) == length else None

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _send(self, reply: Reply) -> None:
        is_bytes = isinstance(reply.body, bytes)
        data = reply.body if is_bytes else json.dumps(reply.body).encode()
        kind = "application/octet-stream" if is_bytes else "application/json"
        headers = {"Content-Type": kind, "Content-Length": str(len(data)), "X-Request-Id": "fake", **reply.headers}
        self.send_response(reply.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


@contextmanager
def start_hub(folder: Path, part_size: int | None = None) -> Iterator[HubServer]:
    """A running Hub that keeps large files below `folder`."""
    server = HubServer(Hub(folder / "hub", part_size))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
