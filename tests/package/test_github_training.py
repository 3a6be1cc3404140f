"""Only the commit that was approved is trained: its head is compared again; what is known is not asked for twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from finetune.config.project import Project
from finetune.console import run
from finetune.errors import FinetuneError, StorageFault
from finetune.github.train.request import request_training, resolve
from github_fake import Answer, GitHubFake, paged

SHA, NEWER, PRINT = "a" * 40, "b" * 40, "f" * 64
DISPATCH = "POST /repos/acme/demo/actions/workflows/train.yml/dispatches"
COMPARE = "GET /repos/acme/demo/compare/{range}"


class Service:
    """GitHub with one pull request, commits on main, and what it was asked to do."""

    def __init__(self) -> None:
        self.pull: dict[str, Any] = {
            "number": 7,
            "state": "open",
            "head": {"sha": SHA, "repo": {"full_name": "acme/demo"}},
            "base": {"ref": "main", "repo": {"full_name": "acme/demo"}},
        }
        self.compared = "behind"
        self.statuses: list[tuple[str, str, str]] = []
        self.dispatched: list[dict[str, Any]] = []
        self.artifacts: list[dict[str, Any]] = []
        self.github = GitHubFake(
            {
                "GET /repos/acme/demo/pulls/7": lambda request: self.pull,
                COMPARE: lambda request, range: {"status": self.compared, "commits": []},
                "POST /repos/acme/demo/statuses/{sha}": self._status,
                "GET /repos/acme/demo/actions/artifacts": lambda request: paged(request, self.artifacts, "artifacts"),
                "GET /repos/acme/demo/actions/runs/{number}": lambda request, number: {
                    "id": int(number),
                    "path": ".github/workflows/train.yml",
                    "event": "workflow_dispatch",
                    "head_branch": "main",
                    "head_sha": SHA,
                },
                DISPATCH: self._dispatch,
            }
        )

    def _status(self, request: Any, sha: str) -> dict[str, Any]:
        self.statuses.append((sha, request.body["state"], request.body["description"]))
        return {"id": 1}

    def _dispatch(self, request: Any) -> Answer:
        self.dispatched.append(request.body)
        return Answer(200, {"workflow_run_id": 91, "run_url": "https://x", "html_url": "https://x"})

    def evaluated(self, number: int, expired: bool = False) -> None:
        self.artifacts.append(
            {
                "id": number,
                "name": f"adapter-{PRINT}",
                "expired": expired,
                "created_at": "2026-11-01T00:00:00Z",
                "workflow_run": {"id": number, "repository_id": 1, "head_repository_id": 1, "head_branch": "main"},
            }
        )


class Step:
    """Environment of a step; `outputs` are those it has set."""

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path) -> None:
        self._patch, self._output, self._event = patch, folder / "output", folder / "event.json"
        patch.setenv("GITHUB_OUTPUT", str(self._output))
        patch.setenv("GITHUB_EVENT_PATH", str(self._event))
        patch.setenv("GITHUB_SHA", SHA)
        self.dispatched()

    def dispatched(self, ref: str = "refs/heads/main", branch: str = "main", event: str = "workflow_dispatch") -> None:
        self._event.write_text(json.dumps({"repository": {"default_branch": branch}}))
        self._patch.setenv("GITHUB_EVENT_NAME", event)
        self._patch.setenv("GITHUB_REF", ref)

    @property
    def outputs(self) -> dict[str, str]:
        lines = self._output.read_text().splitlines() if self._output.exists() else []
        return dict(line.split("=", 1) for line in lines)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    service = Service()
    service.github.environment(monkeypatch)
    with service.github:
        yield service


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Step:
    return Step(monkeypatch, tmp_path)


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    return make_project()


def refused(function: Callable[[], Any], code: str) -> str:
    with pytest.raises(FinetuneError) as failure:
        function()
    assert failure.value.code == code and failure.value.exit_code == 2
    return str(failure.value)


class TestResolve:
    @pytest.mark.parametrize(("origin", "source"), [
        ({"full_name": "acme/demo"}, "repository"), ({"full_name": "Acme/Demo"}, "repository"),
        ({"full_name": "mallory/demo"}, "fork"), ({"full_name": "acme/demo.evil"}, "fork"), (None, "fork"),
        ({}, "fork"), ({"full_name": None}, "fork"),
    ])  # fmt: skip
    def test_says_where_the_head_lies(self, service: Service, step: Step, project: Project, origin: Any, source: str):
        service.pull["head"]["repo"] = origin
        assert resolve(project, SHA, "7") == 0
        assert step.outputs == {"source": source}
        assert service.statuses == []

    def test_a_moved_head_is_refused_and_said_on_the_old_commit_only(
        self, service: Service, step: Step, project: Project
    ):
        service.pull["head"]["sha"] = NEWER
        assert "the head moved" in refused(lambda: resolve(project, SHA, "7"), "E611")
        assert step.outputs == {}
        assert service.statuses == [(SHA, "error", "superseded by a newer commit, not trained")]

    def test_a_head_that_moves_between_two_calls(self, service: Service, step: Step, project: Project):
        """Asked for and approved as SHA; pushed to before the run began (R33)."""
        request_training(project, PRINT, SHA, "7")
        service.pull["head"]["sha"] = NEWER
        refused(lambda: resolve(project, SHA, "7"), "E611")
        assert "source" not in step.outputs
        assert {state for _, state, _ in service.statuses} == {"error"}
        assert NEWER not in [sha for sha, _, _ in service.statuses]

    def test_a_status_that_cannot_be_set_hides_no_moved_head(self, service: Service, step: Step, project: Project):
        service.pull["head"]["sha"] = NEWER
        service.github.fail("POST", "/statuses/", 403)
        refused(lambda: resolve(project, SHA, "7"), "E611")

    def test_a_closed_pull_request_is_not_trained(self, service: Service, step: Step, project: Project):
        service.pull["state"] = "closed"
        refused(lambda: resolve(project, SHA, "7"), "E612")
        assert step.outputs == {}

    @pytest.mark.parametrize("answer", [{}, {"head": None}, {"head": {}}, [], None])
    def test_an_answer_that_is_no_pull_request(self, service: Service, step: Step, project: Project, answer: Any):
        service.github.routes["GET /repos/acme/demo/pulls/7"] = lambda request: answer
        with pytest.raises(StorageFault):
            resolve(project, SHA, "7")
        assert step.outputs == {}

    @pytest.mark.parametrize("compared", ["identical", "behind"])
    def test_a_commit_of_main_needs_no_pull_request(
        self, service: Service, step: Step, project: Project, compared: str
    ):
        service.compared = compared
        assert resolve(project, SHA, "") == 0
        assert step.outputs == {"source": "repository"}
        assert service.github.calls() == [f"GET /repos/acme/demo/compare/main...{SHA}"]

    @pytest.mark.parametrize("compared", ["ahead", "diverged", "", None])
    def test_a_commit_beside_main_needs_one(self, service: Service, step: Step, project: Project, compared: Any):
        """A fork's commits can be named by SHA in the repository it was forked from."""
        service.compared = compared
        refused(lambda: resolve(project, SHA, ""), "E613")
        assert step.outputs == {}

    def test_a_commit_that_nobody_knows(self, service: Service, step: Step, project: Project):
        del service.github.routes[COMPARE]
        refused(lambda: resolve(project, SHA, ""), "E613")

    def test_a_default_branch_of_another_name(self, service: Service, step: Step, project: Project):
        step.dispatched("refs/heads/release/next", "release/next")
        seen = []
        service.github.routes["GET /repos/acme/demo/compare/{range:path}"] = lambda request, range: (
            seen.append(range) or {"status": "behind"}
        )
        assert resolve(project, SHA, "") == 0
        assert seen == [f"release/next...{SHA}"]

    @pytest.mark.parametrize(("event", "ref"), [
        ("workflow_dispatch", "refs/heads/feature"), ("workflow_dispatch", "refs/tags/main"),
        ("workflow_dispatch", "refs/pull/7/merge"), ("pull_request", "refs/heads/main"), ("push", "refs/heads/main"),
        ("push", "refs/tags/other"), ("pull_request_target", "refs/heads/main"), ("schedule", "refs/heads/main"),
    ])  # fmt: skip
    def test_only_the_default_branch_or_a_release_starts_training(
        self, service: Service, step: Step, project: Project, event: str, ref: str
    ):
        step.dispatched(ref, event=event)
        refused(lambda: resolve(project, SHA, "7"), "E610")
        assert (step.outputs, service.github.calls()) == ({}, [])

    def test_a_release_trains_the_tagged_commit_and_no_other(self, service: Service, step: Step, project: Project):
        step.dispatched("refs/tags/v1.2.3", event="push")
        assert resolve(project, SHA, "") == 0
        assert step.outputs == {"source": "repository"}
        refused(lambda: resolve(project, NEWER, ""), "E610")
        refused(lambda: resolve(project, SHA, "7"), "E610")

    @pytest.mark.parametrize(("sha", "pr"), [
        ("main", "7"), ("a" * 39, "7"), ("A" * 40, "7"), (SHA + "\n", "7"), (f"{SHA}; id", "7"), (SHA, "seven"),
        (SHA, "7\nsource=repository"), (SHA, "../7"), (SHA, "-7"), ("", ""),
    ])  # fmt: skip
    def test_inputs_of_another_form_reach_nothing(
        self, service: Service, step: Step, project: Project, sha: str, pr: str
    ):
        refused(lambda: resolve(project, sha, pr), "E603")
        assert (step.outputs, service.github.calls()) == ({}, [])


class TestRequest:
    def test_asks_main_to_train_exactly_this_commit(self, service: Service, step: Step, project: Project):
        assert request_training(project, PRINT, SHA, "7") == 0
        assert step.outputs == {"training": "requested", "run": "91"}
        assert service.dispatched == [{"ref": "main", "inputs": {"sha": SHA, "pr": "7"}, "return_run_details": True}]
        assert service.statuses == []

    def test_a_push_to_main_has_no_pull_request(self, service: Service, step: Step, project: Project):
        assert request_training(project, PRINT, SHA, "") == 0
        assert service.dispatched[0]["inputs"] == {"sha": SHA, "pr": ""}

    def test_what_is_evaluated_is_not_asked_for_again(self, service: Service, step: Step, project: Project):
        service.evaluated(41)
        assert request_training(project, PRINT, SHA, "7") == 0
        assert step.outputs == {"training": "known", "run": "41"}
        assert service.dispatched == []

    def test_an_expired_adapter_is_asked_for_again_with_the_runs_link(
        self, service: Service, step: Step, project: Project, capfd: Any
    ):
        service.evaluated(41, expired=True)
        assert request_training(project, PRINT, SHA, "7") == 0
        assert step.outputs == {"training": "requested", "run": "91"}
        said = capfd.readouterr().err
        assert "W610 https://github.com/acme/demo/actions/runs/41" in said and "expired" in said

    def test_a_head_that_moved_on_is_not_dispatched(self, service: Service, step: Step, project: Project):
        service.pull["head"]["sha"] = NEWER
        refused(lambda: request_training(project, PRINT, SHA, "7"), "E611")
        assert (step.outputs, service.dispatched, service.statuses) == ({}, [], [])

    @pytest.mark.parametrize("status", [403, 404])
    def test_a_token_that_cannot_read_the_pull_request_leaves_it_to_the_training(
        self, service: Service, step: Step, project: Project, status: int
    ):
        service.github.fail("GET", "/pulls/", status)
        assert request_training(project, PRINT, SHA, "7") == 0
        assert step.outputs["training"] == "requested"

    def test_github_failing_ends_with_74_and_says_failed(self, service: Service, step: Step, project: Project):
        service.github.fail("POST", "/dispatches", 403, times=9)
        assert run(request_training, project=project.paths.root, fingerprint=PRINT, sha=SHA, pr="7") == 74
        assert step.outputs == {"training": "failed", "run": "0"}

    def test_a_search_that_fails_is_no_reason_to_train(self, service: Service, step: Step, project: Project):
        service.github.fail("GET", "/actions/artifacts", 500, times=99)
        assert run(request_training, project=project.paths.root, fingerprint=PRINT, sha=SHA, pr="7") == 74
        assert (step.outputs["training"], service.dispatched) == ("failed", [])

    def test_a_lost_answer_is_not_asked_twice(self, service: Service, step: Step, project: Project):
        """The run may have begun: a second dispatch would cancel it and begin again."""
        service.github.fail("POST", "/dispatches", 502, done=True)
        assert run(request_training, project=project.paths.root, fingerprint=PRINT, sha=SHA, pr="7") == 74
        assert len(service.dispatched) == 1
        assert step.outputs["training"] == "failed"

    @pytest.mark.parametrize("status", [400, 422])
    def test_an_older_server_that_does_not_know_run_details(
        self, service: Service, step: Step, project: Project, status: int
    ):
        def dispatch(request: Any) -> Answer:
            service.dispatched.append(request.body)
            return Answer(status, {"message": "no"}) if "return_run_details" in request.body else Answer(204)

        service.github.routes[DISPATCH] = dispatch
        assert request_training(project, PRINT, SHA, "7") == 0
        assert step.outputs == {"training": "requested", "run": "0"}
        assert service.dispatched[-1] == {"ref": "main", "inputs": {"sha": SHA, "pr": "7"}}

    @pytest.mark.parametrize("answer", [{"workflow_run_id": "91\nx=1"}, {"workflow_run_id": True}, [], {}])
    def test_a_strange_run_id_is_none(self, service: Service, step: Step, project: Project, answer: Any):
        service.github.routes[DISPATCH] = lambda request: Answer(200, answer)
        assert request_training(project, PRINT, SHA, "7") == 0
        assert step.outputs == {"training": "requested", "run": "0"}

    @pytest.mark.parametrize(("fingerprint", "sha", "pr"), [
        ("f" * 63, SHA, "7"), ("", SHA, "7"), (PRINT, "main", "7"), (PRINT, SHA, "x"), (f"{PRINT}\n", SHA, "7"),
    ])  # fmt: skip
    def test_inputs_of_another_form_reach_nothing(
        self, service: Service, step: Step, project: Project, fingerprint: str, sha: str, pr: str
    ):
        refused(lambda: request_training(project, fingerprint, sha, pr), "E603")
        assert (step.outputs, service.github.calls()) == ({}, [])
