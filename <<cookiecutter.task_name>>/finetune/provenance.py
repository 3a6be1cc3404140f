"""Fingerprints, atomic writes and step manifests: a manifest is written last, so its presence means done."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from finetune.git import git_line

MANIFEST = "manifest.json"
_LFS = b"version https://git-lfs"
_RECORDED = (
    "torch",
    "transformers",
    "peft",
    "trl",
    "accelerate",
    "datasets",
    "bitsandbytes",
    "scikit-learn",
    "huggingface_hub",
    "gguf",
    "llama-cpp-python",
    "pydantic",
    "msgspec",
)


Hex64 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class FileFacts(BaseModel):
    """What is written down about one file."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    sha256: Hex64
    bytes: Annotated[int, Field(ge=0)]

    @classmethod
    def of(cls, path: Path, known: str | None = None) -> Self:
        """Of the file as it is now; `known` is its sha256 where that was taken already."""
        return cls(sha256=known or sha256(path), bytes=path.stat().st_size)


class Manifest(BaseModel):
    """What a step read and wrote."""

    model_config = ConfigDict(strict=True, frozen=True)
    step: str = ""
    inputs: dict[str, str]
    outputs: dict[str, FileFacts]
    """By posix path relative to the manifest's folder."""
    facts: dict[str, Any]
    """Each step has its own."""

    @property
    def outputs_digest(self) -> str:
        """One digest over the names and contents of all outputs."""
        return digest({name: file.model_dump() for name, file in self.outputs.items()})


NO_MANIFEST = Manifest(inputs={}, outputs={}, facts={})
"""Where none was written, for whoever goes on without it."""


def sha256(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: Any) -> str:
    """Hex sha256 of `value` as canonical JSON (sorted keys, no spaces)."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()  # any file name has a digest


def tree_digest(directory: Path, through: Callable[[list[Path]], Iterable[Path]] = iter) -> str:
    """One digest over the names and contents of every file below `directory`, its manifest left out.

    `through` may show progress over the files.
    """
    files = sorted(p for p in directory.rglob("*") if p.is_file() and p.name != MANIFEST)
    return digest({p.relative_to(directory).as_posix(): sha256(p) for p in through(files)})


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` under a temporary name in the same folder, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with LF under a temporary name, then rename."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target` that takes its place when the block succeeds, and vanishes when it fails.

    What lay at `target` before stays untouched until then. Leftovers of killed runs are removed first.

    POSIX cannot swap two folders in one step, so for the moment between two renames nothing lies at `target`. A run
    killed in that moment loses nothing: the old content waits under `.NAME.old`, and the next `staged` or
    `read_manifest` puts it back. Another process that looks in that very moment sees no folder.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _recover(target)
    name = re.compile(re.escape(f".{target.name}.") + r"[a-z0-9_]{8}\.staged")  # not those of a neighbour "NAME.x"
    for leftover in [_old(target), *(p for p in target.parent.iterdir() if name.fullmatch(p.name))]:
        _remove(leftover)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=".staged"))
    os.chmod(temporary, 0o755)
    try:
        yield temporary
        if os.path.lexists(target):
            os.replace(target, _old(target))
        os.replace(temporary, target)
    except BaseException:
        _recover(target)
        _remove(temporary)
        raise
    if os.path.lexists(_old(target)):
        # Renamed before it is taken apart, so that half of it can never be put back.
        os.replace(_old(target), temporary)
        _remove(temporary)


def _old(target: Path) -> Path:
    return target.with_name(f".{target.name}.old")


def _recover(target: Path) -> None:
    """Put the old content back where a run was killed between the two renames of `staged`."""
    if not os.path.lexists(target) and os.path.lexists(_old(target)):
        os.replace(_old(target), target)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_manifest(
    path: Path,
    *,
    step: str,
    inputs: Mapping[str, str],
    outputs: Iterable[Path],
    facts: Mapping[str, Any],
    known: Mapping[Path, str] | None = None,
) -> Manifest:
    """Record what a step read and wrote; call it last. Outputs are kept relative to the manifest's folder.

    `known` are digests of outputs that the step has taken already.
    """
    recorded = {
        Path(os.path.relpath(output, path.parent)).as_posix(): FileFacts.of(output, (known or {}).get(output))
        for output in outputs
    }
    manifest = Manifest(step=step, inputs=dict(inputs), outputs=recorded, facts=dict(facts))
    write_json(path, manifest.model_dump())
    return manifest


def read_manifest(path: Path) -> Manifest | None:
    """The manifest at `path`, or None when there is none or it is damaged (both mean: not done)."""
    try:
        _recover(path.parent)
        return Manifest.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None


def what_it_is(path: Path) -> str:
    """What stands in the place of a file's content: nothing, or a pointer of Git LFS; empty for a real one."""
    with open(path, "rb") as file:
        start = file.read(64)
    if not start:
        return "is empty"
    return "is a Git LFS pointer (git lfs pull fetches the file)" if start.startswith(_LFS) else ""


def git_commit(root: Path) -> str | None:
    """HEAD of the repository at `root`, with "+changes" when the work tree differs, or None outside git."""
    # A repository baked inside another work tree must not report the outer one's commit.
    top = git_line(root, "rev-parse", "--show-toplevel")
    commit = git_line(root, "rev-parse", "HEAD")
    if commit is None or top is None or Path(top).resolve() != root.resolve():
        return None
    return commit + ("+changes" if git_line(root, "status", "--porcelain") else "")


def environment(root: Path | None = None) -> dict[str, Any]:
    """Versions and machine facts that a result depends on; no paths, user or host names."""
    from finetune.threads import available

    versions = {}
    for name in _RECORDED:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpus": available().count,
        "packages": versions,
        "git_commit": git_commit(root) if root else None,
    }
