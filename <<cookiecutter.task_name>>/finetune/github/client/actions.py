"""What the Actions runner gives a step (event, run, repository) and takes from it: outputs and the step summary."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from finetune.console import say
from finetune.errors import FinetuneError
from finetune.markdown import limited, split_sections
from finetune.versions import VERSION

SUMMARY_BYTES = 900_000
"""The runner refuses a summary above 1 MiB, and the step passes all the same: nobody would see it."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")
_VALUES = (
    re.compile(r"-?[0-9]{1,18}"),
    re.compile(r"[a-z][a-z0-9-]{0,63}"),
    re.compile(r"[0-9a-f]{7,64}"),
    re.compile(f"v{VERSION}"),
)


def env(name: str) -> str:
    """A variable the runner or the workflow sets; E602 where it is missing or empty."""
    value = os.environ.get(name, "")
    if not value:
        raise FinetuneError(f"{name} is not set", "run this as a step of the workflow, which passes it by env", "E602")
    return value


def event() -> dict[str, Any]:
    """The payload of the event that started the workflow; its texts are anybody's."""
    path = Path(env("GITHUB_EVENT_PATH"))
    try:
        payload = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FinetuneError(f"GITHUB_EVENT_PATH is not readable: {type(error).__name__}", code="E602") from None
    if not isinstance(payload, dict):
        raise FinetuneError("GITHUB_EVENT_PATH holds no event", code="E602")
    return payload


def repository() -> str:
    """`owner/name` of the repository the workflow runs in."""
    name = env("GITHUB_REPOSITORY")
    if not re.fullmatch(r"[A-Za-z0-9._-]+/[A-Za-z0-9._-]+", name):
        raise FinetuneError("GITHUB_REPOSITORY is not owner/name", code="E602")
    return name


def server_url() -> str:
    """https://github.com, or the company's own."""
    return (os.environ.get("GITHUB_SERVER_URL") or "https://github.com").rstrip("/")


def run_id() -> int:
    """Id of this workflow run."""
    value = env("GITHUB_RUN_ID")
    if not re.fullmatch(r"[0-9]{1,18}", value):
        raise FinetuneError("GITHUB_RUN_ID is not a number", code="E602")
    return int(value)


def run_url(run: int | None = None) -> str:
    """Page of a workflow run, of this one by default; there is its step summary."""
    return f"{server_url()}/{repository()}/actions/runs/{run_id() if run is None else int(run)}"


def default_branch() -> str:
    """The repository's default branch as the event tells it, else "main"."""
    if not os.environ.get("GITHUB_EVENT_PATH"):
        return "main"
    about = event().get("repository")
    name = about.get("default_branch") if isinstance(about, dict) else None
    return name if isinstance(name, str) and name else "main"


def set_output(name: str, value: int | str) -> None:
    """Output of this step. Only what cannot hold a second line or an expression: anything else travels as a file.

    Values: integers, lower-case words (`[a-z][a-z0-9-]*`), hexadecimal, tags `v1.2.3`. E605 for every other.
    """
    text = str(value)
    allowed = isinstance(value, (int, str)) and not isinstance(value, bool)
    if not _NAME.fullmatch(name) or not allowed or not any(form.fullmatch(text) for form in _VALUES):
        shown = f"{json.dumps(name)}={json.dumps(text)}"[:120]
        raise FinetuneError(f"{shown} is no output: only integers, lower-case words, hex and tags are", code="E605")
    say(f"  {name}={text}")
    path = os.environ.get("GITHUB_OUTPUT")
    if path:
        written = Path(path).read_bytes() if os.path.exists(path) else b""
        # A line that somebody left open must not swallow ours.
        ending = "" if not written or written.endswith(b"\n") else "\n"
        with open(path, "a", encoding="ascii", newline="\n") as file:
            file.write(f"{ending}{name}={text}\n")


def summary(markdown: str | list[str]) -> None:
    """Append to the step summary, at most 900 KB in all; sections that do not fit are dropped whole and counted.

    The text must be safe already (`finetune.markdown`). Never raises: W602 where the file cannot be written.
    """
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    sections = split_sections(markdown) if isinstance(markdown, str) else list(markdown)
    try:
        used = os.path.getsize(path) if os.path.exists(path) else 0
        room = SUMMARY_BYTES - used - 2  # the line ends around the text
        if room < 1000:
            say("W602 the step summary is full; the rest is in the run's artifacts")
            return
        text = limited(sections, characters=room, size=room, link=_page(), where="artifacts of this run")
        with open(path, "a", encoding="utf-8") as file:
            file.write(("\n" if used else "") + text + "\n")
    except OSError as error:
        say(f"W602 the step summary could not be written: {error.strerror or type(error).__name__}")


def sha40(text: str) -> str:
    """A full commit SHA, 40 lower-case hex digits; E603 for anything else."""
    return _matching(text, r"[0-9a-f]{40}", "a full commit SHA (40 hex digits)")


def hex64(text: str) -> str:
    """A sha256 in hex, as fingerprints and digests are; E603 for anything else."""
    return _matching(text, r"[0-9a-f]{64}", "a sha256 (64 hex digits)")


def parse_number(text: str) -> int | None:
    """A number of a pull request or a run; None for an empty text, E603 for anything else."""
    return int(_matching(text, r"[0-9]{1,18}", "a number")) if text else None


def _matching(text: str, form: str, what: str) -> str:
    if not isinstance(text, str) or not re.fullmatch(form, text):
        raise FinetuneError(f"{json.dumps(str(text))[:80]} is not {what}", code="E603")
    return text


def _page() -> str:
    try:
        return run_url()
    except FinetuneError:
        return ""
