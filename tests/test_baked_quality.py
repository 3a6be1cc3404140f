"""A maintainer's first hour with a generated repository: style, help texts, make, the first step, template updates."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import PARTS, ROOT, Bake, BakedProject
from finetune.machinery import compare, read_seal

SCRIPTS = sorted(path.name for path in (ROOT / "<<cookiecutter.task_name>>" / "scripts").glob("[!_]*.py"))


def shell(project: BakedProject | Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    folder = project.path if isinstance(project, BakedProject) else project
    variables = {**os.environ, "NO_COLOR": "1", "COLUMNS": "200", **environment}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=variables)


def block(folder: Path) -> Path:
    """A folder for PYTHONPATH in which every heavy package fails on import."""
    blocked = folder / "blocked"
    for name in (
        "torch",
        "transformers",
        "peft",
        "trl",
        "datasets",
        "sklearn",
        "gguf",
        "llama_cpp",
        "huggingface_hub",
        "accelerate",
        "numpy",
    ):
        (blocked / name).mkdir(parents=True)
        (blocked / name / "__init__.py").write_text("raise ImportError('not in the base install')", encoding="utf-8")
    return blocked


@pytest.mark.parametrize("task_type", ["classification", "extraction", "generation"])
def test_own_linter_has_nothing_to_say(bake: Bake, task_type: str) -> None:
    project = bake(task_type=task_type)
    done = shell(project, sys.executable, "-m", "ruff", "check", "--no-cache", ".")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_works_with_the_base_install_only(bake: Bake, script: str, tmp_path: Path) -> None:
    blocked = block(tmp_path)
    done = shell(bake(), sys.executable, f"scripts/{script}", "--help", PYTHONPATH=f".:{blocked}")
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_scripts_are_short(bake: Bake) -> None:
    project = bake()
    lengths = {name: len(project.text(f"scripts/{name}").splitlines()) for name in SCRIPTS}
    assert {name: length for name, length in lengths.items() if length > 30} == {}


def test_make_alone_lists_every_target(bake: Bake) -> None:
    project = bake()
    done = shell(project, "make")
    targets = re.findall(r"^([a-z]+):.*## ", project.text("Makefile"), flags=re.MULTILINE)
    assert done.returncode == 0
    assert all(re.search(rf"make {target}\b", done.stdout) for target in targets)
    assert {"validate", "convert", "train", "evaluate", "merge", "gguf", "verify", "upload"} < set(targets)


@pytest.mark.parametrize("task_type", ["classification", "extraction", "generation"])
@pytest.mark.parametrize("language", ["en", "zh-TW"])
def test_make_validate_and_convert_accept_the_sample(bake: Bake, task_type: str, language: str) -> None:
    project = bake(task_type=task_type, language=language, preset="CPU-135M-LoRA")
    done = shell(project, "make", "validate", "convert", f"PYTHON={sys.executable}")
    assert done.returncode == 0, done.stderr
    assert re.search(r"01_validate_data\.py: \d+ s, exit 0", done.stderr)
    assert (project.path / "data" / "test.jsonl").stat().st_size > 0
    assert project.git("status", "--porcelain") == "", "outputs of the steps are not ignored by git"


@pytest.mark.parametrize("task_type", ["classification", "extraction", "generation"])
def test_make_test_passes_on_day_one_by_the_base_install(bake: Bake, task_type: str, tmp_path: Path) -> None:
    """ci installs nothing else than pytest."""
    project = bake(task_type=task_type, language="zh-TW")
    paths = os.pathsep.join([".", str(block(tmp_path))])
    done = shell(project, "make", "test", f"PYTHON={sys.executable}", PYTHONPATH=paths)
    assert done.returncode == 0 and "4 passed" in done.stdout, done.stdout + done.stderr
    assert project.git("status", "--porcelain") == ""
    empty = bake(task_type=task_type, sample_data=False, output=tmp_path / "empty")
    done = shell(empty, "make", "test", f"PYTHON={sys.executable}")
    assert done.returncode == 0 and "no rows in data/raw yet" in done.stdout, done.stdout + done.stderr


FAULTS = {
    "data": ("data/raw/sample.jsonl", '"label": "billing"', '"label": "biling"', "E135"),
    "configuration": ("configs/training_config.yaml", "epochs:", "epoch:", "E206"),
    "smoke": ("configs/smoke_config.yaml", "device: cpu", "device: cuda", "test_the_smoke_run"),
    "readme": ("task_definition.yaml", "threshold: 0.8", "threshold: 0.9", "run: make checklist"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_make_test_finds_a_fault_in_the_owners_files(bake: Bake, fault: str) -> None:
    project = bake()
    name, old, new, says = FAULTS[fault]
    text = project.text(name)
    assert old in text
    (project.path / name).write_text(text.replace(old, new, 1), encoding="utf-8")
    done = shell(project, "make", "test", f"PYTHON={sys.executable}")
    assert done.returncode != 0 and says in done.stdout, done.stdout
    assert "Traceback" not in done.stdout


def test_failing_step_fails_make_and_shows_its_exit_code(bake: Bake) -> None:
    done = shell(bake(sample_data=False), "make", "all", f"PYTHON={sys.executable}")
    assert done.returncode != 0 and "01_validate_data.py" in done.stderr and "Error 2" in done.stderr
    assert "02_convert_format.py" not in done.stderr


def test_readme_names_what_exists(bake: Bake) -> None:
    project = bake()
    readme = project.text("README.md")
    for script in re.findall(r"scripts/(\w+\.py)", readme):
        assert f"scripts/{script}" in project.files
    targets = set(re.findall(r"^([a-z-]+):", project.text("Makefile"), flags=re.MULTILINE))
    assert set(re.findall(r"^make ([a-z-]+)", readme, flags=re.MULTILINE)) <= targets
    for link in re.findall(r"\]\((?!https)([^)]+)\)", readme):
        assert link in project.files
    assert readme.index("<!-- results:start -->") < readme.index("<!-- results:end -->")


def test_root_make_alone_lists_its_targets() -> None:
    done = shell(ROOT, "make")
    assert done.returncode == 0
    for target in ("demo", "test", "bake", "lint", "format", "clean"):
        assert re.search(rf"make {target}\b", done.stdout)


@pytest.fixture
def repository(template: Path, tmp_path: Path) -> Path:
    """The template as a git repository, which is what cruft works on."""
    folder = tmp_path / "template"
    folder.mkdir()
    for part in PARTS:
        source = template / part
        copy: Any = shutil.copytree if source.is_dir() else shutil.copyfile
        copy(source, folder / part)
    for command in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-q", "-m", "template")):
        done = shell(folder, "git", *command)
        assert done.returncode == 0, done.stderr
    return folder


def test_cruft_creates_what_cookiecutter_creates_and_updates_it(bake: Bake, repository: Path, tmp_path: Path) -> None:
    cruft = (sys.executable, "-m", "cruft")
    created = shell(tmp_path, *cruft, "create", str(repository), "--no-input", "--default-config")
    assert created.returncode == 0, created.stderr
    project = BakedProject(tmp_path / "ticket-router")
    baked = bake()
    assert project.files == baked.files | {".cruft.json"}
    assert all(project.text(name) == baked.text(name) for name in baked.files)

    for command in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-q", "-m", "start")):
        assert shell(project, "git", *command).returncode == 0
    assert shell(project, *cruft, "check").returncode == 0
    assert shell(project, *cruft, "diff", "--exit-code").returncode == 0

    security = repository / "<<cookiecutter.task_name>>" / "SECURITY.md"
    security.write_text(security.read_text(encoding="utf-8") + "\nA new paragraph.\n", encoding="utf-8")
    hints = security.parent / "finetune" / "hints.py"
    hints.write_text(hints.read_text(encoding="utf-8") + "\nNEWER = True\n", encoding="utf-8")
    (security.parent / "finetune" / "newer.py").write_text("NEWER = True\n", encoding="utf-8")
    (repository / ".github").mkdir()
    sealing = shutil.copy(ROOT / ".github" / "seal.py", repository / ".github")
    assert shell(repository, sys.executable, sealing).returncode == 0
    assert shell(repository, "git", "add", "-A").returncode == 0
    assert shell(repository, "git", "commit", "-q", "-a", "-m", "newer").returncode == 0
    raw = project.path / "data" / "raw" / "sample.jsonl"
    raw.write_text('{"input": "mine", "label": "billing"}\n', encoding="utf-8")
    changed = project.path / "scripts" / "summary.py"
    changed.write_text(changed.read_text(encoding="utf-8") + "# ours\n", encoding="utf-8")
    assert shell(project, "git", "commit", "-q", "-a", "-m", "my data").returncode == 0
    assert shell(project, *cruft, "check").returncode == 1
    updated = shell(project, *cruft, "update", "--skip-apply-ask", "--allow-untracked-files")
    assert updated.returncode == 0, updated.stderr + updated.stdout
    assert project.text("SECURITY.md").endswith("A new paragraph.\n")
    assert raw.read_text(encoding="utf-8") == '{"input": "mine", "label": "billing"}\n'
    assert not list(project.path.rglob("*.rej"))
    assert "finetune/newer.py" in read_seal(project.path).files
    assert compare(project.path).differences == ["changed scripts/summary.py"]


@pytest.mark.parametrize("target", ["all", "smoke"])
@pytest.mark.parametrize("code", [2, 70, 76])
def test_no_run_goes_on_after_a_failed_step(bake: Bake, tmp_path: Path, target: str, code: int) -> None:
    """A stand-in for Python that fails in step 4 shows what make does with its exit code."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\ncase "$1" in *04_*) exit {code};; esac\n', encoding="utf-8")
    python.chmod(0o755)
    done = shell(bake(), "make", target, f"PYTHON={python}")
    assert f"04_evaluate.py: 0 s, exit {code}" in done.stderr
    assert done.returncode != 0
    assert "05_merge_adapter.py" not in done.stderr
