"""scripts/setup_github.py of a baked repository: the real gh against the fake GitHub."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fakes.github import GitHubServer, start_github
from workflows.act import BIN
from workflows.repository import NAME, Repository

GATE_FAILED = 76
SetUp = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def server(small: Repository, tmp_path: Path) -> Iterator[GitHubServer]:
    """The repository as it is right after the first push: nothing is set up."""
    with start_github(small.copy(tmp_path / "origin.git").path, tmp_path / "artifacts") as server:
        yield server


@pytest.fixture
def set_up(fresh: Path, server: GitHubServer, tmp_path: Path) -> SetUp:
    def run(*options: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": f"{BIN}:/usr/bin:/bin",
            "HOME": str(tmp_path),
            "PYTHONPATH": ".",
            "LLM_FT_BACKOFF": "0.01",
            "PYTHONDONTWRITEBYTECODE": "1",
            **server.gh_environment(tmp_path / "gh"),
        }
        command = [sys.executable, "scripts/setup_github.py", "--repo", NAME, *options]
        return subprocess.run(command, cwd=fresh, env=environment, capture_output=True, text=True, check=False)

    return run


def changes(server: GitHubServer) -> int:
    return sum(method != "GET" for method, path in server.github.requests if path != "/graphql")


def test_applied_once_nothing_is_missing_and_twice_changes_nothing(set_up: SetUp, server: GitHubServer) -> None:
    before = set_up("--check")
    assert before.returncode == GATE_FAILED and changes(server) == 0, before.stderr

    applied = set_up()
    assert applied.returncode == 0, applied.stderr
    settings = server.github.settings
    assert {"gpu-training", "hf-release"} <= settings.environments.keys()
    assert settings.variables.keys() == {"GPU_RUNNER_LABELS"}
    assert {rules["target"] for rules in settings.rulesets.values()} == {"tag", "branch"}
    assert settings.workflow == {"default_workflow_permissions": "read", "can_approve_pull_request_reviews": True}
    assert settings.actions["sha_pinning_required"] is True
    assert settings.fork_approval == "all_external_contributors"

    count, kept = changes(server), copy.deepcopy(settings)
    after = set_up("--check")
    assert after.returncode == 0, after.stderr
    again = set_up()
    assert again.returncode == 0 and changes(server) == count and settings == kept, again.stderr


def test_check_prints_the_claims_for_the_three_hub_repositories(set_up: SetUp, server: GitHubServer) -> None:
    said = " ".join(set_up("--check").stderr.split())
    for name in ("acme/ticket-router-lora", "acme/ticket-router-gguf", "acme/ticket-router"):
        assert f"https://huggingface.co/{name}/settings" in said
    assert said.count(f"repository = {NAME}") == said.count("environment = hf-release") == 3


def test_the_printed_commands_do_what_applying_does(set_up: SetUp, server: GitHubServer, tmp_path: Path) -> None:
    printed = set_up("--dry-run")
    assert printed.returncode == 0 and changes(server) == 0, printed.stderr
    environment = {**os.environ, "PATH": f"{BIN}:/usr/bin:/bin", **server.gh_environment(tmp_path / "gh")}
    done = subprocess.run(
        ["bash", "-eu"], input=printed.stdout, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    checked = set_up("--check")
    assert checked.returncode == 0, checked.stderr
