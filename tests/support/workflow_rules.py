"""The rules of every workflow, of this repository and of the generated ones, as functions that name what breaks them.

A rule takes a Workflow and yields one line a violation. What act ignores (triggers, permissions, environments,
concurrency, timeouts) is held here; R and T numbers are those of the fault list and of the threat model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import yaml

from .workflow_tables import ACTIONS, CONTEXTS, ENVIRONMENTS, GPU, HOSTED, OUTPUTS, READ, READ_TOKEN, SCOPES, TRIGGERS

SAME_REPOSITORY = "github.event.pull_request.head.repo.full_name == github.repository"
_ONE_COMMAND = re.compile(r"[;|`<>\n]|&&|\$\(")
_INSTALLERS = re.compile(r"\b(pip3?|pipx|uv|conda|apt|apt-get|npm|npx|curl|wget|brew|docker)\b")
_CONTEXT = re.compile(
    r"\b(?:github|inputs|needs|steps|vars|secrets|matrix|jobs?|env|runner|strategy)\b(?:\.[\w.*-]+)?", re.IGNORECASE
)
_USES = re.compile(r"^\s*(?:- )?uses: ([\w./-]+)@(\S+ # v\d+\.\d+\.\d+)$")


@dataclass(frozen=True)
class Workflow:
    """One file; `name` is SET/FILE."""

    name: str
    text: str

    @cached_property
    def data(self) -> dict[str, Any]:
        """Every scalar as it is written, so that `on` stays a key."""
        return yaml.load(self.text, yaml.BaseLoader)

    @property
    def jobs(self) -> dict[str, dict[str, Any]]:
        return self.data["jobs"]

    @property
    def steps(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Job and step, in order."""
        return ((job, step) for job, body in self.jobs.items() for step in body.get("steps", []))

    @property
    def triggers(self) -> set[str]:
        on = self.data["on"]
        return {on} if isinstance(on, str) else set(on)


def expressions(value: Any, key: str = "") -> Iterator[str]:
    """What is evaluated in `value`: `${{ }}` and every `if`, without its string literals."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from expressions(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from expressions(inner, key)
    elif isinstance(value, str):
        found = re.findall(r"\$\{\{(.*?)\}\}", value, flags=re.DOTALL)
        for text in found or ([value] if key == "if" else []):
            yield re.sub(r"'[^']*'", "''", text)


def contexts(value: Any) -> set[str]:
    return {context for text in expressions(value) for context in _CONTEXT.findall(text)}


def permissions(w: Workflow) -> Iterator[str]:
    """None on top; each job has exactly its scopes, and each scope says why."""
    if w.data.get("permissions") != {}:
        yield "permissions on top are not {}"
    for job, body in w.jobs.items():
        if body.get("permissions") != SCOPES[w.name][job]:
            yield f"{job} has {body.get('permissions')}, expected {SCOPES[w.name][job]}"
    for line in re.findall(r"^ {6}[a-z-]+: (?:read|write|none)\b.*$", w.text, flags=re.MULTILINE):
        if not re.search(r" # \S+ ", line):
            yield f"no reason: {line.strip()}"


def timeouts(w: Workflow) -> Iterator[str]:
    """On every job that runs here; a GPU job stays below the 24 hours of its token (R31)."""
    for job, body in w.jobs.items():
        if "uses" not in body:
            limit = 1380 if body["runs-on"] == GPU else 60
            if not 0 < int(body.get("timeout-minutes", 0)) <= limit:
                yield f"{job} has timeout-minutes {body.get('timeout-minutes')}, at most {limit}"


def concurrency(w: Workflow) -> Iterator[str]:
    """Every workflow has a group; only runs of the same pull request replace each other; the GPU queue loses nobody."""
    whole = w.data.get("concurrency")
    if not isinstance(whole, dict) or not whole.get("group"):
        yield "no concurrency group"
        return
    cancel = whole.get("cancel-in-progress")
    if cancel not in ("false", "${{ github.event_name == 'pull_request' }}", "${{ inputs.pr != '' }}"):
        yield f"cancel-in-progress is {cancel}: only a pull request's own older run may be cancelled"
    if cancel == "${{ github.event_name == 'pull_request' }}" and "pull_request.number ||" not in whole["group"]:
        yield "runs of different pull requests share a group and are cancelled"
    if cancel == "${{ inputs.pr != '' }}" and whole["group"] != "train-${{ inputs.pr || inputs.sha }}":
        yield "trainings of different pull requests share a group and are cancelled"
    if cancel == "false" and whole.get("queue") != "max":
        yield "without queue: max the newest run cancels those that wait (R30)"
    for job, body in w.jobs.items():
        wanted = {"group": "gpu", "cancel-in-progress": "false", "queue": "max"} if _on_gpu(body) else None
        if body.get("concurrency") != wanted:
            yield f"{job} has concurrency {body.get('concurrency')}, expected {wanted} (R30)"


def triggers(w: Workflow) -> Iterator[str]:
    """Nothing privileged that a stranger can start (T2)."""
    yield from (f"trigger {name}" for name in w.triggers - TRIGGERS)


def runners(w: Workflow) -> Iterator[str]:
    """GPU runners only in train.yml and release.yml of the generated set, which no pull request starts (T1)."""
    for job, body in w.jobs.items():
        if "uses" in body or body["runs-on"] == HOSTED:
            continue
        if body["runs-on"] != GPU:
            yield f"{job} runs on {body['runs-on']}"
        elif w.name not in ("generated/train.yml", "generated/release.yml"):
            yield f"{job} runs on the GPU"
        elif any(trigger.startswith(("pull_request", "merge_group")) for trigger in w.triggers):
            yield f"{job} runs on the GPU in a workflow that a pull request starts"


def pins(w: Workflow) -> Iterator[str]:
    """Known actions at their commit with its version as a comment; local ones by `./.github/` (T24)."""
    for line in re.findall(r"^.*\buses:.*$", w.text, flags=re.MULTILINE):
        found = _USES.match(line)
        local = line.split("uses: ", 1)[-1].startswith("./.github/")
        if not local and not (found and ACTIONS.get(found[1]) == found[2]):
            yield f"not pinned as listed: {line.strip()}"


def checkouts(w: Workflow) -> Iterator[str]:
    """No credentials stay behind, no LFS, no submodules; the repository's own code only."""
    for job, step in w.steps:
        given = step.get("with") or {}
        if step.get("uses", "").startswith("actions/checkout@"):
            if given.get("persist-credentials") != "false":
                yield f"{job} keeps credentials in the checkout"
            if extra := set(given) - {"persist-credentials", "ref", "path", "fetch-depth"}:
                yield f"{job} checks out with {', '.join(sorted(extra))}"


def commands(w: Workflow) -> Iterator[str]:
    """A `run` is one command, without expression; only the setup action installs (T17, T25)."""
    for job, step in w.steps:
        run = step.get("run", "").strip()
        if "${{" in run:
            yield f"{job}: expression in run: {run}"
        if _ONE_COMMAND.search(run):
            yield f"{job}: more than one command: {run}"
        if _INSTALLERS.search(run):
            yield f"{job}: installs by itself: {run}"
        if re.search(r"GITHUB_(ENV|PATH|OUTPUT|STATE)", run) or "shell" in step:
            yield f"{job}: writes a runner file or chooses a shell: {run}"
    for job, body in w.jobs.items():
        order = [step.get("uses", "") or step.get("run", "") for step in body.get("steps", [])]
        needing = [place for place, text in enumerate(order) if re.search(r"\.venv/|^make ", text)]
        if needing and "./.github/actions/setup" not in order[: needing[0]]:
            yield f"{job} uses .venv before the setup action made it"


def expression_contexts(w: Workflow) -> Iterator[str]:
    """Expressions read what is listed, results, and listed outputs; nothing that a stranger writes (T15, T17)."""
    for context in contexts({key: value for key, value in w.data.items() if key != "permissions"}):
        output = re.fullmatch(r"(?:needs|steps|jobs)\.[\w-]+\.outputs\.([\w-]+)", context)
        if output and output[1] not in OUTPUTS:
            yield f"output {context} is not listed"
        elif not output and not re.fullmatch(r"needs\.[\w-]+\.result", context) and context not in CONTEXTS:
            yield f"{context} is not listed"
    for job, body in w.jobs.items():
        yield from (f"{job} has output {name}" for name in set(body.get("outputs", {})) - set(OUTPUTS))


def secrets(w: Workflow) -> Iterator[str]:
    """A secret, an OpenID token or an environment only in the job that is listed for it (T20, T21)."""
    for job, body in w.jobs.items():
        environment = ENVIRONMENTS.get((w.name, job))
        if body.get("environment") != environment:
            yield f"{job} has environment {body.get('environment')}, expected {environment}"
        body = {**body, "steps": [step for step in body.get("steps", []) if not _fetches_base(w, job, step)]}
        reads = any(context.startswith("secrets.") for context in contexts(body)) or "secrets" in body
        if environment != "hf-release" and (reads or "id-token" in body.get("permissions", {})):
            yield f"{job} reads a secret or asks for an OpenID token"
        steps = w.jobs[job].get("steps", [])
        taken = [place for place, step in enumerate(steps) if _fetches_base(w, job, step)]
        foreign = [place for place, step in enumerate(steps) if "working-directory" in step]
        if len(taken) > 1 or (taken and foreign and min(foreign) < taken[0]):
            yield f"{job} hands out the read token twice, or after the input's own code ran"
    outside = {key: value for key, value in w.data.items() if key not in ("jobs", "on")}
    if any(context.startswith(("secrets.", "github.token")) for context in contexts(outside)):
        yield "a secret for every job"


def _fetches_base(w: Workflow, job: str, step: dict[str, Any]) -> bool:
    """Is it the step that may read HF_READ_TOKEN, and reads nothing else?"""
    listed = (w.name, job, step.get("run")) == READ_TOKEN and "working-directory" not in step
    return listed and contexts(step) <= {"secrets.HF_READ_TOKEN"}


def tokens(w: Workflow) -> Iterator[str]:
    """The token goes to steps whose job has a scope for it; the job that trains on foreign data has none."""
    for job, step in w.steps:
        if "github.token" in contexts(step) and set(SCOPES[w.name][job].items()) <= set(READ.items()):
            yield f"{job} hands out a token that needs no scope: {step['name']}"


def forks(w: Workflow) -> Iterator[str]:
    """A job that a fork's pull request reaches is hosted and can only read (T1, T2)."""
    if "pull_request" not in w.triggers:
        return
    for job, body in w.jobs.items():
        writes = "write" in body.get("permissions", {}).values()
        if writes and SAME_REPOSITORY not in " ".join(body.get("if", "").split()):
            yield f"{job} may write and a fork can reach it"
        if "uses" in body or body.get("runs-on") != HOSTED or "environment" in body:
            yield f"{job} of a pull request leaves the hosted runner, or calls out"


def caches(w: Workflow) -> Iterator[str]:
    """No cache in or out (T19)."""
    if w.data.get("cache-mode") != "none" or any("cache-mode" in body for body in w.jobs.values()):
        yield "cache-mode is not none"
    if re.search(r"actions/cache|cache-dependency-path|^\s*cache:", w.text, flags=re.MULTILINE):
        yield "a cache is used"


def containers(w: Workflow) -> Iterator[str]:
    """No images: the runner is the place, pinned packages are the tools."""
    for job, body in w.jobs.items():
        yield from (f"{job} has {key}" for key in ("container", "services") if key in body)
    if re.search(r"docker://|uses: \$/", w.text):
        yield "a docker action or `uses: $/…`"


def conditions(w: Workflow) -> Iterator[str]:
    """always() only on the gate, which fails unless its needs succeeded; nothing may fail in silence."""
    for job, body in w.jobs.items():
        if "always()" in body.get("if", "") and job != "gate":
            yield f"{job} runs even when the run was cancelled"
        if job == "gate":
            (step,) = body["steps"]
            wanted = " ".join(["success"] * len(step["env"])).strip()
            if body.get("if") != "always()" or not re.search(rf'= "?{wanted}"?$', step["run"]):
                yield "the gate does not fail unless everything it needs succeeded"
        if job == "gate" and {f"needs.{name}.result" for name in _list(body["needs"])} != contexts(body):
            yield "the gate does not look at everything it needs"
    if "continue-on-error" in w.text:
        yield "continue-on-error"


def _on_gpu(body: dict[str, Any]) -> bool:
    return body.get("runs-on") == GPU


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


RULES = (
    permissions,
    timeouts,
    concurrency,
    triggers,
    runners,
    pins,
    checkouts,
    commands,
    expression_contexts,
    secrets,
    tokens,
    forks,
    caches,
    containers,
    conditions,
)
