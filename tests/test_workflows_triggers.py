"""Which event starts which workflow, of the generated repository and of this one; act ignores these filters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT, TEMPLATE
from workflows.triggers import Event, fires, glob, load, matches

NEVER = ("pull_request_target", "workflow_run", "issue_comment", "issues", "schedule", "repository_dispatch", "fork")
GENERATED = [
    (Event("push"), {"ci", "data"}),
    (Event("push", "refs/heads/feature"), set()),
    (Event("push", "refs/heads/release-record/v1.0.0"), set()),
    (Event("push", "refs/tags/v1.2.3"), {"release"}),
    (Event("push", "refs/tags/1.2.3"), set()),
    (Event("pull_request", action="opened"), {"ci", "data"}),
    (Event("pull_request", action="synchronize"), {"ci", "data"}),
    (Event("pull_request", action="reopened"), {"ci", "data"}),
    (Event("pull_request", action="closed"), set()),
    (Event("pull_request", action="labeled"), set()),
    (Event("pull_request", action="edited"), set()),
    (Event("merge_group", action="checks_requested"), {"data"}),
    (Event("workflow_dispatch"), {"train"}),
    (Event("workflow_call"), {"train"}),
    *((Event(name), set()) for name in NEVER),
]
OURS = [
    (Event("push"), {"ci"}),
    (Event("push", "refs/heads/feature"), set()),
    (Event("push", "refs/tags/v1.2.3"), {"release"}),
    (Event("push", "refs/tags/1.2.3"), set()),
    (Event("pull_request", action="opened"), {"ci"}),
    (Event("pull_request", action="closed"), set()),
    *((Event(name), set()) for name in NEVER),
]


def started(folder: Path, event: Event) -> set[str]:
    return {file.stem for file in folder.glob("*.y*ml") if fires(load(file), event)}


def name_of(value: Event | set[str]) -> str:
    """Sorted: a set's own order differs between the processes of pytest-xdist, which want the same ids."""
    return str(value) if isinstance(value, Event) else "+".join(sorted(value)) or "nothing"


@pytest.mark.parametrize(("event", "expected"), GENERATED, ids=name_of)
def test_an_event_in_the_generated_repository_starts_exactly_these(event: Event, expected: set[str]) -> None:
    assert started(TEMPLATE / ".github" / "workflows", event) == expected


@pytest.mark.parametrize(("event", "expected"), OURS, ids=name_of)
def test_an_event_in_this_repository_starts_exactly_these(event: Event, expected: set[str]) -> None:
    assert started(ROOT / ".github" / "workflows", event) == expected


def push(**filters: Any) -> dict[str, Any]:
    return {"on": {"push": filters}}


@pytest.mark.parametrize(
    ("filters", "event", "expected"),
    [
        ({"branches": ["release/**"]}, Event("push", "refs/heads/release/1/x"), True),
        ({"branches": ["release/*"]}, Event("push", "refs/heads/release/1/x"), False),
        ({"branches": ["main"]}, Event("push", "refs/tags/main"), False),
        ({"tags": ["v*"]}, Event("push", "refs/heads/v1"), False),
        ({"branches-ignore": ["main"]}, Event("push", "refs/heads/x"), True),
        ({"branches-ignore": ["main"]}, Event("push"), False),
        ({"paths": ["data/**"]}, Event("push", files=("README.md",)), False),
        ({"paths": ["data/**"]}, Event("push", files=("README.md", "data/raw/a.jsonl")), True),
        ({"paths": ["**/*.md", "!docs/**"]}, Event("push", files=("a.md",)), True),
        ({"paths": ["**/*.md", "!docs/**"]}, Event("push", files=("docs/a.md",)), False),
        ({"paths-ignore": ["*.md"]}, Event("push", files=("a.md", "b.py")), True),
        ({"paths-ignore": ["*.md"]}, Event("push", files=("a.md",)), False),
        ({"paths": ["data/**"]}, Event("push", "refs/tags/v1", files=()), True),
    ],
)
def test_filters_mean_what_github_documents(filters: dict[str, Any], event: Event, expected: bool) -> None:
    assert fires(push(**filters), event) is expected


def test_short_forms_and_activity_types() -> None:
    assert fires({"on": "push"}, Event("push")) and not fires({"on": "push"}, Event("pull_request", action="opened"))
    assert fires({"on": ["push", "pull_request"]}, Event("pull_request", action="reopened"))
    assert not fires({"on": ["pull_request"]}, Event("pull_request", action="labeled"))
    assert fires({"on": {"pull_request": {"types": ["labeled"]}}}, Event("pull_request", action="labeled"))
    assert not fires({"on": {"pull_request": {"branches": ["next"]}}}, Event("pull_request", action="opened"))


def test_patterns() -> None:
    assert glob("v[12].[0-9]+").fullmatch("v1.15") and not glob("v[12].[0-9]+").fullmatch("v3.1")
    assert glob("*.jsx?").fullmatch("page.js") and glob("*.jsx?").fullmatch("page.jsx")
    assert matches(["**", "!main", "main"], "main") and not matches(["**", "!main"], "main")
