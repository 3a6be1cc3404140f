"""State of the fake Hugging Face Hub: repositories, commits, large files, tokens and planned faults."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

GIT_ATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n*.gguf filter=lfs diff=lfs merge=lfs -text\n"
LARGE_SUFFIXES = (".safetensors", ".gguf", ".bin", ".pt")
LARGE_BYTES = 10 * 2**20


class ApiError(Exception):
    """An HTTP error reply; `code` goes into X-Error-Code, which the client maps to its exception classes."""

    def __init__(self, status: int, message: str, code: str | None = None, body: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.body = status, message, code, body


def git_blob_oid(data: bytes) -> str:
    """The sha1 that git gives a blob with these bytes."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass(frozen=True)
class StoredFile:
    """One file of a commit: small ones hold their bytes, large ones the sha256 under which the store keeps them."""

    size: int
    oid: str
    data: bytes | None = None
    sha256: str | None = None
    xet_hash: str | None = None

    @classmethod
    def small(cls, data: bytes) -> StoredFile:
        return cls(len(data), git_blob_oid(data), data=data)

    @classmethod
    def large(cls, size: int, sha256: str, xet_hash: str | None = None) -> StoredFile:
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"
        return cls(size, git_blob_oid(pointer.encode()), sha256=sha256, xet_hash=xet_hash)

    def entry(self, path: str) -> dict[str, Any]:
        """The file as the tree and paths-info endpoints describe it."""
        entry: dict[str, Any] = {"type": "file", "path": path, "size": self.size, "oid": self.oid}
        if self.sha256:
            entry["lfs"] = {"oid": self.sha256, "size": self.size, "pointerSize": 134}
        if self.xet_hash:
            entry["xetHash"] = self.xet_hash
        return entry


@dataclass(frozen=True)
class Commit:
    """An immutable snapshot of all files."""

    sha: str
    parent: str | None
    title: str
    files: Mapping[str, StoredFile]


@dataclass
class Repo:
    """A model repository: branches and tags name commits."""

    name: str
    private: bool = False
    gated: str = ""
    """auto or manual: who is not in `granted` sees the page, and no file."""
    granted: set[str] = field(default_factory=set)
    """Names of those who were let in."""
    parameters: dict[str, int] = field(default_factory=dict)
    """Number of weights by type, as the Hub reads it from the safetensors headers."""
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def resolve(self, revision: str) -> str:
        """Branch, tag or commit to commit; 404 as the Hub says it."""
        sha = self.branches.get(revision) or self.tags.get(revision) or revision
        if sha not in self.commits:
            raise ApiError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return sha

    def add_commit(self, branch: str, files: Mapping[str, StoredFile], title: str) -> str:
        parent = self.branches.get(branch)
        seed = json.dumps([self.name, parent, title, len(self.commits), {p: f.oid for p, f in files.items()}])
        sha = hashlib.sha1(seed.encode()).hexdigest()
        self.commits[sha] = Commit(sha, parent, title, dict(files))
        self.branches[branch] = sha
        return sha


@dataclass
class Fault:
    """Something that goes wrong with requests METHOD PATTERN number after+1 … after+times."""

    method: str
    pattern: re.Pattern[str]
    status: int = 500
    times: int = 1
    after: int = 0
    apply_first: bool = False
    """Do the work, then answer with `status`: a server error after the fact."""
    lose_reply: bool = False
    """Do the work, then hang up without an answer."""
    drop_after_bytes: int | None = None
    """Hang up after reading this much of the request's body."""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    action: Callable[[], None] | None = None
    """Called before the request is handled, e.g. to move a branch or to kill the client."""


@dataclass
class Identity:
    """Who a token belongs to and where it may write: whole namespaces, or only the repositories named."""

    name: str
    orgs: tuple[str, ...] = ()
    role: str = "write"
    repos: tuple[str, ...] = ()

    def may_write(self, repo: str) -> bool:
        if self.repos:
            return repo in self.repos
        return self.role == "write" and repo.split("/")[0] in (self.name, *self.orgs)


class Hub:
    """The whole server state; every method is called under `lock`."""

    def __init__(self, folder: Path, part_size: int | None = None) -> None:
        self.objects = folder / "objects"
        self.objects.mkdir(parents=True, exist_ok=True)
        self.part_size = part_size
        """Bytes of one part of a multipart upload; None uploads every large file in one request."""
        self.repos: dict[str, Repo] = {}
        self.renamed: dict[str, str] = {}
        """New name by old one: the Hub redirects."""
        self.tokens = {"hf_test": Identity("acme", ("acme-team",))}
        self.publishers: dict[str, dict[str, str]] = {}
        """Trusted Publishing: repository -> claims an id token must carry."""
        self.requests: list[tuple[str, str]] = []
        self.faults: list[Fault] = []
        self.corrupt: re.Pattern[str] | None = None
        """Paths whose last byte is flipped when a commit stores them."""
        self.xet: Callable[[str], tuple[str, int] | None] | None = None
        """Set by hub_xet: sha256 -> (xet hash, size) of what hf_xet uploaded."""
        self.xet_folder: Path | None = None
        self.lock = threading.RLock()

    # What tests use.

    def fail(self, method: str, pattern: str, **options: Any) -> Fault:
        """Plan a fault; options are the fields of Fault."""
        fault = Fault(method, re.compile(pattern), **options)
        self.faults.append(fault)
        return fault

    def read(self, repo: str, path: str, revision: str = "main") -> bytes:
        """A file's bytes at a revision; with Xet storage only small files can be read."""
        file = self.files(repo, revision)[path]
        return file.data if file.data is not None else (self.objects / str(file.sha256)).read_bytes()

    def files(self, repo: str, revision: str = "main") -> Mapping[str, StoredFile]:
        found = self.repo(repo)
        return found.commits[found.resolve(revision)].files

    def titles(self, repo: str) -> list[str]:
        """Titles of the commits on main, oldest first, without the Hub's own initial commit."""
        found, titles = self.repo(repo), []
        sha = found.branches["main"]
        while (commit := found.commits[sha]).parent:
            titles.append(commit.title)
            sha = commit.parent
        return titles[::-1]

    def publish(self, name: str, folder: Path, **facts: Any) -> str:
        """A repository with the files of `folder` on main, as somebody else's upload; returns the commit.

        `facts` are fields of Repo: private, gated, granted, parameters.
        """
        self.create(name, private=facts.pop("private", False))
        for key, value in facts.items():
            setattr(self.repos[name], key, value)
        files = {path.name: StoredFile.small(path.read_bytes()) for path in folder.iterdir() if path.is_file()}
        return self.repos[name].add_commit("main", files, "upload")

    def calls(self, method: str, pattern: str) -> int:
        """How many requests matched so far."""
        return sum(m == method and re.search(pattern, path) is not None for m, path in self.requests)

    # What the routes use.

    def repo(self, name: str) -> Repo:
        if name not in self.repos:
            raise ApiError(404, "Repository not found", "RepoNotFound")
        return self.repos[name]

    def readable(self, authorization: str | None, name: str, files: bool = False) -> Repo:
        """The repository, if the caller may see it, or its `files`; else what the Hub answers."""
        repo, who = self.repo(name), self.tokens.get((authorization or "").removeprefix("Bearer "))
        if repo.private and (who is None or not (who.may_write(name) or who.name in repo.granted)):
            raise ApiError(404 if who else 401, "Repository not found", "RepoNotFound")
        if files and repo.gated and (who is None or who.name not in repo.granted):
            message = f"Access to model {name} is restricted. You must have access to it and be authenticated."
            raise ApiError(403 if who else 401, message, "GatedRepo")
        return repo

    def create(self, name: str, private: bool) -> None:
        repo = self.repos[name] = Repo(name, private)
        repo.add_commit("main", {".gitattributes": StoredFile.small(GIT_ATTRIBUTES)}, "initial commit")

    def identity(self, authorization: str | None) -> Identity:
        found = self.tokens.get((authorization or "").removeprefix("Bearer "))
        if found is None:
            raise ApiError(401, "Invalid username or password.")
        return found

    def check_write(self, authorization: str | None, repo: str) -> Identity:
        who = self.identity(authorization)
        if not who.may_write(repo):
            raise ApiError(403, f'You don\'t have the rights to write to "{repo}"')
        return who

    def store(self, sha256: str, data: bytes) -> None:
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ApiError(400, "sha256 mismatch")
        (self.objects / sha256).write_bytes(data)

    def stored_size(self, sha256: str) -> int | None:
        path = self.objects / sha256
        return path.stat().st_size if path.exists() else None

    def large_file(self, path: str, sha256: str) -> StoredFile:
        """The committed form of an uploaded large file; 400 when its bytes never arrived."""
        size = self.stored_size(sha256)
        if size is None and self.xet and (found := self.xet(sha256)):
            return StoredFile.large(found[1], sha256, found[0])
        if size is None:
            raise ApiError(400, f"LFS pointer pointed to a file that does not exist: {path}")
        if self.corrupt and self.corrupt.search(path):
            data = _flip((self.objects / sha256).read_bytes())
            sha256 = hashlib.sha256(data).hexdigest()
            (self.objects / sha256).write_bytes(data)
        return StoredFile.large(size, sha256)

    def small_file(self, path: str, data: bytes) -> StoredFile:
        return StoredFile.small(_flip(data) if self.corrupt and self.corrupt.search(path) else data)


def _flip(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])
