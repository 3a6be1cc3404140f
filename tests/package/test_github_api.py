"""The REST client over real HTTP: pages, second attempts, where the token goes, and what is said when it fails."""

from __future__ import annotations

import re
import socket
import time
from typing import Any

import pytest

from finetune.errors import IO_FAULT, FinetuneError
from finetune.github.client import api
from finetune.github.client.api import ApiError, GitHub
from github_fake import TOKEN, Answer, GitHubFake, Request, paged
from repository import ROOT

PULL = "/repos/{repo}/pulls/7"


def test_every_verb_sends_json_and_returns_what_came(github: GitHubFake) -> None:
    def echo(request: Request, rest: str) -> Any:
        return [request.method, rest, request.query, request.body]

    github.routes = {f"{verb} /repos/acme/demo/{{rest:path}}": echo for verb in ("POST", "PATCH", "PUT")}
    github.routes["GET /repos/acme/demo/{rest:path}"] = lambda request, rest: {"q": request.query}
    github.routes["DELETE /repos/acme/demo/x"] = None
    client = github.client()
    assert client.get("/repos/{repo}/x", name="a b&c", none=None) == {"q": {"name": "a b&c"}}
    assert client.post("/repos/{repo}/x/y", {"k": "値"}) == ["POST", "x/y", {}, {"k": "値"}]
    assert client.patch("/repos/{repo}/x", {"k": 1}) == ["PATCH", "x", {}, {"k": 1}]
    assert client.put("/repos/{repo}/x") == ["PUT", "x", {}, None]
    assert client.delete("/repos/{repo}/x") is None
    assert {request.token for request in github.requests} == {TOKEN}
    assert {request.headers["x-github-api-version"] for request in github.requests} == {"2022-11-28"}


def test_all_pages_of_a_list_and_of_an_object(github: GitHubFake) -> None:
    rows = [{"id": number} for number in range(250)]
    github.routes = {
        "GET /repos/acme/demo/issues/7/comments": rows,
        "GET /repos/acme/demo/actions/artifacts": lambda request: paged(request, rows, "artifacts"),
    }
    client = github.client()
    assert list(client.pages("/repos/{repo}/issues/7/comments")) == rows
    assert [request.query.get("page", "1") for request in github.requests] == ["1", "2", "3"]
    assert {request.query["per_page"] for request in github.requests} == {"100"}
    assert list(client.pages("/repos/{repo}/actions/artifacts", key="artifacts", name="adapter-1")) == rows
    assert github.requests[-1].query == {"per_page": "100", "name": "adapter-1", "page": "3"}


@pytest.mark.parametrize("link", ["http://127.0.0.1:9/steal", "https://api.github.com.evil.example/x", "http://[::1"])
def test_a_next_page_elsewhere_is_not_asked_for(github: GitHubFake, link: str) -> None:
    github.routes["GET /repos/acme/demo/x"] = Answer(200, [1], {"Link": f'<{link}>; rel="next"'})
    with pytest.raises(ApiError, match="another host"):
        list(github.client().pages("/repos/{repo}/x"))
    assert len(github.requests) == 1


def test_pages_end_even_if_the_server_never_ends(github: GitHubFake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "MOST_PAGES", 3)
    github.routes["GET /repos/acme/demo/x"] = Answer(200, [1], {"Link": '<{base}/repos/acme/demo/x>; rel="next"'})
    with pytest.raises(ApiError, match="more than 3 pages"):
        list(github.client().pages("/repos/{repo}/x"))


@pytest.mark.parametrize("answer", [{"message": "moved"}, None, "text"])
def test_a_list_that_is_none_is_said(github: GitHubFake, answer: Any) -> None:
    github.routes["GET /repos/acme/demo/x"] = Answer(200, answer)
    with pytest.raises(ApiError, match="not a list"):
        list(github.client().pages("/repos/{repo}/x"))


# --- second attempts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["get", "patch", "put", "delete"])
@pytest.mark.parametrize(
    "fault", [{"status": 500}, {"status": 502}, {"status": 503}, {"status": 429}, {"drop": "reply"}], ids=str
)
def test_what_passes_by_itself_is_tried_again(github: GitHubFake, waits: list[float], verb: str, fault: Any) -> None:
    github.routes[f"{verb.upper()} /repos/acme/demo/x"] = {"done": True}
    github.fail(verb.upper(), "/x", times=2, **fault)
    answer = getattr(github.client(), verb)("/repos/{repo}/x")
    assert answer == (None if verb == "delete" else {"done": True})
    assert len(github.requests) == 3 and len(waits) == 2


def test_half_an_answer_and_a_proxys_page_are_tried_again(github: GitHubFake, waits: list[float]) -> None:
    github.routes[f"GET {PULL.format(repo='acme/demo')}"] = {"state": "open", "more": "x" * 5000}
    github.fail("GET", "pulls", drop="body")
    github.fail("GET", "pulls", 200, body=b"<html>we will be back</html>")
    assert github.client().get(PULL)["state"] == "open"
    assert len(waits) == 2


@pytest.mark.parametrize("status", [200, 404, 502])
def test_an_answer_that_breaks_off_is_tried_again(github: GitHubFake, waits: list[float], status: int) -> None:
    """Even a refusal's: its body breaks as any other does."""
    github.routes[f"GET {PULL.format(repo='acme/demo')}"] = {"state": "open"}
    github.fail("GET", "pulls", status, times=2, drop="reset", body={"message": "x" * 300_000})
    assert github.client().get(PULL) == {"state": "open"}
    assert len(waits) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422, 451])
def test_refusals_are_raised_at_once(github: GitHubFake, waits: list[float], status: int) -> None:
    github.fail("GET", "pulls", status, times=9, body={"message": "No", "errors": [{"message": "not\nthis"}, "odd"]})
    with pytest.raises(ApiError, match=rf"E601 GitHub answered {status} \(No: not this\) to GET ") as caught:
        github.client().get(PULL)
    assert (caught.value.status, caught.value.exit_code, caught.value.unsure) == (status, IO_FAULT, False)
    assert len(github.requests) == 1 and not waits


@pytest.mark.parametrize("status", [403, 429])
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_rate_limit_is_waited_for_as_long_as_asked(
    github: GitHubFake, waits: list[float], status: int, method: str
) -> None:
    github.routes |= {"GET /repos/acme/demo/x": 1, "POST /repos/acme/demo/x": 1}
    github.fail(method.upper(), "/x", status, headers={"Retry-After": "42"})
    reset = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + 90)}
    github.fail(method.upper(), "/x", status, headers=reset)
    assert getattr(github.client(), method)("/repos/{repo}/x") == 1
    assert 42 <= waits[0] <= 43 and 60 <= waits[1] <= 92


def test_a_rate_limit_longer_than_the_job_can_wait_is_raised_at_once(github: GitHubFake, waits: list[float]) -> None:
    reset = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + 3000)}
    github.fail("GET", "pulls", 403, headers=reset, body={"message": "API rate limit exceeded"})
    with pytest.raises(ApiError, match=r"rate limit exceeded.*asks to wait (29|30)\d\d s"):
        github.client().get(PULL)
    assert not waits


def test_waits_are_capped_in_all(github: GitHubFake, waits: list[float]) -> None:
    github.fail("GET", "pulls", 429, times=99, headers={"Retry-After": "250"})
    with pytest.raises(ApiError):
        github.client().get(PULL)
    assert len(waits) == 2 and sum(waits) <= api.LONGEST_WAITS


def test_attempts_end(github: GitHubFake, waits: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    github.fail("GET", "pulls", 502, times=99)
    with pytest.raises(ApiError) as caught:
        github.client().get(PULL)
    assert len(github.requests) == 6 and caught.value.status == 502
    assert waits == sorted(waits), "each wait may be longer than the one before"
    assert capsys.readouterr().err.count("GitHub answered 502 (injected) to GET /repos/acme/demo/pulls/7; attempt") == 5


@pytest.mark.parametrize("fault", [{"status": 502}, {"status": 504}, {"drop": "reply"}], ids=str)
def test_a_post_that_may_have_happened_is_not_sent_twice(github: GitHubFake, waits: list[float], fault: Any) -> None:
    made: list[Any] = []
    github.routes["POST /repos/acme/demo/x"] = lambda request: made.append(request.body) or {"id": 1}
    github.fail("POST", "/x", done=True, **fault)
    with pytest.raises(ApiError) as caught:
        github.client().post("/repos/{repo}/x", {"a": 1})
    assert caught.value.unsure and made == [{"a": 1}] and not waits


def test_a_post_that_does_no_harm_twice_is_tried_again(github: GitHubFake, waits: list[float]) -> None:
    github.routes["POST /repos/acme/demo/x"] = {"id": 1}
    github.fail("POST", "/x", 503)
    github.fail("POST", "/x", drop="reply")
    assert github.client().post("/repos/{repo}/x", {"a": 1}, repeat=True) == {"id": 1}
    assert [request.body for request in github.requests] == [{"a": 1}] * 3


def test_deleted_though_the_answer_was_lost(github: GitHubFake, waits: list[float]) -> None:
    rows = [1]
    github.routes["DELETE /repos/acme/demo/x"] = lambda request: Answer(204 if rows and rows.pop() else 404)
    github.fail("DELETE", "/x", drop="reply", done=True)
    github.client().delete("/repos/{repo}/x")
    with pytest.raises(ApiError, match="404"):
        github.client().delete("/repos/{repo}/x")


def test_a_server_out_of_reach_is_tried_again_even_for_a_post(waits: list[float]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    client = GitHub(TOKEN, "acme/demo", f"http://127.0.0.1:{port}")
    with pytest.raises(ApiError, match=r"did not answer POST .*no connection \(ConnectionRefusedError\)") as caught:
        client.post("/repos/{repo}/x", {})
    assert caught.value.status is None and not caught.value.unsure and len(waits) == 5


# --- environment and what is printed --------------------------------------------------------------------------------


def test_from_environment(github: GitHubFake, monkeypatch: pytest.MonkeyPatch) -> None:
    github.environment(monkeypatch)
    github.routes["GET /repos/acme/demo/pulls/7"] = {"state": "open"}
    assert GitHub.from_environment().get(PULL) == {"state": "open"}
    monkeypatch.delenv("GITHUB_API_URL")
    assert GitHub.from_environment().url == "https://api.github.com"
    monkeypatch.setenv("GITHUB_TOKEN", "")
    with pytest.raises(FinetuneError, match="E602 GITHUB_TOKEN is not set"):
        GitHub.from_environment()


@pytest.mark.parametrize(
    ("value", "first"), [("", 1.0), ("0.5", 0.5), ("x", 1.0), ("-1", 0.0), ("inf", 60.0), ("nan", 0.0)]
)
def test_the_backoff_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch, value: str, first: float) -> None:
    monkeypatch.setenv("LLM_FT_BACKOFF", value)
    assert GitHub(TOKEN, "acme/demo").policy.first == first


def test_what_a_server_says_is_no_command_of_the_runner(
    github: GitHubFake, waits: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = "::error::owned\n  ::set-env name=A::b\n##[command]rm\u202e\x1b[31m"
    github.fail("GET", "x", 502, times=3, body={"message": hostile, "errors": [{"message": hostile}]})
    with pytest.raises(ApiError):
        github.client().get("/repos/{repo}/x\n::error::path")
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("attempt") == 3
    assert not re.search(r"^\s*::|##\[", shown.err, re.M) and "\x1b" not in shown.err and "\u202e" not in shown.err


def test_the_fake_refuses_a_wrong_token(github: GitHubFake) -> None:
    with pytest.raises(ApiError, match=r"401 \(Bad credentials\)"):
        GitHub("ghs_other", "acme/demo", github.url).get(PULL)


def test_base_packages_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosted runners install no HTTP library."""
    import subprocess
    import sys

    names = ("requests", "httpx", "httpx2", "huggingface_hub", "urllib3", "torch", "numpy")
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({names!r}))\n"
        "from finetune.github.client import actions, api, comments, statuses\n"
        "print(api.GitHub('t', 'a/b').policy.wait(1) >= 0)"
    )
    root = ROOT
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.returncode) == ("True", 0), done.stderr
