"""A repository's settings on GitHub as far as setup_github.py knows them, stateful, for the real `gh`.

`Settings(private=…)` starts like a repository made a minute ago; `routes` go into a GitHubFake. The answers are
those of https://docs.github.com/rest, cut down to what is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from github_fake import Answer, Request

MISSING = Answer(404, {"message": "Not Found"})
DONE = Answer(204)


@dataclass
class Settings:
    """What the repository holds; tests change it and look at it."""

    name: str = "acme/demo"
    private: bool = False
    admin: bool = True
    default_branch: str = "main"
    pushed: bool = True
    organisation: bool = True
    host: str = "github.com"
    variables: dict[str, str] = field(default_factory=dict)
    environments: dict[str, dict[str, Any]] = field(default_factory=dict)
    policies: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    rulesets: list[dict[str, Any]] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    secrets: dict[str, list[str]] = field(default_factory=dict)
    """Names by place: "" for the repository, else an environment."""
    runners: list[dict[str, Any]] = field(default_factory=list)
    shared_runners: list[dict[str, Any]] = field(default_factory=list)
    owner_errors: list[dict[str, Any]] | None = field(default_factory=list)
    permissions: dict[str, Any] = field(
        default_factory=lambda: {"enabled": True, "allowed_actions": "all", "sha_pinning_required": False}
    )
    pages: dict[str, Any] = field(
        default_factory=lambda: {
            "workflow": {"default_workflow_permissions": "write", "can_approve_pull_request_reviews": False},
            "fork-pr-contributor-approval": {"approval_policy": "first_time_contributors"},
        }
    )
    switches: dict[str, bool] = field(
        default_factory=lambda: {"immutable-releases": False, "private-vulnerability-reporting": False}
    )
    number: int = 100

    def next(self) -> int:
        self.number += 1
        return self.number

    @property
    def routes(self) -> dict[str, Any]:
        base, place = f"/repos/{self.name}", "environments/{name}/deployment-branch-policies"
        return {
            f"GET {base}": lambda _: self.repository,
            f"GET {base}/branches/main": lambda _: {"name": "main"} if self.pushed else MISSING,
            f"GET {base}/actions/variables/{{name}}": self.variable,
            f"POST {base}/actions/variables": self.set_variable,
            f"PATCH {base}/actions/variables/{{name}}": self.set_variable,
            f"GET {base}/environments/{{name}}": lambda _, name: self.environments.get(name, MISSING),
            f"PUT {base}/environments/{{name}}": self.set_environment,
            f"GET {base}/{place}": self.list_policies,
            f"POST {base}/{place}": self.add_policy,
            f"DELETE {base}/{place}/{{number}}": self.remove_policy,
            f"GET {base}/rulesets": lambda _: [_summary(ruleset) for ruleset in self.rulesets],
            f"GET {base}/rulesets/{{number}}": lambda _, number: self.ruleset(number),
            f"POST {base}/rulesets": lambda request: self.put_ruleset(request.body, None),
            f"PUT {base}/rulesets/{{number}}": lambda request, number: self.put_ruleset(request.body, number),
            f"GET {base}/actions/permissions": lambda _: self.permissions,
            f"PUT {base}/actions/permissions": lambda request: self.permissions.update(request.body) or DONE,
            f"GET {base}/actions/permissions/{{page}}": lambda _, page: self.pages.get(page, MISSING),
            f"PUT {base}/actions/permissions/{{page}}": lambda request, page: self.pages[page].update(request.body),
            f"GET {base}/immutable-releases": lambda _: self.immutable(),
            f"PUT {base}/immutable-releases": lambda _: self.switches.update({"immutable-releases": True}),
            f"GET {base}/private-vulnerability-reporting": lambda _: {"enabled": self.switches[_PRIVATE]},
            f"PUT {base}/private-vulnerability-reporting": lambda _: self.switches.update({_PRIVATE: True}),
            f"GET {base}/labels/{{name}}": lambda _, name: {"name": name} if name in self.labels else MISSING,
            f"POST {base}/labels": lambda request: self.labels.append(request.body["name"]) or request.body,
            f"GET {base}/actions/runners": lambda _: {"runners": self.runners},
            f"GET /orgs/{self.name.partition('/')[0]}/actions/runners": lambda _: {"runners": self.shared_runners},
            f"GET {base}/actions/secrets": lambda _: self.secret_list(""),
            f"GET {base}/environments/{{name}}/secrets": lambda _, name: self.secret_list(name),
            f"GET {base}/codeowners/errors": lambda _: self.owners(),
            "GET /users/mona": lambda _: {"id": 7, "login": "mona"},
            "GET /orgs/acme/teams/release": lambda _: {"id": 70, "slug": "release"},
        }

    @property
    def repository(self) -> dict[str, Any]:
        return {
            "full_name": self.name,
            "private": self.private,
            "default_branch": self.default_branch,
            "html_url": f"https://{self.host}/{self.name}",
            "permissions": {"admin": self.admin, "push": True},
            "owner": {"login": "acme", "type": "Organization" if self.organisation else "User"},
        }

    def variable(self, _: Request, name: str) -> Any:
        return {"name": name, "value": self.variables[name]} if name in self.variables else MISSING

    def set_variable(self, request: Request, name: str | None = None) -> Answer:
        self.variables[name or request.body["name"]] = request.body["value"]
        return DONE if name else Answer(201, {})

    def set_environment(self, request: Request, name: str) -> Answer:
        asked = request.body or {}
        reviewers = [{"type": row["type"], "reviewer": {"id": row["id"]}} for row in asked.get("reviewers") or []]
        rules: list[dict[str, Any]] = [{"id": self.next(), "type": "branch_policy"}]
        if reviewers:
            self_review = asked.get("prevent_self_review", False)
            rules.append({"type": "required_reviewers", "reviewers": reviewers, "prevent_self_review": self_review})
        if asked.get("wait_timer"):
            rules.append({"type": "wait_timer", "wait_timer": asked["wait_timer"]})
        self.environments[name] = {
            "name": name,
            "protection_rules": rules,
            "can_admins_bypass": asked.get("can_admins_bypass", True),
            "deployment_branch_policy": asked.get("deployment_branch_policy"),
        }
        self.policies.setdefault(name, [])
        return Answer(200, self.environments[name])

    def list_policies(self, _: Request, name: str) -> Any:
        if name not in self.environments:
            return MISSING
        return {"total_count": len(self.policies[name]), "branch_policies": self.policies[name]}

    def add_policy(self, request: Request, name: str) -> Any:
        rule = self.environments.get(name, {}).get("deployment_branch_policy") or {}
        if not rule.get("custom_branch_policies"):
            return MISSING
        self.policies[name].append({"id": self.next(), **request.body})
        return Answer(200, self.policies[name][-1])

    def remove_policy(self, _: Request, name: str, number: str) -> Answer:
        self.policies[name] = [policy for policy in self.policies[name] if policy["id"] != int(number)]
        return DONE

    def ruleset(self, number: str) -> Any:
        return next((ruleset for ruleset in self.rulesets if ruleset["id"] == int(number)), MISSING)

    def put_ruleset(self, body: Mapping[str, Any], number: str | None) -> Answer:
        kept = {"id": int(number) if number else self.next(), "source_type": "Repository", **body}
        self.rulesets = [ruleset for ruleset in self.rulesets if ruleset["id"] != kept["id"]] + [kept]
        return Answer(200 if number else 201, kept)

    def immutable(self) -> Any:
        return {"enabled": True, "enforced_by_owner": False} if self.switches["immutable-releases"] else MISSING

    def owners(self) -> Any:
        return MISSING if self.owner_errors is None else {"errors": self.owner_errors}

    def secret_list(self, place: str) -> Any:
        return {"secrets": [{"name": name} for name in self.secrets.get(place, [])]}


_PRIVATE = "private-vulnerability-reporting"


def _summary(ruleset: Mapping[str, Any]) -> dict[str, Any]:
    """A list of rulesets shows neither rules nor conditions."""
    return {key: value for key, value in ruleset.items() if key not in ("rules", "conditions", "bypass_actors")}


def runner(name: str = "gpu-1", *labels: str, status: str = "online") -> dict[str, Any]:
    named = [{"name": label} for label in labels or ("self-hosted", "Linux", "GPU")]
    return {"id": 1, "name": name, "os": "linux", "status": status, "busy": False, "labels": named}
