"""Git, asked from outside: the one way in which this package runs it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from finetune.errors import FinetuneError


def git(root: Path, *arguments: str, timeout: float = 120.0) -> subprocess.CompletedProcess[bytes]:
    """Run git in `root`; its exit code is the caller's to read. FinetuneError (E614) where git cannot run."""
    # GIT_DIR and the like of a surrounding git command would point elsewhere.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-C", str(root), "-c", "core.fsmonitor=false", *arguments]
    try:
        return subprocess.run(command, capture_output=True, timeout=timeout, env=environment, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FinetuneError(f"git did not run ({type(error).__name__})", "install git", "E614") from None


def git_line(root: Path, *arguments: str) -> str | None:
    """What git answers within 30 seconds, without the line's end; None where it fails or cannot run."""
    try:
        done = git(root, *arguments, timeout=30.0)
    except FinetuneError:
        return None
    return os.fsdecode(done.stdout).strip() if done.returncode == 0 else None
