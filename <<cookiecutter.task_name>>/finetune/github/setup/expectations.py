"""What the workflows expect of the repository's settings: one table, read by --check, by --dry-run and by applying.

An expectation compares the repository with what is wanted and answers with the requests that are missing: none when it
is met. What is stricter than wanted stays as it is. https://docs.github.com/rest
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from finetune.github.setup.gh import RIGHTS, ApiRefused, Gh, Request

RUNNER_VARIABLE = "GPU_RUNNER_LABELS"
RUNNER_LABELS = '["self-hosted","gpu"]'
"""Where train.yml and release.yml run when the variable is not set."""
CHECK = "data / gate"
"""The one required check: the last job of data.yml."""
ACTIONS_APP = 15368
"""GitHub Actions on github.com: nobody else's check of that name counts."""
LABELS = {  # of the issue forms and dependabot.yml
    "data": ("1d76db", "rows of data/raw are added, corrected or removed"),
    "model": ("5319e7", "configuration, prompt, training or evaluation"),
    "bug": ("d73a4a", "a step, a workflow or a page does something wrong"),
    "dependencies": ("0366d6", "a pinned version changes"),
}


@dataclass(frozen=True)
class Target:
    """The repository, and what its owner asked for."""

    gh: Gh
    name: str
    """OWNER/NAME as GitHub spells it."""
    private: bool
    organisation: bool
    default_branch: str
    host: str
    runner_labels: str | None = None
    """JSON for `runs-on`; None keeps what is set."""
    reviewers: tuple[Mapping[str, Any], ...] = ()
    """{"type": "User" | "Team", "id": …} whose yes both environments wait for."""
    approvals: int = 1

    def path(self, rest: str) -> str:
        return f"repos/{self.name}/{rest}"

    @property
    def server(self) -> bool:
        """Is this GitHub Enterprise Server, which knows fewer settings?"""
        return self.host != "github.com" and not self.host.endswith(".ghe.com")


@dataclass(frozen=True)
class Change:
    """One thing that is not as expected, and the request that mends it."""

    says: str
    request: Request


@dataclass(frozen=True)
class Answer:
    """What an expectation found: changes to make, or why it has nothing to say here."""

    changes: tuple[Change, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Expectation:
    """One line of the table."""

    name: str
    why: str
    where: str
    """The page of the web settings that shows it."""
    inspect: Callable[[Target], Answer] = field(repr=False)


def runner_labels(target: Target) -> Answer:
    """The variable is set, and is JSON that `runs-on` understands; an option given by hand wins."""
    path, now = target.path("actions/variables"), target.gh.get(target.path(f"actions/variables/{RUNNER_VARIABLE}"))
    body = {"name": RUNNER_VARIABLE, "value": target.runner_labels or RUNNER_LABELS}
    if now is None:
        return Answer((Change("is not set", Request("POST", path, body)),))
    update = Request("PATCH", f"{path}/{RUNNER_VARIABLE}", body)
    current = runs_on(now["value"])
    if current is None:
        return Answer((Change(f"{now['value'][:80]!r} is not what runs-on takes", update),))
    if target.runner_labels is not None and current != runs_on(target.runner_labels):
        return Answer((Change(f"is {now['value'][:80]}, asked for is {target.runner_labels}", update),))
    return Answer()


def runs_on(text: str) -> Any | None:
    """`text` as `runs-on` reads it after fromJSON: a label, several, a group with labels; None if it is neither."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    labels = value.get("labels", []) if isinstance(value, dict) else value
    labels = [labels] if isinstance(labels, str) else labels
    named = isinstance(value, dict) and set(value) <= {"group", "labels"} and isinstance(value.get("group", ""), str)
    if not isinstance(labels, list) or not all(isinstance(label, str) and label for label in labels):
        return None
    return value if labels or (named and value.get("group")) else None


def environment(name: str, refs: tuple[tuple[str, str], ...], target: Target, asks: bool = True) -> Answer:
    """The environment exists, only `refs` (pattern, kind) deploy to it, its reviewers include those asked for.

    Without `asks` none are: a job that runs after another's approval does not wait for a second one.
    """
    path = target.path(f"environments/{name}")
    now = target.gh.get(path)
    wanted: dict[str, Any] = {"deployment_branch_policy": {"protected_branches": False, "custom_branch_policies": True}}
    if not target.private:  # below Enterprise a private repository refuses the key
        wanted["can_admins_bypass"] = False
    rules = {rule["type"]: rule for rule in (now or {}).get("protection_rules") or []}
    present = [
        {"type": reviewer["type"], "id": reviewer["reviewer"]["id"]}
        for reviewer in rules.get("required_reviewers", {}).get("reviewers") or []
    ]
    missing = [dict(reviewer) for reviewer in target.reviewers if asks and reviewer not in present]
    says = "does not exist" if now is None else ""
    if now is not None:
        differing = [key for key, value in wanted.items() if key in now and now[key] != value]
        says = ", ".join([*differing, *(["a reviewer is missing"] if missing else [])])
    changes = []
    if says:
        # A PUT replaces every rule: what stands there already has to be said again.
        kept: dict[str, Any] = {"reviewers": [*present, *missing]} if present or missing else {}
        if "required_reviewers" in rules:
            kept["prevent_self_review"] = bool(rules["required_reviewers"].get("prevent_self_review"))
        if "wait_timer" in rules:
            kept["wait_timer"] = rules["wait_timer"]["wait_timer"]
        changes.append(Change(says, Request("PUT", path, wanted | kept)))
    listed = (target.gh.get(f"{path}/deployment-branch-policies?per_page=100") if now else None) or {}
    policies = {(row["name"], row.get("type", "branch")): row["id"] for row in listed.get("branch_policies") or []}
    for pattern, kind in refs:
        if (pattern, kind) not in policies:
            create = Request("POST", f"{path}/deployment-branch-policies", {"name": pattern, "type": kind})
            changes.append(Change(f"{kind} {pattern} may not deploy", create))
    for (pattern, kind), number in policies.items():
        if (pattern, kind) not in refs:
            delete = Request("DELETE", f"{path}/deployment-branch-policies/{number}")
            changes.append(Change(f"{kind} {pattern} may deploy", delete))
    return Answer(tuple(changes))


def switch(path: str, wanted: Mapping[str, Any], keep: tuple[str, ...], target: Target) -> Answer:
    """A page of settings that is read by GET and replaced by PUT; `keep` names what is written back unchanged."""
    now = target.gh.get(target.path(path))
    if now is None and not target.server:
        raise ApiRefused(f"gh may not read {path} of {target.name}", RIGHTS, "E673", 404)
    # Where Actions are off altogether, the answer says nothing else.
    if now is None or (now.get("enabled") is not False and not set(wanted) <= set(now)):
        return Answer(note=f"{target.host} does not have this setting")
    differing = [f"{key} is {json.dumps(now.get(key))}" for key, value in wanted.items() if now.get(key) != value]
    if not differing:
        return Answer()
    body = {**{key: now[key] for key in keep if now.get(key) is not None}, **wanted}
    return Answer((Change(", ".join(differing), Request("PUT", target.path(path), body)),))


def public(inspect: Callable[[Target], Answer], target: Target) -> Answer:
    """Only a public repository has it: elsewhere nobody from outside opens pull requests."""
    return Answer(note="only for public repositories") if target.private else inspect(target)


def turned_on(path: str, target: Target) -> Answer:
    """A switch that GET shows and a PUT without a body turns on; 404 means off."""
    now = target.gh.get(target.path(path))
    if now is None and target.server:
        return Answer(note=f"{target.host} does not have this setting")
    if now and now.get("enabled"):
        return Answer()
    return Answer((Change("is off", Request("PUT", target.path(path))),))


def labels(target: Target) -> Answer:
    """The labels exist; their colours are the owner's business."""
    changes = []
    for name, (colour, description) in LABELS.items():
        if target.gh.get(target.path(f"labels/{name}")) is None:
            body = {"name": name, "color": colour, "description": description}
            changes.append(Change(f"{name} does not exist", Request("POST", target.path("labels"), body)))
    return Answer(tuple(changes))
