"""May this tag be released, and which run evaluated what it would publish? The first step of release.yml."""

from __future__ import annotations

from finetune.config.project import Project
from finetune.console import say
from finetune.errors import OK, FinetuneError
from finetune.git import git
from finetune.github.client.actions import default_branch, run_url, set_output, summary
from finetune.github.release.bundle import iteration_path, recorded_commit
from finetune.github.release.tags import Tag, checked_out, release_tag, require_unmoved


def release_resolve(project: Project) -> int:
    """Output `fingerprint` and `run`: the run whose adapter is released, or 0 when it must be trained now.

    Raises FinetuneError for a tag that is no version (E640), is not on the default branch (E641), was released from
    another commit (E642, E644), has moved (E643), or is out already while its adapter is gone (E651), and ApiError
    (E601) when GitHub does not answer.
    """
    from finetune.github.client.api import GitHub
    from finetune.github.release.releases import is_published
    from finetune.github.train.evaluated_runs import find_evaluated
    from finetune.github.train.fingerprint import training_fingerprint

    tag = release_tag()
    commit, branch = checked_out(project, tag), default_branch()
    _require_on_branch(project, tag, commit, branch)
    _require_same_record(project, tag, commit, branch)
    github = GitHub.from_environment()
    require_unmoved(github, tag, commit)
    published = is_published(github, tag, commit)
    fingerprint = training_fingerprint(project)
    evaluated = find_evaluated(github, fingerprint)
    if published and (evaluated is None or evaluated.expired):
        message = f"release {tag.name} is published, and the adapter it was made of is gone: training makes another one"
        fix = "re-run the failed jobs of its own run if something is missing; other content needs a new version"
        raise FinetuneError(message, fix, "E651")
    if evaluated is None:
        run, why = 0, "no run has evaluated this data, configuration and code: it is trained now, by the same gate"
    elif evaluated.expired:
        run = 0
        why = f"its adapter of {run_url(evaluated.run_id)} has expired: it is trained again, by the same gate"
    else:
        run, why = evaluated.run_id, f"the adapter of {run_url(evaluated.run_id)} is released as it was evaluated"
    set_output("fingerprint", fingerprint)
    set_output("run", run)
    say(f"{tag.name} at {commit[:12]} is on {branch}; {why}")
    summary(f"## Release {tag.name}\n\n`{commit}`: {why}.")
    return OK


def _require_on_branch(project: Project, tag: Tag, commit: str, branch: str) -> None:
    """Everything on the default branch was reviewed; a tag can be put on anything."""
    root, remote = project.paths.root, f"refs/remotes/origin/{branch}"
    code = git(root, "merge-base", "--is-ancestor", commit, remote).returncode
    if code == 1:
        message = f"{tag.name} is at {commit[:12]}, which is not on {branch}"
        raise FinetuneError(message, f"merge the commit into {branch}, then tag what is there", "E641")
    if code:
        fix = "check out with fetch-depth: 0"
        raise FinetuneError(f"git cannot compare {tag.name} with {ascii(remote)[:120]}", fix, "E622")


def _require_same_record(project: Project, tag: Tag, commit: str, branch: str) -> None:
    """E642 when the default branch records this version as released from another commit."""
    name = iteration_path(tag)
    shown = git(project.paths.root, "show", f"refs/remotes/origin/{branch}:{name}")
    if shown.returncode:
        return
    recorded = recorded_commit(shown.stdout)
    if recorded != commit:
        message = f"{name} on {branch} records a release from {recorded[:12]}, the tag is at {commit[:12]}"
        raise FinetuneError(message, "publish the new commit under a new version", "E642")
