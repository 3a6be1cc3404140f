"""A released repository in miniature: a real git history with a tag, receipts of an upload, and GitHub around it.

The release page keeps what is uploaded to it; commits, trees and refs are those of the real git repository, so that a
pull request of the record can really be merged.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from finetune import provenance
from finetune.config.project import Project, load_project
from finetune.errors import OK
from finetune.github.release.assets import release_assets
from github_fake import Answer, GitHubFake, Request, paged

README = "# Small\n\n## Results\n\n<!-- results:start -->\nNo release yet.\n<!-- results:end -->\n\nBelow.\n"
IGNORED = "/data/chat_format/\n/data/test.jsonl\n/models/\n/benchmarks/results/\n/build/\n"
HUB = "https://hub.example"


def git(root: Path, *arguments: str, env: dict[str, str] | None = None, data: bytes | None = None) -> str:
    identity = {
        f"GIT_{who}_{what}": "test@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    done = subprocess.run(
        ["git", "-C", str(root), *arguments],
        capture_output=True,
        input=data,
        check=True,
        env={**os.environ, **identity, "GIT_CONFIG_GLOBAL": os.devnull, **(env or {})},
    )
    return done.stdout.decode().strip()


def write_receipts(project: Project, version: str = "1.2.3") -> None:
    """receipts.json as step 08 writes it, for the artefacts that lie here."""
    repositories = []
    for number, kind in enumerate(("adapter", "gguf", "merged")):
        manifest = provenance.read_manifest(getattr(project.paths, kind) / provenance.MANIFEST)
        assert manifest
        card = project.paths.publish_plan / kind / "README.md"
        provenance.write_text(card, f"card of {kind}\n")
        files = manifest.outputs | {"README.md": provenance.FileFacts.of(card)}
        repo = getattr(project.task.hub, kind)
        repositories.append(
            {
                "kind": kind,
                "repo": repo,
                "commit": f"{number + 1}" * 40,
                "tag": f"v{version}",
                "url": f"{HUB}/{repo}/tree/v{version}",
                "files": {name: file.model_dump() for name, file in files.items()},
            }
        )
    receipts = {"version": version, "tag": f"v{version}", "digest": provenance.digest(repositories), "endpoint": HUB}
    provenance.write_json(project.paths.publish_plan / "receipts.json", {**receipts, "repositories": repositories})


def commit_and_tag(project: Project, tag: str = "v1.2.3") -> str:
    """Make the project's folder a repository with one commit on main, tagged and fetched as `origin/main`."""
    root = project.paths.root
    (root / ".gitignore").write_text(IGNORED, encoding="utf-8")
    if not (root / "README.md").exists():
        (root / "README.md").write_text(README, encoding="utf-8")
    git(root, "init", "-q", "-b", "main")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "First")
    git(root, "tag", tag)
    commit = git(root, "rev-parse", "HEAD")
    git(root, "update-ref", "refs/remotes/origin/main", commit)
    return commit


def on_tag(patch: pytest.MonkeyPatch, project: Project, tag: str = "v1.2.3") -> None:
    """The environment of a step that a pushed tag started."""
    patch.setenv("GITHUB_REF", f"refs/tags/{tag}")
    patch.setenv("GITHUB_SHA", git(project.paths.root, "rev-parse", "HEAD"))
    patch.setenv("GITHUB_REPOSITORY", "acme/demo")
    patch.setenv("GITHUB_SERVER_URL", "https://github.com")
    patch.setenv("GITHUB_RUN_ID", "55")
    for name in ("GITHUB_EVENT_PATH", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT"):
        patch.delenv(name, raising=False)


def released(root: Path, patch: pytest.MonkeyPatch, **changes: Any) -> Project:
    """A finished, uploaded and tagged pipeline of release_tree, in the environment of its release."""
    from release_tree import make_release

    project = make_release(root, **changes)
    rows = [{"input": f"message {n}", "label": project.task.label_names[n % 3]} for n in range(60)]
    raw = root / "data" / "raw" / "rows.jsonl"
    raw.parent.mkdir(parents=True, exist_ok=True)
    raw.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    write_receipts(project)
    commit_and_tag(project)
    on_tag(patch, project)
    return load_project(root)


class ReleasePage(GitHubFake):
    """Releases and their files; `releases` may be edited, contents lie in `contents` by asset id."""

    def __init__(self, root: Path, tag: str = "v1.2.3", digests: bool = True) -> None:
        self.releases: list[dict[str, Any]] = []
        self.contents: dict[int, bytes] = {}
        self.root, self.digests, self.pulls = root, digests, []
        self._ids = iter(range(1, 10_000))
        here = "/repos/acme/demo"
        super().__init__(
            {
                f"GET {here}/git/ref/tags/{{name}}": self._tag,
                f"GET {here}/releases": lambda request: paged(request, [*self.releases]),
                f"POST {here}/releases": self._create,
                f"PATCH {here}/releases/{{number}}": self._change,
                f"GET {here}/releases/{{number}}/assets": self._assets,
                f"GET {here}/releases/assets/{{number}}": lambda request, number: self.contents[int(number)],
                f"POST {here}/uploads/{{number}}/assets": self._upload,
                f"DELETE {here}/releases/assets/{{number}}": self._delete,
                **self._git_routes(f"{here}/git"),
                f"GET {here}/pulls": self._list_pulls,
                f"POST {here}/pulls": self._open_pull,
            }
        )

    def release(self, **values: Any) -> dict[str, Any]:
        """Put a release there, as a person would."""
        number = next(self._ids)
        row = {"id": number, "tag_name": "v1.2.3", "name": "v1.2.3", "body": "", "draft": True, "assets": []}
        row |= {"html_url": f"https://github.com/acme/demo/releases/{number}"}
        row |= {"upload_url": f"{self.url}/repos/acme/demo/uploads/{number}/assets{{?name,label}}", **values}
        self.releases.append(row)
        return row

    def names(self, release: dict[str, Any] | None = None) -> list[str]:
        return sorted(asset["name"] for asset in (release or self.releases[0])["assets"])

    def put(self, release: dict[str, Any], name: str, content: bytes, state: str = "uploaded") -> None:
        number = next(self._ids)
        self.contents[number] = content
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}" if self.digests else None
        release["assets"].append({"id": number, "name": name, "size": len(content), "state": state, "digest": digest})

    def _tag(self, request: Request, name: str) -> Any:
        try:
            return {"object": {"type": "commit", "sha": git(self.root, "rev-parse", f"refs/tags/{name}^{{commit}}")}}
        except subprocess.CalledProcessError:
            return Answer(404, {"message": "Not Found"})

    def _create(self, request: Request) -> Any:
        return self.release(**request.body)

    def _find(self, number: str) -> dict[str, Any]:
        return next(row for row in self.releases if row["id"] == int(number))

    def _change(self, request: Request, number: str) -> Any:
        self._find(number).update(request.body)
        return self._find(number)

    def _assets(self, request: Request, number: str) -> Any:
        return self._find(number)["assets"]

    def _upload(self, request: Request, number: str) -> Any:
        name = request.query["name"]
        if name in self.names(self._find(number)):
            return Answer(422, {"message": "Validation Failed", "errors": [{"message": "already_exists"}]})
        self.put(self._find(number), name, request.body or b"")
        return self._find(number)["assets"][-1]

    def _delete(self, request: Request, number: str) -> None:
        for row in self.releases:
            row["assets"] = [asset for asset in row["assets"] if asset["id"] != int(number)]

    def _git_routes(self, here: str) -> dict[str, Any]:
        return {
            f"GET {here}/ref/heads/{{name:path}}": self._ref,
            f"GET {here}/commits/{{sha}}": self._commit,
            f"GET {here}/trees/{{sha}}": self._tree,
            f"GET {here}/blobs/{{sha}}": self._blob,
            f"POST {here}/trees": self._make_tree,
            f"POST {here}/commits": self._make_commit,
            f"POST {here}/refs": self._make_ref,
            f"PATCH {here}/refs/heads/{{name:path}}": self._move_ref,
        }

    def git(self, *arguments: str, **options: Any) -> str:
        return git(self.root, *arguments, **options)

    def _ref(self, request: Request, name: str) -> Any:
        try:
            return {"object": {"type": "commit", "sha": self.git("rev-parse", "--verify", f"refs/heads/{name}")}}
        except subprocess.CalledProcessError:
            return Answer(404, {"message": "Not Found"})

    def _commit(self, request: Request, sha: str) -> Any:
        return {"sha": sha, "tree": {"sha": self.git("rev-parse", f"{sha}^{{tree}}")}}

    def _tree(self, request: Request, sha: str) -> Any:
        rows = [line.split(None, 3) for line in self.git("ls-tree", sha).splitlines()]
        return {"tree": [{"path": path, "mode": mode, "type": kind, "sha": at} for mode, kind, at, path in rows]}

    def _blob(self, request: Request, sha: str) -> Any:
        content = subprocess.run(
            ["git", "-C", str(self.root), "cat-file", "blob", sha], capture_output=True, check=True
        )
        return {"encoding": "base64", "content": base64.encodebytes(content.stdout).decode()}

    def _make_tree(self, request: Request) -> Any:
        index = {"GIT_INDEX_FILE": str(self.root / ".git" / "fake-index")}
        self.git("read-tree", request.body["base_tree"], env=index)
        for entry in request.body["tree"]:
            sha = self.git("hash-object", "-w", "--stdin", data=entry["content"].encode())
            self.git("update-index", "--add", "--cacheinfo", f"{entry['mode']},{sha},{entry['path']}", env=index)
        return {"sha": self.git("write-tree", env=index)}

    def _make_commit(self, request: Request) -> Any:
        parents = [word for parent in request.body["parents"] for word in ("-p", parent)]
        return {"sha": self.git("commit-tree", request.body["tree"], *parents, "-m", request.body["message"])}

    def _make_ref(self, request: Request) -> Any:
        try:
            self.git("update-ref", request.body["ref"], request.body["sha"], "0" * 40)
        except subprocess.CalledProcessError:
            return Answer(422, {"message": "Reference already exists"})
        return {"ref": request.body["ref"]}

    def _move_ref(self, request: Request, name: str) -> Any:
        old, new = self.git("rev-parse", f"refs/heads/{name}"), request.body["sha"]
        if self.git("merge-base", old, new) != old and not request.body.get("force"):
            return Answer(422, {"message": "Update is not a fast forward"})
        self.git("update-ref", f"refs/heads/{name}", new)
        return {"ref": name}

    def _list_pulls(self, request: Request) -> Any:
        wanted = request.query.get("head", "").partition(":")[2]
        return [row for row in self.pulls if row["head"]["ref"] == wanted]

    def _open_pull(self, request: Request) -> Any:
        row: dict[str, Any] = {name: request.body[name] for name in ("title", "body")}
        row |= {
            "number": next(self._ids),
            "state": "open",
            "head": {"ref": request.body["head"], "repo": {"full_name": "acme/demo"}},
        }
        row["html_url"] = f"https://github.com/acme/demo/pull/{row['number']}"
        self.pulls.append(row)
        return row


@contextmanager
def gathered_release(folder: Path) -> Iterator[Project]:
    """A released project with everything that is attached to its release, in the environment of its workflow."""
    with pytest.MonkeyPatch.context() as patch:
        project = released(folder, patch)
        assert release_assets(project) == OK
        yield project


@contextmanager
def release_page(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReleasePage]:
    """GitHub as the release's job meets it."""
    with ReleasePage(project.paths.root) as github:
        github.environment(monkeypatch)
        yield github
