"""What no request can mend: runners, secrets in the wrong place, code owners who do not exist. Warnings only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from finetune.config.project import Project
from finetune.console import say
from finetune.errors import FinetuneError
from finetune.github.setup.expectations import RUNNER_LABELS, RUNNER_VARIABLE, Target, runs_on
from finetune.github.setup.table import RELEASE, TRAINING
from finetune.github.train.base_access import ENVIRONMENT, SECRET, VARIABLE, check_way


def advice(target: Target) -> list[str]:
    """One line a warning, `W6xx sentence. Fix: …`; what may not be read gives none."""
    looks: tuple[Callable[[Target], list[str]], ...] = (_runners, _secrets, _owners, _reviewers)
    return [line for look in looks for line in look(target)]


def look(target: Target, path: str) -> Any | None:
    """The answer, None where there is nothing or this login may not see it."""
    try:
        return target.gh.get(path)
    except FinetuneError:
        return None


def _runners(target: Target) -> list[str]:
    """What waits 24 hours for a runner fails; a public repository should register none of its own."""
    own = (look(target, target.path("actions/runners?per_page=100")) or {}).get("runners") or []
    path = f"orgs/{target.name.partition('/')[0]}/actions/runners?per_page=100"
    shared = (look(target, path) if target.organisation else {}) or {}
    variable = look(target, target.path(f"actions/variables/{RUNNER_VARIABLE}")) or {"value": RUNNER_LABELS}
    place = runs_on(target.runner_labels or variable["value"])
    wanted = place.get("labels", []) if isinstance(place, dict) else place or []
    wanted = {label.casefold() for label in ([wanted] if isinstance(wanted, str) else wanted)}
    online = [
        runner
        for runner in [*own, *(shared.get("runners") or [])]
        if runner["status"] == "online" and wanted <= {label["name"].casefold() for label in runner["labels"]}
    ]
    lines = []
    if not online:
        lines.append(
            f"W670 0 runners online with the labels {', '.join(sorted(wanted)) or '(none)'}: a training would wait, "
            "and GitHub ends it after 24 hours. Fix: start one (docs/runners.md); a scale set shows up with its job"
        )
    if own and not target.private:
        names = ", ".join(runner["name"] for runner in own[:5])
        lines.append(
            f"W671 this public repository has runners of its own ({names}): a workflow in an approved pull request "
            "could name their label. Fix: put them into a runner group of an organisation (docs/runners.md)"
        )
    return lines


def secret_names(target: Target, place: str = "") -> set[str]:
    """Names of the secrets of the repository, or of an environment; never values."""
    listed = look(target, target.path(f"{place}secrets?per_page=100")) or {}
    return {secret["name"] for secret in listed.get("secrets") or []}


def _secrets(target: Target) -> list[str]:
    if "HF_TOKEN" not in secret_names(target, "actions/"):
        return []
    return [
        "W672 HF_TOKEN is a secret of the whole repository: any workflow on any branch can read it. Fix: "
        f"gh secret delete HF_TOKEN --repo {target.name}; use trusted publishers, or gh secret set HF_TOKEN --env "
        f"{RELEASE} --repo {target.name}"
    ]


def _owners(target: Target) -> list[str]:
    answer = look(target, target.path("codeowners/errors"))
    if answer is None:
        fix = "push .github/CODEOWNERS with a team or person who has write access"
        return [f"W673 main has no CODEOWNERS: nobody in particular has to approve a change of policy. Fix: {fix}"]
    fix = "name a person or team with write access"
    return [
        f"W673 {error.get('path', '.github/CODEOWNERS')}:{error['line']}: {error['kind']}, so it protects nothing. "
        f"Fix: {fix}"
        for error in (answer.get("errors") or [])[:5]
    ]


def _reviewers(target: Target) -> list[str]:
    lines = []
    for name in (TRAINING, RELEASE):
        now = look(target, target.path(f"environments/{name}"))
        if now and not any(rule["type"] == "required_reviewers" for rule in now.get("protection_rules") or []):
            lines.append(
                f"W674 {name} waits for nobody's approval. Fix: python scripts/setup_github.py --reviewer LOGIN, if a "
                "person should say yes first (public repositories, or private ones on an Enterprise plan)"
            )
    return lines


def gate_advice(project: Project, target: Target) -> list[str]:
    """Lines for setup_github.py: W298 where no way leads to the base model, W672 where its token is everybody's."""
    lines, store = [], f"gh secret set {SECRET} --env {ENVIRONMENT} --repo {target.name}"
    if SECRET in secret_names(target, "actions/"):
        lines.append(
            f"W672 {SECRET} is a secret of the whole repository: any workflow on any branch can read it. Fix: "
            f"gh secret delete {SECRET} --repo {target.name}; {store}"
        )
    way = (look(target, target.path(f"actions/variables/{VARIABLE}")) or {}).get("value", "")
    stored = SECRET in secret_names(target, f"environments/{ENVIRONMENT}/")
    if way == "token" and not stored:
        lines.append(f"W298 {VARIABLE} says token, and the environment {ENVIRONMENT} has no {SECRET}. Fix: {store}")
    try:
        check_way(project, way)
    except FinetuneError as failure:
        lines.append(f"W298 {failure.message}: train.yml would refuse to start (E303). Fix: {failure.fix}")
    if way:
        say(f"the base model reaches the GPU by: {way} (variable {VARIABLE})")
    return lines
