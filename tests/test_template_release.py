"""The template's own release: every version agrees with the tag, drafted then published, healed by a second run."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from conftest import ROOT
from fakes.github import GitHubServer, start_github

SCRIPT = ROOT / ".github" / "release.py"
CHANGELOG = """# Changelog

## [Unreleased]

### Added

- Not yet.

## [1.2.3] - 2026-11-30

### Added

- Something new.

## [1.2.2] - 2026-10-01

- Older.
"""
NOTES = "### Added\n\n- Something new."


@pytest.fixture(scope="module")
def release() -> ModuleType:
    spec = importlib.util.spec_from_file_location("release", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A checkout of version 1.2.3, tagged on main, as release.yml sees it."""
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    origin.mkdir()
    (origin / "cookiecutter.json").write_text(json.dumps({"_template_version": "1.2.3"}), encoding="utf-8")
    (origin / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n', encoding="utf-8")
    (origin / "CHANGELOG.md").write_text(CHANGELOG, encoding="utf-8")
    for command in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-q", "-m", "1.2.3"), ("tag", "v1.2.3")):
        git(origin, *command)
    git(tmp_path, "clone", "-q", "--bare", str(origin), str(tmp_path / "bare"))
    git(tmp_path, "clone", "-q", str(tmp_path / "bare"), str(clone))
    return clone


@pytest.fixture
def github(clone: Path, tmp_path: Path) -> Iterator[GitHubServer]:
    with start_github(tmp_path / "bare", tmp_path / "artifacts") as server:
        yield server


def run(
    clone: Path,
    step: str,
    tag: str = "v1.2.3",
    server: GitHubServer | None = None,
    config: str = "gh",
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "GITHUB_REF_NAME": tag, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    if server:
        environment |= server.gh_environment(clone.parent / config)
        environment["GITHUB_REPOSITORY"] = server.github.repository
    command = [sys.executable, "-I", str(SCRIPT), step]
    return subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False)


def test_tag_that_fits_passes(clone: Path) -> None:
    done = run(clone, "check")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("tag", ["v1.2", "1.2.3", "v1.2.3-rc1", "v01.2.3", "v1.2.3\n::error::x", "vlatest"])
def test_tag_that_is_no_version_is_refused(clone: Path, tag: str) -> None:
    done = run(clone, "check", tag)
    assert done.returncode == 2 and "is no version" in done.stdout
    assert len(done.stdout.splitlines()) == 1


def test_every_file_that_disagrees_is_named_at_once(clone: Path) -> None:
    done = run(clone, "check", "v1.3.0")
    assert done.returncode == 2
    assert all(file in done.stdout for file in ("cookiecutter.json", "pyproject.toml", "CHANGELOG.md"))


def test_tag_off_main_is_refused(clone: Path) -> None:
    git(clone, "commit", "-q", "--allow-empty", "-m", "aside")
    done = run(clone, "check")
    assert done.returncode == 2 and "not on main" in done.stdout


def test_notes_are_the_section_of_the_version(release: ModuleType, clone: Path) -> None:
    assert release.notes(clone, "v1.2.3") == NOTES
    assert release.notes(clone, "v1.2.2") == "- Older."
    assert release.notes(clone, "v9.9.9") == ""


def test_release_is_drafted_with_its_notes_then_published(clone: Path, github: GitHubServer) -> None:
    done = run(clone, "publish", server=github)
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = github.github.releases.values()
    assert (made.tag_name, made.draft, made.body) == ("v1.2.3", False, NOTES)
    assert [method for method, _ in github.github.requests] == ["GET", "POST", "PATCH"]
    assert github.github.bodies[1]["draft"] is True


def test_second_run_changes_nothing(clone: Path, github: GitHubServer) -> None:
    assert run(clone, "publish", server=github).returncode == 0
    before = len(github.github.requests)
    done = run(clone, "publish", server=github)
    assert done.returncode == 0 and "already" in done.stdout
    assert [method for method, _ in github.github.requests[before:]] == ["GET"]


def test_second_run_finishes_a_draft(clone: Path, github: GitHubServer) -> None:
    github.github.fail("PATCH", "/releases/", status=502, times=9)
    failed = run(clone, "publish", server=github)
    assert failed.returncode == 74 and "::error title=release::gh api" in failed.stdout
    github.github.faults.clear()
    assert run(clone, "publish", server=github).returncode == 0
    (made,) = github.github.releases.values()
    assert not made.draft


def test_published_release_with_other_notes_is_left_alone(clone: Path, github: GitHubServer) -> None:
    assert run(clone, "publish", server=github).returncode == 0
    (clone / "CHANGELOG.md").write_text(CHANGELOG.replace("Something new", "Something else"), encoding="utf-8")
    done = run(clone, "publish", server=github)
    assert done.returncode == 2 and "other notes" in done.stdout
    (made,) = github.github.releases.values()
    assert made.body == NOTES


def test_this_repository_states_one_version(release: ModuleType, tmp_path: Path) -> None:
    for file in ("cookiecutter.json", "pyproject.toml", "CHANGELOG.md"):
        shutil.copyfile(ROOT / file, tmp_path / file)
    version = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))["_template_version"]
    found = [problem for problem in release.problems(tmp_path, f"v{version}") if "CHANGELOG" not in problem]
    assert found == [], "only the changelog may wait for its release"
