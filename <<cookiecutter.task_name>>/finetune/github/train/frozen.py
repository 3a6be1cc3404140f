"""A frozen input: a folder of files and input.json, which names every byte; nothing else is taken from it.

Layout: `input.json` and `files/…`. Who knows the sha256 of input.json (an output of the job that froze it) can verify
the whole folder, wherever it has been in between.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from finetune.config.base import Section
from finetune.errors import FinetuneError, Problems, printable
from finetune.github.client.actions import hex64
from finetune.github.train.checkout import MAX_FILE_BYTES, MAX_FILES, regular_size
from finetune.provenance import FileFacts, Hex64
from finetune.sealed import deviations, is_safe_path

INPUT, FILES = "input.json", "files"
_MAX_MANIFEST_BYTES = 8_000_000
_RERUN = "run the workflow again from its first job"


def _path(text: str) -> str:
    if not is_safe_path(text):
        raise ValueError("unsafe path")
    return text


Commit = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
Source = Literal["repository", "fork"]
Count = Annotated[int, Field(ge=0)]


class FrozenFile(FileFacts):
    bytes: Annotated[int, Field(ge=0, le=MAX_FILE_BYTES)]


class SplitFacts(Section):
    """The test split that main's code makes of this input."""

    sha256: Hex64
    rows: Count


class Rows(Section):
    train: Count
    valid: Count
    test: Count


class PolicyChange(Section):
    """One way in which this input would be judged by other rules than main's."""

    path: str
    kind: str
    """One of benchmark, task, training, code, packages, test-rows, not-taken."""
    detail: str


class FrozenInput(Section):
    """The whole of input.json."""

    version: Literal[1]
    sha: Commit
    """The commit whose input this is."""
    pr: int | None
    source: Source
    main_sha: Commit
    """The commit whose code froze it."""
    repository: str
    files: Annotated[dict[Annotated[str, AfterValidator(_path)], FrozenFile], Field(max_length=MAX_FILES)]
    fingerprint: Hex64
    test: SplitFacts
    rows: Rows
    policy_changes: tuple[PolicyChange, ...]


def read_input(folder: Path, digest: str) -> FrozenInput:
    """The content of `folder`/input.json, once every byte of the folder is what was frozen.

    `digest` is the sha256 of input.json. Raises FinetuneError (E603 no digest, E626 other or malformed manifest),
    BadInput (E627) with every file that is missing, extra, changed, of another size or no regular file.
    """
    hex64(digest)
    size = regular_size(folder, INPUT)
    if size is None or size > _MAX_MANIFEST_BYTES:
        raise FinetuneError(f"{folder.name}/{INPUT} is missing, or no manifest", _RERUN, "E626")
    content = (folder / INPUT).read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise FinetuneError(f"{folder.name}/{INPUT} is not the one that was frozen", _RERUN, "E626")
    try:
        frozen = FrozenInput.model_validate(json.loads(content))
    except (ValueError, RecursionError):
        raise FinetuneError(f"{folder.name}/{INPUT} is malformed", _RERUN, "E626") from None
    problems = Problems()
    _compare(folder, frozen.files, problems)
    problems.raise_if_errors()
    return frozen


def _compare(folder: Path, files: dict[str, FrozenFile], problems: Problems) -> None:
    """Report what lies in `folder` and should not, and what should and does not."""
    listed = {f"{FILES}/{name}": facts for name, facts in files.items()}
    for deviation in deviations(folder, listed, beside=[INPUT], most=4 * MAX_FILES):
        phrases = {
            "unsafe": "unsafe name",
            "unlisted": f"not in {INPUT}",
            "irregular": "no regular file",
            "missing": "missing",
            "changed": "other bytes than were frozen",
            "flood": "far more files than were frozen",
        }
        name, kind = deviation.name, deviation.kind
        message = f"{deviation.bytes:,} bytes instead of {listed[name].bytes:,}" if kind == "size" else phrases[kind]
        problems.add(printable(name), "E627", message, _RERUN)
