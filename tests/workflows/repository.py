"""One git repository as GitHub keeps it: branches, pull requests (also from forks), merge commits, tags.

A bare repository on this disk; commits are made with plumbing, so that a test can put in what no work tree would hold
(a symbolic link out of the repository, a submodule, a name with a newline).
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

NAME = "acme/ticket-router"
FORK = "mallory/ticket-router"
REGULAR, EXECUTABLE, LINK, SUBMODULE = "100644", "100755", "120000", "160000"


@dataclass(frozen=True)
class Entry:
    """A tree entry other than a regular file; of a submodule `data` is the commit."""

    mode: str
    data: bytes


Files = Mapping[str, "str | bytes | Entry | None"]
"""Path to content; None removes the file."""


class Repository:
    """A bare repository; `main` is its default branch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def from_tree(cls, tree: Path, path: Path) -> Repository:
        """`tree` (a generated repository with its own first commit) as it would be pushed to an empty repository."""
        subprocess.run(["git", "clone", "--quiet", "--bare", str(tree), str(path)], check=True)
        made = cls(path)
        made.git("branch", "--force", "main", "HEAD")
        made.git("symbolic-ref", "HEAD", "refs/heads/main")
        made.git("remote", "remove", "origin")
        made.git("config", "uploadpack.allowAnySHA1InWant", "true")  # as GitHub serves any commit by its name
        return made

    def copy(self, path: Path) -> Repository:
        """An independent copy, objects shared by hard links."""
        # git never writes into an existing file, it replaces it: shared ones are safe.
        subprocess.run(["cp", "-a", "--link", str(self.path), str(path)], check=True)
        return Repository(path)

    # Reading

    def git(self, *arguments: str, data: bytes | None = None, env: Mapping[str, str] | None = None) -> str:
        """One git command's output, stripped; CalledProcessError (its message on stderr) when it fails."""
        return self.git_bytes(*arguments, data=data, env=env).decode("utf-8", "surrogateescape").strip()

    def git_bytes(self, *arguments: str, data: bytes | None = None, env: Mapping[str, str] | None = None) -> bytes:
        environment = {**os.environ, **(env or {})}
        command = ["git", "--git-dir", str(self.path), *arguments]
        return subprocess.run(command, input=data, capture_output=True, check=True, env=environment).stdout

    def sha(self, ref: str = "main") -> str:
        """The commit that `ref` names."""
        return self.git("rev-parse", "--verify", f"{ref}^{{commit}}")

    def read(self, path: str, ref: str = "main") -> str:
        return self.git_bytes("show", f"{ref}:{path}").decode("utf-8")

    def changed(self, old: str, new: str) -> tuple[str, ...]:
        """Paths that differ between two commits."""
        return tuple(self.git("diff", "--name-only", old, new).splitlines())

    def check_out(self, ref: str, target: Path) -> Path:
        """A work tree at `ref`, for act to read the workflow files from."""
        for command in (
            ["clone", "--quiet", "--shared", "--no-checkout", str(self.path), str(target)],
            ["-C", str(target), "checkout", "--quiet", "--detach", self.sha(ref)],
            ["-C", str(target), "remote", "set-url", "origin", f"https://github.com/{NAME}.git"],
        ):
            subprocess.run(["git", *command], check=True)
        return target

    # Writing

    def commit(
        self, files: Files, *, branch: str | None = "main", onto: str | None = None, message: str = "change"
    ) -> str:
        """A commit with `files` changed, on `onto` (else the branch's head, else main's); moves `branch` if given."""
        if onto is None:
            onto = branch if branch and self.exists(f"refs/heads/{branch}") else "main"
        parent = self.sha(onto)
        with tempfile.TemporaryDirectory() as folder:
            index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            self.git("read-tree", parent, env=index)
            for path, content in files.items():
                self._stage(path, content, index)
            tree = self.git("write-tree", env=index)
        made = self.git("commit-tree", tree, "-p", parent, "-m", message)
        if branch:
            self.git("update-ref", f"refs/heads/{branch}", made)
        return made

    def _stage(self, path: str, content: str | bytes | Entry | None, index: Mapping[str, str]) -> None:
        if content is None:
            line = f"0 {'0' * 40}\t{path}\0"
        else:
            entry = content if isinstance(content, Entry) else Entry(REGULAR, _bytes(content))
            if entry.mode == SUBMODULE:
                name = entry.data.decode()
            else:
                name = self.git("hash-object", "-w", "--stdin", data=entry.data)
            line = f"{entry.mode} {name}\t{path}\0"
        self.git("update-index", "-z", "--index-info", data=line.encode("utf-8", "surrogateescape"), env=index)

    def exists(self, ref: str) -> bool:
        found = subprocess.run(
            ["git", "--git-dir", str(self.path), "rev-parse", "--verify", "--quiet", ref],
            capture_output=True,
            check=False,
        )
        return found.returncode == 0

    def push(self, branch: str, sha: str) -> None:
        """Move a branch, forced if need be."""
        self.git("update-ref", f"refs/heads/{branch}", sha)

    def tag(self, name: str, ref: str = "main") -> str:
        """A lightweight tag; the commit it names."""
        sha = self.sha(ref)
        self.git("update-ref", f"refs/tags/{name}", sha)
        return sha

    def set_pull(self, number: int, head: str, base: str = "main") -> str:
        """The two references GitHub keeps for a pull request; the merge commit a `pull_request` run checks out."""
        self.git("update-ref", f"refs/pull/{number}/head", head)
        merge = self.merge(base, head, f"Merge {head} into {self.sha(base)}")
        self.git("update-ref", f"refs/pull/{number}/merge", merge)
        return merge

    def merge(self, base: str, head: str, message: str) -> str:
        """A merge commit of two references, no branch moved; CalledProcessError when they conflict."""
        tree = self.git("merge-tree", "--write-tree", base, head).splitlines()[0]
        return self.git("commit-tree", tree, "-p", self.sha(base), "-p", self.sha(head), "-m", message)


def _bytes(content: str | bytes) -> bytes:
    return content.encode("utf-8") if isinstance(content, str) else content
