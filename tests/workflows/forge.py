"""What happens on GitHub: pushes, pull requests, dispatches and tags start the workflows of one repository.

    forge.open_pull({"data/raw/new.jsonl": rows})        # number 1
    run = forge.pull_request(1)                          # data.yml, by act, on the merge commit
    runs = forge.run_dispatches()                        # train.yml, for every dispatch that was accepted

Every start goes through triggers.py, so a workflow whose filters leave the event out fails the test. A run's token has
the permissions of the job that holds it, of a pull request from a fork only their reading half.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakes.github import GitHubServer
from fakes.github_api import pull_json, repository_json
from fakes.github_store import Dispatch, Pull, Store, WorkflowRun

from . import artifacts
from .act import BIN, GPU, HOSTED, Run, run_act
from .permissions import permissions
from .repository import FORK, NAME, Files, Repository
from .triggers import Event, fires, load

DEPENDABOT = "dependabot[bot]"
"""Its pull requests come from the repository itself, and are trusted no more than a fork's."""


@dataclass(frozen=True)
class _Start:
    """What a run is started with, kept for running it again."""

    record: WorkflowRun
    event: Event
    sha: str
    ref: str
    """GITHUB_REF."""
    payload: Mapping[str, Any]
    inputs: Mapping[str, str]


class Forge:
    """One repository on the fake GitHub, and what people do with it."""

    def __init__(self, repository: Repository, server: GitHubServer, scratch: Path, environment: Mapping[str, str]):
        self.repository, self.server, self.scratch = repository, server, scratch
        self.environment = dict(environment)
        """What a runner's machine brings along: caches, tools, endpoints."""
        self.release_secrets: dict[str, str] = {}
        """Secrets of the environment hf-release; no other workflow is given any."""
        self.variables: dict[str, str] = {}
        self.kept: dict[str, Path] = {}
        """Job to the folder of its runner, where one is used again."""
        self.runs: list[Run] = []
        self._started: dict[int, _Start] = {}

    @property
    def github(self) -> Store:
        return self.server.github

    # What people do

    def open_pull(
        self, files: Files, *, branch: str = "feature", fork: bool = False, title: str = "A change", login: str = ""
    ) -> int:
        """A pull request with one commit; its number."""
        head = self.repository.commit(files, branch=None if fork else branch, onto="main")
        number = max(self.github.pulls, default=0) + 1
        self.repository.set_pull(number, head)
        source, login = (FORK, login or "mallory") if fork else (NAME, login or "alice")
        self.github.pulls[number] = Pull(number, branch, source, head, title=title, login=login)
        return number

    def push_to_pull(self, number: int, files: Files) -> str:
        """Another commit on the pull request; the new head."""
        pull = self.github.pulls[number]
        branch = pull.head_ref if pull.head_repo == NAME else None
        pull.head_sha = self.repository.commit(files, branch=branch, onto=pull.head_sha)
        self.repository.set_pull(number, pull.head_sha)
        return pull.head_sha

    def head(self, number: int) -> str:
        return self.github.pulls[number].head_sha

    def merge_pull(self, number: int) -> tuple[str, str]:
        """Merge it; main before and after."""
        pull, before = self.github.pulls[number], self.repository.sha()
        after = self.repository.merge("main", pull.head_sha, f"Merge pull request #{number}")
        self.repository.push("main", after)
        pull.state = "closed"
        return before, after

    def gh(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The real gh with the owner's login."""
        config = self.scratch / "gh"
        config.mkdir(parents=True, exist_ok=True)
        environment = {"PATH": f"{BIN}:/usr/bin:/bin", "HOME": str(self.scratch), **self.server.gh_environment(config)}
        return subprocess.run(
            ["gh", *arguments],
            env=environment,
            cwd=self.scratch,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def artifact(self, name: str) -> dict[str, bytes]:
        """Files of the newest artifact whose name begins with `name`."""
        return artifacts.read(self.github.artifacts, name)

    # What GitHub does then

    def pull_request(self, number: int, *, action: str = "opened", workflow: str = "data.yml") -> Run:
        """A pull request was opened or pushed to: the merge commit is checked and its own workflow files run."""
        pull, repository = self.github.pulls[number], self.repository
        merge, base = repository.sha(f"refs/pull/{number}/merge"), repository.sha()
        event = Event("pull_request", f"refs/heads/{pull.base_ref}", action, repository.changed(base, merge))
        payload = {"action": action, "number": number, "pull_request": pull_json(self.github, pull)}
        reads_only = pull.head_repo != NAME or pull.login == DEPENDABOT
        run = self.github.add_run(workflow, "pull_request", pull.head_ref, pull.head_sha, fork=reads_only)
        return self._run(_Start(run, event, merge, f"refs/pull/{number}/merge", payload, {}))

    def merge_queue(self, number: int, *, workflow: str = "data.yml") -> Run:
        """The merge queue asks for the checks of main with the pull request in it."""
        base, sha = self.repository.sha(), self.repository.sha(f"refs/pull/{number}/merge")
        ref = f"refs/heads/gh-readonly-queue/main/pr-{number}-{base}"
        self.repository.git("update-ref", ref, sha)
        group = {"base_sha": base, "head_sha": sha, "head_ref": ref, "base_ref": "refs/heads/main"}
        event = Event("merge_group", action="checks_requested")
        run = self.github.add_run(workflow, "merge_group", ref.removeprefix("refs/heads/"), sha)
        return self._run(_Start(run, event, sha, ref, {"action": event.action, "merge_group": group}, {}))

    def push(self, before: str, after: str, *, workflow: str = "data.yml") -> Run:
        """Main moved."""
        event = Event("push", "refs/heads/main", None, self.repository.changed(before, after))
        payload = {"ref": "refs/heads/main", "before": before, "after": after}
        run = self.github.add_run(workflow, "push", "main", after)
        return self._run(_Start(run, event, after, "refs/heads/main", payload, {}))

    def push_tag(self, name: str, ref: str = "main", *, workflow: str = "release.yml") -> Run:
        """A tag was pushed (made, unless it exists)."""
        full = f"refs/tags/{name}"
        if not self.repository.exists(full):
            self.repository.tag(name, ref)
        sha = self.repository.sha(full)
        payload = {"ref": full, "before": "0" * 40, "after": sha}
        run = self.github.add_run(workflow, "push", name, sha)
        return self._run(_Start(run, Event("push", full), sha, full, payload, {}))

    def run_dispatches(self) -> list[Run]:
        """Run every dispatch that was accepted and has not run yet, in order, as GitHub would."""
        waiting = [dispatch for dispatch in self.github.dispatches if self._record(dispatch).status == "queued"]
        return [self._dispatched(dispatch) for dispatch in waiting]

    def _record(self, dispatch: Dispatch) -> WorkflowRun:
        return self.github.runs[dispatch.run_id]

    def _dispatched(self, dispatch: Dispatch) -> Run:
        record, ref = self._record(dispatch), f"refs/heads/{dispatch.ref}"
        payload = {"inputs": dispatch.inputs, "ref": ref, "workflow": f".github/workflows/{dispatch.workflow}"}
        return self._run(
            _Start(record, Event("workflow_dispatch", ref), record.head_sha, ref, payload, dispatch.inputs)
        )

    def rerun(self, run: Run) -> Run:
        """Re-run all jobs: the same number, commit and event, the next attempt."""
        start = self._started[run.id]
        start.record.attempt += 1
        return self._run(start)

    def _run(self, start: _Start) -> Run:
        record = start.record
        folder = self.scratch / f"run-{record.id}-{record.attempt}"
        tree = self.repository.check_out(start.sha, folder / "tree")
        definition = load(tree / ".github/workflows" / record.workflow)
        assert fires(definition, start.event), f"{record.workflow} is not started by {start.event}"
        self._started[record.id] = start
        record.permissions, record.job = permissions(tree, record.workflow), None
        record.status, record.conclusion = "in_progress", None
        secrets = self.release_secrets if record.workflow == "release.yml" else {}
        repository = repository_json(NAME, self.github)
        run = run_act(
            tree,
            start.event.name,
            record.workflow,
            folder,
            payload={**start.payload, "repository": repository, "sender": {"login": "octocat"}},
            inputs=start.inputs,
            secrets={"GITHUB_TOKEN": record.token, **secrets},
            variables=self.variables,
            environment=self._environment(start),
            labels=(HOSTED,) if record.fork else (HOSTED, GPU),
            timeout=900,
        )
        run.id = record.id
        record.status, record.conclusion = "completed", "failure" if run.code else "success"
        self.runs.append(run)
        return run

    def _environment(self, start: _Start) -> dict[str, str]:
        record = start.record
        return {
            **self.environment,
            "GITHUB_API_URL": self.server.url,
            "GITHUB_REPOSITORY": NAME,
            "GITHUB_REF": start.ref,
            "SHA_REF": start.sha,
            "GITHUB_RUN_ID": str(record.id),
            "GITHUB_RUN_ATTEMPT": str(record.attempt),
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.server.url}/_oidc/token?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": record.token,
            "HARNESS_ORIGIN": str(self.repository.path),
            "HARNESS_ARTIFACTS": str(self.github.artifacts),
            "HARNESS_REUSED": json.dumps({job: str(path) for job, path in self.kept.items()}),
        }
