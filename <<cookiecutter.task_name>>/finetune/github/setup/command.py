"""Make the repository's settings what the workflows expect, or say what is missing; both through the real `gh`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from finetune.config.project import Project
from finetune.console import say
from finetune.errors import OK, FinetuneError, GateFailed
from finetune.github.setup.advice import advice, gate_advice, secret_names
from finetune.github.setup.expectations import Answer, Expectation, Target, runs_on
from finetune.github.setup.gh import RIGHTS, ApiRefused, Gh, pause
from finetune.github.setup.table import EXPECTATIONS, RELEASE

BRANCH = "main"
"""The workflows are written for it."""


def setup(
    project: Project,
    repository: str | None = None,
    check: bool = False,
    dry_run: bool = False,
    runner_labels: str | None = None,
    reviewers: Iterable[str] = (),
    approvals: int = 1,
) -> int:
    """Apply the table of table.py, or only print the commands (`dry_run`), or only compare (`check`).

    Returns OK. Raises FinetuneError (exit 2) for missing rights or plans, a write that did not take, a wrong option,
    StorageFault (74) when GitHub is away, GateFailed (76) when `check` finds a difference.
    """
    if check and dry_run:
        raise FinetuneError("--check and --dry-run exclude each other", "choose one", "E679")
    if runner_labels is not None and runs_on(runner_labels) is None:
        fix = """write JSON, as in '["self-hosted","gpu"]' or '"hf-jobs-a10g-small"'"""
        raise FinetuneError(f"{runner_labels[:80]!r} is not what runs-on takes", fix, "E679")
    if repository is not None and not re.fullmatch(r"[\w.-]+/[\w.-]+", repository, re.ASCII):
        raise FinetuneError(f"{repository[:80]!r} is no repository", "write --repo OWNER/NAME", "E679")
    target = _find(Gh(project.paths.root), repository, runner_labels, reviewers, approvals)
    say(f"{target.name} on {target.host}, {'private' if target.private else 'public'}")
    if dry_run:
        return _print_commands(target)
    left = _compare(target) if check else _apply(target)
    for line in (*advice(target), *gate_advice(project, target)):
        say(line)
    _print_publishers(project, target)
    if left and check:
        raise GateFailed(
            f"{len(left)} of {len(EXPECTATIONS)} settings differ: {', '.join(left)}",
            "python scripts/setup_github.py sets them; with --dry-run it prints the commands",
            "E680",
        )
    if left:
        fix = "do what stands above and run the same command again"
        raise FinetuneError(f"{len(left)} of {len(EXPECTATIONS)} settings are not made: {', '.join(left)}", fix, "E678")
    say(f"all {len(EXPECTATIONS)} settings are as the workflows expect")
    return OK


def _find(gh: Gh, repository: str | None, labels: str | None, reviewers: Iterable[str], approvals: int) -> Target:
    """The repository named, or that of the git remote; an administrator's login is needed for all that follows."""
    answer = gh.get(f"repos/{repository or '{owner}/{repo}'}")
    if answer is None:
        fix = "check the name and the login (gh auth status)"
        raise FinetuneError(f"gh sees no repository {repository or 'of this remote'}", fix, "E672")
    name, host = answer["full_name"], urlsplit(answer.get("html_url") or "").hostname or "github.com"
    if not (answer.get("permissions") or {}).get("admin"):
        raise FinetuneError(f"this login does not administer {name}", RIGHTS, "E673")
    if answer["default_branch"] != BRANCH:
        fix = f"gh api --method POST repos/{name}/branches/{answer['default_branch']}/rename -f new_name={BRANCH}"
        raise FinetuneError(f"the default branch of {name} is {answer['default_branch']}, not {BRANCH}", fix, "E672")
    if gh.get(f"repos/{name}/branches/{BRANCH}") is None:
        fix = f"git push -u origin {BRANCH} first: the rules would keep the first push out"
        raise FinetuneError(f"{name} has no branch {BRANCH} yet", fix, "E672")
    return Target(
        gh,
        name,
        bool(answer["private"]),
        answer["owner"]["type"] == "Organization",
        BRANCH,
        host,
        labels,
        tuple(_reviewer(gh, login) for login in reviewers),
        approvals,
    )


def _reviewer(gh: Gh, login: str) -> Mapping[str, Any]:
    """A person by login, a team as ORG/TEAM."""
    organisation, _, team = login.strip("@").rpartition("/")
    answer = gh.get(f"orgs/{quote(organisation)}/teams/{quote(team)}" if organisation else f"users/{quote(team)}")
    if answer is None:
        raise FinetuneError(f"GitHub knows no {login[:80]!r}", "give a login, or ORGANISATION/TEAM", "E679")
    return {"type": "Team" if organisation else "User", "id": answer["id"]}


def _inspect(expectation: Expectation, target: Target) -> Answer | ApiRefused:
    """What the expectation found, said in one line unless there is something to change."""
    try:
        answer = expectation.inspect(target)
    except ApiRefused as refusal:
        say(f"✗ {expectation.name}: {refusal}")
        return refusal
    if not answer.changes:
        say(f"– {expectation.name}: {answer.note}" if answer.note else f"✓ {expectation.name}")
    return answer


def _compare(target: Target) -> list[str]:
    """Say what differs; the names of the expectations that are not met."""
    differing = []
    for expectation in EXPECTATIONS:
        answer = _inspect(expectation, target)
        if isinstance(answer, ApiRefused):
            differing.append(expectation.name)
        elif answer.changes:
            differing.append(expectation.name)
            say(f"✗ {expectation.name} ({expectation.why}; Settings > {expectation.where})")
            for change in answer.changes:
                say(f"    {change.says}. Fix: {change.request.shell()}")
    return differing


def _apply(target: Target) -> list[str]:
    """Send what is missing; a refusal does not keep the others from being tried. The names of those not made."""
    refused = []
    for expectation in EXPECTATIONS:
        answer = _inspect(expectation, target)
        if isinstance(answer, ApiRefused) or (answer.changes and not _made(expectation, answer, target)):
            refused.append(expectation.name)
    return refused


def _made(expectation: Expectation, answer: Answer, target: Target) -> bool:
    """Send the changes and look again: GitHub answers some writes with success and ignores them."""
    try:
        for change in answer.changes:
            target.gh.send(change.request)
            say(f"+ {expectation.name}: {change.says} → {change.request.method} {change.request.path}")
        left = expectation.inspect(target).changes
        if left:
            pause(1)  # an answer may be older than the write
            target.gh.forget()
            left = expectation.inspect(target).changes
    except ApiRefused as refusal:
        say(f"✗ {expectation.name}: {refusal}")
        return False
    if left:
        say(f"✗ {expectation.name} did not take: {left[0].says}. Fix: set it by hand, Settings > {expectation.where}")
    return not left


def _print_commands(target: Target) -> int:
    """The commands on standard output, ready for a shell, with what each is for as a comment."""
    for expectation in EXPECTATIONS:
        answer = _inspect(expectation, target)
        if isinstance(answer, ApiRefused):
            continue
        for change in answer.changes:
            # A variable's value may be anything; a comment ends where the line ends.
            says = " ".join(change.says.split())
            sys.stdout.write(f"# {expectation.name}: {says}\n{change.request.shell()}\n")
    return OK


def _print_publishers(project: Project, target: Target) -> None:
    """What to enter on the Hub, which has no API for it: one publisher a repository, claims as exact text."""
    hub = project.task.hub
    if "HF_TOKEN" in secret_names(target, f"environments/{RELEASE}/"):
        say(f"publishing uses the secret HF_TOKEN of {RELEASE}; delete it once the trusted publishers stand")
    say("Trusted publishers on the Hugging Face Hub (write role needed; not readable from here):")
    for repo in (hub.adapter, hub.gguf, hub.merged):
        say(f"  https://huggingface.co/{repo}/settings > Trusted Publishers > GitHub Actions")
        say(f"    repository = {target.name}")
        say("    workflow = release.yml")
        say(f"    environment = {RELEASE}")
    say("  leave branch and ref empty: a release runs on its tag, and claims are compared as whole words")
    private = " --private" if hub.private else ""
    say(f"  a repository that does not exist yet: hf repos create {hub.adapter}{private}")
    if target.host != "github.com":
        say(f"  on {target.host} choose a custom provider with that server's issuer, or set HF_TOKEN in {RELEASE}")
