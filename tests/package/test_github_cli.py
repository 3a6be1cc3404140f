"""The commands of the workflows' steps, as a shell runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from finetune.config.project import Project
from repository import ROOT

SCRIPT = ROOT / "scripts" / "github.py"


def command(folder: Path, *arguments: str, **values: str) -> subprocess.CompletedProcess[str]:
    """One subcommand in `folder`, without the variables of a runner this test may itself run on."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "RUNNER_"))}
    env = {**kept, "PYTHONPATH": str(SCRIPT.parents[1]), **values}
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], cwd=folder, env=env, capture_output=True, text=True, timeout=120
    )


def test_a_configuration_that_cannot_be_loaded_is_reported_and_fails(
    make_project: Callable[..., Project], tmp_path: Path
) -> None:
    root = make_project().paths.root
    (root / "configs" / "training_config.yaml").write_text("version: [", encoding="utf-8")
    done = command(root, "data-summary", "--base", str(tmp_path / "none"))
    assert done.returncode == 2 and "Traceback" not in done.stderr
    page = (root / "benchmarks/results/data_comment.md").read_text(encoding="utf-8")
    assert page.startswith("## ❌") and "training_config.yaml" in page


def test_a_wrong_value_is_named_and_nothing_is_asked(make_project: Callable[..., Project]) -> None:
    root = make_project().paths.root
    done = command(root, "resolve", SHA="main; rm -rf .", GITHUB_TOKEN="x", GITHUB_REPOSITORY="acme/demo")
    assert done.returncode == 2 and "E603" in done.stderr and "Traceback" not in done.stderr
    missing = command(root, "resolve", SHA="a" * 40)
    assert missing.returncode == 2 and "E602" in missing.stderr


def test_every_subcommand_is_listed_with_a_sentence() -> None:
    done = command(SCRIPT.parent, "--help", COLUMNS="200")
    assert done.returncode == 0
    for name in (
        "as-shipped",
        "fingerprint",
        "data-summary",
        "request-training",
        "comment-data",
        "resolve",
        "freeze",
        "thaw",
        "pack",
        "report",
        "release-resolve",
        "place-adapter",
        "release-assets",
        "github-release",
        "record",
    ):
        assert f" {name} " in done.stdout
