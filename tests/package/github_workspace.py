"""Main's checkout as the resolve job has it, the repository of a change, and the GitHub around them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune.config.project import Project, load_project
from finetune.errors import BadInput
from finetune.github.train.freezing import freeze
from finetune.github.train.frozen import read_input
from git_repository import SUBMODULE, GitRepository
from github_fake import GitHubFake, paged

Make = Callable[..., Project]
TASK, TRAINING, BENCHMARK = "task_definition.yaml", "configs/training_config.yaml", "configs/benchmark_config.yaml"
BASE = {"base_model": {"id": "HuggingFaceTB/SmolLM2-135M-Instruct", "revision": "1" * 40}}
EXTRA = {
    "constraints.txt": "torch==2.13.0\n",
    "README.md": "# Task\n",
    ".gitignore": "/build/\n/models/\n",
    ".env": "S=1\n",
    "finetune/__init__.py": "",
    "finetune/data/checks.py": "CODE = 1\n",
    "finetune/github/train/gate.py": "GATE = 1\n",
    "scripts/02_convert_format.py": "print(2)\n",
    "scripts/github.py": "print(0)\n",
    "torch.py": "EVIL = 1\n",
    "finetune/data/records.so": "machine code",
    "finetune/__pycache__/paths.cpython-311.pyc": "code",
    "data/chat_format/train.jsonl": "{}\n",
    "data/test.jsonl": "{}\n",
    "configs/accelerate/ddp.yaml": "a: 1\n",
    "benchmarks/results/evaluation_report.yaml": "verdict: passed\n",
    "data/raw/.gitkeep": "",
    "docs/a.md": "a",
}
FROZEN = [
    "configs/accelerate/ddp.yaml",
    "configs/benchmark_config.yaml",
    "configs/training_config.yaml",
    "constraints.txt",
    "data/raw/rows.jsonl",
    "finetune/__init__.py",
    "finetune/data/checks.py",
    "scripts/02_convert_format.py",
    "task_definition.yaml",
]


def rows_file(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


class Workspace:
    """`root` is main, `change` the repository of the change, `input` what is frozen; statuses are recorded."""

    def __init__(self, make_project: Make, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._make = make_project
        self.change = GitRepository(folder / "change")
        self.write(self.change.root)
        self.base = self.change.commit()
        self.root = self.change.clone(folder / "main", self.base)
        self.project = load_project(self.root)
        self.input = self.root / "build" / "input"
        self.statuses: list[tuple[str, str, str]] = []
        self.artifacts: list[dict[str, Any]] = []
        self.github = GitHubFake(
            {
                **self.change.routes(),
                "POST /repos/acme/demo/statuses/{sha}": self._status,
                "GET /repos/acme/demo/actions/artifacts": lambda request: paged(
                    request, self._named(request), "artifacts"
                ),
                "GET /repos/acme/demo/actions/runs/{run}": lambda request, run: {
                    "id": int(run),
                    "path": ".github/workflows/train.yml@main",
                    "event": "workflow_dispatch",
                    "head_branch": "main",
                    "head_sha": self.base,
                },
            }
        )
        self.github.environment(patch)
        self.output = folder / "output"
        patch.setenv("GITHUB_OUTPUT", str(self.output))
        patch.delenv("GITHUB_EVENT_PATH", raising=False)
        patch.delenv("GITHUB_STEP_SUMMARY", raising=False)

    def write(self, root: Path, **sections: Any) -> None:
        sections["training"] = {**BASE, **sections.get("training", {})}
        self._make(root=root, **sections)
        for name, text in EXTRA.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")

    def _status(self, request: Any, sha: str) -> dict[str, Any]:
        self.statuses.append((sha, request.body["state"], request.body["description"]))
        return {"id": 1}

    def _named(self, request: Any) -> list[dict[str, Any]]:
        return [artifact for artifact in self.artifacts if artifact["name"] == request.query["name"]]

    def evaluated(self, fingerprint: str, run: int, expired: bool = False) -> None:
        self.artifacts.append(
            {
                "id": run + 1000,
                "name": f"adapter-{fingerprint}",
                "expired": expired,
                "size_in_bytes": 9,
                "created_at": "2026-11-24T00:00:00Z",
                "workflow_run": {"id": run, "repository_id": 1, "head_repository_id": 1, "head_branch": "main"},
            }
        )

    def check_out(self, sha: str) -> None:
        shutil.rmtree(self.root / "build" / "candidate", ignore_errors=True)
        self.change.clone(self.root / "build" / "candidate", sha)

    def freeze(self, sha: str, pr: str = "7", source: str = "repository") -> dict[str, Any]:
        """The manifest, after the outputs were compared with it."""
        if source == "repository":
            self.check_out(sha)
        self.output.write_text("")
        assert freeze(self.project, sha, pr, source) == 0
        told = dict(line.split("=") for line in self.output.read_text().splitlines())
        frozen = read_input(self.input, told["digest"])
        assert told["fingerprint"] == frozen.fingerprint
        assert set(told) == {"fingerprint", "digest", "reuse"}
        self.digest, self.reuse = told["digest"], int(told["reuse"])
        return frozen.model_dump(mode="json")

    def refused(self, sha: str, source: str = "repository") -> list[tuple[str, str, str | None]]:
        """(path, code, key) of every problem of an input that must not be frozen, trained or called good."""
        if source == "repository":
            self.check_out(sha)
        with pytest.raises(BadInput) as failure:
            freeze(self.project, sha, "7", source)
        assert all(problem.fix for problem in failure.value.problems.errors)
        self.nothing_came_of_it(sha)
        return [(problem.path, problem.code, problem.key) for problem in failure.value.problems.errors]

    def nothing_came_of_it(self, sha: str) -> None:
        assert not self.input.exists()
        assert not self.output.exists() or self.output.read_text() == ""
        assert [state for _, state, _ in self.statuses] == ["error"]
        assert self.statuses[0][0] == sha

    def changed(self, **files: Any) -> str:
        """A commit with other contents of some files, or without them (None)."""
        for name, content in files.items():
            path = self.change.root / name
            if content is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content, encoding="utf-8")
        return self.change.commit()

    def edited(self, name: str, key: str, value: Any) -> str:
        """A commit with another value in a YAML file."""
        values = yaml.safe_load((self.change.root / name).read_text(encoding="utf-8"))
        section, *parts = values, *key.split(".")
        for part in parts[:-1]:
            section = section.setdefault(part, {})
        section[parts[-1]] = value
        return self.changed(**{name: yaml.safe_dump(values)})

    def with_entry(self, path: str, mode: str, content: bytes = b"") -> str:
        """A commit of the work tree with one more entry, of any mode and name."""
        self.change.git("add", "--all")
        sha = "5" * 40 if mode == SUBMODULE else self.change.blob(content)
        self.change.git("update-index", "-z", "--index-info", text=f"{mode} {sha}\t{path}".encode() + b"\0")
        tree = self.change.git("write-tree").decode().strip()
        return self.change.git("commit-tree", tree, "-p", self.base, "-m", "entry").decode().strip()
