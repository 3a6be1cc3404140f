"""A base model that no job without login gets is refused before a GPU is asked for, unless a way is prepared."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from finetune.config.project import Project
from finetune.errors import FinetuneError
from finetune.github.setup.advice import gate_advice
from finetune.github.setup.expectations import Target
from finetune.github.train import base_access
from finetune.github.train.base_access import check_way, closed_to_strangers
from finetune.training.base_download import gated_fault
from finetune.training.base_model import fetch_base

Make = Callable[..., Project]
HUB = {"base_model": {"id": "acme/model", "revision": "c" * 40}}


class Page:
    """What the Hub answers to GET /api/models/…: a status and a body; it counts who asked."""

    def __init__(self) -> None:
        self.status, self.body, self.asked = 200, json.dumps({"gated": False}).encode(), []


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    page = Page()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page.asked.append((self.path, self.headers.get("authorization")))
            self.send_response(page.status)
            self.send_header("Content-Length", str(len(page.body)))
            self.end_headers()
            self.wfile.write(page.body)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield page
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [(200, {"gated": False}, ""), (200, {"gated": "manual"}, "is gated"), (200, {"gated": "auto"}, "is gated"),
     (401, {}, "nobody without login"), (403, {}, "nobody without login"), (404, {}, "nobody without login"),
     (500, {}, ""), (429, {}, ""), (200, [], ""), (200, {}, "")],
)  # fmt: skip
def test_the_hub_is_asked_without_login(hub: Page, make_project: Make, status: int, body: Any, says: str) -> None:
    hub.status, hub.body = status, json.dumps(body).encode()
    closed = closed_to_strangers(make_project(training=HUB))
    assert says in closed and bool(closed) == bool(says)
    assert hub.asked == [("/api/models/acme/model", None)]


def test_nonsense_and_silence_are_no_refusal(hub: Page, make_project: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    project = make_project(training=HUB)
    hub.body = b"<html>"
    assert closed_to_strangers(project) == ""
    for endpoint in ("http://127.0.0.1:9", "file:///etc", "ftp://x"):
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        assert closed_to_strangers(project) == ""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert closed_to_strangers(project) == "" and len(hub.asked) == 1


def test_a_folder_is_nobodys_business(hub: Page, make_project: Make) -> None:
    assert closed_to_strangers(make_project(base=True)) == "" and hub.asked == []


def test_a_closed_model_needs_one_of_two_ways(hub: Page, make_project: Make) -> None:
    hub.body = json.dumps({"gated": "auto"}).encode()
    project = make_project(training=HUB)
    with pytest.raises(FinetuneError, match="E303 acme/model is gated, and the GPU job has no login") as failure:
        check_way(project, "")
    assert all(word in failure.value.fix for word in ("cached", "HF_READ_TOKEN", "gpu-base", "docs/models.md"))
    check_way(project, "cached")
    check_way(project, "token")
    with pytest.raises(FinetuneError, match="E303 the variable GATED_BASE is 'yes'"):
        check_way(project, "yes")


@pytest.mark.parametrize(
    ("variables", "secrets", "gated", "codes"),
    [({}, {}, True, ["E303"]), ({}, {}, False, []), ({"GATED_BASE": "cached"}, {}, True, []),
     ({"GATED_BASE": "token"}, {}, True, ["has no HF_READ_TOKEN"]),
     ({"GATED_BASE": "token"}, {"gpu-base": ["HF_READ_TOKEN"]}, True, []),
     ({}, {"": ["HF_READ_TOKEN"]}, False, ["secret of the whole repository"]),
     ({"GATED_BASE": "x"}, {}, False, ["GATED_BASE is 'x'"])],
)  # fmt: skip
def test_setup_says_what_is_missing(
    make_project: Make,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    secrets: dict[str, list[str]],
    gated: bool,
    codes: list[str],
) -> None:
    answers: dict[str, Any] = {
        **{f"repos/acme/demo/actions/variables/{name}": {"value": value} for name, value in variables.items()},
        **{
            f"repos/acme/demo/{f'environments/{place}/' if place else 'actions/'}secrets?per_page=100": {
                "secrets": [{"name": name} for name in names]
            }
            for place, names in secrets.items()
        },
    }

    class Answers:
        def get(self, path: str) -> Any:
            return answers.get(path)

    monkeypatch.setattr(base_access, "closed_to_strangers", lambda project: "acme/model is gated" if gated else "")
    there = Target(Answers(), "acme/demo", False, True, "main", "github.com")  # type: ignore[arg-type]
    lines = gate_advice(make_project(training=HUB), there)
    assert len(lines) == len(codes) and all(line.startswith(("W298 ", "W672 ")) and " Fix: " in line for line in lines)
    assert all(code in line for code, line in zip(codes, lines, strict=True))


@pytest.mark.parametrize(("status", "says"), [(401, "nobody is logged in here"), (403, "this login has no access yet")])
def test_a_closed_gate_says_who_is_missing_what(monkeypatch: pytest.MonkeyPatch, status: int, says: str) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    here = gated_fault("acme/model", status)
    assert here.code == "E973" and says in here.message and "huggingface.co/acme/model" in here.fix
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    runner = gated_fault("acme/model", status)
    assert all(word in runner.fix for word in ("HF_HOME", "HF_READ_TOKEN", "gpu-base", "docs/models.md"))


def test_the_base_model_is_there_after_the_step_that_fetches_it(make_project: Make, capsys: Any) -> None:
    assert fetch_base(make_project(base=True)) == 0
    assert "base model models/base/tiny at sha256:" in capsys.readouterr().err
