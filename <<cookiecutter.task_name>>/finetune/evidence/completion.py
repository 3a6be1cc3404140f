"""The last phase: the phases before it, the documents, and what stays when the work is over."""

from __future__ import annotations

from finetune.evidence.facts import Facts
from finetune.evidence.findings import Finding, Status, done, failed, not_yet
from finetune.evidence.registry import evidence
from finetune.git import git_line
from finetune.versions import parse_version

RECORDED = ("data", "config", "metrics", "artefacts")
"""What an iteration keeps, so that versions can be compared."""


def _summed(facts: Facts, items: list[str], what: str) -> Finding:
    """Done when all of `items` are; otherwise the ones that are not, failed before open."""

    def in_state(status: Status) -> list[str]:
        return [item for item in items if facts.found[item].status == status]

    failing, waiting = in_state("failed"), in_state("open")
    if failing or waiting:
        listed = failing or waiting
        text = f"{len(failing)} failed, {len(waiting)} open of {len(items)}: {', '.join(listed[:8])}"
        return (failed if failing else not_yet)(text + (" …" if len(listed) > 8 else ""))
    return done(f"{len(items)} of {len(items)} {what} done")


@evidence
def all_phases(facts: Facts) -> Finding:
    items = [item for item in facts.found if int(item.split(".")[0]) < 7]
    return _summed(facts, items, "items of phases 1 to 6")


@evidence
def documents(facts: Facts) -> Finding:
    return _summed(facts, ["2.3", "5.8", "6.12", "6.13", "6.14"], "documents")


@evidence
def deployment_verified(facts: Facts) -> Finding:
    return _summed(facts, ["6.9", "6.10", "6.11", "6.16", "6.17", "6.18"], "checks of the deployment")


@evidence
def archived(facts: Facts) -> Finding:
    if unloaded := facts.unloaded():
        return unloaded
    version = facts.task.released_version
    if not version:
        return not_yet("nothing released yet (task_definition.yaml: released_version)")
    parsed = parse_version(version.removeprefix("v"))
    if parsed is None:
        return failed(f"released_version {version} is no version (task_definition.yaml)")
    tag = parsed.tag
    if not any(name == f"{tag}.yaml" for name, _ in facts.iterations):
        return not_yet(f"no iterations/{tag}.yaml: merge the pull request of the release")
    commit = git_line(facts.root, "rev-parse", "--verify", "--quiet", f"refs/tags/{tag}^{{commit}}")
    if not commit:
        return not_yet(f"no git tag {tag} here: git fetch --tags, or push the tag")
    return done(f"git tag {tag} at {commit[:12]}, iterations/{tag}.yaml")


@evidence
def iterations(facts: Facts) -> Finding:
    if not facts.iterations:
        return not_yet("no iterations/*.yaml: every release adds one")
    for name, content in facts.iterations:
        absent = [key for key in RECORDED if key not in content]
        if absent:
            return failed(f"iterations/{name} lacks {', '.join(absent)}")
    return done(f"{len(facts.iterations)} recorded, newest {facts.iterations[-1][0]} (iterations/)")
