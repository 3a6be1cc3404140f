"""What actions/checkout v7 does to the disk (its sources: git-source-provider, git-directory-helper, ref-helper).

A workspace that is a checkout of this repository already is cleaned with `git clean -ffdx`, anything else is emptied;
one commit is fetched unless the depth says otherwise; afterwards `origin` is the public address and holds no token, so
a later step that talks to it fails here as it would for a private repository. It is the first step of every job that
does anything, so it also tells the fake GitHub which job runs now: act gives all jobs one token, GitHub does not.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path


def main() -> None:
    announce()
    assert os.environ["PERSIST"] == "false", "the token must not stay in the workspace"
    workspace = Path(os.environ["GITHUB_WORKSPACE"])
    if not os.environ["FOLDER"]:
        workspace = reused(workspace)
    folder = (workspace / os.environ["FOLDER"]).resolve()
    assert folder.is_relative_to(workspace.resolve()), folder
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    address = f"https://github.com/{os.environ['GITHUB_REPOSITORY']}"
    prepare(folder, address)
    commit = check_out(address, os.environ["REF"], int(os.environ["DEPTH"]))
    with open(os.environ["GITHUB_OUTPUT"], "a", encoding="utf-8") as file:
        file.write(f"commit={commit}\n")
    print(f"HEAD is now at {commit}")


def announce() -> None:
    """Tell the fake GitHub which job holds the token from here on."""
    job = {"workflow": os.environ["GITHUB_WORKFLOW"], "job": os.environ["GITHUB_JOB"]}
    url = f"{os.environ['GITHUB_API_URL']}/_harness/runs/{os.environ['GITHUB_RUN_ID']}/job"
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(job).encode(), method="POST")):
        pass


def reused(workspace: Path) -> Path:
    """The job's own folder, or that of a runner which keeps its folder between jobs.

    HARNESS_REUSED is a JSON object of job to folder: the job then works in that folder through a link.
    """
    kept = json.loads(os.environ.get("HARNESS_REUSED", "{}")).get(os.environ["GITHUB_JOB"])
    if kept and not workspace.is_symlink():
        Path(kept).mkdir(parents=True, exist_ok=True)
        workspace.rmdir()
        workspace.symlink_to(kept)
    return workspace


def prepare(folder: Path, address: str) -> None:
    if (folder / ".git").is_dir() and git("remote", "get-url", "origin", check=False) == address:
        for lock in ("index.lock", "shallow.lock"):
            (folder / ".git" / lock).unlink(missing_ok=True)
        git("checkout", "--quiet", "--detach", check=False)
        git("clean", "-ffdx")
        git("reset", "--quiet", "--hard", "HEAD")
        return
    for entry in folder.iterdir():
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    git("init", "--quiet")
    git("remote", "add", "origin", address)


def check_out(address: str, ref: str, depth: int) -> str:
    """Fetch and check out `ref`, or what the event is about; the commit."""
    commit = ""
    if not ref:
        ref, commit = os.environ["GITHUB_REF"], os.environ["GITHUB_SHA"]
    elif re.fullmatch("[0-9a-f]{40}", ref):
        ref, commit = "", ref
    if depth:
        fetch(f"--depth={depth}", refspec(ref, commit))
    else:
        fetch("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*", *([commit] if commit else []))
    if ref.startswith("refs/tags/") and git("rev-parse", f"{ref}^{{commit}}") != commit:
        sys.exit(f"::error::The ref '{ref}' does not point to the expected commit '{commit}'.")
    git("-c", "advice.detachedHead=false", "checkout", "--quiet", "--force", "--detach", commit or "FETCH_HEAD")
    return git("rev-parse", "HEAD")


def refspec(ref: str, commit: str) -> str:
    if ref.startswith("refs/heads/"):
        return f"+{commit or ref}:refs/remotes/origin/{ref.removeprefix('refs/heads/')}"
    if ref.startswith("refs/pull/"):
        return f"+{commit or ref}:refs/remotes/{ref.removeprefix('refs/')}"
    if ref.startswith("refs/tags/"):
        return f"+{ref}:{ref}"
    return commit or ref


def fetch(*what: str) -> None:
    options = [part for part in what if part.startswith("--")]
    refs = [part for part in what if not part.startswith("--")]
    git("fetch", "--quiet", "--no-tags", *options, f"file://{os.environ['HARNESS_ORIGIN']}", *refs)


def git(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    if check and done.returncode:
        sys.exit(f"::error::git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


if __name__ == "__main__":
    main()
