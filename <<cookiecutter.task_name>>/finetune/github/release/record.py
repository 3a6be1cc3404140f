"""Propose the record of a release as a pull request: one branch, one commit, one pull request, however often it runs.

The branch begins at the head of main and not at the released commit: a workflow's token may not create a branch whose
workflow files differ from main's. What main got since the release is kept (proposal.py).
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from finetune.config.project import Project
from finetune.console import say
from finetune.errors import OK, FinetuneError
from finetune.github.client.actions import default_branch, server_url, summary
from finetune.github.release.bundle import Bundle, iteration_path, read_bundle
from finetune.github.release.proposal import on_top
from finetune.github.release.tags import Tag, checked_out, release_tag

if TYPE_CHECKING:
    from finetune.github.client.api import ApiError, GitHub

_GIT = "/repos/{repo}/git"


def record(project: Project) -> int:
    """Open or find the pull request. Raises FinetuneError for a wrong tag (E640, E643), another release of this version
    on main (E642) or wrong files in build/release (E648), and StorageFault (E601, E650) when GitHub fails or refuses.
    """
    from finetune.github.client.api import GitHub

    tag = release_tag()
    commit = checked_out(project, tag)
    bundle = read_bundle(project, tag, commit)
    github, base = GitHub.from_environment(), default_branch()
    if not bundle.record:
        say("nothing to record")
        return OK
    if _recorded(github, base, tag, bundle):
        say(f"{iteration_path(tag)} is on {base}")
        return OK
    branch = f"release-record/{tag.name}"
    pull = _find_pull_request(github, branch, base)
    if pull is None or pull["state"] == "open":
        _bring(github, branch, base, commit, tag, bundle)
        pull = pull or _open_pull_request(github, branch, base, tag)
    # A closed one is a person's answer: neither branch nor pull request comes back by itself.
    say(f"{pull['state']} pull request: {pull['html_url']}")
    summary(f"## Record of {tag.name}\n\n{pull['state'].capitalize()} pull request: {pull['html_url']}")
    return OK


def _recorded(github: GitHub, base: str, tag: Tag, bundle: Bundle) -> bool:
    """Whether the default branch holds this release's iteration file; E642 when it holds another one of that version.

    The iteration decides, not the other files: people may have ticked boxes or edited README since.
    """
    path, head = iteration_path(tag), _head(github, base)
    recorded = _read(github, head, path) if head else None
    if recorded is not None and recorded != bundle.record[path]:
        message = f"{path} on {base} records another release of this version"
        raise FinetuneError(message, "remove it there if it is wrong, or release under a new version", "E642")
    return recorded is not None


def _find(github: GitHub, commit: str, path: str) -> str | None:
    """Object id of a path at a commit, found tree by tree: a recursive listing may be cut short by GitHub."""
    sha = github.get(f"{_GIT}/commits/{commit}")["tree"]["sha"]
    for part in path.split("/"):
        sha = _entries(github, sha).get(part)
        if sha is None:
            return None
    return sha


def _entries(github: GitHub, tree: str) -> dict[str, str]:
    return {entry["path"]: entry["sha"] for entry in github.get(f"{_GIT}/trees/{tree}")["tree"]}


def _read(github: GitHub, commit: str, path: str) -> str | None:
    """Text of a file at a commit, its line ends as they are; None where it is missing or no UTF-8."""
    sha = _find(github, commit, path)
    if sha is None:
        return None
    try:
        return base64.b64decode(github.get(f"{_GIT}/blobs/{sha}")["content"]).decode("utf-8")
    except UnicodeDecodeError:
        return None


def _head(github: GitHub, branch: str) -> str | None:
    """The commit a branch points to; None where there is no such branch."""
    from finetune.github.client.api import ApiError

    try:
        return github.get(f"{_GIT}/ref/heads/{branch}")["object"]["sha"]
    except ApiError as error:
        if error.status == 404:
            return None
        raise


def _bring(github: GitHub, branch: str, base: str, commit: str, tag: Tag, bundle: Bundle) -> None:
    """The branch with the record on it; a branch that has this record already stays as it is."""
    from finetune.github.client.api import ApiError

    head, path = _head(github, branch), iteration_path(tag)
    if head is not None and _read(github, head, path) == bundle.record[path]:
        say(f"{branch} has the record")
        return
    made = _commit(github, head or _head(github, base) or commit, commit, tag, bundle)
    if head is not None:
        # Never forced: what somebody pushed there in between is theirs.
        github.patch(f"{_GIT}/refs/heads/{branch}", {"sha": made, "force": False})
        say(f"updated {branch}")
        return
    try:
        github.post(f"{_GIT}/refs", {"ref": f"refs/heads/{branch}", "sha": made})
    except ApiError as error:
        if not (error.unsure or error.status == 422) or _head(github, branch) != made:
            raise
    say(f"created {branch}")


def _commit(github: GitHub, parent: str, released: str, tag: Tag, bundle: Bundle) -> str:
    """A commit of the record on `parent`. Author and date are left to GitHub, which then signs it."""
    folder = _find(github, parent, "iterations")
    files = on_top(
        bundle.record,
        tag,
        lambda path: _read(github, released, path),
        lambda path: _read(github, parent, path),
        _entries(github, folder) if folder else (),
    )
    entries = [{"path": path, "mode": "100644", "type": "blob", "content": text} for path, text in files.items()]
    base_tree = github.get(f"{_GIT}/commits/{parent}")["tree"]["sha"]
    # A second tree is the same tree, and a second commit that no branch points to is nothing.
    tree = github.post(f"{_GIT}/trees", {"base_tree": base_tree, "tree": entries}, repeat=True)["sha"]
    body = {"message": f"Record release {tag.name}", "tree": tree, "parents": [parent]}
    return github.post(f"{_GIT}/commits", body, repeat=True)["sha"]


def _open_pull_request(github: GitHub, branch: str, base: str, tag: Tag) -> dict[str, Any]:
    """A new pull request; when the answer is lost, the one that it made all the same."""
    from finetune.github.client.api import ApiError

    body = {"title": f"Record release {tag.name}", "head": branch, "base": base, "body": _body(tag)}
    try:
        return github.post("/repos/{repo}/pulls", body)
    except ApiError as error:
        pull = _find_pull_request(github, branch, base) if error.unsure or error.status == 422 else None
        if pull is None:
            raise _explained(github, error, branch, base) from None
        return pull


def _find_pull_request(github: GitHub, branch: str, base: str) -> dict[str, Any] | None:
    """The branch's pull request in any state, an open one first: what a person closed is not opened again."""
    owner = github.repository.partition("/")[0]
    rows = list(github.pages("/repos/{repo}/pulls", state="all", head=f"{owner}:{branch}", base=base))
    # Of this repository: a fork may have a branch of the same name.
    ours = [row for row in rows if row["head"]["ref"] == branch and _repository(row) == github.repository]
    return min(ours, key=lambda row: (row["state"] != "open", -int(row["number"])), default=None)


def _repository(pull: dict[str, Any]) -> str | None:
    return (pull["head"].get("repo") or {}).get("full_name")


def _explained(github: GitHub, error: ApiError, branch: str, base: str) -> Exception:
    if error.status != 403:
        return error
    from finetune.github.client.api import ApiError as Refusal

    page = f"{server_url()}/{github.repository}/compare/{base}...{branch}?expand=1"
    fix = f"open it by hand at {page}, or allow it once with scripts/setup_github.py"
    message = f"the record is on {branch}, but workflows may not open pull requests here ({error.message})"
    return Refusal(message, fix, "E650", status=403)


def _body(tag: Tag) -> str:
    return (
        f"Written by the release of {tag.name}: what the version was made of and how good it is "
        f"(`{iteration_path(tag)}`), how to call it (`docs/integration_guide.md`), and that it is out "
        "(`task_definition.yaml`, `README.md`, `CHECKLIST.md`).\n\n"
        "GitHub starts the checks of a pull request opened by a workflow only after a person with write access "
        "approves them on this page."
    )
