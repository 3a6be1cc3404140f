"""GitHub's REST API with the standard library: pages, waits, second attempts, and errors that say what to do.

What is tried again: everything that may pass by itself (5xx, 429, 403 with rate limit headers, lost connections), for
GET, PATCH, PUT and DELETE. A POST is tried again only where GitHub cannot have acted on it (connection refused, rate
limit), or where the caller says `repeat=True`: a second delivery does no harm (a status, a git blob). After any other
failed POST `ApiError.unsure` is true: the caller looks whether it happened.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlencode

from finetune.console import say
from finetune.errors import FinetuneError, StorageFault
from finetune.github.client import actions
from finetune.github.client.transport import Reply, Unanswered, exchange, origin
from finetune.retry import TRANSIENT, Policy

URL = "https://api.github.com"
LARGEST = 256 << 20
"""Bytes read of one answer unless the caller says less."""
LONGEST_WAITS = 600.0
"""Seconds one call waits altogether; a rate limit that lasts longer is raised at once."""
MOST_PAGES = 1000
_JSON = "application/vnd.github+json"
pause: Callable[[float], None] = time.sleep


class ApiError(StorageFault):
    """GitHub refused, failed or was not reached. `status` is None without an answer."""

    def __init__(
        self,
        message: str,
        fix: str = "",
        code: str = "E601",
        *,
        status: int | None = None,
        transient: bool = False,
        unsure: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, fix, code)
        self.status, self.transient, self.retry_after = status, transient, retry_after
        self.unsure = unsure
        """GitHub may have done it all the same."""


class GitHub:
    """Client of one repository. In paths `{repo}` stands for owner/name; anybody's text in them must be quoted."""

    def __init__(self, token: str, repository: str, url: str = URL) -> None:
        if not re.fullmatch(r"[\x21-\x7e]+", token):
            # http.client would quote the whole header in its error.
            raise FinetuneError("GITHUB_TOKEN is empty or holds a sign no token has", code="E602")
        self._token, self.repository, self.url = token, repository, url.rstrip("/")
        backoff = _backoff()
        self.policy = Policy(first=backoff, cap=60 * backoff, longest=LONGEST_WAITS)

    @classmethod
    def from_environment(cls) -> GitHub:
        """Client for the step's GITHUB_TOKEN and GITHUB_REPOSITORY; E602 where one is missing."""
        return cls(actions.env("GITHUB_TOKEN"), actions.repository(), os.environ.get("GITHUB_API_URL") or URL)

    def __repr__(self) -> str:
        return f"GitHub({self.repository!r}, {self.url!r})"

    def get(self, path: str, /, **query: object) -> Any:
        """Parsed JSON, or None for an empty answer. Raises ApiError, as all the others do."""
        return self._call("GET", self._address(path, query), _parsed)

    def post(self, path: str, body: object = None, /, *, repeat: bool = False) -> Any:
        return self._call("POST", self._address(path), _parsed, body=_encoded(body), repeat=repeat)

    def patch(self, path: str, body: object = None, /) -> Any:
        return self._call("PATCH", self._address(path), _parsed, body=_encoded(body))

    def put(self, path: str, body: object = None, /) -> Any:
        return self._call("PUT", self._address(path), _parsed, body=_encoded(body))

    def delete(self, path: str, /) -> None:
        self._call("DELETE", self._address(path), _parsed)

    def pages(self, path: str, /, *, key: str = "", **query: object) -> Iterator[Any]:
        """Every item of a list on every page; `key` names the list where the answer is an object."""
        address = self._address(path, {"per_page": 100, **query})
        for _ in range(MOST_PAGES):
            reply, value = self._call("GET", address, lambda reply: (reply, _parsed(reply)))
            items = value.get(key) if key and isinstance(value, dict) else value
            if not isinstance(items, list):
                raise ApiError(f"GitHub's answer to GET {_shortened(path)} is not a list")
            yield from items
            further = re.search(r'<([^<>]*)>\s*;[^,<]*\brel="?next\b', reply.headers.get("Link") or "")
            if not further:
                return
            address = further[1]
            if origin(address) != origin(self.url):
                raise ApiError(f"the next page of {_shortened(path)} is on another host")
        raise ApiError(f"{_shortened(path)} has more than {MOST_PAGES} pages")

    def download(self, path: str, /, *, limit: int = LARGEST, accept: str = _JSON) -> bytes:
        """Content behind a path, at most `limit` bytes; redirects to a storage host are followed without the token."""
        if "/releases/assets/" in path and accept == _JSON:
            accept = "application/octet-stream"  # GitHub describes the asset otherwise
        return self._call("GET", self._address(path), lambda reply: reply.content, accept=accept, limit=limit)

    def upload(self, url: str, file: Path, name: str, *, kind: str = "application/octet-stream") -> Any:
        """Attach `file` to a release as `name`; `url` is the release's upload_url. Repeated only as a POST is."""
        address = f"{url.partition('{')[0]}?{urlencode({'name': name})}"
        scheme, host, port = origin(self.url)
        if origin(address) not in {(scheme, host, port), (scheme, re.sub(r"^api\.", "uploads.", host), port)}:
            raise ApiError(f"the upload address of {name} is on another host")
        return self._call("POST", address, _parsed, body=file, kind=kind)

    def wait(self, attempt: int, error: ApiError | None = None) -> float:
        """Seconds to wait after failed attempt number `attempt` (from 1)."""
        return self.policy.wait(attempt, error.retry_after if error else None)

    def _address(self, path: str, query: dict[str, object] | None = None) -> str:
        path = path.replace("{repo}", self.repository)
        parts = path.split("/")
        if parts[0] or any(part in ("", ".", "..") for part in parts[1:]) or set(path) & set("?#\\"):
            raise FinetuneError(f"{json.dumps(path)[:120]} is no path of the API", code="E606")
        given = {name: value for name, value in (query or {}).items() if value is not None}
        # "%" stays: callers quote what is anybody's text.
        return f"{self.url}{quote(path, safe='/%:@=,+~', errors='replace')}" + (f"?{urlencode(given)}" if given else "")

    def _call(
        self,
        method: str,
        address: str,
        read: Callable[[Reply], Any],
        *,
        body: bytes | Path | None = None,
        repeat: bool = False,
        accept: str = _JSON,
        limit: int = LARGEST,
        kind: str = "application/json",
    ) -> Any:
        what = f"{method} {_shortened(address.removeprefix(self.url).partition('?')[0])}"
        attempt, waited = 1, 0.0
        while True:
            try:
                reply = self._send(method, address, body, accept, limit, kind, what)
                # Deleted by an attempt whose answer was lost.
                if 200 <= reply.status < 300 or (reply.status == 404 and method == "DELETE" and attempt > 1):
                    return read(reply) if reply.status != 404 else None
                error = self._refusal(reply, what)
            except ApiError as failure:
                error = failure
            except (ValueError, RecursionError):  # half a document, or a proxy's page
                error = ApiError(f"GitHub's answer to {what} is not JSON", transient=True, unsure=True)
            error.unsure = error.unsure and method != "GET"
            seconds = self.wait(attempt, error)
            repeatable = error.transient and (repeat or method != "POST" or not error.unsure)
            lasts = waited + max(seconds, error.retry_after or 0.0) > LONGEST_WAITS
            if not repeatable or lasts or attempt >= self.policy.attempts:
                raise error
            say(f"  {error.message}; attempt {attempt + 1} of {self.policy.attempts} in {seconds:.0f} s")
            pause(seconds)
            attempt, waited = attempt + 1, waited + seconds

    def _send(
        self, method: str, address: str, body: bytes | Path | None, accept: str, limit: int, kind: str, what: str
    ) -> Reply:
        headers = {"Accept": accept, "X-GitHub-Api-Version": "2022-11-28", "User-Agent": "llm-finetune-template"}
        if body is not None:
            headers["Content-Type"] = kind
        opened: Any = nullcontext(body)
        if isinstance(body, Path):
            headers["Content-Length"] = str(body.stat().st_size)
            opened = body.open("rb")
        with opened as content:
            return self._exchange(method, address, headers, content, limit, what)

    def _exchange(
        self,
        method: str,
        address: str,
        headers: dict[str, str],
        content: bytes | IO[bytes] | None,
        limit: int,
        what: str,
    ) -> Reply:
        timeout = 60.0 if content is None or isinstance(content, bytes) else 600.0
        try:
            return exchange(method, address, headers, content, token=self._token, limit=limit, timeout=timeout)
        except Unanswered as failure:
            message = f"GitHub did not answer {what}: {failure.words}"
            fix = "run the job again when GitHub answers"
            raise ApiError(message, fix, transient=not failure.lasting, unsure=failure.sent) from None

    def _refusal(self, reply: Reply, what: str) -> ApiError:
        status, retry_after = reply.status, _retry_after(reply)
        limited = status == 429 or (status == 403 and retry_after is not None)
        sentence = _sentence(reply, self._token)
        fix = {
            401: "the token is no longer valid: run the job again",
            403: "" if limited else "give the job the permission this needs",
        }.get(status, "run the job again" if status >= 500 else "")
        words = f"GitHub answered {status}{f' ({sentence})' if sentence else ''} to {what}"
        if retry_after is not None:
            words += f"; it asks to wait {retry_after:.0f} s"
        transient, unsure = limited or status in TRANSIENT, status in TRANSIENT - {425, 429}
        return ApiError(words, fix, status=status, transient=transient, unsure=unsure, retry_after=retry_after)


def _retry_after(reply: Reply) -> float | None:
    """Seconds the server asks to wait: Retry-After, or until the primary rate limit begins anew."""
    if reply.status not in (403, 429, 503):
        return None
    after, reset = reply.headers.get("Retry-After", ""), reply.headers.get("X-RateLimit-Reset", "")
    if re.fullmatch(r"[0-9]{1,9}", after):
        return float(after)
    if reply.headers.get("X-RateLimit-Remaining") == "0" and re.fullmatch(r"[0-9]{1,12}", reset):
        return max(0.0, float(reset) - time.time()) + 1
    return None


def _sentence(reply: Reply, secret: str) -> str:
    """The server's own sentence on one line, at most 200 characters; the token and pages of proxies are left out."""
    try:
        answer = json.loads(reply.content)
        details = [item.get("message") for item in answer.get("errors") or () if isinstance(item, dict)]
        sentence = ": ".join(str(text) for text in (answer.get("message"), *details) if text)
        return " ".join(sentence.replace(secret, "***").split())[:200]
    except (ValueError, AttributeError, TypeError):
        return ""


def _parsed(reply: Reply) -> Any:
    return json.loads(reply.content) if reply.content else None


def _encoded(body: object) -> bytes | None:
    return None if body is None else json.dumps(body).encode()


def _shortened(path: str) -> str:
    return path if len(path) <= 120 else path[:119] + "…"


def _backoff() -> float:
    """Seconds before the second attempt, from LLM_FT_BACKOFF; tests set it small."""
    try:
        return min(60.0, max(0.0, float(os.environ.get("LLM_FT_BACKOFF") or 1)))
    except ValueError:
        return 1.0
