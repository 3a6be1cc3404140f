"""A fork's input, read as data: blobs by git's own tree entries, never a checkout.

Only regular files (mode 100644) directly below data/raw/ (*.jsonl) and configs/ (*.yaml) are taken. A link, a
submodule, an executable, a folder or an unsafe name is refused by name; nothing is downloaded while anything is
refused. What judges (configs/benchmark_config.yaml) and all else of the fork is not taken: main's own stays.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.config.strict_yaml import MAX_BYTES as MAX_CONFIG_BYTES
from finetune.data.raw_files import LFS
from finetune.errors import FinetuneError, Problems, printable
from finetune.provenance import staged
from finetune.words import MARKS

if TYPE_CHECKING:
    from finetune.github.client.api import GitHub

RAW, CONFIGS = "data/raw", "configs"
POLICY = "configs/benchmark_config.yaml"
"""Main's own is used, whatever the fork says."""
MAX_FILES = 200
MAX_DATA_BYTES = 50_000_000
"""Of one data file; GitHub itself warns beyond 50 MB."""
MAX_TOTAL_BYTES = 200_000_000
_NAME = re.compile(rf"[^\W_][\w{MARKS}.-]{{0,99}}")
_NAME_BYTES = 200
_SHA = re.compile(r"[0-9a-f]{40}")
_MODES = {
    "120000": "a symbolic link",
    "160000": "a submodule",
    "100755": "an executable file",
    "040000": "a folder",
}


@dataclass(frozen=True)
class TreeEntry:
    """One line of a recursive git tree."""

    path: str
    mode: str
    type: str
    sha: str
    size: int
    """Bytes of a blob; 0 for everything else."""


def read_tree(github: GitHub, sha: str) -> list[TreeEntry]:
    """All entries of the commit's tree. FinetuneError: E618 when GitHub cuts the list, E615 for nonsense."""
    answer = github.get(f"/repos/{{repo}}/git/trees/{sha}", recursive=1)
    if not isinstance(answer, dict) or not isinstance(answer.get("tree"), list):
        raise FinetuneError("GitHub gave no tree for the commit", "run the job again", "E615")
    if answer.get("truncated") is True:
        fix = "remove what does not belong into the repository"
        raise FinetuneError("the commit has more files than GitHub lists at once", fix, "E618")
    if answer.get("truncated") is not False:
        raise FinetuneError("GitHub does not say whether the commit's tree is whole", "run the job again", "E615")
    return [_entry(row) for row in answer["tree"]]


def _entry(row: Any) -> TreeEntry:
    fields = {"path": str, "mode": str, "type": str, "sha": str}
    if not isinstance(row, dict) or not all(isinstance(row.get(name), kind) for name, kind in fields.items()):
        raise FinetuneError("an entry of the commit's tree is malformed", "run the job again", "E615")
    size = row.get("size", 0)
    if type(size) is not int or size < 0 or not _SHA.fullmatch(row["sha"]):
        raise FinetuneError("an entry of the commit's tree is malformed", "run the job again", "E615")
    return TreeEntry(row["path"], row["mode"], row["type"], row["sha"], size)


def fetch_blobs(github: GitHub, sha: str, target: Path, tree: list[TreeEntry] | None = None) -> list[str]:
    """Download the commit's data and configurations; they become all that lies at `target`. Returns their paths.

    Raises BadInput with every refused entry (E616 kind, E617 name or place, E618 size or number, E619 LFS pointer, E620
    bytes that are not those the tree names), FinetuneError (E615) for an unusable tree, ApiError when GitHub fails.
    """
    problems = Problems()
    wanted = select(read_tree(github, sha) if tree is None else tree, problems)
    problems.raise_if_errors()
    with staged(target) as folder:
        for entry in wanted:
            content = _download(github, entry)
            if content is None:
                problems.add(entry.path, "E620", "GitHub's bytes are not those the commit names", "run the job again")
            elif content.startswith(LFS):
                problems.add(entry.path, "E619", "a Git LFS pointer, not the data", "commit the file itself")
            else:
                (folder / entry.path).parent.mkdir(parents=True, exist_ok=True)
                (folder / entry.path).write_bytes(content)
        problems.raise_if_errors()
    return [entry.path for entry in wanted]


def select(tree: Iterable[TreeEntry], problems: Problems) -> list[TreeEntry]:
    """The entries to take, sorted by path; every one that lies in the way is a problem."""
    wanted: dict[str, TreeEntry] = {}
    for entry in sorted(tree, key=lambda entry: entry.path):
        if entry.path in ("data", RAW, CONFIGS):
            if entry.type != "tree":
                _refuse_kind(entry, problems)
        elif entry.type != "tree" and (_is_data(entry, problems) or _is_config(entry, problems)):
            twin = wanted.setdefault(unicodedata.normalize("NFC", entry.path).casefold(), entry)
            if twin is not entry:
                message = f"stands there twice, or differs from {printable(twin.path)} only by case"
                problems.add(printable(entry.path), "E147", message, "rename one of them")
    _check_sizes(list(wanted.values()), problems)
    return list(wanted.values())


def _is_data(entry: TreeEntry, problems: Problems) -> bool:
    """Whether it is a data file; whatever else lies in data/raw is refused, except notes and dot files."""
    if not entry.path.startswith(f"{RAW}/"):
        return False
    name = entry.path.removeprefix(f"{RAW}/")
    if "/" in name:
        fix = "move it into data/raw itself, or out of it"
        problems.add(printable(entry.path), "E143", "lies in a folder below data/raw, which is not read", fix)
    elif not _is_regular(entry):
        _refuse_kind(entry, problems)
    elif name.endswith(".jsonl"):
        return _is_safe(entry, name, problems)
    elif not name.startswith(".") and not name.endswith(".md"):
        problems.add(printable(entry.path), "E146", "not a .jsonl file", "convert it to .jsonl, or remove it")
    return False


def _is_config(entry: TreeEntry, problems: Problems) -> bool:
    """Whether it is a configuration to take; main's own stays for what is not."""
    name = entry.path.removeprefix(f"{CONFIGS}/")
    if name == entry.path or "/" in name or not name.endswith(".yaml") or entry.path == POLICY:
        return False
    if not _is_regular(entry):
        _refuse_kind(entry, problems)
        return False
    return _is_safe(entry, name, problems)


def _is_regular(entry: TreeEntry) -> bool:
    return entry.mode == "100644" and entry.type == "blob"


def _refuse_kind(entry: TreeEntry, problems: Problems) -> None:
    message = f"{_MODES.get(entry.mode, 'no regular file')} (git mode {printable(entry.mode)})"
    problems.add(printable(entry.path), "E616", message, "commit a plain file, mode 100644")


def _is_safe(entry: TreeEntry, name: str, problems: Problems) -> bool:
    if _NAME.fullmatch(name) and len(name.encode()) <= _NAME_BYTES:
        return True
    fix = "use at most 100 letters, digits, - _ and ., the first one a letter or digit"
    problems.add(printable(entry.path), "E617", "unsafe file name", fix)
    return False


def _check_sizes(entries: list[TreeEntry], problems: Problems) -> None:
    """Before a byte is downloaded: the tree knows every size."""
    for entry in entries:
        limit = MAX_DATA_BYTES if entry.path.startswith(RAW) else MAX_CONFIG_BYTES
        if entry.size > limit:
            message = f"{entry.size:,} bytes, the limit is {limit:,}"
            problems.add(printable(entry.path), "E618", message, "split it into several files")
    total = sum(entry.size for entry in entries)
    if len(entries) > MAX_FILES:
        problems.add(RAW, "E618", f"{len(entries)} files, the limit is {MAX_FILES}", "join them")
    if total > MAX_TOTAL_BYTES:
        message = f"{total:,} bytes in all, the limit for a fork is {MAX_TOTAL_BYTES:,}"
        problems.add(RAW, "E618", message, "push the data to a branch of this repository")


def _download(github: GitHub, entry: TreeEntry) -> bytes | None:
    """The blob's bytes; None when they are not what the tree entry promised."""
    answer = github.get(f"/repos/{{repo}}/git/blobs/{entry.sha}")
    if not isinstance(answer, dict) or answer.get("encoding") != "base64" or not isinstance(answer.get("content"), str):
        return None
    try:
        content = base64.b64decode(answer["content"])
    except binascii.Error:
        return None
    return content if len(content) == entry.size and blob_sha(content) == entry.sha else None


def blob_sha(content: bytes) -> str:
    """The name git gives these bytes."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
