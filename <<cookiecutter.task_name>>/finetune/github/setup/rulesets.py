"""Rulesets of the repository: release tags never move, main changes only by checked pull requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetune.github.setup.expectations import ACTIONS_APP, CHECK, Answer, Change, Target
from finetune.github.setup.gh import Request

Rules = dict[str, dict[str, Any]]
"""Type of a rule → its parameters, {} when it has none."""
TAGS = "release tags stay where they are"
MAKERS = "release tags are made by maintainers"
MAIN = "main changes by checked pull requests"
MAINTAINERS = tuple({"actor_id": role, "actor_type": "RepositoryRole", "bypass_mode": "always"} for role in (2, 5))
"""The repository roles maintain (2) and admin (5)."""


def tags(target: Target) -> Answer:
    """Tags v* are neither moved nor deleted, by nobody."""
    rules: Rules = {"deletion": {}, "update": {}}
    return _ruleset(target, TAGS, "tag", "refs/tags/v*", rules, None)


def makers(target: Target) -> Answer:
    """A tag v* publishes with the code it names, so those who can only write do not make one."""
    return _ruleset(target, MAKERS, "tag", "refs/tags/v*", {"creation": {}}, MAINTAINERS)


def main(target: Target) -> Answer:
    """The default branch: pull request, the required check, and a code owner's approval unless one works alone."""
    check: dict[str, Any] = {"context": CHECK}
    if not target.server:
        check["integration_id"] = ACTIONS_APP
    rules: Rules = {
        "deletion": {},
        "non_fast_forward": {},
        "pull_request": {
            "required_approving_review_count": target.approvals,
            "dismiss_stale_reviews_on_push": True,
            "require_code_owner_review": target.approvals > 0,
            "require_last_push_approval": False,
            "required_review_thread_resolution": False,
        },
        "required_status_checks": {
            "required_status_checks": [check],
            "strict_required_status_checks_policy": False,
        },
    }
    return _ruleset(target, MAIN, "branch", "~DEFAULT_BRANCH", rules, ())


def _ruleset(
    target: Target, name: str, kind: str, ref: str, wanted: Rules, bypass: tuple[Mapping[str, Any], ...] | None
) -> Answer:
    """The ruleset called `name` is active and at least as strict.

    `bypass` are the actors it starts with, the owner's to change later; None allows nobody, ever.
    """
    path = target.path("rulesets")
    listed = target.gh.get(f"{path}?per_page=100&includes_parents=false") or []
    number = next((row["id"] for row in listed if row["name"] == name and row.get("target") == kind), None)
    now: Mapping[str, Any] = (target.gh.get(f"{path}/{number}") if number else None) or {}
    rules = {rule["type"]: rule.get("parameters") or {} for rule in now.get("rules") or []}
    merged = {rule: stricter(wanted.get(rule, {}), rules.get(rule, {})) for rule in {**rules, **wanted}}
    reach = (now.get("conditions") or {}).get("ref_name") or {}
    include = reach.get("include") or []
    exceptions = [] if bypass is None else list(now.get("bypass_actors") or []) if now else list(bypass)
    body = {
        "name": name,
        "target": kind,
        "enforcement": "active",
        "bypass_actors": exceptions,
        "conditions": {"ref_name": {"include": [*include, *([] if ref in include else [ref])], "exclude": []}},
        "rules": [{"type": rule, **({"parameters": given} if given else {})} for rule, given in merged.items()],
    }
    if not now:
        return Answer((Change("does not exist", Request("POST", path, body)),))
    differing = [rule for rule in wanted if rule not in rules or merged[rule] != rules[rule]]
    says = [f"enforcement is {now.get('enforcement')}"] if now.get("enforcement") != "active" else []
    says += [f"{ref} is not covered"] if ref not in include or reach.get("exclude") else []
    says += [f"rule {rule} is missing or weaker" for rule in differing]
    says += ["somebody may bypass it"] if bypass is None and now.get("bypass_actors") else []
    return Answer((Change(", ".join(says), Request("PUT", f"{path}/{number}", body)),) if says else ())


def stricter(wanted: Any, now: Any) -> Any:
    """`now` with what `wanted` asks for beyond it: flags or-ed, counts at least as high, lists completed."""
    if isinstance(wanted, Mapping) and isinstance(now, Mapping):
        return {**now, **{key: stricter(value, now[key]) if key in now else value for key, value in wanted.items()}}
    if isinstance(wanted, bool):
        return wanted or bool(now)
    if isinstance(wanted, int):
        return max(wanted, now or 0)
    if isinstance(wanted, list):
        asked = {item["context"]: item for item in wanted}
        return [*(asked.pop(item["context"], item) for item in now or []), *asked.values()]
    return wanted
