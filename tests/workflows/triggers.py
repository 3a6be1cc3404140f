"""Would GitHub start this workflow? act ignores the filters of `on:`, so tests ask here.

https://docs.github.com/actions/reference/workflows-and-actions/workflow-syntax#on
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

PULL_REQUEST_TYPES = ("opened", "synchronize", "reopened")
"""What `pull_request` means where no types are given."""


class _Loader(yaml.SafeLoader):
    """YAML as GitHub reads it: `on` is a word, not true."""


_Loader.yaml_implicit_resolvers = {
    sign: [(tag, pattern) for tag, pattern in rules if tag != "tag:yaml.org,2002:bool" or sign not in "onyYON"]
    for sign, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True)
class Event:
    """What happened; `ref` is refs/heads/…, refs/tags/… or, of a pull request, the branch it wants to change."""

    name: str
    ref: str = "refs/heads/main"
    action: str | None = None
    files: tuple[str, ...] = ()
    """Changed files, for path filters; they do not apply to tags."""


def load(path: Path) -> dict[str, Any]:
    """A workflow file."""
    return yaml.load(path.read_text(encoding="utf-8"), _Loader)


def fires(workflow: dict[str, Any], event: Event) -> bool:
    """Whether `event` starts `workflow`."""
    on = workflow["on"]
    if isinstance(on, str):
        on = {on: None}
    elif isinstance(on, list):
        on = dict.fromkeys(on)
    if event.name not in on:
        return False
    filters = on[event.name] or {}
    if event.action is not None:
        default = PULL_REQUEST_TYPES if event.name == "pull_request" else (event.action,)
        if event.action not in filters.get("types", default):
            return False
    if event.name not in ("push", "pull_request", "merge_group"):
        return True
    return _ref_passes(filters, event) and _paths_pass(filters, event)


def _ref_passes(filters: dict[str, Any], event: Event) -> bool:
    kind, other, name = "branches", "tags", event.ref.removeprefix("refs/heads/")
    if event.ref.startswith("refs/tags/"):
        kind, other, name = "tags", "branches", event.ref.removeprefix("refs/tags/")
    named = kind in filters or f"{kind}-ignore" in filters
    if event.name == "push" and not named and (other in filters or f"{other}-ignore" in filters):
        return False  # a filter on tags alone leaves branches out, and the other way round
    if kind in filters and not matches(filters[kind], name):
        return False
    return f"{kind}-ignore" not in filters or not matches(filters[f"{kind}-ignore"], name)


def _paths_pass(filters: dict[str, Any], event: Event) -> bool:
    if event.ref.startswith("refs/tags/"):
        return True
    if "paths" in filters and not any(matches(filters["paths"], file) for file in event.files):
        return False
    ignored = filters.get("paths-ignore")
    return ignored is None or not all(matches(ignored, file) for file in event.files)


def matches(patterns: Iterable[str], value: str) -> bool:
    """In order: a later pattern with `!` takes a match away again."""
    hit = False
    for pattern in patterns:
        if pattern.startswith("!"):
            hit = hit and not glob(pattern[1:]).fullmatch(value)
        elif glob(pattern).fullmatch(value):
            hit = True
    return hit


def glob(pattern: str) -> re.Pattern[str]:
    """GitHub's filter patterns: `*` and `?` within one name, `**` across, `+` and `[]` as in a regular expression."""
    out, index = "", 0
    while index < len(pattern):
        if pattern.startswith("**/", index) and (index == 0 or pattern[index - 1] == "/"):
            out, index = out + "(?:.*/)?", index + 3
        elif pattern.startswith("**", index):
            out, index = out + ".*", index + 2
        else:
            sign = pattern[index]
            # `?` and `+` repeat the preceding sign, as GitHub documents.
            out, index = out + ("[^/]*" if sign == "*" else sign if sign in "?+[]-" else re.escape(sign)), index + 1
    return re.compile(out)
