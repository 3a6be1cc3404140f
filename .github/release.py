"""The two steps of release.yml: python3 -I .github/release.py check | publish

`check` compares the tag with every place that states the version, and with main. `publish` makes the GitHub release as
a draft with the changelog's section and then publishes it; run again, it finishes what is there or does nothing.
Standard library and gh only. Exit 2: something does not fit; exit 74: GitHub did not answer.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

BAD_INPUT, IO_FAULT = 2, 74
TAG = re.compile(r"v(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)")


class ReleaseError(Exception):
    """What stands in the way; `code` is the exit code."""

    def __init__(self, message: str, code: int = BAD_INPUT) -> None:
        super().__init__(message)
        self.code = code


def problems(root: Path, tag: str) -> list[str]:
    """Everything that does not fit to `tag`, each in one line."""
    if not TAG.fullmatch(tag):
        return [f"{tag[:60]!a} is no version: a release tag looks like v1.2.3"]
    stated = {
        "cookiecutter.json": json.loads((root / "cookiecutter.json").read_text(encoding="utf-8"))["_template_version"],
        "pyproject.toml": tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"],
    }
    found = [f"{file} says {value}, the tag says {tag[1:]}" for file, value in stated.items() if value != tag[1:]]
    if not notes(root, tag):
        found.append(f"CHANGELOG.md has no text under a heading '## [{tag[1:]}] - YYYY-MM-DD'")
    return found


def notes(root: Path, tag: str) -> str:
    """The changelog's section of this version, without its heading; "" if there is none."""
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    heading = rf"^## \[{re.escape(tag[1:])}\] - \d{{4}}-\d{{2}}-\d{{2}}\n(.*?)(?=^## |^\[[^\]]+\]: |\Z)"
    section = re.search(heading, changelog, flags=re.MULTILINE | re.DOTALL)
    return section[1].strip() if section else ""


def require_on_main(root: Path) -> None:
    """The tagged commit was reviewed: it lies on main. Needs main's history (fetch-depth: 0)."""
    command = ["git", "merge-base", "--is-ancestor", "HEAD", "refs/remotes/origin/main"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ReleaseError(f"the tagged commit is not on main {done.stderr.strip()}".rstrip())


def check(root: Path, tag: str) -> str:
    """Raise ReleaseError with every problem of the tag."""
    if found := problems(root, tag):
        raise ReleaseError("; ".join(found))
    require_on_main(root)
    return f"{tag} is on main, and every file agrees"


def publish(root: Path, tag: str) -> str:
    """Make the release, or finish it. One that is published with other notes is never changed."""
    if found := problems(root, tag):
        raise ReleaseError("; ".join(found))
    releases = f"repos/{os.environ['GITHUB_REPOSITORY']}/releases"
    body = notes(root, tag)
    wanted = {"tag_name": tag, "name": f"llm-ft-template {tag}", "body": body}
    # By the list, because only it shows drafts; a release that several drafts claim goes on with the first.
    same = [release for release in gh(f"{releases}?per_page=100", pages=True) if release["tag_name"] == tag]
    release = next((one for one in same if not one["draft"]), same[0] if same else None)
    if release and not release["draft"]:
        if release["body"].replace("\r\n", "\n").strip() != body:
            raise ReleaseError(f"{tag} is published with other notes: publish the change under a new version")
        return f"{tag} is published already: {release['html_url']}"
    if release is None:
        release = gh(releases, {**wanted, "draft": True})
    done = gh(f"{releases}/{release['id']}", {**wanted, "draft": False}, method="PATCH")
    return f"{tag} published: {done['html_url']}"


def gh(path: str, body: dict[str, Any] | None = None, *, method: str = "POST", pages: bool = False) -> Any:
    """One request by gh, parsed; ReleaseError (74) with gh's own words when it fails."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".json") as file:
        json.dump(body or {}, file)
        file.flush()
        options = ["--method", method, "--input", file.name] if body else ["--paginate", "--slurp"] if pages else []
        command = ["gh", "api", *options, path]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ReleaseError(f"gh did not run: {error}", IO_FAULT) from None
    if done.returncode:
        raise ReleaseError(f"gh api {path}: {done.stderr.strip() or done.stdout.strip()}", IO_FAULT)
    answer = json.loads(done.stdout)
    return [item for page in answer for item in page] if pages else answer


def main(arguments: list[str]) -> int:
    steps = {"check": check, "publish": publish}
    try:
        if len(arguments) != 1 or arguments[0] not in steps:
            raise ReleaseError(f"one of {', '.join(steps)} is expected")
        print(steps[arguments[0]](Path.cwd(), os.environ["GITHUB_REF_NAME"]))
    except ReleaseError as error:
        # ASCII JSON: whatever the message quotes, it stays one line and starts no other workflow command.
        print(f"::error title=release::{json.dumps(str(error))[1:-1].replace('%', '%25')}", flush=True)
        return error.code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
