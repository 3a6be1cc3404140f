"""The data report in the pull request: one comment, the state of training, the newest commit's word; no failure."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import raw_rows
from finetune.config.project import Project
from finetune.data import stage
from finetune.errors import OK, FinetuneError
from finetune.github.client.comments import marker_line
from finetune.github.data_pr.command import MARKER, comment_data, data_summary
from github_fake import Answer, GitHubFake, comment, comment_routes

HEAD, NEWER = "a" * 40, "c" * 40
HEADINGS = [
    "What changed",
    "What is wrong",
    "Distribution",
    "Lengths in characters",
    "Duplicates",
    "Languages",
    "Checks",
    "Training",
]


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[GitHubFake]:
    rows: list[dict[str, Any]] = []
    routes = {**comment_routes(rows), "GET /repos/acme/demo/pulls/7": {"head": {"sha": HEAD}}}
    with GitHubFake(routes) as fake:
        fake.environment(monkeypatch)
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
        fake.rows = rows  # type: ignore[attr-defined]
        yield fake


@pytest.fixture
def dataset(make_project: Callable[..., Project], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The downloaded artifact of a good change."""
    monkeypatch.delenv("GITHUB_EVENT_PATH", raising=False)
    make_project(rows=raw_rows("classification"), root=tmp_path / "base")
    head = make_project(rows=raw_rows("classification")[3:], root=tmp_path / "head")
    stage.validate(head)
    stage.convert(head)
    data_summary(head, tmp_path / "base")
    (tmp_path / "summary.md").unlink()
    shutil.copytree(tmp_path / "head" / "benchmarks", tmp_path / "dataset" / "benchmarks")
    return tmp_path / "dataset"


def headings(text: str) -> list[str]:
    return re.findall(r"^### (.*)$", text, re.MULTILINE)


def bodies(github: GitHubFake) -> list[str]:
    return [row["body"] for row in github.rows]  # type: ignore[attr-defined]


def test_the_comment_is_written_once_and_then_updated(github, dataset):
    assert comment_data(None, dataset, HEAD, "7", "requested", "99") == OK
    assert comment_data(None, dataset, HEAD, "7", "known", "98") == OK
    (body,) = bodies(github)
    assert body.startswith(f"{marker_line(MARKER)}\n<!-- commit {HEAD} -->\n## ✅ Data report: 57 rows, 0 errors")
    assert headings(body) == HEADINGS
    assert "**0 added, 3 removed, 0 changed**" in body


@pytest.mark.parametrize(
    ("training", "run", "text"),
    [
        ("requested", "99", "🏃 Requested: [run 99](https://github.com/acme/demo/actions/runs/99)."),
        ("requested", "0", "🏃 Requested: a run of the workflow `train`."),
        ("known", "98", "✅ Not needed: [run 98](https://github.com/acme/demo/actions/runs/98) has evaluated exactly"),
        ("failed", "0", f"gh workflow run train.yml -R acme/demo -f pr=7 -f sha={HEAD}\n"),
        ("", "", "⏸️ Not requested: the job that asks for it did not answer"),
        ("<img src=x>\n::error::", "", "⏸️ Not requested:"),
    ],
)
def test_the_comment_ends_with_the_state_of_training(github, dataset, tmp_path, training, run, text):
    comment_data(None, dataset, HEAD, "7", training, run)
    (body,) = bodies(github)
    state = body.partition("### Training\n\n")[2]
    assert text in state
    assert "<img" not in body
    assert text in (tmp_path / "summary.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("sha", "pr", "run"), [("main", "7", ""), (HEAD, "", ""), (HEAD, "7;ls", ""), (HEAD, "7", "x")]
)
def test_nothing_is_said_about_a_malformed_commit_or_number(github, dataset, sha, pr, run):
    with pytest.raises(FinetuneError):
        comment_data(None, dataset, sha, pr, "requested", run)
    assert not github.requests


def test_a_report_of_an_older_commit_says_that_it_is_superseded(github, dataset):
    github.routes["GET /repos/acme/demo/pulls/7"] = {"head": {"sha": NEWER}}
    comment_data(None, dataset, HEAD, "7", "requested", "99")
    (body,) = bodies(github)
    assert f"> **Superseded:** the pull request is at `{NEWER[:7]}` now" in body.partition("## ")[0]


def test_a_newer_commits_report_is_not_overwritten_by_an_older_one(github, dataset):
    comment_data(None, dataset, NEWER, "7", "requested", "99")
    github.routes["GET /repos/acme/demo/pulls/7"] = {"head": {"sha": NEWER}}
    before = bodies(github)
    assert comment_data(None, dataset, HEAD, "7", "requested", "98") == OK
    assert bodies(github) == before


def test_somebody_elses_comment_that_looks_newer_silences_nothing(github, dataset):
    github.routes["GET /repos/acme/demo/pulls/7"] = {"head": {"sha": NEWER}}
    text = f"{marker_line(MARKER)}\n<!-- commit {NEWER} -->\nall is well"
    github.rows.append(comment(1, text, "mallory"))
    comment_data(None, dataset, HEAD, "7", "requested", "98")
    assert len(bodies(github)) == 2
    assert bodies(github)[0] == text


@pytest.mark.parametrize("status", [403, 404, 422, 502])
def test_a_comment_that_cannot_be_written_is_a_warning(github, dataset, tmp_path, capsys, status):
    github.fail("POST", "comments", status, times=99)
    assert comment_data(None, dataset, HEAD, "7", "requested", "99") == OK
    assert "W601" in capsys.readouterr().err
    assert "Requested: [run 99]" in (tmp_path / "summary.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "reply", [Answer(500, {}), Answer(200, {}), Answer(200, {"head": {"sha": "x"}}), Answer(404, {})]
)
def test_whether_the_head_moved_may_stay_unknown(github, dataset, capsys, reply):
    github.routes["GET /repos/acme/demo/pulls/7"] = lambda request: reply
    assert comment_data(None, dataset, HEAD, "7", "requested", "99") == OK
    assert "W660" in capsys.readouterr().err
    assert len(bodies(github)) == 1


def test_an_artifact_without_folders_is_read_too(github, dataset, tmp_path):
    flat = tmp_path / "flat"
    shutil.copytree(dataset / "benchmarks" / "results", flat)
    comment_data(None, flat, HEAD, "7", "requested", "99")
    assert "57 rows" in bodies(github)[0]


def test_the_comment_is_rendered_from_the_numbers_and_not_from_the_artifacts_page(github, dataset):
    (dataset / "benchmarks" / "results" / "data_comment.md").write_text("@everyone [x](http://evil)", encoding="utf-8")
    comment_data(None, dataset, HEAD, "7", "requested", "99")
    assert "everyone" not in bodies(github)[0]


@pytest.mark.parametrize("name", ["data_report.json", "data_changes.json"])
@pytest.mark.parametrize("content", [None, b"{}", b"null", b'{"version": 2}', b'{"rows": {"read": -1}}', b"\0" * 100])
def test_a_hostile_artifact_gets_a_comment_that_says_what_is_missing(github, dataset, name, content):
    path = dataset / "benchmarks" / "results" / name
    path.unlink()
    if content is None:
        path.symlink_to("/etc/hostname")
    else:
        path.write_bytes(content)
    assert comment_data(None, dataset, HEAD, "7", "", "") == OK
    (body,) = bodies(github)
    # {} is a comparison in which nothing was compared and step 02 did not finish.
    assert "\n## ❌ Data report: " in body
    assert "/etc" not in body


def test_an_empty_artifact_gets_a_comment_too(github, tmp_path):
    assert comment_data(None, tmp_path / "nothing", HEAD, "7", "", "") == OK
    assert "the data was not checked" in bodies(github)[0]
    assert "⏸️ Not requested: it waits until the checks of the data pass" in bodies(github)[0]
