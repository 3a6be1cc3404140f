"""State of the fake GitHub: one repository with its pull requests, comments, statuses, runs, releases and settings.

What git holds stays in a real bare repository, what workflows upload in the harness' artifact folder; this is the rest.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .hub_store import ApiError, Fault

BOT = "github-actions[bot]"
OWNER_TOKEN = "gho_owner"
LEVELS = {"none": 0, "read": 1, "write": 2}


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


@dataclass
class Pull:
    """A pull request; its head is `refs/pull/N/head` of the repository."""

    number: int
    head_ref: str
    head_repo: str
    head_sha: str
    base_ref: str = "main"
    title: str = "A change"
    body: str = ""
    state: str = "open"
    login: str = "alice"
    locked: bool = False


@dataclass
class Comment:
    """A comment below a pull request."""

    id: int
    number: int
    login: str
    body: str
    app: str | None = None
    """Slug of the GitHub App that wrote it; the login alone of a workflow's comments is that of a bot."""


@dataclass
class Status:
    """A commit status."""

    sha: str
    state: str
    context: str
    description: str
    target_url: str | None


@dataclass
class WorkflowRun:
    """One run; `token` is its GITHUB_TOKEN, whose rights are those of the job that runs now."""

    id: int
    workflow: str
    event: str
    head_branch: str | None
    head_sha: str
    status: str = "in_progress"
    conclusion: str | None = None
    fork: bool = False
    """A pull request from another repository: the token can only read."""
    attempt: int = 1
    created_at: str = field(default_factory=now)
    permissions: Mapping[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)
    """(workflow's name, job) to its `permissions:`."""
    job: tuple[str, str] | None = None

    @property
    def token(self) -> str:
        return f"ghs_{self.id}"


@dataclass
class Dispatch:
    """A request to run a workflow, and the run it made."""

    workflow: str
    ref: str
    inputs: dict[str, str]
    run_id: int


@dataclass
class Asset:
    """A file attached to a release."""

    id: int
    name: str
    data: bytes
    content_type: str
    state: str = "uploaded"


@dataclass
class Release:
    """A release; a draft is only seen by those who may write."""

    id: int
    tag_name: str
    name: str
    body: str
    draft: bool
    target: str
    prerelease: bool = False
    assets: dict[int, Asset] = field(default_factory=dict)


@dataclass(frozen=True)
class Access:
    """Who a token belongs to; `permissions` is None for the owner, who may do everything."""

    login: str
    permissions: Mapping[str, str] | None = None
    app: str | None = None
    run: WorkflowRun | None = None

    def may(self, *wanted: str) -> bool:
        """True when any of the `scope:level` pairs is granted."""
        if self.permissions is None:
            return True
        pairs = (pair.split(":") for pair in wanted)
        return any(LEVELS[self.permissions.get(scope, "none")] >= LEVELS[level] for scope, level in pairs)


class Store:
    """The whole server state; every method is called under `lock`."""

    def __init__(self, git_dir: Path, artifacts: Path, repository: str = "acme/ticket-router") -> None:
        self.git_dir, self.artifacts, self.repository = git_dir, artifacts, repository
        self.default_branch = "main"
        self.pulls: dict[int, Pull] = {}
        self.comments: dict[int, Comment] = {}
        self.statuses: list[Status] = []
        self.runs: dict[int, WorkflowRun] = {}
        self.dispatches: list[Dispatch] = []
        self.releases: dict[int, Release] = {}
        self.settings = Settings()
        self.immutable_releases = False
        self.tree_limit: int | None = None
        """Trees with more entries come truncated."""
        self.requests: list[tuple[str, str]] = []
        self.bodies: list[Any] = []
        """JSON bodies, one for each request."""
        self.refused: list[str] = []
        """Requests that a token may not make, as `METHOD path (workflow / job)`."""
        self.faults: list[Fault] = []
        self.on_job: dict[str, Callable[[], None]] = {}
        """Called when a job of that name begins, e.g. to push to a pull request in mid-run."""
        self.lock = threading.RLock()
        self._last_id = 7000

    # What tests use

    def fail(self, method: str, pattern: str, **options: Any) -> Fault:
        """Plan a fault; options are the fields of Fault."""
        fault = Fault(method, re.compile(pattern), **options)
        self.faults.append(fault)
        return fault

    def calls(self, method: str, pattern: str) -> int:
        """How many requests matched so far."""
        return sum(m == method and re.search(pattern, path) is not None for m, path in self.requests)

    def add_run(self, workflow: str, event: str, head_branch: str | None, head_sha: str, **values: Any) -> WorkflowRun:
        """A run as if it had been started; `values` are further fields of WorkflowRun, an `id` among them."""
        number = values.pop("id", None) or self.next_id()
        self._last_id = max(self._last_id, number)
        run = self.runs[number] = WorkflowRun(number, workflow, event, head_branch, head_sha, **values)
        return run

    def add_comment(self, number: int, login: str, body: str, app: str | None = None) -> Comment:
        comment = Comment(self.next_id(), number, login, body, app)
        self.comments[comment.id] = comment
        return comment

    def comments_by_bot(self, number: int) -> list[Comment]:
        """What workflows have written below a pull request."""
        return [comment for comment in self.comments.values() if comment.number == number and comment.login == BOT]

    def last_status(self, sha: str) -> Status | None:
        return next((status for status in reversed(self.statuses) if status.sha == sha), None)

    def artifact_records(self) -> list[tuple[int, Path, dict[str, Any]]]:
        """(run, file beside the zip, its values) of every artifact, newest first."""
        found = [
            (int(path.parent.name), path, json.loads(path.read_text("utf-8")))
            for path in self.artifacts.glob("*/*.json")
        ]
        return sorted(found, key=lambda entry: -entry[2]["id"])

    def expire(self, pattern: str) -> int:
        """Let the artifacts whose names match expire: their records stay a while, their bytes are gone. How many."""
        count = 0
        for _, path, values in self.artifact_records():
            if re.search(pattern, values["name"]):
                path.write_text(json.dumps({**values, "expired": True}), "utf-8")
                path.with_suffix(".zip").unlink(missing_ok=True)
                count += 1
        return count

    # What the routes use

    def next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def access(self, authorization: str | None) -> Access:
        """Who asks; ApiError 401 for a token nobody has."""
        token = (authorization or "").split(" ")[-1]
        if token == OWNER_TOKEN:
            return Access("octocat")
        run = next((run for run in self.runs.values() if run.token == token and run.status == "in_progress"), None)
        if run is None:
            raise ApiError(401, "Bad credentials")
        granted = run.permissions.get(run.job, {}) if run.job else {}
        if run.fork:
            granted = {scope: "read" for scope, level in granted.items() if level != "none" and scope != "id-token"}
        return Access(BOT, granted, "github-actions", run)

    def pull(self, number: int | str) -> Pull:
        if int(number) not in self.pulls:
            raise ApiError(404, "Not Found")
        return self.pulls[int(number)]

    def git(self, *arguments: str, data: bytes | None = None) -> bytes:
        """A git command on the repository; ApiError 404 when it fails, since what it names is not there."""
        command = ["git", "--git-dir", str(self.git_dir), *arguments]
        done = subprocess.run(command, input=data, capture_output=True, check=False)
        if done.returncode:
            raise ApiError(404, "Not Found")
        return done.stdout

    def commit(self, ref: str) -> str:
        """The commit a branch, tag, full reference or SHA names; 404 as for an unknown one."""
        if ref.startswith("-"):
            raise ApiError(404, "Not Found")
        for name in (f"refs/heads/{ref}", f"refs/tags/{ref}", ref):
            try:
                return self.git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").decode().strip()
            except ApiError:
                continue
        raise ApiError(404, f"No commit found for SHA: {ref}")


@dataclass
class Settings:
    """What an owner configures, as the REST API shows it."""

    environments: dict[str, dict[str, Any]] = field(default_factory=dict)
    policies: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Environment to the branches and tags that may deploy to it."""
    variables: dict[str, str] = field(default_factory=dict)
    rulesets: dict[int, dict[str, Any]] = field(default_factory=dict)
    labels: dict[str, dict[str, Any]] = field(default_factory=dict)
    actions: dict[str, Any] = field(
        default_factory=lambda: {
            "enabled": True,
            "allowed_actions": "all",
            "sha_pinning_required": False,
        }
    )
    workflow: dict[str, Any] = field(
        default_factory=lambda: {
            "default_workflow_permissions": "write",
            "can_approve_pull_request_reviews": False,
        }
    )
    fork_approval: str = "first_time_contributors"
    runners: list[dict[str, Any]] = field(default_factory=list)
    features: dict[str, Any] = field(default_factory=dict)
    """Further switches of the repository itself, e.g. immutable releases."""
