"""Which commit may be trained, and who asks for it: checks before anything runs, and the dispatch of train.yml."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from finetune.config.project import Project
from finetune.console import say
from finetune.errors import OK, FinetuneError
from finetune.github.client import actions
from finetune.github.client.statuses import set_status
from finetune.github.train.evaluated_runs import known_run

if TYPE_CHECKING:
    from finetune.github.client.api import GitHub

WORKFLOW = "train.yml"


def resolve(project: Project, sha: str, pr: str) -> int:
    """Output `source` ("repository" or "fork") of a commit that may be trained.

    Dispatched, it must be the head of the open pull request `pr` (E611, E612), or a commit of the default branch where
    `pr` is empty (E613); called by a release, the tagged commit itself. Any other event or branch is E610.
    """
    sha, number = actions.sha40(sha), actions.parse_number(pr)
    kind, ref = actions.env("GITHUB_EVENT_NAME"), actions.env("GITHUB_REF")
    if kind == "push" and ref.startswith("refs/tags/v"):
        if number is not None or sha != actions.env("GITHUB_SHA"):
            raise FinetuneError("a release trains the tagged commit only", "leave that to release.yml", "E610")
        actions.set_output("source", "repository")
        return OK
    branch = actions.default_branch()
    if kind != "workflow_dispatch" or ref != f"refs/heads/{branch}":
        raise FinetuneError(
            "training starts from the default branch only", f"run: gh workflow run {WORKFLOW} --ref {branch}", "E610"
        )
    from finetune.github.client.api import GitHub

    github = GitHub.from_environment()
    if number is None:
        _check_on_branch(github, sha, branch)
        source = "repository"
    else:
        source = _source(github, sha, number)
    actions.set_output("source", source)
    return OK


def request_training(project: Project, fingerprint: str, sha: str, pr: str) -> int:
    """Dispatch train.yml on the default branch, unless a run has evaluated this fingerprint.

    Outputs `training` (known, requested or failed) and `run` (0 where GitHub does not say which). Raises FinetuneError
    (E611) when the pull request's head is another by now, ApiError (74) when GitHub fails.
    """
    from finetune.github.client.api import ApiError, GitHub

    fingerprint, sha, number = actions.hex64(fingerprint), actions.sha40(sha), actions.parse_number(pr)
    github = GitHub.from_environment()
    try:
        if number is not None:
            _check_head(github, sha, number)
        run = known_run(github, fingerprint)
        training = "known" if run else "requested"
        run = run or _dispatch(github, sha, number)
    except ApiError:
        _output("failed", 0)
        raise
    _output(training, run)
    return OK


def _output(training: str, run: int) -> None:
    actions.set_output("training", training)
    actions.set_output("run", run)


def _source(github: GitHub, sha: str, number: int) -> str:
    """Where the pull request's head lies. A moved head is also said on the commit that was asked for (E611)."""
    pull = _pull(github, number)
    try:
        _compare_head(pull, sha, number)
    except FinetuneError as moved:
        try:
            set_status(github, sha, "error", "superseded by a newer commit, not trained", actions.run_url())
        except FinetuneError as unsaid:
            say(f"W621 no status on the commit: {unsaid}")
        raise moved from None
    if pull.get("state") != "open":
        raise FinetuneError(f"pull request {number} is not open", "open it again, or train a commit of main", "E612")
    # A deleted fork has no repository any more; what is not surely ours is read as data only.
    origin = (pull["head"].get("repo") or {}).get("full_name")
    ours = isinstance(origin, str) and origin.casefold() == actions.repository().casefold()
    return "repository" if ours else "fork"


def _check_head(github: GitHub, sha: str, number: int) -> None:
    """E611 when the head has moved. A token that may not read pull requests leaves that to the training run."""
    from finetune.github.client.api import ApiError

    try:
        pull = _pull(github, number)
    except ApiError as failure:
        if failure.status not in (403, 404):
            raise
        say("W611 the pull request could not be read; the training run checks its head")
        return
    _compare_head(pull, sha, number)


def _compare_head(pull: dict[str, Any], sha: str, number: int) -> None:
    if pull["head"]["sha"] != sha:
        raise FinetuneError(
            f"the head moved: commit {sha[:12]} is not the head of pull request {number}",
            "train the newer commit; a push to the pull request asks for it by itself",
            "E611",
        )


def _pull(github: GitHub, number: int) -> dict[str, Any]:
    from finetune.github.client.api import ApiError

    pull = github.get(f"/repos/{{repo}}/pulls/{number}")
    if not isinstance(pull, dict) or not isinstance(pull.get("head"), dict) or "sha" not in pull["head"]:
        raise ApiError("GitHub gave no pull request", "run the job again")
    return pull


def _check_on_branch(github: GitHub, sha: str, branch: str) -> None:
    """E613 unless the commit lies on the branch: any commit of any fork can be named by its SHA alone."""
    from finetune.github.client.api import ApiError

    try:
        comparison = github.get(f"/repos/{{repo}}/compare/{quote(branch, safe='')}...{sha}", per_page=1)
    except ApiError as failure:
        if failure.status != 404:
            raise
        comparison = None
    if not isinstance(comparison, dict) or comparison.get("status") not in ("identical", "behind"):
        fix = "give the number of its pull request too, or merge it first"
        raise FinetuneError(f"commit {sha[:12]} is not on {branch}", fix, "E613")


def _dispatch(github: GitHub, sha: str, number: int | None) -> int:
    """Start train.yml; the id of its run, 0 where the server does not tell."""
    from finetune.github.client.api import ApiError

    path = f"/repos/{{repo}}/actions/workflows/{WORKFLOW}/dispatches"
    body = {"ref": actions.default_branch(), "inputs": {"sha": sha, "pr": "" if number is None else str(number)}}
    try:
        answer = github.post(path, {**body, "return_run_details": True})
    except ApiError as failure:
        if failure.status not in (400, 422):
            raise
        answer = github.post(path, body)  # an Enterprise server that does not know the option
    run = answer.get("workflow_run_id") if isinstance(answer, dict) else None
    return run if type(run) is int and run > 0 else 0
