"""One HTTP request to GitHub with the standard library: where the token may go, how much is read, what failed."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.message import Message
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

REDIRECTS = frozenset({301, 302, 303, 307, 308})
MOST_REDIRECTS = 5
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Reply:
    """An answer read to its end, whatever its status."""

    status: int
    headers: Message
    content: bytes


class Unanswered(Exception):
    """No whole answer arrived. `sent`: the server may have acted on the request; `lasting`: it would fail again."""

    def __init__(self, words: str, *, sent: bool = True, lasting: bool = False) -> None:
        super().__init__(words)
        self.words, self.sent, self.lasting = words, sent, lasting


def exchange(
    method: str,
    url: str,
    headers: dict[str, str],
    body: bytes | IO[bytes] | None = None,
    *,
    token: str,
    limit: int,
    timeout: float,
) -> Reply:
    """Send one request and follow its redirects; the token goes to `url`'s own host and nowhere else.

    At most `limit` bytes are read, `timeout` is in seconds for each read or write. Raises Unanswered.
    """
    home, secret = origin(url), True
    for _ in range(MOST_REDIRECTS + 1):
        # Once elsewhere, the token stays away: whoever answers there could send it back to any path of ours.
        secret = secret and origin(url) == home
        own = {"Authorization": f"Bearer {token}"} if secret else {}
        reply = _once(method, url, headers | own, body, limit, timeout)
        target = reply.headers.get("Location") if reply.status in REDIRECTS else None
        if not target:
            return reply
        url = _redirected(method, url, target, home)
        if body is not None and not isinstance(body, bytes):
            body.seek(0)
    raise Unanswered(f"more than {MOST_REDIRECTS} redirects", lasting=True)


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port: what a token belongs to."""
    try:
        parts = urlsplit(url)
        return parts.scheme, (parts.hostname or "").lower(), parts.port or (80 if parts.scheme == "http" else 443)
    except ValueError:
        return "", "", -1


def _redirected(method: str, url: str, target: str, home: tuple[str, str, int]) -> str:
    try:
        url = urljoin(url, target)
    except ValueError:
        url = ""
    # Only a server that is itself spoken to without TLS (a test) may send us to another such server.
    if origin(url)[0] not in ("https", home[0]):
        raise Unanswered("a redirect away from https", lasting=True)
    if method not in ("GET", "HEAD") and origin(url) != home:
        raise Unanswered(f"a redirect of {method} to another host", lasting=True)
    return url


class _KeepErrorResponses(urllib.request.HTTPErrorProcessor):
    """Errors and redirects are answers: urllib would hand the token to whatever host a redirect names."""

    def http_response(self, request: urllib.request.Request, response: Any) -> Any:
        return response

    https_response = http_response


_OPENER = urllib.request.build_opener(_KeepErrorResponses)


def _once(
    method: str, url: str, headers: dict[str, str], body: bytes | IO[bytes] | None, limit: int, timeout: float
) -> Reply:
    request = urllib.request.Request(url, data=body, headers=headers, method=method)
    try:
        with _OPENER.open(request, timeout=timeout) as response:
            return Reply(response.status, response.headers, _read(response, limit))
    except urllib.error.URLError as failure:
        reason = failure.reason
        lasting = isinstance(reason, ssl.SSLCertVerificationError)
        # Refused connections and unknown names: nothing was sent. A broken pipe may have come late.
        unsent = isinstance(reason, (ConnectionRefusedError, ssl.SSLError)) or type(reason).__name__ == "gaierror"
        raise Unanswered(f"no connection ({type(reason).__name__})", sent=not unsent, lasting=lasting) from None
    except (ValueError, http.client.InvalidURL) as failure:
        raise Unanswered(f"an impossible address ({type(failure).__name__})", sent=False, lasting=True) from None
    except (OSError, http.client.HTTPException) as failure:
        # Their texts may quote headers or addresses, their types do not.
        raise Unanswered(f"connection lost ({type(failure).__name__})") from None


def _read(response: http.client.HTTPResponse, limit: int) -> bytes:
    content = bytearray()
    while block := response.read(_BLOCK):
        content += block
        if len(content) > limit:
            raise Unanswered(f"an answer above {limit:,} bytes", lasting=True)
    length = response.headers.get("Content-Length", "")
    # read(n) ends quietly where the connection broke.
    if length.isdigit() and len(content) < int(length):
        raise Unanswered("connection lost (in the middle of the answer)")
    return bytes(content)
