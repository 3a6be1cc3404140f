"""setup_github.py through the real gh: applied once it is done, twice it is quiet, and what cannot be done is said."""

from __future__ import annotations

import copy
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from finetune.console import run
from finetune.errors import FinetuneError
from finetune.github.setup import command as module
from finetune.github.setup.expectations import ACTIONS_APP, Target, runs_on
from finetune.github.setup.gh import ApiRefused, Gh, Request
from finetune.github.setup.rulesets import MAIN, MAKERS, TAGS, stricter
from finetune.github.setup.table import EXPECTATIONS
from github_fake import GitHubFake
from github_settings import Settings, runner
from repository import ROOT

WRITES = ("POST", "PUT", "PATCH", "DELETE")
NAMES = [expectation.name for expectation in EXPECTATIONS]


@dataclass
class Desk:
    """A person with gh in a task repository."""

    github: GitHubFake
    settings: Settings
    root: Path

    def run(self, repository: str | None = "acme/demo", **options: Any) -> int:
        return run(module.setup, project=self.root, repository=repository, **options)

    def use(self, settings: Settings) -> None:
        self.settings, self.github.routes = settings, settings.routes

    def target(self, **changed: Any) -> Target:
        known = {"private": False, "organisation": True, "default_branch": "main", "host": "github.com"}
        return Target(Gh(self.root), "acme/demo", **{**known, **changed})

    @property
    def writes(self) -> list[str]:
        return [call for method in WRITES for call in self.github.calls(method)]

    def rules(self, name: str) -> dict[str, Any]:
        found = next(ruleset for ruleset in self.settings.rulesets if ruleset["name"] == name)
        return {rule["type"]: rule.get("parameters", {}) for rule in found["rules"]}


@pytest.fixture
def desk(make_project: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if not shutil.which("gh"):
        pytest.skip("the GitHub CLI is not installed")
    for name in ("GH_REPO", "GITHUB_TOKEN", "GITHUB_ACTIONS", "https_proxy", "HTTPS_PROXY", "no_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    settings = Settings()
    with GitHubFake(settings.routes, token=None) as github:
        given = {
            "GH_HOST": "github.localhost",
            "GH_TOKEN": "test",
            "GH_CONFIG_DIR": str(tmp_path / "gh"),
            "HTTP_PROXY": github.url,
            "NO_PROXY": "127.0.0.1",
            "LLM_FT_BACKOFF": "0.001",
        }
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        yield Desk(github, settings, make_project().paths.root)


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`only("labels")`: a table of these lines and no advice, for tests of what is done with a line."""

    def keep(*names: str, advice: bool = False) -> None:
        assert set(names) <= set(NAMES)
        monkeypatch.setattr(module, "EXPECTATIONS", tuple(row for row in EXPECTATIONS if row.name in names))
        if not advice:
            monkeypatch.setattr(module, "advice", lambda target: [])

    return keep


_SETTLED: list[tuple[Settings, int]] = []


@pytest.fixture
def settled(desk: Desk) -> Desk:
    """A desk whose repository has every setting; applied once for all tests, then copied."""
    if not _SETTLED:
        assert desk.run() == 0
        _SETTLED.append((copy.deepcopy(desk.settings), len(desk.writes)))
        desk.github.requests.clear()
    desk.use(copy.deepcopy(_SETTLED[0][0]))
    return desk


def test_applied_then_nothing_is_missing_and_twice_changes_nothing(settled: Desk, capfd: Any) -> None:
    assert _SETTLED[0][1] >= len(EXPECTATIONS)
    assert settled.run(check=True) == 0
    assert f"all {len(EXPECTATIONS)} settings are as the workflows expect" in capfd.readouterr().err
    assert settled.run() == 0
    assert settled.writes == []


def test_what_is_set(settled: Desk) -> None:
    settings = settled.settings
    assert settings.variables == {"GPU_RUNNER_LABELS": '["self-hosted","gpu"]'}
    refs = {name: {(row["name"], row["type"]) for row in rows} for name, rows in settings.policies.items()}
    train = {("main", "branch"), ("v*", "tag")}
    assert refs == {"hf-release": {("v*", "tag")}, "gpu-training": train, "gpu-base": train}
    assert not any(row["can_admins_bypass"] for row in settings.environments.values())
    assert set(settled.rules(TAGS)) == {"update", "deletion"}
    assert set(settled.rules(MAKERS)) == {"creation"}
    bypass = {row["name"]: [actor["actor_id"] for actor in row["bypass_actors"]] for row in settings.rulesets}
    assert bypass == {TAGS: [], MAKERS: [2, 5], MAIN: []}
    checks = settled.rules(MAIN)["required_status_checks"]["required_status_checks"]
    assert checks == [{"context": "data / gate", "integration_id": ACTIONS_APP}]
    review = settled.rules(MAIN)["pull_request"]
    assert review["require_code_owner_review"] and review["required_approving_review_count"] == 1
    assert settings.permissions == {"enabled": True, "allowed_actions": "all", "sha_pinning_required": True}
    token = {"default_workflow_permissions": "read", "can_approve_pull_request_reviews": True}
    assert settings.pages["workflow"] == token
    assert settings.pages["fork-pr-contributor-approval"]["approval_policy"] == "all_external_contributors"
    assert all(settings.switches.values())


def test_printed_commands_do_what_applying_does(desk: Desk, capfd: Any) -> None:
    assert desk.run(dry_run=True) == 0
    assert desk.writes == []
    subprocess.run(["sh", "-eu"], input=capfd.readouterr().out, text=True, check=True, cwd=desk.root)
    capfd.readouterr()
    assert desk.settings.rulesets and desk.settings.policies and desk.settings.labels
    assert desk.run(dry_run=True) == 0
    assert capfd.readouterr().out == ""


def test_the_commands_of_the_guide_do_it_too(desk: Desk, capfd: Any) -> None:
    guide = (ROOT / "docs" / "github_setup.md").read_text(encoding="utf-8")
    (commands,) = (block for block in re.findall(r"```bash\n(.*?)```", guide, re.DOTALL) if "R=OWNER/NAME" in block)
    commands = commands.replace("R=OWNER/NAME", "R=acme/demo")
    subprocess.run(["sh", "-eu"], input=commands, text=True, check=True, cwd=desk.root)
    capfd.readouterr()
    assert desk.run(dry_run=True) == 0
    assert capfd.readouterr().out == ""


def test_publisher_claims_are_printed_for_each_repository(desk: Desk, only: Callable[..., None], capfd: Any) -> None:
    only("labels")
    assert desk.run(check=True) == 76
    said = capfd.readouterr().err
    for repo in ("acme/small-task-lora", "acme/small-task-gguf", "acme/small-task"):
        claims = "    repository = acme/demo\n    workflow = release.yml\n    environment = hf-release\n"
        assert f"https://huggingface.co/{repo}/settings > Trusted Publishers > GitHub Actions\n{claims}" in said


def permit(settings: Settings, **values: Any) -> None:
    settings.permissions = values


WEAKENINGS: list[tuple[str, str, Callable[[Settings], Any]]] = [
    ("hf-release", "main", lambda s: s.policies["hf-release"].append({"id": 5, "name": "main", "type": "branch"})),
    ("hf-release", "branch v*", lambda s: s.policies["hf-release"][0].update(type="branch")),
    ("gpu-training", "no ref", lambda s: s.policies["gpu-training"].clear()),
    ("hf-release", "gone", lambda s: s.environments.pop("hf-release")),
    ("hf-release", "any ref", lambda s: s.environments["hf-release"].update(deployment_branch_policy=None)),
    ("hf-release", "bypass", lambda s: s.environments["hf-release"].update(can_admins_bypass=True)),
    ("made by maintainers", "by all", lambda s: s.rulesets[1]["rules"].clear()),
    ("tag ruleset", "bypass", lambda s: s.rulesets[0]["bypass_actors"].append({"actor_id": 5})),
    ("tag ruleset", "may move", lambda s: s.rulesets[0]["rules"].pop()),
    ("tag ruleset", "other tags", lambda s: s.rulesets[0]["conditions"]["ref_name"].update(include=["refs/tags/r-*"])),
    ("tag ruleset", "not v0", lambda s: s.rulesets[0]["conditions"]["ref_name"].update(exclude=["refs/tags/v0.*"])),
    ("branch ruleset", "off", lambda s: s.rulesets[2].update(enforcement="evaluate")),
    ("branch ruleset", "owner", lambda s: s.rulesets[2]["rules"][2]["parameters"].update(require_code_owner_review=0)),
    ("branch ruleset", "no check", lambda s: s.rulesets[2]["rules"].pop()),
    ("variable", "no JSON", lambda s: s.variables.update(GPU_RUNNER_LABELS="gpu")),
    ("actions pinned", "tags", lambda s: s.permissions.update(sha_pinning_required=False)),
    ("actions pinned", "Actions off", lambda s: permit(s, enabled=False)),
    ("the workflows' token", "write", lambda s: s.pages["workflow"].update(default_workflow_permissions="write")),
    ("the workflows' token", "no PR", lambda s: s.pages["workflow"].update(can_approve_pull_request_reviews=False)),
    ("immutable", "off", lambda s: s.switches.update({"immutable-releases": False})),
    ("labels", "one gone", lambda s: s.labels.remove("data")),
]  # fmt: skip


@pytest.mark.parametrize(("line", "what", "spoil"), WEAKENINGS, ids=[f"{line}: {what}" for line, what, _ in WEAKENINGS])
def test_every_weakening_is_found_and_mended(
    settled: Desk, line: str, what: str, spoil: Callable[[Settings], Any]
) -> None:
    expectation, target = next(row for row in EXPECTATIONS if line in row.name), settled.target()
    spoil(settled.settings)
    changes = expectation.inspect(target).changes
    assert changes
    for change in changes:
        target.gh.send(change.request)
    assert expectation.inspect(target).changes == ()


def test_stricter_settings_and_other_rules_stay(settled: Desk) -> None:
    main = next(ruleset for ruleset in settled.settings.rulesets if ruleset["name"] == MAIN)
    main["bypass_actors"] = [{"actor_id": 5, "actor_type": "RepositoryRole", "bypass_mode": "pull_request"}]
    parameters = {rule["type"]: rule.get("parameters") for rule in main["rules"]}
    parameters["pull_request"] |= {"required_approving_review_count": 2, "allowed_merge_methods": ["squash"]}
    parameters["required_status_checks"]["required_status_checks"].insert(0, {"context": "ci / gate"})
    main["rules"].append({"type": "required_linear_history"})
    expectation, target = EXPECTATIONS[NAMES.index(f"branch ruleset: {MAIN}")], settled.target()
    assert expectation.inspect(target).changes == ()
    main["enforcement"] = "disabled"
    target.gh.forget()
    for change in expectation.inspect(target).changes:
        target.gh.send(change.request)
    rules, kept = settled.rules(MAIN), settled.settings.rulesets[-1]
    assert rules["pull_request"]["required_approving_review_count"] == 2
    assert rules["pull_request"]["allowed_merge_methods"] == ["squash"]
    assert "required_linear_history" in rules
    names = [row["context"] for row in rules["required_status_checks"]["required_status_checks"]]
    assert names == ["ci / gate", "data / gate"]
    assert kept["bypass_actors"] and kept["enforcement"] == "active"


def test_reviewers_are_added_and_what_stood_there_is_kept(settled: Desk, only: Callable[..., None]) -> None:
    only("environment hf-release")
    settled.settings.environments["hf-release"]["protection_rules"] += [
        {
            "type": "required_reviewers",
            "reviewers": [{"type": "User", "reviewer": {"id": 3}}],
            "prevent_self_review": True,
        },
        {"type": "wait_timer", "wait_timer": 30},
    ]
    assert settled.run(reviewers=["mona", "acme/release"]) == 0
    rules = {rule["type"]: rule for rule in settled.settings.environments["hf-release"]["protection_rules"]}
    assert [row["reviewer"]["id"] for row in rules["required_reviewers"]["reviewers"]] == [3, 7, 70]
    assert rules["required_reviewers"]["prevent_self_review"] is True
    assert rules["wait_timer"]["wait_timer"] == 30


def test_the_environment_of_the_base_model_asks_nobody_again(settled: Desk, only: Callable[..., None]) -> None:
    only("environment gpu-training", "environment gpu-base")
    assert settled.run(reviewers=["mona"]) == 0
    kinds = {
        name: [rule["type"] for rule in settled.settings.environments[name]["protection_rules"]]
        for name in ("gpu-training", "gpu-base")
    }
    assert "required_reviewers" in kinds["gpu-training"] and "required_reviewers" not in kinds["gpu-base"]


def test_working_alone(desk: Desk, only: Callable[..., None]) -> None:
    only(f"branch ruleset: {MAIN}")
    assert desk.run(approvals=0) == 0
    review = desk.rules(MAIN)["pull_request"]
    assert review["required_approving_review_count"] == 0 and review["require_code_owner_review"] is False
    assert desk.run(check=True, approvals=0) == 0
    assert desk.run(check=True) == 76


def test_runner_labels(desk: Desk, only: Callable[..., None]) -> None:
    only("variable GPU_RUNNER_LABELS")
    assert desk.run(runner_labels="gpu") == 2
    assert desk.run(runner_labels='{"group":"gpu","labels":["a100"]}') == 0
    assert desk.settings.variables["GPU_RUNNER_LABELS"] == '{"group":"gpu","labels":["a100"]}'
    assert desk.run(check=True) == 0
    assert desk.run(check=True, runner_labels='"hf-jobs-a10g-small"') == 76


@pytest.mark.parametrize("text", ['["self-hosted","gpu"]', '"hf-jobs-a10g-small"', '{"group":"gpu"}', '["a"]'])
def test_places_to_run(text: str) -> None:
    assert runs_on(text) is not None


@pytest.mark.parametrize(
    "text", ["gpu", "[]", "{}", "1", '""', '["a",1]', '{"group":1}', '{"group":"a","x":1}', "null"]
)
def test_no_places_to_run(text: str) -> None:
    assert runs_on(text) is None


def test_nothing_is_made_less_strict() -> None:
    wanted = {"count": 1, "dismiss": True, "last": False}
    merged = stricter(wanted, {"count": 3, "dismiss": False, "last": True, "more": 1})
    assert merged == {"count": 3, "dismiss": True, "last": True, "more": 1}


def test_advice(settled: Desk, only: Callable[..., None], capfd: Any) -> None:
    only("labels", advice=True)
    settings = settled.settings
    settings.runners = [runner(status="offline")]
    settings.secrets = {"": ["HF_TOKEN"], "hf-release": ["HF_TOKEN"]}
    settings.owner_errors = [{"line": 3, "kind": "Unknown owner", "path": ".github/CODEOWNERS", "message": "x"}]
    assert settled.run() == 0
    said = capfd.readouterr().err
    for expected in (
        "W670 0 runners online with the labels gpu, self-hosted",
        "W671 this public repository has runners of its own",
        "W672 HF_TOKEN is a secret of the whole repository",
        "W673 .github/CODEOWNERS:3: Unknown owner",
        "W674 hf-release waits for nobody's approval",
        "publishing uses the secret HF_TOKEN of hf-release",
    ):
        assert expected in said


def test_no_advice_where_all_is_well(settled: Desk, only: Callable[..., None], capfd: Any) -> None:
    only("labels", advice=True)
    settled.settings.shared_runners = [runner()]
    for name in ("gpu-training", "hf-release"):
        settled.settings.environments[name]["protection_rules"].append({"type": "required_reviewers"})
    assert settled.run(check=True) == 0
    assert "W67" not in capfd.readouterr().err


def test_a_private_repository_is_not_asked_for_what_only_public_ones_have(
    desk: Desk, only: Callable[..., None]
) -> None:
    only("environment hf-release", "approval of pull requests from forks", "private vulnerability reports")
    desk.settings.private = True
    desk.settings.pages.pop("fork-pr-contributor-approval")
    assert desk.run() == 0
    assert not desk.settings.switches["private-vulnerability-reporting"]
    assert not any("can_admins_bypass" in (request.body or {}) for request in desk.github.requests)
    assert desk.run(check=True) == 0


PLAN = "Upgrade to GitHub Pro or make this repository public to enable this feature."


def test_a_free_plan_is_said_and_the_rest_is_made(desk: Desk, only: Callable[..., None], capfd: Any) -> None:
    only(f"tag ruleset: {TAGS}", "labels")
    desk.github.fail("GET", "/rulesets", 403, times=99, body={"message": PLAN})
    assert desk.run() == 2
    said = capfd.readouterr().err
    assert "E674" in said and "make the repository public" in said and "1 of 2 settings are not made" in said
    assert desk.settings.labels
    assert desk.run(check=True) == 76
    assert desk.run(dry_run=True) == 0


@pytest.mark.parametrize(
    ("status", "message", "code", "exit_code"),
    [
        (401, "Bad credentials", "E671", 2),
        (403, "Must have admin rights to Repository.", "E673", 2),
        (403, "Resource not accessible by personal access token", "E673", 2),
        (403, "Resource protected by organization SAML enforcement.", "E673", 2),
        (404, "Not Found", "E673", 2),
        (403, PLAN, "E674", 2),
        (422, "Failed to create the rule. Please ensure the billing plan supports required reviewers.", "E674", 2),
        (409, "Conflict", "E675", 2),
        (422, "Validation Failed", "E676", 2),
        (403, "You have exceeded a secondary rate limit", "E677", 74),
        (429, "Too many", "E677", 74),
        (502, "Bad gateway", "E677", 74),
    ],
)
def test_what_github_refuses(desk: Desk, status: int, message: str, code: str, exit_code: int) -> None:
    desk.github.fail("PUT", "/immutable-releases", status, times=99, body={"message": message})
    with pytest.raises(FinetuneError) as refusal:
        desk.target().gh.send(Request("PUT", "repos/acme/demo/immutable-releases"))
    assert (refusal.value.code, refusal.value.exit_code) == (code, exit_code)
    assert message in refusal.value.message and refusal.value.fix


def test_a_refused_login_ends_the_run(desk: Desk, capfd: Any) -> None:
    desk.github.fail("GET", "/", 401, times=99, body={"message": "Bad credentials"})
    assert desk.run(check=True) == 2
    assert "E671" in capfd.readouterr().err
    assert len(desk.github.requests) == 1


def test_a_write_that_github_ignores_is_said(desk: Desk, only: Callable[..., None], capfd: Any) -> None:
    only("immutable releases")
    desk.github.routes["PUT /repos/acme/demo/immutable-releases"] = None
    assert desk.run() == 2
    assert "immutable releases did not take: is off" in capfd.readouterr().err


def test_no_right(desk: Desk, capfd: Any) -> None:
    desk.settings.admin = False
    assert desk.run() == 2
    assert "E673 this login does not administer acme/demo" in capfd.readouterr().err
    assert desk.writes == []


def test_not_logged_in(desk: Desk, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GH_TOKEN", "GH_HOST", "GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert desk.run() == 2
    assert "E671 gh is not logged in" in capfd.readouterr().err


def test_no_gh(desk: Desk, capfd: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert desk.run() == 2
    assert "E670" in capfd.readouterr().err


def test_the_remote_names_the_repository(desk: Desk, only: Callable[..., None], capfd: Any) -> None:
    only("labels")
    git = ["git", "-C", str(desk.root)]
    subprocess.run([*git, "init", "-q"], check=True)
    assert desk.run(repository=None, check=True) == 2
    assert "E672 this folder has no remote on GitHub" in capfd.readouterr().err
    subprocess.run([*git, "remote", "add", "origin", "http://github.localhost/acme/demo.git"], check=True)
    assert desk.run(repository=None) == 0
    assert desk.settings.labels


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"default_branch": "master"}, "branches/master/rename -f new_name=main"),
        ({"pushed": False}, "git push -u origin main first"),
    ],
)
def test_main_has_to_be_there(desk: Desk, capfd: Any, change: dict[str, Any], said: str) -> None:
    for name, value in change.items():
        setattr(desk.settings, name, value)
    assert desk.run() == 2
    assert said in capfd.readouterr().err
    assert desk.writes == []


def test_wrong_options(desk: Desk, capfd: Any) -> None:
    assert desk.run(check=True, dry_run=True) == 2
    assert desk.run(repository="https://github.com/acme/demo") == 2
    assert desk.run(reviewers=["nobody"]) == 2
    assert desk.run(repository="acme/other") == 2
    assert capfd.readouterr().err.count("E679") == 3
    assert desk.writes == []


def test_a_server_in_trouble_is_asked_again_then_given_up(desk: Desk, only: Callable[..., None], capfd: Any) -> None:
    only("immutable releases")
    desk.github.fail("GET", "/immutable-releases", 502, times=2)
    desk.github.fail("PUT", "/immutable-releases", 503, times=1)
    assert desk.run() == 0
    desk.github.fail("GET", "/immutable-releases", 500, times=99)
    assert desk.run(check=True) == 74
    assert "E677" in capfd.readouterr().err


def test_a_post_is_sent_once(desk: Desk, only: Callable[..., None]) -> None:
    only("variable GPU_RUNNER_LABELS")
    desk.github.fail("POST", "/actions/variables", 502, times=99)
    assert desk.run() == 74
    assert len(desk.github.calls("POST")) == 1


def test_nobody_answers(desk: Desk, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert desk.run() == 74
    assert "E677 GitHub did not answer" in capfd.readouterr().err


def test_reads_may_be_refused_with_a_404(desk: Desk) -> None:
    assert desk.target().gh.get("repos/acme/demo/nothing") is None
    with pytest.raises(ApiRefused, match="not allowed"):
        desk.target().gh.send(Request("PUT", "repos/acme/demo/nothing"))


def test_enterprise_server_knows_fewer_settings(desk: Desk, only: Callable[..., None], capfd: Any) -> None:
    only(*(name for name in NAMES if not name.startswith(("environment", "tag ruleset", "variable", "labels"))))
    settings = desk.settings
    settings.host = "git.example.org"
    settings.permissions.pop("sha_pinning_required")
    settings.pages.pop("fork-pr-contributor-approval")
    for path in ("immutable-releases", "private-vulnerability-reporting"):
        for method in ("GET", "PUT"):
            desk.github.routes.pop(f"{method} /repos/acme/demo/{path}")
    assert desk.run() == 0
    said = capfd.readouterr().err
    assert "immutable releases: git.example.org does not have this setting" in said
    assert "choose a custom provider with that server's issuer" in said
    assert desk.rules(MAIN)["required_status_checks"]["required_status_checks"] == [{"context": "data / gate"}]


def test_the_script(settled: Desk) -> None:
    script = ROOT / "scripts" / "setup_github.py"
    command = [sys.executable, str(script), "--repo", "acme/demo", "--project", str(settled.root)]
    environment = {**os.environ, "PYTHONPATH": str(script.parents[1])}
    for options, code in ((["--check", "--approvals", "2"], 76), (["--check", "--dry-run"], 2)):
        done = subprocess.run([*command, *options], env=environment, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
