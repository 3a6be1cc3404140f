"""Which run of this repository has trained and evaluated a fingerprint already, as far as it can be trusted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from finetune.console import say
from finetune.github.client.actions import default_branch, hex64, run_url
from finetune.versions import parse_tag

if TYPE_CHECKING:
    from finetune.github.client.api import GitHub

TRAIN, RELEASE = ".github/workflows/train.yml", ".github/workflows/release.yml"


@dataclass(frozen=True)
class Evaluated:
    """A run that holds the adapter of a fingerprint with its evaluation."""

    run_id: int
    created: str
    """ISO 8601, of the artifact"""
    expired: bool
    """GitHub has deleted the artifact: the run can be shown, the adapter must be trained again"""


def artifact_name(fingerprint: str) -> str:
    """Name of the adapter artifact; E603 for what is no fingerprint."""
    return f"adapter-{hex64(fingerprint)}"


def find_evaluated(github: GitHub, fingerprint: str) -> Evaluated | None:
    """The newest run that evaluated `fingerprint` and still has its adapter, else the newest whose adapter expired.

    Anybody who may push a branch can upload an artifact of any name. So only runs count that executed reviewed
    workflow files: train.yml dispatched on the default branch, or release.yml of a tag whose commit is on it, both in
    this repository. Raises ApiError when GitHub fails, E603 for what is no fingerprint.
    """
    name = artifact_name(fingerprint)
    rows = github.pages("/repos/{repo}/actions/artifacts", key="artifacts", name=name)
    candidates = [row for row in rows if _is_candidate(row, name)]
    candidates.sort(key=lambda row: (not row["expired"], str(row.get("created_at")), row["id"]), reverse=True)
    branch = default_branch()
    for row in candidates:
        run_id = row["workflow_run"]["id"]
        if _is_reviewed(github, _get(github, f"/repos/{{repo}}/actions/runs/{run_id}"), branch):
            return Evaluated(run_id, str(row.get("created_at")), row["expired"])
    return None


def known_run(github: GitHub, fingerprint: str) -> int:
    """Id of the run that evaluated this fingerprint and whose adapter is still there; 0 for none, and says why."""
    evaluated = find_evaluated(github, fingerprint)
    if evaluated is None:
        say("no run has evaluated this input yet")
        return 0
    if evaluated.expired:
        say(f"W610 {run_url(evaluated.run_id)} evaluated this input, but its adapter has expired: training again")
        return 0
    say(f"{run_url(evaluated.run_id)} has evaluated this input: it is not trained again")
    return evaluated.run_id


def _is_candidate(row: Any, name: str) -> bool:
    """An artifact of exactly this name from a run of this repository, not of a fork."""
    run = row.get("workflow_run") if isinstance(row, dict) else None
    if not isinstance(run, dict) or row.get("name") != name or not isinstance(row.get("expired"), bool):
        return False
    own = run.get("repository_id") is not None and run.get("repository_id") == run.get("head_repository_id")
    return own and isinstance(run.get("id"), int) and isinstance(row.get("id"), int)


def _is_reviewed(github: GitHub, run: Any, branch: str) -> bool:
    """Whether the run executed a workflow file that was on the default branch."""
    if not isinstance(run, dict):
        return False
    path, event, head = str(run.get("path")).partition("@")[0], run.get("event"), run.get("head_branch")
    if (path, event) == (TRAIN, "workflow_dispatch"):
        return head == branch
    if (path, event) != (RELEASE, "push") or parse_tag(str(head)) is None:
        return False
    # A tag, or a branch named like one, can be put on any commit, with any release.yml.
    sha = str(run.get("head_sha"))
    if not re.fullmatch(r"[0-9a-f]{40}", sha):
        return False
    compared = _get(github, f"/repos/{{repo}}/compare/{quote(branch, safe='')}...{sha}")
    return isinstance(compared, dict) and compared.get("status") in ("behind", "identical")


def _get(github: GitHub, path: str) -> Any:
    """The answer, or None for 404: a run or commit that is gone proves nothing."""
    from finetune.github.client.api import ApiError

    try:
        return github.get(path)
    except ApiError as error:
        if error.status == 404:
            return None
        raise
