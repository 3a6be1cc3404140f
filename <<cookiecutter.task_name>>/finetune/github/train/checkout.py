"""A commit that was checked out: what git tracks there, and which of it a training run is given."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from finetune.data.tokens.committed_tokenizer import FILES as TOKENIZER_FILES
from finetune.errors import FinetuneError, Problems, printable
from finetune.git import git
from finetune.inventory import PACKAGES, RAW, READ_BY_STEPS, TASK, is_step_code
from finetune.machinery import SEAL
from finetune.provenance import MANIFEST
from finetune.sealed import is_safe_path

MAX_FILES = 5_000
MAX_FILE_BYTES = 100 * 1024 * 1024
"""GitHub refuses larger files in git anyway."""
MAX_TOTAL_BYTES = 2 * 1024**3
_FOLDERS = tuple(name.rstrip("/") for name in (RAW, "configs/", "finetune/", "scripts/"))
_FILES = (TASK, PACKAGES, *READ_BY_STEPS, SEAL)
_NO_CHECKOUT, _CHECK_OUT = "no git checkout where one is expected", "check the commit out with actions/checkout"
_NO_FILE = {"120000": "a symbolic link", "160000": "a submodule"}


@dataclass(frozen=True)
class Tracked:
    """What git's index says about a path."""

    mode: str
    sha: str
    """of the blob, or of a submodule's commit"""


def head(root: Path) -> str:
    """The commit checked out at `root`. Raises FinetuneError (E622) when `root` is no checkout of its own."""
    top = Path(os.fsdecode(_git(root, "rev-parse", "--show-toplevel").rstrip(b"\n")))
    if top.resolve() != root.resolve():  # git would go on to the repository around it
        raise FinetuneError(_NO_CHECKOUT, _CHECK_OUT, "E622")
    return _git(root, "rev-parse", "--verify", "HEAD^{commit}").decode("ascii").strip()


def tracked(root: Path) -> dict[str, Tracked]:
    """Every file git tracks at `root`, by posix path."""
    files = {}
    for line in _git(root, "ls-files", "--stage", "-z").split(b"\0"):
        if line:
            facts, _, path = line.partition(b"\t")
            mode, sha, _ = facts.decode("ascii").split()
            files[os.fsdecode(path)] = Tracked(mode, sha)
    return files


def input_files(root: Path, files: dict[str, Tracked]) -> list[str]:
    """Sorted paths, of the tracked `files` at `root`, that a training run is given; see `is_input`.

    Raises BadInput with every link or submodule (E616), unsafe name (E617), missing or irregular file (E621) and
    everything over the limits (E618).
    """
    problems = Problems()
    paths, total = [], 0
    for path, file in sorted(files.items()):
        if file.mode in _NO_FILE and _is_in_the_way(path):
            message = f"{_NO_FILE[file.mode]} (git mode {file.mode})"
            problems.add(printable(path), "E616", message, "commit the file itself")
        elif is_input(path) and (size := _checked_size(root, path, problems)) is not None:
            paths.append(path)
            total += size
    if len(paths) > MAX_FILES:
        problems.add(".", "E618", f"{len(paths):,} files, the limit is {MAX_FILES:,}", "join data files")
    if total > MAX_TOTAL_BYTES:
        message = f"{total:,} bytes in all, the limit is {MAX_TOTAL_BYTES:,}"
        problems.add(".", "E618", message, "keep only what the task needs")
    problems.raise_if_errors()
    return paths


def is_input(path: str) -> bool:
    """Whether a training run is given this path: task, configurations, data, and the code of its steps.

    Nothing else can run or be read there: no compiled module, no package beside finetune/ that takes another's name,
    no committed copy of what a step makes.
    """
    folder, _, name = path.rpartition("/")
    if any(part.startswith(".") for part in path.split("/")):
        return False
    if folder in ("configs", "configs/accelerate"):
        return name.endswith(".yaml")
    if folder == "configs/tokenizer":
        return name in (*TOKENIZER_FILES, MANIFEST)
    return path.startswith(RAW) or path in _FILES or is_step_code(path)


def _is_in_the_way(path: str) -> bool:
    """Whether something but a file at `path` would hide input."""
    within = any(path == folder or path.startswith(f"{folder}/") for folder in _FOLDERS)
    return within or path in (*_FILES, "data")


def _checked_size(root: Path, path: str, problems: Problems) -> int | None:
    """Bytes of a file that may be taken; None after saying why it may not."""
    size = None
    if not is_safe_path(path):
        fix = 'use printable names of at most 200 characters without \\ " < > | * ? :'
        problems.add(printable(path), "E617", "unsafe file name", fix)
    elif (size := regular_size(root, path)) is None:
        problems.add(printable(path), "E621", "tracked by git, but no regular file here", "check the commit out again")
    elif size > MAX_FILE_BYTES:
        problems.add(printable(path), "E618", f"{size:,} bytes, the limit is {MAX_FILE_BYTES:,}", "split or remove it")
    return size


def regular_size(root: Path, path: str) -> int | None:
    """Bytes of the regular file at `path` below `root`; None for everything else, also behind a linked folder."""
    place = root
    *folders, name = path.split("/")
    try:
        for folder in folders:
            place = place / folder
            if not stat.S_ISDIR(place.lstat().st_mode):
                return None
        status = (place / name).lstat()
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _git(root: Path, *arguments: str) -> bytes:
    done = git(root, *arguments)
    if done.returncode:
        raise FinetuneError(_NO_CHECKOUT, _CHECK_OUT, "E622")
    return done.stdout
