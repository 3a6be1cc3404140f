"""What the publisher tries again, how long it waits, and what it says when it gives up."""

from __future__ import annotations

from collections.abc import Callable

import httpx2
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from finetune import hub_retry as retry
from finetune.errors import FinetuneError, StorageFault
from finetune.hub.credentials import StaticToken, find_credentials
from finetune.retry import Policy


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr(retry, "pause", found.append)
    return found


def answer(status: int, **headers: str) -> HfHubHTTPError:
    request = httpx2.Request("POST", "https://hub.invalid/api")
    return HfHubHTTPError("no", response=httpx2.Response(status, headers=headers, request=request))


def failing(*errors: Exception) -> Callable[[], str]:
    pending = list(errors)

    def call() -> str:
        if pending:
            raise pending.pop(0)
        return "done"

    return call


def wrapped(error: Exception) -> RuntimeError:
    try:
        raise RuntimeError("Error while uploading") from error
    except RuntimeError as outer:
        return outer


def test_transient_failures_pass(waits: list[float]) -> None:
    errors = [answer(500), httpx2.ConnectError("reset"), httpx2.ReadTimeout("slow"), wrapped(answer(502))]
    assert retry.retrying(failing(*errors), "x") == "done"
    assert len(waits) == 4


def test_waits_grow_and_are_capped() -> None:
    policy = Policy(first=1.0, cap=8.0)
    for attempt, most in ((1, 1.0), (2, 2.0), (3, 4.0), (9, 8.0)):
        assert most / 2 <= policy.wait(attempt, retry.asked_wait(answer(500))) <= most


def test_the_server_says_how_long() -> None:
    for headers, least, most in (
        ({"ratelimit": '"api";r=0;t=55'}, 55, 56),
        ({"retry-after": "7"}, 7, 8),
        ({"retry-after": "86400"}, retry.POLICY.longest, retry.POLICY.longest + 1),
    ):
        assert least <= retry.POLICY.wait(1, retry.asked_wait(answer(429, **headers))) <= most


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 412])
def test_refusals_are_raised_at_once(status: int, waits: list[float]) -> None:
    with pytest.raises(HfHubHTTPError):
        retry.retrying(failing(answer(status)), "x")
    assert waits == []


def test_a_bug_is_not_mistaken_for_the_network(waits: list[float]) -> None:
    with pytest.raises(TypeError):
        retry.retrying(failing(TypeError("ours")), "x")
    assert waits == []


def test_attempts_end(waits: list[float]) -> None:
    with pytest.raises(HfHubHTTPError):
        retry.retrying(failing(*[answer(503)] * 99), "x")
    assert len(waits) == retry.POLICY.attempts - 1


def test_a_hub_out_of_reach_is_said_as_such(waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(self: HfApi) -> None:
        raise httpx2.ConnectError("refused")

    monkeypatch.setattr(HfApi, "whoami", unreachable)
    with pytest.raises(StorageFault, match="E815 the Hub failed for whoami: ConnectError"):
        StaticToken("hf_secret").check(["acme/x"])


def test_a_read_only_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    who = {"name": "acme", "orgs": [], "auth": {"accessToken": {"role": "read"}}}
    monkeypatch.setattr(HfApi, "whoami", lambda self: who)
    with pytest.raises(FinetuneError, match="E811"):
        StaticToken("hf_secret").check(["acme/x"])


def test_tokens_are_not_shown() -> None:
    assert "hf_secret" not in repr(StaticToken("hf_secret"))


def test_offline_switch_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(FinetuneError, match="E820 HF_HUB_OFFLINE"):
        find_credentials()
