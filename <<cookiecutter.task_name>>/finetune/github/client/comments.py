"""The one comment a report has on a pull request: found by hidden marker and author, updated in place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from finetune.console import say
from finetune.github.client import api
from finetune.github.client.api import ApiError, GitHub
from finetune.markdown import BYTES, CHARACTERS, limited

AUTHOR = "github-actions[bot]"
APP = "github-actions"
ROUNDS = 4


def marker_line(marker: str) -> str:
    """First line of the comment named `marker` (lower-case words joined by "-")."""
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,63}", marker):
        raise ValueError(f"not a marker's name: {marker!r}")
    return f"<!-- llm-ft-template:{marker} -->"


def upsert(github: GitHub, number: int, marker: str, sections: Sequence[str], link: str) -> str | None:
    """Write `sections` into the comment `marker` of pull request `number`; its address, or None when it failed.

    Failure is one warning (W601) with the reason and never an exception: the result of a training must not depend on
    a locked pull request. `link` leads to the step summary, which holds what does not fit here.
    """
    first = marker_line(marker)
    room = len(first) + 1
    body = f"{first}\n{limited(sections, characters=CHARACTERS - room, size=BYTES - room, link=link)}"
    for attempt in range(1, ROUNDS + 1):
        try:
            return str(_write(github, number, first, body)["html_url"])
        except ApiError as error:
            # A comment whose answer was lost may be there: look again before a second one is written.
            if error.unsure and attempt < ROUNDS:
                api.pause(github.wait(attempt, error))
                continue
            _warn(number, error)
            return None
        except (KeyError, TypeError):
            _warn(number, ApiError("GitHub's answer holds no comment"))
            return None
    return None


def _write(github: GitHub, number: int, first: str, body: str) -> Any:
    mine = _find(github, number, first)
    if mine is not None:
        try:
            return github.patch(f"/repos/{{repo}}/issues/comments/{mine}", {"body": body})
        except ApiError as error:
            if error.status != 404:  # deleted a moment ago
                raise
    return github.post(f"/repos/{{repo}}/issues/{number}/comments", {"body": body})


def _find(github: GitHub, number: int, first: str) -> int | None:
    """Id of our newest comment with this marker; anybody may have written the marker, only the app is the app."""
    own = [row["id"] for row in github.pages(f"/repos/{{repo}}/issues/{number}/comments") if _is_ours(row, first)]
    return max(own, default=None)


def _is_ours(row: Any, first: str) -> bool:
    if not isinstance(row, dict) or not isinstance(row.get("id"), int):
        return False
    user, app = row.get("user"), row.get("performed_via_github_app")
    if not isinstance(user, dict) or user.get("login") != AUTHOR:
        return False
    if app is not None and not (isinstance(app, dict) and app.get("slug") == APP):
        return False
    return str(row.get("body") or "").split("\n", 1)[0].rstrip("\r") == first


def _warn(number: int, error: ApiError) -> None:
    say(f"W601 no comment on pull request {number}: {error.message}; the step summary has the report")
