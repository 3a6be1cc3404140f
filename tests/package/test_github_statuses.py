"""The commit status: five words GitHub takes, and what happens when it does not take them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finetune.errors import IO_FAULT, FinetuneError
from finetune.github.client import api
from finetune.github.client.api import ApiError
from finetune.github.client.statuses import set_status
from github_fake import GitHubFake

SHA = "0123456789abcdef0123456789abcdef01234567"
URL = "https://github.com/acme/demo/actions/runs/55"


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHubFake]:
    monkeypatch.setattr(api, "pause", lambda seconds: None)
    with GitHubFake({"POST /repos/acme/demo/statuses/{sha}": lambda request, sha: {"id": 1}}) as fake:
        yield fake


@pytest.mark.parametrize("state", ["pending", "success", "failure", "error"])
def test_a_status_is_set_on_the_commit(github: GitHubFake, state: str) -> None:
    set_status(github.client(), SHA, state, "macro_f1 0.93", URL)
    (sent,) = github.requests
    assert sent.path == f"/repos/acme/demo/statuses/{SHA}"
    assert sent.body == {
        "state": state,
        "context": "fine-tune/evaluation",
        "description": "macro_f1 0.93",
        "target_url": URL,
    }


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.text(), st.sampled_from(["x" * 141, "😀" * 500, "a\n::error::b", "\u202e" * 200, "\ud800"])))
def test_any_description_fits_on_one_readable_line(github: GitHubFake, text: str) -> None:
    set_status(github.client(), SHA, "success", text, URL)
    sent = github.requests[-1].body["description"]
    assert len(sent) <= 140 and sent.isprintable()
    assert sent == text or len(sent) == 140 or not text.isprintable() or sent == " ".join(text.split())


@pytest.mark.parametrize("fault", [{"status": 502}, {"status": 429}, {"drop": "reply"}], ids=str)
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_a_status_is_tried_again_since_twice_does_no_harm(
    github: GitHubFake, fault: dict[str, object], done: bool
) -> None:
    github.fail("POST", "statuses", times=2, done=done, **fault)  # type: ignore[arg-type]
    set_status(github.client(), SHA, "success", "x", URL)
    assert len(github.requests) == 3


@pytest.mark.parametrize("status", [403, 404, 422, 503])
def test_a_pending_status_that_fails_is_a_warning(
    github: GitHubFake, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    github.fail("POST", "statuses", status, times=99)
    set_status(github.client(), SHA, "pending", "x", URL)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"W603 the commit status could not be set: GitHub answered {status} (injected) to POST ")


@pytest.mark.parametrize("status", [403, 404, 422, 503])
@pytest.mark.parametrize("state", ["success", "failure", "error"])
def test_a_final_status_that_fails_is_an_error(github: GitHubFake, status: int, state: str) -> None:
    """A commit must not keep an older verdict unnoticed."""
    github.fail("POST", "statuses", status, times=99)
    with pytest.raises(ApiError, match=f"E604 the status {state} of 0123456789ab could not be set") as caught:
        set_status(github.client(), SHA, state, "x", URL)
    assert (caught.value.status, caught.value.exit_code) == (status, IO_FAULT)


def test_nothing_else_is_sent(github: GitHubFake) -> None:
    with pytest.raises(ValueError, match="not a status"):
        set_status(github.client(), SHA, "passed", "x", URL)
    for sha in ("main", SHA[:12], f"{SHA}/../x", f"{SHA}\n", ""):
        with pytest.raises(FinetuneError, match="E603"):
            set_status(github.client(), sha, "success", "x", URL)
    assert not github.requests
