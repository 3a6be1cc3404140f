"""Runs the publisher of the generated repository against a fake Hub, and says what a release must look like there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from fakes.hub import HubServer

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "<<cookiecutter.task_name>>"
REPOS = ("acme/small-lora", "acme/small-gguf", "acme/small")


def build(root: Path, seed: int = 0) -> Path:
    """A task repository whose pipeline ran through, in miniature; made by the generated repository's test helper."""
    code = (
        "import sys; from pathlib import Path; from release_tree import make_release; "
        "make_release(Path(sys.argv[1]), seed=int(sys.argv[2]))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TEMPLATE), str(ROOT / "tests" / "package")])}
    command = [sys.executable, "-c", code, str(root), str(seed)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return root


class Publisher:
    """Starts scripts/08_upload_hf.py for one project and one Hub."""

    def __init__(self, server: HubServer, home: Path) -> None:
        self.env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(TEMPLATE),
            "HF_ENDPOINT": server.url,
            "HF_TOKEN": "hf_test",
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "OMP_NUM_THREADS": "1",
        }

    def start(self, project: Path, *options: str, version: str = "1.0.0") -> subprocess.Popen[str]:
        script = TEMPLATE / "scripts" / "08_upload_hf.py"
        command = [sys.executable, str(script), "--project", str(project), "--version", version, *options]
        return subprocess.Popen(command, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def __call__(self, project: Path, *options: str, version: str = "1.0.0") -> tuple[int, str]:
        process = self.start(project, *options, version=version)
        output, _ = process.communicate(timeout=180)
        assert "Traceback" not in output and "hf_test" not in output, output
        return process.returncode, output


def expect(done: tuple[int, str], code: int, *words: str) -> None:
    assert done[0] == code, done[1]
    for word in words:
        assert word in done[1], done[1]


def assert_complete(server: HubServer, project: Path, tag: str = "v1.0.0", commits: int = 1) -> None:
    """Every repository is at its tag, with exactly the planned bytes, after `commits` commits of ours."""
    receipts = json.loads((project / "benchmarks/results/publish/receipts.json").read_text(encoding="utf-8"))
    plan_of = {entry["repo"]: entry for entry in receipts["repositories"]}
    for name in REPOS:
        repo = server.hub.repos[name]
        assert repo.tags[tag] == repo.branches["main"] == plan_of[name]["commit"]
        assert len(server.hub.titles(name)) == commits
        files = server.hub.files(name, tag)
        assert files.keys() - {".gitattributes"} == plan_of[name]["files"].keys()
        assert {path: files[path].size for path in plan_of[name]["files"]} == {
            path: entry["bytes"] for path, entry in plan_of[name]["files"].items()
        }


def assert_old_or_complete(server: HubServer, wanted: dict[str, set[str]]) -> None:
    """No main shows a part of a release, no tag a release whose parts are not all there."""
    for name in server.hub.repos:
        files = set(server.hub.files(name)) - {".gitattributes"}
        assert files in (set(), wanted[name]), name
    if any(repo.tags for repo in server.hub.repos.values()):
        assert all(set(server.hub.files(name)) - {".gitattributes"} == wanted[name] for name in REPOS)
