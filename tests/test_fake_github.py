"""The fake GitHub is only worth something while it answers as GitHub does: asked by urllib, and by the real gh."""

from __future__ import annotations

import base64
import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fakes.github import GitHubServer, start_github
from fakes.github_store import BOT, OWNER_TOKEN, Pull, WorkflowRun
from workflows.act import BIN
from workflows.repository import LINK, NAME, Entry, Repository

Ask = Callable[..., Any]
DISPATCHED = """
on:
  workflow_dispatch:
    inputs:
      sha: {required: true, type: string}
      pr: {default: "", type: string}
"""


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    tree = tmp_path / "tree"
    for command in (
        ["init", "-q", "-b", "main", str(tree)],
        ["-C", str(tree), "commit", "-q", "--allow-empty", "-m", "start"],
    ):
        subprocess.run(["git", *command], check=True)
    made = Repository.from_tree(tree, tmp_path / "origin.git")
    made.commit({"README.md": "Read me\n", ".github/workflows/train.yml": DISPATCHED})
    return made


@pytest.fixture
def server(repository: Repository, tmp_path: Path) -> Iterator[GitHubServer]:
    with start_github(repository.path, tmp_path / "artifacts") as server:
        yield server


@pytest.fixture
def ask(server: GitHubServer) -> Ask:
    """`ask("GET", "pulls/1", token=…)`: (status, parsed body, headers)."""

    def ask(method: str, path: str, body: Any = None, token: str = OWNER_TOKEN) -> tuple[int, Any, Any]:
        url = path if path.startswith("http") else f"{server.url}/repos/{NAME}/{path}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Authorization": f"Bearer {token}"}, method=method)
        try:
            with urllib.request.urlopen(request) as reply:
                content = reply.read()
                return reply.status, json.loads(content) if content else None, reply.headers
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read()), error.headers

    return ask


@pytest.fixture
def job(server: GitHubServer, repository: Repository) -> Callable[..., WorkflowRun]:
    """`job(contents="read")`: a run whose job has these permissions now."""

    def job(fork: bool = False, **permissions: str) -> WorkflowRun:
        granted = {("w", "j"): {scope.replace("_", "-"): level for scope, level in permissions.items()}}
        run = server.github.add_run("w.yml", "push", "main", repository.sha(), fork=fork, permissions=granted)
        run.job = ("w", "j")
        return run

    return job


@pytest.fixture
def pull(server: GitHubServer, repository: Repository) -> Pull:
    head = repository.commit({"data/raw/a.jsonl": "{}\n"}, branch="feature")
    repository.set_pull(1, head)
    server.github.pulls[1] = Pull(1, "feature", NAME, head)
    return server.github.pulls[1]


def test_a_token_does_what_its_job_may_and_the_rest_is_remembered(
    ask: Ask, job: Callable[..., WorkflowRun], pull: Pull, server: GitHubServer
) -> None:
    reader, writer = job(pull_requests="read"), job(pull_requests="write")
    assert ask("GET", "issues/1/comments", token=reader.token)[0] == 200
    assert ask("POST", "issues/1/comments", {"body": "x"}, reader.token)[0] == 403
    assert server.github.refused == [
        f"POST /repos/{NAME}/issues/1/comments (w / j) needs pull-requests:write or issues:write"
    ]
    status, made, _ = ask("POST", "issues/1/comments", {"body": "x"}, writer.token)
    assert (status, made["user"]["login"], made["performed_via_github_app"]["slug"]) == (201, BOT, "github-actions")
    assert ask("GET", "git/trees/main", token=writer.token)[0] == 403
    fork = job(fork=True, pull_requests="write")
    assert ask("GET", "pulls/1", token=fork.token)[0] == 200
    assert ask("POST", "issues/1/comments", {"body": "x"}, fork.token)[0] == 403


def test_a_token_ends_with_its_run(ask: Ask, job: Callable[..., WorkflowRun], pull: Pull) -> None:
    run = job(pull_requests="read")
    run.status = "completed"
    assert ask("GET", "pulls/1", token=run.token)[0] == 401
    assert ask("GET", "pulls/1", token="nobody")[0] == 401


def test_comments_come_in_pages_and_have_a_longest_length(ask: Ask, pull: Pull, server: GitHubServer) -> None:
    for number in range(65):
        server.github.add_comment(1, "alice", str(number))
    seen, url = [], f"{server.url}/repos/{NAME}/issues/1/comments"
    while url:
        _, rows, headers = ask("GET", url)
        seen += [row["body"] for row in rows]
        links = dict(reversed(link.split("; ")) for link in (headers.get("Link") or "").split(", ") if link)
        url = links.get('rel="next"', "").strip("<>")
    assert seen == [str(number) for number in range(65)]
    assert len(ask("GET", "issues/1/comments?per_page=100")[1]) == 65
    assert ask("POST", "issues/1/comments", {"body": "x" * 65_536})[0] == 201
    assert ask("POST", "issues/1/comments", {"body": "x" * 65_537})[0] == 422


def test_trees_blobs_and_comparisons_are_those_of_git(ask: Ask, repository: Repository, server: GitHubServer) -> None:
    files = {"data/raw/a.jsonl": "ü\n", "data/raw/link": Entry(LINK, b"/etc/passwd")}
    head = repository.commit(files, branch=None)
    _, tree, _ = ask("GET", f"git/trees/{head}?recursive=1")
    entries = {entry["path"]: entry for entry in tree["tree"]}
    assert entries["data/raw/link"]["mode"] == LINK and entries["data/raw"]["type"] == "tree"
    assert (entries["data/raw/a.jsonl"]["size"], tree["truncated"]) == (3, False)
    _, blob, _ = ask("GET", f"git/blobs/{entries['data/raw/a.jsonl']['sha']}")
    assert base64.b64decode(blob["content"]).decode() == "ü\n"
    server.github.tree_limit = 2
    _, cut, _ = ask("GET", f"git/trees/{head}?recursive=1")
    assert cut["truncated"] and len(cut["tree"]) == 2
    main = repository.sha()
    assert ask("GET", f"compare/main...{head}")[1]["status"] == "ahead"
    assert ask("GET", f"compare/{head}...main")[1]["status"] == "behind"
    assert ask("GET", f"compare/main...{main}")[1]["status"] == "identical"
    assert ask("GET", f"compare/{repository.commit({'b': 'b'})}...{head}")[1]["status"] == "diverged"
    assert ask("GET", f"compare/main...{'0' * 40}")[0] == 404


def test_a_branch_with_a_commit_is_made_through_the_api(ask: Ask, repository: Repository) -> None:
    tree = ask("GET", f"git/commits/{repository.sha()}")[1]["tree"]["sha"]
    entries = [
        {"path": "iterations/v1.yaml", "mode": "100644", "type": "blob", "content": "a: 1\n"},
        {"path": "README.md", "mode": "100644", "type": "blob", "sha": None},
    ]
    _, made, _ = ask("POST", "git/trees", {"base_tree": tree, "tree": entries})
    body = {"message": "Record", "tree": made["sha"], "parents": [repository.sha()]}
    _, commit, _ = ask("POST", "git/commits", body)
    new = {"ref": "refs/heads/record", "sha": commit["sha"]}
    assert ask("POST", "git/refs", new)[0] == 201
    assert ask("POST", "git/refs", new)[0] == 422
    assert repository.read("iterations/v1.yaml", "record") == "a: 1\n"
    assert repository.changed("main", "record") == ("README.md", "iterations/v1.yaml")
    sideways = {"sha": repository.commit({"c": "c"}, branch=None, onto="main"), "force": False}
    assert ask("PATCH", "git/refs/heads/record", sideways)[0] == 422
    asked = {"title": "Record", "head": "record", "base": "main"}
    assert ask("POST", "pulls", asked)[0] == 201
    assert ask("POST", "pulls", asked)[0] == 422
    assert [row["number"] for row in ask("GET", "pulls?state=open&head=acme:record")[1]] == [1]


def test_a_workflow_opens_pull_requests_only_where_the_owner_allows_it_and_never_changes_workflows(
    ask: Ask, job: Callable[..., WorkflowRun], repository: Repository, server: GitHubServer
) -> None:
    token = job(contents="write", pull_requests="write").token
    evil = repository.commit({".github/workflows/train.yml": "on: push\n"}, branch=None, onto="main")
    assert ask("POST", "git/refs", {"ref": "refs/heads/evil", "sha": evil}, token)[0] == 403
    repository.commit({"a": "a"}, branch="record")
    asked = {"title": "Record", "head": "record", "base": "main"}
    assert ask("POST", "pulls", asked, token)[0] == 403
    server.github.settings.workflow["can_approve_pull_request_reviews"] = True
    assert ask("POST", "pulls", asked, token)[0] == 201


def test_a_dispatch_is_held_against_the_workflow_file(ask: Ask, server: GitHubServer) -> None:
    path = "actions/workflows/train.yml/dispatches"
    assert ask("POST", path, {"ref": "main"})[0] == 422
    assert ask("POST", path, {"ref": "main", "inputs": {"sha": "1", "x": "2"}})[0] == 422
    assert ask("POST", path, {"ref": "gone", "inputs": {"sha": "1"}})[0] == 404
    assert ask("POST", "actions/workflows/none.yml/dispatches", {"ref": "main"})[0] == 404
    assert ask("POST", path, {"ref": "main", "inputs": {"sha": "1"}})[0] == 204
    status, told, _ = ask("POST", path, {"ref": "main", "inputs": {"sha": "2"}, "return_run_details": True})
    assert status == 200 and [d.inputs for d in server.github.dispatches] == [
        {"sha": "1", "pr": ""},
        {"sha": "2", "pr": ""},
    ]
    assert ask("GET", f"actions/runs/{told['workflow_run_id']}")[1]["path"] == ".github/workflows/train.yml"


def test_a_release_is_drafted_filled_and_published(
    ask: Ask, job: Callable[..., WorkflowRun], server: GitHubServer
) -> None:
    _, draft, _ = ask("POST", "releases", {"tag_name": "v1.0.0", "draft": True})
    upload = draft["upload_url"].partition("{")[0]
    for name, status in (("a b.txt", 201), ("a b.txt", 422)):
        request = urllib.request.Request(
            f"{upload}?name={name.replace(' ', '%20')}",
            b"data",
            method="POST",
            headers={"Authorization": f"Bearer {OWNER_TOKEN}", "Content-Type": "text/plain"},
        )
        try:
            with urllib.request.urlopen(request) as reply:
                assert (reply.status, json.load(reply)["name"]) == (status, "a.b.txt")
        except urllib.error.HTTPError as error:
            assert error.code == status
    reader = job(contents="read").token
    assert ask("GET", "releases", token=reader)[1] == [] and len(ask("GET", "releases")[1]) == 1
    assert ask("GET", "releases/tags/v1.0.0")[0] == 404
    server.github.git("update-ref", "refs/tags/v1.0.0", "main")
    server.github.immutable_releases = True
    assert ask("PATCH", f"releases/{draft['id']}", {"draft": False})[1]["draft"] is False
    assert ask("GET", "releases/tags/v1.0.0", token=reader)[1]["assets"][0]["size"] == 4
    asset = ask("GET", f"releases/{draft['id']}/assets")[1][0]["id"]
    assert ask("DELETE", f"releases/assets/{asset}")[0] == 422


def test_faults_come_as_planned(ask: Ask, pull: Pull, server: GitHubServer) -> None:
    server.github.fail("GET", "/pulls/1$", status=502, times=2, after=1)
    assert [ask("GET", "pulls/1")[0] for _ in range(4)] == [200, 502, 502, 200]
    server.github.fail("POST", "/comments$", lose_reply=True)
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        ask("POST", "issues/1/comments", {"body": "x"})
    assert [comment.body for comment in server.github.comments.values()] == ["x"]
    server.github.fail("GET", "/pulls/1$", status=429, headers={"Retry-After": "1"})
    assert ask("GET", "pulls/1")[2]["Retry-After"] == "1"
    assert "no route" in ask("GET", "nowhere")[1]["message"]


def gh(server: GitHubServer, folder: Path, *arguments: str) -> str:
    environment = {"PATH": f"{BIN}:/usr/bin:/bin", "HOME": str(folder), **server.gh_environment(folder / "gh")}
    done = subprocess.run(
        ["gh", *arguments],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_real_gh_reads_pages_and_starts_workflows(server: GitHubServer, pull: Pull, tmp_path: Path) -> None:
    for number in range(35):
        server.github.add_comment(1, "alice", str(number))
    lines = gh(server, tmp_path, "api", "--paginate", f"repos/{NAME}/issues/1/comments", "--jq", ".[].body")
    assert lines.split() == [str(number) for number in range(35)]
    gh(server, tmp_path, "workflow", "run", "train.yml", "-f", "sha=1", "-f", "pr=1")
    (dispatch,) = server.github.dispatches
    assert (dispatch.ref, dispatch.inputs) == ("main", {"sha": "1", "pr": "1"})
