"""Real git repositories with entries that no checkout would make, and a GitHub that serves their trees and blobs."""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path
from typing import Any

REGULAR, EXECUTABLE, LINK, SUBMODULE = "100644", "100755", "120000", "160000"
_IDENTITY = {"name": "Tester", "email": "tester@example.org"}


class GitRepository:
    """The repository whose work tree is `root`; made on first use."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        if not (root / ".git").exists():
            self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str, text: bytes = b"") -> bytes:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        for role in ("AUTHOR", "COMMITTER"):
            environment |= {f"GIT_{role}_{key.upper()}": value for key, value in _IDENTITY.items()}
        command = ["git", "-C", str(self.root), "-c", "core.autocrlf=false", *arguments]
        return subprocess.run(command, input=text, capture_output=True, check=True, env=environment).stdout

    def commit(self) -> str:
        """Commit the work tree as it is; its SHA."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "a commit")
        return self.git("rev-parse", "HEAD").decode().strip()

    def commit_entries(self, entries: dict[str, tuple[str, bytes]]) -> str:
        """A commit of exactly these paths as (mode, content), whatever a work tree could hold; its SHA.

        The content of a submodule is ignored.
        """
        lines = []
        for path, (mode, content) in entries.items():
            sha = "5" * 40 if mode == SUBMODULE else self.blob(content)
            lines.append(f"{mode} {sha}\t{path}".encode() + b"\0")
        self.git("read-tree", "--empty")
        self.git("update-index", "-z", "--index-info", text=b"".join(lines))
        tree = self.git("write-tree").decode().strip()
        return self.git("commit-tree", tree, "-m", "entries").decode().strip()

    def blob(self, content: bytes) -> str:
        return self.git("hash-object", "-w", "--stdin", text=content).decode().strip()

    def clone(self, target: Path, sha: str) -> Path:
        """A checkout of `sha` with its own .git, as actions/checkout makes it."""
        self.git("worktree", "prune")
        self.git("update-ref", f"refs/heads/for-{sha}", sha)
        self.git("clone", "--quiet", "--no-checkout", str(self.root), str(target))
        GitRepository(target).git("checkout", "--quiet", "--detach", sha)
        return target

    def rows(self, sha: str) -> list[dict[str, Any]]:
        """Entries of the recursive tree, as GitHub's API spells them."""
        rows = []
        for line in self.git("ls-tree", "-r", "-t", "-l", "-z", sha).split(b"\0"):
            if line:
                facts, _, path = line.partition(b"\t")
                mode, kind, name, size = facts.decode().split()
                row = {"path": path.decode(), "mode": mode, "type": kind, "sha": name, "url": "https://example.org"}
                rows.append(row | ({"size": int(size)} if kind == "blob" else {}))
        return rows

    def routes(self, repository: str = "acme/demo") -> dict[str, Any]:
        """Routes of the git data API that read from here."""

        def tree(request: Any, sha: str) -> dict[str, Any]:
            assert request.query == {"recursive": "1"}
            return {"sha": sha, "tree": self.rows(sha), "truncated": False}

        def blob(request: Any, sha: str) -> dict[str, Any]:
            content = self.git("cat-file", "blob", sha)
            text = base64.encodebytes(content).decode()  # lines of 76 characters, as GitHub sends them
            return {"sha": sha, "size": len(content), "encoding": "base64", "content": text}

        return {
            f"GET /repos/{repository}/git/trees/{{sha}}": tree,
            f"GET /repos/{repository}/git/blobs/{{sha}}": blob,
        }
