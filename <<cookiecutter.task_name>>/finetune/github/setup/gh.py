"""The GitHub CLI as an API client: the login is the user's own, every request is a command that one can paste.

https://cli.github.com/manual/gh_api. Only people run this; the workflows use the standard library (api.py).
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.errors import FinetuneError, StorageFault

ATTEMPTS = 3
"""Tries of a request that may be repeated; a POST is sent once."""
SECONDS = 120
"""Longest wait for one answer."""
_LOGIN = 4
"""Exit code of gh without a login."""
RIGHTS = (
    "an administrator of the repository has to run this; a fine-grained token needs the repository permissions "
    "Administration, Environments, Variables, Actions and Issues (write), Secrets and Contents (read); a private "
    "repository of a free plan does not have every setting"
)


@dataclass(frozen=True)
class Request:
    """One call of the REST API; `path` without a leading slash."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None

    @property
    def arguments(self) -> list[str]:
        """Arguments of `gh` that send this request; a nested body goes to standard input."""
        start = ["api", "--method", self.method, self.path]
        if self.standard_input is not None:
            return [*start, "--input", "-"]
        # -f takes the text as it is, -F reads true, false and numbers.
        return start + [
            part
            for key, value in (self.body or {}).items()
            for part in (("-f", f"{key}={value}") if isinstance(value, str) else ("-F", f"{key}={json.dumps(value)}"))
        ]

    @property
    def standard_input(self) -> str | None:
        """A body that is more than a few plain values, as JSON."""
        if self.body is None or all(isinstance(value, (str, bool, int)) for value in self.body.values()):
            return None
        return json.dumps(self.body, separators=(",", ":"))

    def shell(self) -> str:
        """The command that sends this request, for any POSIX shell."""
        command = shlex.join(["gh", *self.arguments])
        return command if self.standard_input is None else f"printf %s {shlex.quote(self.standard_input)} | {command}"


class ApiRefused(FinetuneError):
    """GitHub answered, and the answer was no; `status` is that of HTTP."""

    def __init__(self, message: str, fix: str, code: str, status: int) -> None:
        super().__init__(message, fix, code)
        self.status = status


class Gh:
    """Sends requests through `gh api` in `folder`, whose git remote names the repository where none is given.

    Raises FinetuneError (exit 2) without gh or a login and for refusals, StorageFault (exit 74) when GitHub is away.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, Any | None] = {}
        if not shutil.which("gh"):
            raise FinetuneError(
                "the GitHub CLI `gh` is not installed",
                "install it from https://cli.github.com, or enter the settings by hand as docs/github_setup.md says",
                "E670",
            )

    def get(self, path: str) -> Any | None:
        """The answer to a GET, None where there is nothing (404); asked once between two writes."""
        if path not in self._read:
            try:
                self._read[path] = self.send(Request("GET", path))
            except ApiRefused as refusal:
                if refusal.status != 404:
                    raise
                self._read[path] = None
        return self._read[path]

    def forget(self) -> None:
        """Ask again for what was read before."""
        self._read.clear()

    def send(self, request: Request) -> Any | None:
        """The answer, None when it is empty. Repeats what may be repeated while the server fails."""
        if request.method != "GET":
            self.forget()
        attempts = 1 if request.method == "POST" else ATTEMPTS
        for attempt in range(1, attempts + 1):
            status, answer, said = self._run(request)
            if 200 <= status < 300:
                return answer
            if status and status < 500:
                raise _refusal(request, status, _message(answer) or said)
            if attempt < attempts:
                pause(attempt)
        raise StorageFault(
            f"GitHub did not answer {request.method} {request.path}: {_message(answer) or said or f'HTTP {status}'}",
            "look at https://www.githubstatus.com and run the same command again; what is done stays done",
            "E677",
        )

    def _run(self, request: Request) -> tuple[int, Any | None, str]:
        """HTTP status (0 when there was no answer), parsed body, and what gh said."""
        quiet = {"GH_PROMPT_DISABLED": "1", "GH_NO_UPDATE_NOTIFIER": "1", "NO_COLOR": "1"}
        try:
            done = subprocess.run(
                ["gh", *request.arguments, "--include"],
                cwd=self.folder,
                input=request.standard_input or "",
                capture_output=True,
                text=True,
                encoding="utf-8",
                timeout=SECONDS,
                env={**os.environ, **quiet},
            )
        except subprocess.TimeoutExpired:
            return 0, None, f"no answer within {SECONDS} seconds"
        said = " ".join(done.stderr.split())[:300]
        if done.returncode == _LOGIN:
            raise FinetuneError("gh is not logged in", "run `gh auth login` (or set GH_TOKEN)", "E671")
        if "expand placeholder" in done.stderr or "git remotes" in done.stderr:
            raise FinetuneError(
                "this folder has no remote on GitHub",
                "name the repository: --repo OWNER/NAME, or create it with "
                "`gh repo create OWNER/NAME --private --source . --push`",
                "E672",
            )
        head, _, body = done.stdout.replace("\r\n", "\n").partition("\n\n")
        status = re.match(r"HTTP/\S+ (\d{3})", head)
        return (int(status[1]) if status else 0), _parsed(body), said


def pause(attempt: int) -> None:
    """Wait before the next try, twice as long each time; LLM_FT_BACKOFF is the unit in seconds."""
    time.sleep(float(os.environ.get("LLM_FT_BACKOFF") or 1) * 2**attempt)


def _refusal(request: Request, status: int, message: str) -> FinetuneError:
    """What a 4xx means to the person at the keyboard."""
    said = f"{request.method} {request.path}: {message} (HTTP {status})"
    low = message.lower()
    if status == 429 or "rate limit" in low:
        return StorageFault(f"GitHub asks to slow down, {said}", "wait an hour and run the same command again", "E677")
    if status == 401:
        return ApiRefused(f"the login of gh is not accepted, {said}", "run `gh auth login` again", "E671", status)
    if "upgrade to" in low or "billing plan" in low:
        fix = "make the repository public, or move it to a plan that has this for private repositories"
        return ApiRefused(f"this plan does not have it, {said}", fix, "E674", status)
    if "saml" in low:
        return ApiRefused(f"the organisation asks for single sign-on, {said}", "run `gh auth refresh`", "E673", status)
    if status == 403 or (status == 404 and request.method != "GET"):
        return ApiRefused(f"not allowed, {said}", RIGHTS, "E673", status)
    if status == 409:
        fix = "change it in the settings of the organisation (Actions > General), or ask its owner"
        return ApiRefused(f"the organisation does not allow it, {said}", fix, "E675", status)
    return ApiRefused(f"GitHub refused {said}", "correct it in the repository's settings", "E676", status)


def _message(answer: Any) -> str:
    if not isinstance(answer, dict):
        return ""
    details = [error.get("message", "") if isinstance(error, dict) else error for error in answer.get("errors") or []]
    return " ".join(str(part) for part in (answer.get("message", ""), *details) if part)[:300]


def _parsed(body: str) -> Any | None:
    try:
        return json.loads(body)
    except ValueError:
        return None
