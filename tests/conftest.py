"""The bake fixture: one repository from one set of answers, out of a clean copy of the template."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "<<cookiecutter.task_name>>"
sys.path[:0] = [str(ROOT), str(TEMPLATE)]

from finetune.config.project import Project, load_project  # noqa: E402

# A job in the background of a script ignores Ctrl-C, and what it starts inherits that; people's terminals do not.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["workflows.times", "workflows.fixtures"]
Bake = Callable[..., "BakedProject"]

PARTS = (TEMPLATE.name, "{{cookiecutter._cruft}}", "hooks", "templates", "cookiecutter.json", "init_project.py")
"""What cookiecutter, cruft and init_project.py need of this repository."""
CACHES = shutil.ignore_patterns("__pycache__", "*.pyc", ".*_cache", ".hypothesis", "*.egg-info", "build")
IDENTITY = {
    "GIT_AUTHOR_NAME": "Test",
    "GIT_AUTHOR_EMAIL": "test@example.org",
    "GIT_COMMITTER_NAME": "Test",
    "GIT_COMMITTER_EMAIL": "test@example.org",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
}


@dataclass(frozen=True)
class BakedProject:
    """A generated repository on disk."""

    path: Path

    @cached_property
    def files(self) -> set[str]:
        """Every file as a posix path relative to the repository, without git's own."""
        found = (path for path in self.path.rglob("*") if path.is_file())
        relative = (path.relative_to(self.path) for path in found)
        return {path.as_posix() for path in relative if path.parts[0] != ".git"}

    def text(self, name: str) -> str:
        return (self.path / name).read_text(encoding="utf-8")

    def load(self, smoke: bool = False) -> Project:
        return load_project(self.path, smoke=smoke)

    def git(self, *arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=self.path, capture_output=True, text=True, check=True).stdout


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A git identity for the hook's commit, no user configuration, no bytecode in the template folder."""
    for name, value in {**IDENTITY, "HOME": str(tmp_path / "home"), "PYTHONDONTWRITEBYTECODE": "1"}.items():
        monkeypatch.setenv(name, value)
    for name in ("GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template without what working in it leaves behind."""
    clean = tmp_path_factory.mktemp("template")
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, clean / part, ignore=CACHES)
        else:
            shutil.copyfile(source, clean / part)
    return clean


@pytest.fixture(scope="session")
def questions() -> dict[str, Any]:
    """cookiecutter.json."""
    return json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))


@pytest.fixture
def bake(template: Path, tmp_path: Path) -> Bake:
    """`bake(task_type="extraction", …)` answers as given, the rest by default."""
    from cookiecutter.main import cookiecutter

    def bake(output: Path | None = None, **answers: Any) -> BakedProject:
        made = cookiecutter(
            str(template),
            no_input=True,
            default_config=True,
            extra_context=answers,
            output_dir=str(output or tmp_path / "baked"),
        )
        return BakedProject(Path(made))

    return bake
