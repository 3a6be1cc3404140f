"""What an owner configures, as `gh api` reads and writes it: environments, variables, rules, labels, Actions."""

from __future__ import annotations

from typing import Any

from .github_api import ADMIN, REPO, invalid, page, route
from .github_store import Access, Store
from .hub_api import Reply, Request
from .hub_store import ApiError

NONE = Reply(status=204)


def found(table: dict[Any, Any], key: Any) -> Any:
    if key not in table:
        raise ApiError(404, "Not Found")
    return table[key]


# People


@route("GET", "/users/(?P<login>[^/]+)")
def get_account(store: Store, request: Request, access: Access, login: str) -> dict[str, Any]:
    return {"login": login, "id": 100 + len(login), "type": "User"}


@route("GET", "/orgs/(?P<organisation>[^/]+)/teams/(?P<team>[^/]+)", *ADMIN)
def get_team(store: Store, request: Request, access: Access, organisation: str, team: str) -> dict[str, Any]:
    return {"slug": team, "id": 200 + len(team)}


@route("GET", "/orgs/(?P<organisation>[^/]+)/actions/runners", *ADMIN)
def organisation_runners(store: Store, request: Request, access: Access, organisation: str) -> Reply:
    return page(request, [], "runners")


@route("GET", f"{REPO}/actions/runners", *ADMIN)
def runners(store: Store, request: Request, access: Access) -> Reply:
    return page(request, store.settings.runners, "runners")


@route("GET", f"{REPO}/codeowners/errors", "contents:read")
def codeowner_errors(store: Store, request: Request, access: Access) -> dict[str, Any]:
    store.git("show", f"{store.default_branch}:.github/CODEOWNERS")
    return {"errors": []}


@route("GET", f"{REPO}/(?:actions|environments/(?P<name>[^/]+))/secrets", *ADMIN)
def secrets(store: Store, request: Request, access: Access, name: str | None = None) -> Reply:
    return page(request, [], "secrets")


@route("POST", "/graphql", *ADMIN)
def graphql(store: Store, request: Request, access: Access) -> dict[str, Any]:
    """The one query that `gh workflow run` makes where no --ref is given: the default branch."""
    if "query RepositoryInfo" not in request.json()["query"]:
        raise ApiError(400, "fake GitHub: this GraphQL query is not known here")
    owner, name = store.repository.split("/")
    return {
        "data": {
            "repository": {
                "id": "R_1",
                "name": name,
                "owner": {"login": owner},
                "defaultBranchRef": {"name": store.default_branch},
            }
        }
    }


# Variables and labels


@route("GET", f"{REPO}/actions/variables/(?P<name>[^/]+)", *ADMIN)
def get_variable(store: Store, request: Request, access: Access, name: str) -> dict[str, Any]:
    return {"name": name, "value": found(store.settings.variables, name)}


@route("POST", f"{REPO}/actions/variables", *ADMIN)
def create_variable(store: Store, request: Request, access: Access) -> Reply:
    asked = request.json()
    if asked["name"] in store.settings.variables:
        raise ApiError(409, "Already exists - Variable already exists")
    store.settings.variables[asked["name"]] = asked["value"]
    return Reply({}, 201)


@route("PATCH", f"{REPO}/actions/variables/(?P<name>[^/]+)", *ADMIN)
def update_variable(store: Store, request: Request, access: Access, name: str) -> Reply:
    found(store.settings.variables, name)
    store.settings.variables[name] = request.json()["value"]
    return NONE


@route("GET", f"{REPO}/labels/(?P<name>.+)", "issues:read", "pull-requests:read")
def get_label(store: Store, request: Request, access: Access, name: str) -> dict[str, Any]:
    return found(store.settings.labels, name)


@route("POST", f"{REPO}/labels", "issues:write", "pull-requests:write")
def create_label(store: Store, request: Request, access: Access) -> Reply:
    asked = request.json()
    if asked["name"] in store.settings.labels:
        raise invalid("already exists", resource="Label", code="already_exists", field="name")
    store.settings.labels[asked["name"]] = asked
    return Reply(asked, 201)


# Environments

ENVIRONMENT = f"{REPO}/environments/(?P<name>[^/]+)"


@route("GET", ENVIRONMENT, *ADMIN)
def get_environment(store: Store, request: Request, access: Access, name: str) -> dict[str, Any]:
    return found(store.settings.environments, name)


@route("PUT", ENVIRONMENT, *ADMIN)
def put_environment(store: Store, request: Request, access: Access, name: str) -> dict[str, Any]:
    """Replaces every rule: what is not said again is gone."""
    asked = request.json()
    rules: list[dict[str, Any]] = []
    if asked.get("wait_timer"):
        rules.append({"type": "wait_timer", "wait_timer": asked["wait_timer"]})
    if asked.get("reviewers"):
        rules.append(
            {
                "type": "required_reviewers",
                "prevent_self_review": bool(asked.get("prevent_self_review")),
                "reviewers": [{"type": r["type"], "reviewer": {"id": r["id"]}} for r in asked["reviewers"]],
            }
        )
    policy = asked.get("deployment_branch_policy")
    if policy:
        rules.append({"type": "branch_policy"})
    store.settings.environments[name] = {
        "id": 1,
        "name": name,
        "protection_rules": rules,
        "deployment_branch_policy": policy,
        "can_admins_bypass": asked.get("can_admins_bypass", True),
    }
    return store.settings.environments[name]


@route("GET", f"{ENVIRONMENT}/deployment-branch-policies", *ADMIN)
def list_policies(store: Store, request: Request, access: Access, name: str) -> Reply:
    found(store.settings.environments, name)
    return page(request, store.settings.policies.get(name, []), "branch_policies")


@route("POST", f"{ENVIRONMENT}/deployment-branch-policies", *ADMIN)
def create_policy(store: Store, request: Request, access: Access, name: str) -> Reply:
    if not (found(store.settings.environments, name)["deployment_branch_policy"] or {}).get("custom_branch_policies"):
        raise ApiError(404, "Not Found")
    asked = request.json()
    policy = {"id": store.next_id(), "name": asked["name"], "type": asked.get("type", "branch")}
    store.settings.policies.setdefault(name, []).append(policy)
    return Reply(policy, 200)


@route("DELETE", f"{ENVIRONMENT}/deployment-branch-policies/(?P<number>[0-9]+)", *ADMIN)
def delete_policy(store: Store, request: Request, access: Access, name: str, number: str) -> Reply:
    policies = found(store.settings.policies, name)
    policies[:] = [policy for policy in policies if policy["id"] != int(number)]
    return NONE


# Rulesets


@route("GET", f"{REPO}/rulesets", *ADMIN)
def list_rulesets(store: Store, request: Request, access: Access) -> Reply:
    """Without the rules, as GitHub lists them."""
    shown = ("id", "name", "target", "enforcement")
    return page(request, [{key: rules[key] for key in shown} for rules in store.settings.rulesets.values()])


@route("GET", f"{REPO}/rulesets/(?P<number>[0-9]+)", *ADMIN)
def get_ruleset(store: Store, request: Request, access: Access, number: str) -> dict[str, Any]:
    return found(store.settings.rulesets, int(number))


@route("POST", f"{REPO}/rulesets", *ADMIN)
def create_ruleset(store: Store, request: Request, access: Access) -> Reply:
    asked = request.json()
    if any(rules["name"] == asked["name"] for rules in store.settings.rulesets.values()):
        raise invalid("Name must be unique")
    number = store.next_id()
    store.settings.rulesets[number] = {"target": "branch", "bypass_actors": [], **asked, "id": number}
    return Reply(store.settings.rulesets[number], 201)


@route("PUT", f"{REPO}/rulesets/(?P<number>[0-9]+)", *ADMIN)
def update_ruleset(store: Store, request: Request, access: Access, number: str) -> dict[str, Any]:
    found(store.settings.rulesets, int(number)).update(request.json())
    return store.settings.rulesets[int(number)]


# What Actions may do

PERMISSIONS = f"{REPO}/actions/permissions"


@route("GET", PERMISSIONS, *ADMIN)
def get_permissions(store: Store, request: Request, access: Access) -> dict[str, Any]:
    return store.settings.actions


@route("PUT", PERMISSIONS, *ADMIN)
def put_permissions(store: Store, request: Request, access: Access) -> Reply:
    asked = request.json()
    if "enabled" not in asked:
        raise invalid("enabled is missing")
    store.settings.actions.update(asked)
    return NONE


@route("GET", f"{PERMISSIONS}/workflow", *ADMIN)
def get_workflow_permissions(store: Store, request: Request, access: Access) -> dict[str, Any]:
    return store.settings.workflow


@route("PUT", f"{PERMISSIONS}/workflow", *ADMIN)
def put_workflow_permissions(store: Store, request: Request, access: Access) -> Reply:
    store.settings.workflow.update(request.json())
    return NONE


@route("GET", f"{PERMISSIONS}/fork-pr-contributor-approval", *ADMIN)
def get_fork_approval(store: Store, request: Request, access: Access) -> dict[str, Any]:
    return {"approval_policy": store.settings.fork_approval}


@route("PUT", f"{PERMISSIONS}/fork-pr-contributor-approval", *ADMIN)
def put_fork_approval(store: Store, request: Request, access: Access) -> Reply:
    store.settings.fork_approval = request.json()["approval_policy"]
    return NONE


@route("GET", f"{REPO}/(?P<name>immutable-releases|private-vulnerability-reporting)", *ADMIN)
def get_feature(store: Store, request: Request, access: Access, name: str) -> dict[str, Any]:
    """Immutable releases answer 404 while they are off."""
    on = store.settings.features.get(name, False)
    if name == "immutable-releases" and not on:
        raise ApiError(404, "Not Found")
    return {"enabled": on}


@route("PUT", f"{REPO}/(?P<name>immutable-releases|private-vulnerability-reporting)", *ADMIN)
def put_feature(store: Store, request: Request, access: Access, name: str) -> Reply:
    store.settings.features[name] = True
    if name == "immutable-releases":
        store.immutable_releases = True
    return NONE
