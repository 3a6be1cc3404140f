"""Whether the machinery is as the template shipped it: finetune/SEALED.json against the files that lie here.

Evidence, not a lock: a team may change the machinery, and the seal is the commit's own. What differs is named, so that
a reviewer looks there and somebody runs the template's tests over it. Whether a seal is the template's is told by its
digest, which `make seal` prints in a checkout of the template.

Digests are those of the text: a line that ends in CRLF counts as one that ends in LF, as git converts them. Links are
not followed. Rendered files (CODEOWNERS, pyproject.toml, documents) hold answers and are not sealed; nor are the files
that an owner edits.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.errors import FinetuneError, printable

ROOT = Path(__file__).resolve().parents[1]
"""The repository whose code is running."""
SEAL = "finetune/SEALED.json"
FOLDERS = ("finetune", "scripts", ".github")
FILES = (".editorconfig", ".gitattributes", ".gitignore", ".pre-commit-config.yaml", "Makefile", "constraints.txt")
"""Beside the folders' files."""
IMPORTED = (".py", ".pyc", ".so", ".pyd")
"""What Python runs: a file of these that was added can take a module's place; another is read by changed code only."""
LISTED = 20
"""Differences that a report names; the rest is counted."""

_CACHES = re.compile(r"__pycache__|\..*_cache|\.hypothesis|.*\.egg-info")
_MAX_BYTES = 1_000_000
_VERSION = re.compile(r"[0-9A-Za-z.+-]{1,40}")
_NAME = re.compile(r"[A-Za-z0-9._/-]{1,200}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Seal:
    """What SEALED.json says: digest by posix path, the template's version, and the digest of the seal itself."""

    version: str
    files: dict[str, str]
    digest: str


@dataclass(frozen=True)
class Comparison:
    """How the files below a folder differ from a seal; names are ASCII, as messages may show them."""

    seal: Seal
    compared: int
    """sealed files that lie here"""
    changed: tuple[str, ...]
    missing: tuple[str, ...]
    added: tuple[str, ...]

    @property
    def differences(self) -> list[str]:
        """`changed NAME`, `missing NAME`, `added NAME`."""
        kinds = {"changed": self.changed, "missing": self.missing, "added": self.added}
        return [f"{kind} {name}" for kind, names in kinds.items() for name in names]


def sealable(root: Path) -> dict[str, Path]:
    """The regular files of the machinery below `root` by posix path, sorted; without caches and the seal itself."""
    found = [path for name in FILES if _is_regular(path := root / name)]
    for top in FOLDERS:
        if (root / top).is_symlink():
            continue
        for folder, folders, names in os.walk(root / top):
            folders[:] = [name for name in folders if not _CACHES.fullmatch(name)]
            found += [path for name in names if _is_regular(path := Path(folder, name))]
    named = {path.relative_to(root).as_posix(): path for path in found}
    return {name: named[name] for name in sorted(named) if name != SEAL}


def text_digest(path: Path) -> str:
    """Hex sha256 of a file's bytes, CRLF read as LF."""
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


def read_seal(root: Path = ROOT) -> Seal:
    """The seal below `root`. Raises FinetuneError (W990) when it is missing or damaged."""
    path = root / SEAL
    if not _is_regular(path):
        raise _unreadable("is missing")
    if path.stat().st_size > _MAX_BYTES:
        raise _unreadable("is too large to be one")
    try:
        values = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise _unreadable("is no JSON") from None
    version, files = (values.get("version"), values.get("files")) if isinstance(values, dict) else (None, None)
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise _unreadable("names no version")
    if not isinstance(files, dict) or not files or not all(_is_entry(*entry) for entry in files.items()):
        raise _unreadable("does not hold one sha256 a file")
    return Seal(version, files, text_digest(path))


def compare(root: Path = ROOT, *, partial: bool = False) -> Comparison:
    """The machinery below `root` against its seal. Raises FinetuneError (W990) when that cannot be read.

    `partial`: only some of the machinery was brought here, as for a training run, so that no file is missing.
    """
    seal, here = read_seal(root), sealable(root)
    sealed = [name for name in seal.files if name in here]
    absent = [name for name in seal.files if name not in here]
    replaced = [name for name in absent if os.path.lexists(root / name)]  # by a link or a folder
    changed = [name for name in sealed if text_digest(here[name]) != seal.files[name]]
    added = [name for name in here if name not in seal.files and name.startswith(("finetune/", "scripts/"))]
    return Comparison(
        seal=seal,
        compared=len(sealed),
        changed=_printable([*changed, *replaced]),
        missing=() if partial else _printable(set(absent) - set(replaced)),
        added=_printable(name for name in added if name.endswith(IMPORTED)),
    )


def recorded(root: Path = ROOT) -> dict[str, Any]:
    """The code that is running, for an evaluation report (`report_parts.Machinery`)."""
    try:
        comparison = compare(root, partial=True)
    except FinetuneError:
        return dict(version=None, seal=None, compared=0, as_shipped=False, differing=0, differs=[])
    differs = comparison.differences
    return {
        "version": comparison.seal.version,
        "seal": comparison.seal.digest,
        "compared": comparison.compared,
        "as_shipped": not differs,
        "differing": len(differs),
        "differs": differs[:LISTED],
    }


def _unreadable(what: str) -> FinetuneError:
    fix = f"git restore {SEAL}, or copy it from the template at the version of this repository"
    return FinetuneError(f"{SEAL} {what}: whether the machinery is as shipped cannot be told", fix, "W990")


def _is_regular(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _is_entry(name: str, digest: object) -> bool:
    return bool(_NAME.fullmatch(name) and isinstance(digest, str) and _DIGEST.fullmatch(digest))


def _printable(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(printable, sorted(names)))
