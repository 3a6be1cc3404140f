"""Every step on every kind of task: a baked repository runs from its sample data to the upload plan, for real.

The base is a random two-layer Llama, so the answers are nonsense; training, decoding, merging, the GGUF converter and
runtime, and the comparison of the artefacts are the real ones. `make demo` does the same with a model that learns.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from conftest import ROOT, Bake, BakedProject
from finetune.config.task_defaults import METRICS

sys.path.append(str(ROOT / "tests" / "package"))

from tiny_model import write_tiny_model

STEPS = (
    "01_validate_data",
    "02_convert_format",
    "03_train",
    "04_evaluate",
    "05_merge_adapter",
    "06_convert_gguf",
    "07_verify_export",
)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("base") / "tiny")


def with_base(project: BakedProject, base: Path) -> BakedProject:
    """The smoke configuration on `base` instead of SmolLM2."""
    (project.path / "models" / "base").mkdir(parents=True)
    (project.path / "models" / "base" / "tiny").symlink_to(base)
    file = project.path / "configs" / "smoke_config.yaml"
    text = re.sub(r"id: .*", "id: models/base/tiny", file.read_text(encoding="utf-8"), count=1)
    file.write_text(text, encoding="utf-8")
    return project


def make(project: BakedProject, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = ["make", *arguments, f"PYTHON={sys.executable}"]
    return subprocess.run(command, cwd=project.path, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize(
    ("task_type", "language"), [("classification", "en"), ("extraction", "en"), ("generation", "zh-TW")]
)
def test_a_baked_repository_runs_from_sample_data_to_the_upload_plan(
    bake: Bake, tiny: Path, task_type: str, language: str
) -> None:
    project = with_base(bake(task_type=task_type, language=language), tiny)
    done = make(project, "smoke")
    assert done.returncode == 0, done.stderr[-3000:]
    for step in STEPS:
        assert re.search(rf"{step}\.py: \d+ s, exit 0", done.stderr), step

    out = project.path / "build" / "smoke"
    report = yaml.safe_load((out / "benchmarks/results/evaluation_report.yaml").read_text(encoding="utf-8"))
    assert set(report["metrics"]) == {*METRICS[task_type], "finished_rate"}
    assert report["limited"] is True and report["verdict"] != "passed"
    rows = {row["name"]: row for row in report["artefacts"]}
    for name in ("merged", "f16", "Q8_0"):
        assert rows[name]["tokens_equal"] is True and rows[name]["template_equal"] is True
        assert (project.path / rows[name]["file"]).exists()
    assert rows["vLLM"]["status"] == rows["Ollama"]["status"] == "open"

    planned = make(project, "upload", "FLAGS=--smoke --dry-run")
    assert planned.returncode == 0, planned.stderr[-3000:]
    plan = json.loads((out / "benchmarks/results/publish/plan.json").read_text(encoding="utf-8"))
    assert len(plan["repositories"]) == 3
    assert project.git("status", "--porcelain") == " M configs/smoke_config.yaml\n"

    again = make(project, "smoke")
    assert again.returncode == 0 and again.stderr.count("up to date") >= len(STEPS) - 2
