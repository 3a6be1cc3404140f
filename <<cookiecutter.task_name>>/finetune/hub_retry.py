"""Try again what a server or the network failed to do; the Hub client itself retries neither commits nor tags."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from finetune.console import say
from finetune.errors import StorageFault
from finetune.retry import TRANSIENT, Policy

T = TypeVar("T")

PRECONDITION_FAILED = 412

POLICY = Policy()
pause: Callable[[float], None] = time.sleep


def retrying(call: Callable[[], T], what: str) -> T:
    """Result of `call`; transient failures are repeated by POLICY, any other is raised at once."""
    attempt = 1
    while True:
        try:
            return call()
        except Exception as error:
            wait_or_raise(error, attempt, what)
            attempt += 1


def wait_or_raise(error: Exception, attempt: int, what: str) -> None:
    """Wait before the next attempt, or raise `error` when it will not pass or attempts are used up."""
    if attempt >= POLICY.attempts or not is_transient(error):
        raise error
    seconds = POLICY.wait(attempt, asked_wait(error))
    say(f"  {what}: {describe(error)}; attempt {attempt + 1} of {POLICY.attempts} in {seconds:.0f} s")
    pause(seconds)


def is_transient(error: BaseException | None) -> bool:
    """May the same call work in a moment? Wrapped errors count as what they wrap."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if error is None or isinstance(error, OfflineModeIsEnabled):
        return False
    if isinstance(error, (HfHubHTTPError, httpx2.HTTPStatusError)):
        return error.response.status_code in TRANSIENT
    if isinstance(error, (httpx2.TransportError, ConnectionError, TimeoutError)):
        return True
    return is_transient(error.__cause__)


def given_up(error: BaseException, what: str) -> StorageFault:
    """What is said when the attempts are used up."""
    fix = "run the same command again, it resumes"
    return StorageFault(f"the Hub failed for {what}: {describe(error)}", fix, "E815")


def status_of(error: BaseException | None) -> int | None:
    """HTTP status of an error or of what it wraps."""
    while error is not None:
        response = getattr(error, "response", None)
        if response is not None:
            return int(response.status_code)
        error = error.__cause__
    return None


def describe(error: BaseException) -> str:
    """The failure in a few words, without URLs, headers or bodies."""
    status = status_of(error)
    said = getattr(error, "server_message", None) or ""
    if status:
        return f"HTTP {status}" + (f" ({' '.join(str(said).split())[:200]})" if said else "")
    return type(error.__cause__ or error).__name__


def asked_wait(error: BaseException | None) -> float | None:
    """Seconds the server asks to wait: `RateLimit: …;t=` of the Hub, or Retry-After."""
    from huggingface_hub.utils import parse_ratelimit_headers

    while error is not None:
        response = getattr(error, "response", None)
        if response is not None and response.status_code == 429:
            limit = parse_ratelimit_headers(response.headers)
            if limit is not None:
                return float(limit.reset_in_seconds)
            after = response.headers.get("Retry-After", "")
            return float(after) if after.isdigit() else None
        error = error.__cause__
    return None
