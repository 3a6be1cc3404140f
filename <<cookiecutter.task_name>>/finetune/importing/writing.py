"""data/raw/NAME.jsonl: a temporary name first, never over a file that is there, the same bytes for the same rows."""

from __future__ import annotations

import glob
import os
import re
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from finetune import provenance
from finetune.config.project import Project
from finetune.data.raw_files import MAX_FILE_BYTES
from finetune.errors import FinetuneError

_ALLOWED = re.compile(r"[^\w.-]+")


def target_of(project: Project, source: Path, name: str | None) -> Path:
    """Where the rows of `source` go: data/raw/NAME.jsonl, NAME as told or made from the source's own.

    Raises FinetuneError: E143 data/raw is no folder, E173 an unsafe name, E168 another spelling is there or it is the
    source itself.
    """
    raw = project.paths.raw
    if raw.is_symlink() or (raw.exists() and not raw.is_dir()) or not raw.resolve().is_relative_to(project.paths.root):
        raise FinetuneError("data/raw is not a folder of this repository", "make it one", "E143")
    if name is None:
        stem = unicodedata.normalize("NFC", source.absolute().name)
        for suffix in source.suffixes[-1:]:
            stem = stem.removesuffix(suffix)
        name = _ALLOWED.sub("-", stem).strip("-.")[:100] or "imported"
    name = name.removesuffix(".jsonl")
    if not re.fullmatch(r"\w[\w.-]{0,99}", name):
        raise FinetuneError(f"--name {name[:60]!r} is no safe file name", "use letters, digits, - _ and .", "E173")
    target = raw / f"{name}.jsonl"
    namesakes = [p.name for p in raw.iterdir() if p.name.casefold() == target.name.casefold()] if raw.is_dir() else []
    if namesakes and target.name not in namesakes:
        raise FinetuneError(f"data/raw has {namesakes[0]}, which differs only by case", "choose another --name", "E168")
    if os.path.lexists(target) and (target.is_symlink() or os.path.samefile(target, source)):
        what = "is what would be written over" if not target.is_symlink() else "is a symbolic link"
        fix = f"--name {name}-imported, and move the source out of data/raw"
        raise FinetuneError(f"data/raw/{target.name} {what}", fix, "E168")
    return target


@contextmanager
def temporary(target: Path) -> Iterator[BinaryIO]:
    """A file beside `target`, removed at the end whatever happens; leftovers of killed runs as well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for leftover in target.parent.glob(f".{glob.escape(target.name)}.*.import"):
        leftover.unlink(missing_ok=True)
    handle, path = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".import")
    try:
        os.close(handle)
        with open(path, "wb") as file:
            yield file
    finally:
        Path(path).unlink(missing_ok=True)


def put(file: BinaryIO, target: Path, shown: str, again: str) -> bool:
    """Give the finished temporary `file` its name; False where exactly these bytes are there already.

    `again` is the command that would write under another name. Raises FinetuneError: E168 the target holds something
    else, E174 too large to be read.
    """
    file.flush()
    os.fsync(file.fileno())
    path = Path(file.name)
    if path.stat().st_size > MAX_FILE_BYTES:
        what = f"{shown} would have {path.stat().st_size // 2**20} MB, and step 01 reads at most 100 MB a file"
        raise FinetuneError(what, "split the source into several files", "E174")
    os.chmod(path, 0o644)
    try:
        os.link(path, target)  # fails where the target exists, unlike a rename
    except FileExistsError:
        if target.is_file() and not target.is_symlink() and provenance.sha256(target) == provenance.sha256(path):
            return False
        raise FinetuneError(f"{shown} is there already and holds something else", again, "E168") from None
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FinetuneError(f"{shown} is there already", again, "E168") from None
        os.rename(path, target)
    return True
