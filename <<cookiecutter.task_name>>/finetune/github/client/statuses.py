"""The commit status `fine-tune/evaluation`: what the evaluation said about one commit."""

from __future__ import annotations

from finetune.console import say
from finetune.github.client.actions import sha40
from finetune.github.client.api import ApiError, GitHub
from finetune.markdown import one_line

CONTEXT = "fine-tune/evaluation"
STATES = ("pending", "success", "failure", "error")
DESCRIPTION = 140
"""Characters GitHub takes."""


def set_status(github: GitHub, sha: str, state: str, description: str, url: str) -> None:
    """Set the status of commit `sha`; a second delivery of the same status does no harm, so it is tried again.

    A pending status that cannot be set is a warning (W603): the training goes on. A final one raises ApiError E604:
    a commit must not stay "pending", or keep an older verdict, unnoticed.
    """
    if state not in STATES:
        raise ValueError(f"not a status: {state!r}")
    text = " ".join(one_line(description).split())
    text = text if len(text) <= DESCRIPTION else text[: DESCRIPTION - 1] + "…"
    body = {"state": state, "context": CONTEXT, "description": text, "target_url": url}
    try:
        github.post(f"/repos/{{repo}}/statuses/{sha40(sha)}", body, repeat=True)
    except ApiError as error:
        if state == "pending":
            say(f"W603 the commit status could not be set: {error.message}")
            return
        message = f"the status {state} of {sha[:12]} could not be set: {error.message}"
        raise ApiError(message, error.fix or "run the job again", "E604", status=error.status) from None
