"""The boundary: every bake is as shipped, the seal is current, the machinery's tests find a fault in any repository."""

from __future__ import annotations

import importlib.util
import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from conftest import ROOT, TEMPLATE, Bake, BakedProject
from finetune.machinery import FOLDERS, SEAL, compare, read_seal
from test_bake import LANGUAGES, RENDERED, TYPES

TESTS = "test_splits.py test_statistics.py"
"""Of tests/package; quick ones."""
FAULT = ("return 2 if digest < self._test", "return 0 if digest < self._test")
"""In finetune/data/splits.py: the test set's rows are trained on."""


@pytest.fixture(scope="module")
def sealing() -> ModuleType:
    spec = importlib.util.spec_from_file_location("seal", ROOT / ".github" / "seal.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_seal_is_current(sealing: ModuleType) -> None:
    written = (TEMPLATE / SEAL).read_text(encoding="utf-8")
    assert written == sealing.seal(ROOT), "run: make seal"
    assert json.loads(written)["version"] == json.loads((ROOT / "cookiecutter.json").read_bytes())["_template_version"]


def test_check_of_a_stale_seal_fails_and_sealing_repairs_it(template: Path, tmp_path: Path) -> None:
    """In a copy of the template, as after a merge that took one side's seal."""
    shutil.copytree(template, tmp_path / "copy")
    (tmp_path / "copy" / ".github").mkdir()
    shutil.copy(ROOT / ".github" / "seal.py", tmp_path / "copy" / ".github")

    def run(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, str(tmp_path / "copy" / ".github" / "seal.py"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    assert run("--check") == (0, f"{SEAL} is current\n")
    (tmp_path / "copy" / TEMPLATE.name / SEAL).write_text("<<<<<<< ours\n", encoding="utf-8")
    assert run("--check") == (2, f"{SEAL} is stale: make seal\n")
    assert run()[0] == 0
    assert (tmp_path / "copy" / TEMPLATE.name / SEAL).read_bytes() == (TEMPLATE / SEAL).read_bytes()
    (tmp_path / "copy" / TEMPLATE.name / "finetune" / "__init__.py").write_text("x = 1\n", encoding="utf-8")
    assert run("--check")[0] == 2


@pytest.mark.parametrize(("task_type", "language"), list(itertools.product(TYPES, LANGUAGES)))
def test_every_bake_is_as_shipped(bake: Bake, task_type: str, language: str) -> None:
    project = bake(task_type=task_type, language=language)
    found = compare(project.path)
    assert found.differences == [] and found.compared == len(found.seal.files)


def test_every_machinery_file_that_holds_no_answer_is_sealed(bake: Bake) -> None:
    """Named by its place, not by the code that seals: a new file of the machinery cannot be forgotten."""
    project = bake()
    sealed = set(read_seal(project.path).files)
    top = {name for name in project.files if "/" not in name} - {"CHECKLIST.md"}
    below = {name for name in project.files if name.startswith(tuple(f"{folder}/" for folder in FOLDERS))}
    assert sealed == (top | below) - RENDERED - {SEAL}


def test_a_checkout_with_other_line_endings_is_as_shipped(bake: Bake) -> None:
    project = bake()
    for name in read_seal(project.path).files:
        path = project.path / name
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert compare(project.path).differences == []


def machinery_tests(project: BakedProject) -> subprocess.CompletedProcess[str]:
    """`make test REPOSITORY=…` over a few files, by this Python."""
    command = ["make", "-o", ".venv/.complete", "test", f"REPOSITORY={project.path}", f"TESTS={TESTS}", "JOBS=0"]
    return subprocess.run([*command, f"PYTHON={sys.executable}"], cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_machinery_of_a_generated_repository_is_tested_where_it_lies(bake: Bake, tmp_path: Path) -> None:
    project = bake(language="zh-TW", output=tmp_path / "with a blank")
    done = machinery_tests(project)
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout + done.stderr
    assert project.git("status", "--porcelain") == ""
    splits = project.path / "finetune" / "data" / "splits.py"
    text = splits.read_text(encoding="utf-8")
    assert FAULT[0] in text
    splits.write_text(text.replace(*FAULT), encoding="utf-8")
    assert compare(project.path).differences == ["changed finetune/data/splits.py"]
    done = machinery_tests(project)
    assert done.returncode != 0 and " failed" in done.stdout, done.stdout + done.stderr
