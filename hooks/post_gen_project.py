"""After the files are written: place the sample data, prune what this task does not need, start git, say what is next.

Rendered once by cookiecutter (the literal below), otherwise plain Python: import it and call the functions.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ANSWERS = r"""<< cookiecutter | jsonify >>"""

Answers = dict[str, Any]

SAMPLE = "data/samples/{task_type}.{language}.jsonl"
PRUNE = (
    ("data/samples", "the samples of all types and languages; the chosen one has been moved to data/raw"),
    ("**/__pycache__", "caches of a template folder that was worked in"),
    ("**/.pytest_cache", "the same"),
    ("**/.ruff_cache", "the same"),
    ("**/.hypothesis", "the same"),
    ("*.egg-info", "the same"),
)
"""What never stays in a generated repository, and why."""


def place_sample(project: Path, answers: Answers) -> None:
    """Move the chosen sample to data/raw/sample.jsonl, unless the folder already holds data (a second bake over it)."""
    raw = project / "data" / "raw"
    if answers["sample_data"] and not any(raw.glob("*.jsonl")):
        raw.mkdir(parents=True, exist_ok=True)
        shutil.move(project / SAMPLE.format(**answers), raw / "sample.jsonl")


def prune(project: Path) -> None:
    """Remove everything that the table names."""
    for pattern, _ in PRUNE:
        for found in sorted(project.glob(pattern)):
            shutil.rmtree(found)


def drop_citation(project: Path, answers: Answers) -> None:
    """Nobody is asked to cite what nobody else may use."""
    if answers["__spdx"].startswith("LicenseRef-"):
        (project / "CITATION.cff").unlink(missing_ok=True)


def place_definition(project: Path, answers: Answers) -> None:
    """init_project.py hands over the user's own task_definition.yaml: it stays as they wrote it."""
    if answers["_definition"]:
        shutil.copyfile(answers["_definition"], project / "task_definition.yaml")


def start_git(project: Path, answers: Answers) -> str:
    """Make a repository with one commit where that is wanted; returns what was done or why not. Never fails."""
    if "_output_dir" not in answers:
        return "git: left to you, because cruft still adds its own file"
    if (project / ".git").exists():
        return "git: the existing repository is left alone"
    if shutil.which("git") is None:
        return "git: not installed, so no repository was made"
    if _git(project, "rev-parse", "--is-inside-work-tree") and not _git(project, "check-ignore", "-q", "."):
        return "git: this folder belongs to an outer repository, so none was made"
    if not (_git(project, "init", "-q", "-b", "main") or _git(project, "init", "-q")):
        return "git: could not make a repository here"
    if not _git(project, "-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT"):
        return "git: repository made; set user.name and user.email, then commit"
    message = f"Start {answers['task_name']} from llm-ft-template {answers['_template_version']}"
    commit = ("commit", "-q", "--no-verify", "--no-gpg-sign", "-m", message)
    if not (_git(project, "add", "-A") and _git(project, *commit)):
        return "git: repository made; the first commit is left to you"
    return "git: repository made, first commit done"


def _git(project: Path, *arguments: str) -> bool:
    """Whether the command succeeded; an outer GIT_DIR (a git hook that bakes) must not redirect it."""
    redirecting = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"}
    environment = {name: value for name, value in os.environ.items() if name not in redirecting}
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=project,
            env=environment,
            capture_output=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def next_steps(answers: Answers, git: str, folder: str | None = None) -> str:
    """What to type now; `folder` is how the repository is reached from where the user is."""
    name = answers["task_name"]
    data = "look at data/raw/sample.jsonl" if answers["sample_data"] else "put rows into data/raw/*.jsonl (make import)"
    rows = [
        (f"cd {shlex.quote(folder or name)}", ""),
        ("make setup", "make .venv with every pinned package"),
        ("make validate", f"{data}, and check it"),
        ("make smoke", "every step in minutes on this CPU, with a small model"),
        ("make all", "every step for real, where the model's GPU is, and a dry run of the upload"),
    ]
    steps = "\n".join(f"  {command:<16}{'# ' + note if note else ''}".rstrip() for command, note in rows)
    return f"{name} is ready. {git}.\nNext:\n{steps}"


def in_passing(project: Path, answers: Answers) -> bool:
    """Whether cruft bakes into a folder of its own, to compare: check, diff and update."""
    made = Path(tempfile.gettempdir()).resolve()
    return "_output_dir" not in answers and any(
        folder.parent == made and re.fullmatch(r"tmp[a-z0-9_]{8}", folder.name) for folder in project.parents
    )


def way_to(project: Path) -> str:
    """The folder from where the command was typed; in full where that is shorter, or not known."""
    started = os.environ.get("PWD", "")
    if not Path(started).is_absolute():
        return str(project)
    return min(os.path.relpath(project, Path(started).resolve()), str(project), key=len)


def say(text: str, stream: str = "stdout") -> None:
    """Print. A terminal, pipe or disk that takes nothing must not cost the project: it is deleted if this hook fails.

    Nothing is raised here, nor by Python at its end, when it would write the rest and exit with 120.
    """
    try:
        getattr(sys, stream).reconfigure(encoding="utf-8", errors="backslashreplace")
        print(text, file=getattr(sys, stream), flush=True)
    except (OSError, ValueError, AttributeError):
        setattr(sys, stream, None)


def main() -> int:
    answers = json.loads(ANSWERS)
    project = Path.cwd()
    try:
        place_sample(project, answers)
        prune(project)
        drop_citation(project, answers)
        place_definition(project, answers)
    except OSError as error:
        say(f"E974 {error.strerror} ({error.filename}). Fix: correct it and run the same command again", "stderr")
        return 1
    # init_project.py does the rest itself, once it has checked the repository.
    if not answers["_definition"] and not in_passing(project, answers):
        say(next_steps(answers, start_git(project, answers), way_to(project)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
