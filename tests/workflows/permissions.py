"""What each job's token may do, read from the workflow files: act gives every job the same token, GitHub does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fakes.github_store import LEVELS

from .triggers import load

Grants = dict[str, str]


def permissions(tree: Path, workflow: str) -> dict[tuple[str, str], Grants]:
    """(name of the workflow, job) to its permissions, jobs of a called workflow included.

    Raises AssertionError where a called job asks for more than its caller has: GitHub refuses to start such a run.
    """
    definition = load(tree / ".github" / "workflows" / workflow)
    found = {}
    for job, values in definition["jobs"].items():
        own = found[definition["name"], job] = _grants(definition, values)
        if not str(values.get("uses", "")).startswith("./"):
            continue
        called = load(tree / values["uses"])
        for inner, inner_values in called["jobs"].items():
            wanted = found[called["name"], inner] = _grants(called, inner_values)
            more = [scope for scope, level in wanted.items() if LEVELS[level] > LEVELS[own.get(scope, "none")]]
            assert not more, f"{workflow}: {job} calls {inner}, which asks for more of {', '.join(more)} than it has"
    return found


def _grants(definition: dict[str, Any], job: dict[str, Any]) -> Grants:
    grants = job.get("permissions", definition.get("permissions"))
    assert isinstance(grants, dict), "permissions must be listed scope by scope"
    return grants
