"""Toy workflows for the tests of the harness: a repository with a few files on a GitHub of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .act import Run
from .forge import Forge
from .repository import Repository

CHECKOUT = "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1"
UPLOAD = "actions/upload-artifact@bbbca2ddaa5d8feaa63e36b76fdaad77386f024f"
DOWNLOAD = "actions/download-artifact@3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c"


def workflow(jobs: str, on: str = "push", top: str = "permissions: {}") -> str:
    """A workflow file; `jobs` is the YAML below `jobs:`, CHECKOUT and the others stand for the pinned actions."""
    for name, action in (("CHECKOUT", CHECKOUT), ("UPLOAD", UPLOAD), ("DOWNLOAD", DOWNLOAD)):
        jobs = jobs.replace(f"uses: {name}", f"uses: {action}")
    return f"name: w\non: {on}\n{top}\ndefaults: {{run: {{shell: bash}}}}\njobs:\n{jobs}"


def toy_repository(folder: Path, files: dict[str, str]) -> Repository:
    """A repository with two commits, the second with `files`."""
    tree = folder / "tree"
    for command in (
        ["init", "-q", "-b", "main", str(tree)],
        ["-C", str(tree), "commit", "-q", "--allow-empty", "-m", "start"],
    ):
        subprocess.run(["git", *command], check=True)
    repository = Repository.from_tree(tree, folder / "first.git")
    repository.commit(files)
    return repository


def push(forge: Forge, name: str = "w.yml") -> Run:
    """Main's last commit was pushed."""
    return forge.push(forge.repository.sha("main~1"), forge.repository.sha(), workflow=name)
