"""A manifest names every byte: the one comparison of files with what was written down about them.

Two kinds of folder are compared. One that comes from another machine, or that is published, is *closed*: what its
manifest names is there as a regular file of this size and sha256, and nothing else is (`deviations`). A step's own
output on this disk may have neighbours, and may lie behind a link of its owner (`is_current`, `faults`).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from finetune import provenance

Kind = Literal["unsafe", "unlisted", "irregular", "missing", "size", "changed", "flood"]
_UNSAFE = re.compile(r'[\\"<>|*?:]')  # artifacts cannot carry these names
_LONGEST, _LONGEST_PART = 400, 200


@dataclass(frozen=True)
class Deviation:
    """One way in which a folder is not what its manifest says."""

    name: str
    """Posix path below the folder, as it lies there or is listed: not fit for a message as it is."""
    kind: Kind
    bytes: int = 0
    """What the file has; of kind size only."""


def deviations(
    folder: Path,
    listed: Mapping[str, provenance.FileFacts],
    beside: Collection[str] = (),
    *,
    most: int = 10_000,
    limit: Callable[[str], int] | None = None,
) -> list[Deviation]:
    """How the closed `folder` differs from `listed`, by name; empty when it is whole.

    `beside` are files that may lie there unlisted, the manifest itself above all. Links, pipes and devices are never
    opened or followed, no file of another size than listed, or above `limit` of its name, is read, and after `most`
    entries the walk ends.
    """
    differences = [Deviation(name, "unsafe") for name in listed if not is_safe_path(name)]
    missing = set(listed)
    for seen, (name, size) in enumerate(entries(folder)):
        if seen >= most:
            return [*differences, Deviation(".", "flood")]
        if size is None:
            differences.append(Deviation(name, "irregular"))
        elif name in listed:
            missing.discard(name)
            if size != listed[name].bytes or (limit and size > limit(name)):
                differences.append(Deviation(name, "size", size))
            elif provenance.sha256(folder / name) != listed[name].sha256:
                differences.append(Deviation(name, "changed"))
        elif name not in beside:
            differences.append(Deviation(name, "unlisted"))
    return [*differences, *(Deviation(name, "missing") for name in sorted(missing))]


def entries(folder: Path) -> Iterator[tuple[str, int | None]]:
    """(posix path, bytes) of every file below `folder`, None for links, pipes and devices; links are not followed.

    A folder of no files counts as nothing. Where `folder` is no folder itself, there is nothing.
    """
    pending = [""] if folder.is_dir() and not folder.is_symlink() else []
    while pending:
        below = pending.pop()
        with os.scandir(folder / below) as inside:
            for entry in sorted(inside, key=lambda entry: entry.name):
                name, status = f"{below}{entry.name}", entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    pending.append(f"{name}/")
                else:
                    yield name, status.st_size if stat.S_ISREG(status.st_mode) else None


def is_safe_path(path: str) -> bool:
    """Whether `path` is a plain relative posix path of printable names that every system and artifact can carry."""
    parts = path.split("/")
    return (
        0 < len(path) <= _LONGEST
        and path == PurePosixPath(path).as_posix()
        and all(p and p == p.strip() and not p.startswith(".") and len(p) <= _LONGEST_PART for p in parts)
        and path.isprintable()
        and not _UNSAFE.search(path)
    )


def is_current(path: Path, inputs: Mapping[str, str]) -> bool:
    """True when the manifest at `path` names exactly these inputs and every output still has its recorded bytes."""
    manifest = provenance.read_manifest(path)
    if manifest is None or manifest.inputs != dict(inputs):
        return False
    return not any(_state(path.parent / name, recorded) for name, recorded in manifest.outputs.items())


def faults(path: Path, hashed: bool = True) -> list[str]:
    """What is wrong with the files that the manifest at `path` names, one phrase a file; empty when nothing is.

    Without `hashed` only their sizes are compared, for files that take minutes to read.
    """
    phrases = []
    for name, recorded in (provenance.read_manifest(path) or provenance.NO_MANIFEST).outputs.items():
        output = path.parent / name
        state = _state(output, recorded, hashed)
        if state == "missing":
            phrases.append(f"{name} is a broken link" if output.is_symlink() else f"{name} is missing")
        elif special := provenance.what_it_is(output):
            phrases.append(f"{name} {special}")
        elif state == "size":
            phrases.append(f"{name} has {output.stat().st_size:,} of {recorded.bytes:,} bytes")
        elif state == "changed":
            phrases.append(f"{name} was changed")
    return phrases


def _state(output: Path, recorded: provenance.FileFacts, hashed: bool = True) -> Kind | None:
    """What is wrong with one file of this disk; None when nothing is. Its size comes before any reading."""
    if not output.is_file():
        return "missing"
    if output.stat().st_size != recorded.bytes:
        return "size"
    return "changed" if hashed and provenance.sha256(output) != recorded.sha256 else None
