"""Every script starts from anywhere, with any Python that has the packages; with one that lacks them it says so."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from config_files import Make
from repository import ROOT

SCRIPTS = sorted((ROOT / "scripts").glob("[!_]*.py"))
Run = subprocess.CompletedProcess[str]


def run(python: str | Path, script: Path, *arguments: str, cwd: Path) -> Run:
    """As a person does who has neither activated nor exported anything."""
    command = [str(python), str(script), *arguments]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return subprocess.run(
        command, cwd=cwd, env={**kept, "PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True, text=True, timeout=120
    )


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python without any package."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    venv.create(folder, symlinks=True)
    return folder / "bin" / "python"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A folder with the scripts, and without .venv."""
    shutil.copytree(ROOT / "scripts", tmp_path / "my repository" / "scripts")
    return tmp_path / "my repository"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_it_helps_from_elsewhere_without_the_project_installed(script: Path, tmp_path: Path) -> None:
    done = run(sys.executable, script, "--help", cwd=tmp_path)
    assert done.returncode == 0 and "Usage" in done.stdout, done.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_python_without_the_packages_is_told_in_one_line(script: Path, bare: Path, tmp_path: Path) -> None:
    done = run(bare, script, "--help", cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"E248 {bare} lacks jinja2, msgspec, pydantic, rensa, rich, typer, yaml. Fix: ")


def test_the_line_names_the_commands_as_typed_from_here(bare: Path, repository: Path) -> None:
    script = Path("scripts/01_validate_data.py")
    said = run(bare, script, "--project", "a b", cwd=repository).stderr
    assert said.endswith("Fix: make setup && .venv/bin/python scripts/01_validate_data.py --project 'a b'\n")
    said = run(bare, Path(script.name), cwd=repository / "scripts").stderr
    assert said.endswith("Fix: make -C .. setup && ../.venv/bin/python 01_validate_data.py\n")
    (repository / ".venv" / "bin").mkdir(parents=True)
    (repository / ".venv" / "bin" / "python").symlink_to(sys.executable)
    said = run(bare, script, cwd=repository).stderr
    assert said.endswith("Fix: .venv/bin/python scripts/01_validate_data.py\n")
    said = run(bare, repository / script, cwd=repository.parent).stderr
    assert said.endswith("Fix: 'my repository/.venv/bin/python' 'my repository/scripts/01_validate_data.py'\n")


def test_the_needed_modules_are_the_dependencies() -> None:
    import tomllib
    from importlib.metadata import packages_distributions

    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from _start import NEEDED
    finally:
        sys.path.remove(str(ROOT / "scripts"))
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = text.partition("\ndependencies = ")[2].partition("\n]")[0] + "\n]"
    wanted = {name.partition(">")[0].lower() for name in tomllib.loads(f"x = {listed}")["x"]}
    known = packages_distributions()
    assert {known[module][0].lower() for module in NEEDED} == wanted


def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    make_project: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    from finetune.console import guarded

    def step() -> int:
        import a_package_of_an_extra.part  # noqa: F401

        return 0

    def ours() -> int:
        import finetune.nothing  # noqa: F401

        return 0

    assert guarded(step) == 2
    assert f"E248 {sys.executable} lacks a_package_of_an_extra. Fix: make setup" in capsys.readouterr().err
    assert guarded(ours) == 70 and "E999" in capsys.readouterr().err


ASKED = {"import_data.py": ["rows.csv"], "use_model.py": ["owner/name"]}
"""What a script does not start without."""
WRONG = [script for script in SCRIPTS if script.name != "github.py"]


@pytest.mark.parametrize("script", WRONG, ids=lambda path: path.name)
def test_a_wrong_folder_is_said_and_nothing_written(script: Path, tmp_path: Path) -> None:
    done = run(sys.executable, script, *ASKED.get(script.name, ()), cwd=tmp_path)
    assert done.returncode == 2
    assert f"E247 no task repository here: {tmp_path} has no task_definition.yaml" in done.stderr
    assert "--project" in done.stderr and list(tmp_path.iterdir()) == []


def test_a_step_of_a_workflow_in_a_wrong_folder_says_it_too(tmp_path: Path) -> None:
    done = run(sys.executable, ROOT / "scripts" / "github.py", "fingerprint", cwd=tmp_path)
    assert done.returncode == 2 and "E247" in done.stderr


def test_the_checklist_one_level_below_the_root_names_the_root(make_project: Make) -> None:
    root = make_project().paths.root
    below = root / "data"
    before = sorted(path for path in root.rglob("*"))
    done = run(sys.executable, ROOT / "scripts" / "checklist.py", cwd=below)
    assert done.returncode == 2 and f"the repository is {root}: cd .." in done.stderr
    assert sorted(path for path in root.rglob("*")) == before
