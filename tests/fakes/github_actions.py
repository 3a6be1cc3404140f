"""Workflow runs, dispatches and artifacts of the fake GitHub; id tokens; and what the harness tells it."""

from __future__ import annotations

import base64
import json
import re
import zlib
from pathlib import Path
from typing import Any

import yaml

from .github_api import REPO, invalid, page, route
from .github_store import Access, Dispatch, Store, WorkflowRun
from .hub_api import Reply, Request
from .hub_store import ApiError

RUNS = f"{REPO}/actions/runs"
RUN = f"{RUNS}/(?P<number>[0-9]+)"
MAX_INPUTS = 25


# What the harness and the storage behind the API use


@route("POST", r"/_harness/runs/(?P<number>[0-9]+)/job")
def begin_job(store: Store, request: Request, access: Access, number: str) -> dict[str, Any]:
    """The checkout stub says which job runs now; its permissions are the token's from here on."""
    asked = request.json()
    run = store.runs[int(number)]
    run.job = (asked["workflow"], asked["job"])
    if hook := store.on_job.pop(asked["job"], None):
        hook()
    return {}


@route("GET", r"/_storage/(?P<number>[0-9]+)/(?P<artifact>[0-9]+)\.zip")
def storage(store: Store, request: Request, access: Access, number: str, artifact: str) -> Reply:
    """The blob store behind an artifact; like the real one it refuses a request that carries the API's token."""
    if request.authorization:
        raise ApiError(400, "InvalidAuthenticationInfo: only one form of authorization is accepted")
    return Reply((store.artifacts / number / f"{artifact}.zip").read_bytes())


@route("GET", "/_oidc/token", "id-token:write")
def id_token(store: Store, request: Request, access: Access) -> dict[str, Any]:
    """What ACTIONS_ID_TOKEN_REQUEST_URL answers: the claims the Hub compares; the signature is not looked at."""
    assert access.run is not None
    job = access.run.job or ("", "")
    claims = {
        "repository": store.repository,
        "environment": "hf-release" if job[1] == "model" else "",
        "aud": request.query.get("audience", ""),
        "ref": f"refs/tags/{access.run.head_branch}",
        "sub": f"repo:{store.repository}:environment:hf-release",
        "iss": "https://token.actions.githubusercontent.com",
    }
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in ({}, claims)]
    return {"value": ".".join([*parts, "signature"])}


# Runs


def run_json(store: Store, run: WorkflowRun) -> dict[str, Any]:
    return {
        "id": run.id,
        "name": run.workflow.removesuffix(".yml"),
        "path": f".github/workflows/{run.workflow}",
        "event": run.event,
        "status": run.status,
        "conclusion": run.conclusion,
        "run_attempt": run.attempt,
        "head_branch": run.head_branch,
        "head_sha": run.head_sha,
        "created_at": run.created_at,
        "run_number": 1,
        "html_url": f"https://github.com/{store.repository}/actions/runs/{run.id}",
        "repository": {"id": 1, "full_name": store.repository},
        "head_repository": {"id": 2 if run.fork else 1, "full_name": "a/fork" if run.fork else store.repository},
    }


def find_run(store: Store, number: str) -> WorkflowRun:
    if int(number) not in store.runs:
        raise ApiError(404, "Not Found")
    return store.runs[int(number)]


@route("GET", RUN, "actions:read")
def get_run(store: Store, request: Request, access: Access, number: str) -> dict[str, Any]:
    return run_json(store, find_run(store, number))


@route("GET", f"{REPO}/actions/(?:workflows/(?P<workflow>[^/]+)/)?runs", "actions:read")
def list_runs(store: Store, request: Request, access: Access, workflow: str | None = None) -> Reply:
    wanted = {name: request.query[name] for name in ("event", "head_sha", "status") if name in request.query}
    found = [run_json(store, run) for run in reversed(store.runs.values()) if workflow in (None, run.workflow)]
    if branch := request.query.get("branch"):
        wanted["head_branch"] = branch
    found = [run for run in found if all(value in (run[name], run["conclusion"]) for name, value in wanted.items())]
    return page(request, found, "workflow_runs")


@route("GET", f"{REPO}/actions/workflows/(?P<workflow>[^/]+)", "actions:read")
def get_workflow(store: Store, request: Request, access: Access, workflow: str) -> dict[str, Any]:
    workflow = workflow_file(store, workflow)
    definition(store, workflow, store.default_branch)
    number, path = zlib.crc32(workflow.encode()), f".github/workflows/{workflow}"
    return {"id": number, "name": workflow, "path": path, "state": "active"}


def workflow_file(store: Store, named: str) -> str:
    """A workflow is named by its file or, as gh does, by its number."""
    names = store.git("ls-tree", "--name-only", f"{store.default_branch}:.github/workflows").decode().split()
    return next((name for name in names if str(zlib.crc32(name.encode())) == named), named)


def definition(store: Store, workflow: str, ref: str) -> dict[str, Any]:
    """The workflow file as it stands at `ref`; 404 where there is none."""
    text = store.git("show", f"{store.commit(ref)}:.github/workflows/{workflow}")
    values = yaml.safe_load(text)
    return {**values, "on": values.get("on", values.get(True))}  # YAML 1.1 reads `on` as true


@route("POST", f"{REPO}/actions/workflows/(?P<workflow>[^/]+)/dispatches", "actions:write")
def create_dispatch(store: Store, request: Request, access: Access, workflow: str) -> Reply:
    """Inputs are held against the file at that reference; `return_run_details` asks for the run's number."""
    asked, workflow = request.json(), workflow_file(store, workflow)
    branch = asked["ref"].removeprefix("refs/heads/").removeprefix("refs/tags/")
    trigger = definition(store, workflow, branch)["on"]
    if not isinstance(trigger, dict) or "workflow_dispatch" not in trigger:
        raise invalid("Workflow does not have 'workflow_dispatch' trigger")
    declared = (trigger["workflow_dispatch"] or {}).get("inputs") or {}
    given = {name: str(value) for name, value in (asked.get("inputs") or {}).items()}
    if unknown := sorted(set(given) - set(declared)):
        raise invalid(f"Unexpected inputs provided: {unknown}")
    missing = [name for name, values in declared.items() if values.get("required") and not given.get(name)]
    if missing:
        raise invalid(f"Required input '{missing[0]}' not provided")
    inputs = {name: str(values.get("default", "")) for name, values in declared.items()} | given
    run = store.add_run(workflow, "workflow_dispatch", branch, store.commit(branch), status="queued")
    store.dispatches.append(Dispatch(workflow, branch, inputs, run.id))
    if not asked.get("return_run_details"):
        return Reply(status=204)
    return Reply(
        {
            "workflow_run_id": run.id,
            "run_url": f"{request.base}/repos/{store.repository}/actions/runs/{run.id}",
            "html_url": f"https://github.com/{store.repository}/actions/runs/{run.id}",
        }
    )


@route("POST", f"{RUN}/cancel", "actions:write")
def cancel_run(store: Store, request: Request, access: Access, number: str) -> Reply:
    run = find_run(store, number)
    if run.status == "completed":
        raise ApiError(409, "Cannot cancel a workflow run that is completed")
    run.status, run.conclusion = "completed", "cancelled"
    return Reply({}, 202)


# Artifacts


def artifact_json(store: Store, request: Request, run_id: int, values: dict[str, Any]) -> dict[str, Any]:
    run = store.runs.get(run_id)
    url = f"{request.base}/repos/{store.repository}/actions/artifacts/{values['id']}"
    return {
        **values,
        "url": url,
        "archive_download_url": f"{url}/zip",
        "node_id": f"A_{values['id']}",
        "workflow_run": {
            "id": run_id,
            "repository_id": 1,
            "head_repository_id": 2 if run and run.fork else 1,
            "head_branch": run.head_branch if run else None,
            "head_sha": run.head_sha if run else None,
        },
    }


@route("GET", f"{RUN}/artifacts", "actions:read")
@route("GET", f"{REPO}/actions/artifacts", "actions:read")
def list_artifacts(store: Store, request: Request, access: Access, number: str | None = None) -> Reply:
    """Of one run or of the repository, newest first; `name` must be equal."""
    found = [
        artifact_json(store, request, run_id, values)
        for run_id, _, values in store.artifact_records()
        if number in (None, str(run_id)) and request.query.get("name") in (None, values["name"])
    ]
    return page(request, found, "artifacts")


def find_artifact(store: Store, artifact: str) -> tuple[int, Path, dict[str, Any]]:
    for run_id, path, values in store.artifact_records():
        if values["id"] == int(artifact):
            return run_id, path, values
    raise ApiError(404, "Not Found")


@route("GET", f"{REPO}/actions/artifacts/(?P<artifact>[0-9]+)", "actions:read")
def get_artifact(store: Store, request: Request, access: Access, artifact: str) -> dict[str, Any]:
    run_id, _, values = find_artifact(store, artifact)
    return artifact_json(store, request, run_id, values)


@route("GET", f"{REPO}/actions/artifacts/(?P<artifact>[0-9]+)/zip", "actions:read")
def download_artifact(store: Store, request: Request, access: Access, artifact: str) -> Reply:
    """A redirect to another host, which must not get the token; 410 when it has expired."""
    run_id, _, values = find_artifact(store, artifact)
    if values["expired"]:
        raise ApiError(410, "Artifact has expired")
    host = re.sub(r"//127\.0\.0\.1", "//localhost", request.base)
    return Reply(b"", 302, {"Location": f"{host}/_storage/{run_id}/{artifact}.zip"})
