"""Both Makefiles in a folder whose name a shell would take apart."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import CACHES, ROOT, Bake

FOLDER = "Ann's tasks"
"""A quote and a blank."""


def make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", "-o", ".venv/.complete", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """This Python, in a folder of that name."""
    link = tmp_path / FOLDER / "bin" / "python"
    link.parent.mkdir(parents=True)
    link.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', encoding="utf-8")
    link.chmod(0o755)
    return link


@pytest.fixture
def checkout(template: Path, tmp_path: Path, python: Path) -> Path:
    """The template in a folder of that name, with what `make seal` and `make test` need, and .venv."""
    folder = tmp_path / FOLDER / "template"
    shutil.copytree(template, folder)
    shutil.copyfile(ROOT / "Makefile", folder / "Makefile")
    for part in (".github", "tests/package"):
        shutil.copytree(ROOT / part, folder / part, ignore=CACHES)
    (folder / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(python, folder / ".venv" / "bin" / "python")
    return folder


def test_the_template_s_targets_run(checkout: Path, bake: Bake, tmp_path: Path) -> None:
    assert "make seal" in make(checkout, "help").stdout
    assert "SEALED.json: " in make(checkout, "seal").stdout
    for target in ("setup", "bake", "lint", "types", "format", "coverage", "test", "test-bakes"):
        make(checkout, "-n", target)
    project = bake(output=tmp_path / FOLDER)
    done = make(checkout, "test", f"REPOSITORY={project.path}", "TESTS=test_versions.py", "JOBS=0")
    assert " passed" in done.stdout


def test_the_generated_targets_run(bake: Bake, python: Path, tmp_path: Path) -> None:
    project = bake(output=tmp_path / FOLDER / "baked")
    own = f"PYTHON={python}"
    assert "make train" in make(project.path, "help").stdout
    assert "01_validate_data.py: " in make(project.path, "validate", own).stderr
    assert "All checks passed" in make(project.path, "lint", own).stdout
    for target in ("setup", "all", "smoke", "chat", "try", "predict", "tokenizer", "test"):
        make(project.path, "-n", target, own)
