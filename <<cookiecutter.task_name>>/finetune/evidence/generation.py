"""Phase 2: the repository is whole, its configuration loads and its commands start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

from finetune.evidence.facts import Facts
from finetune.evidence.findings import Finding, done, failed, not_yet
from finetune.evidence.readme import replace_task
from finetune.evidence.registry import evidence

RENDERED = ("README.md", "pyproject.toml", "LICENSE", "task_definition.yaml", "configs/training_config.yaml")
"""Files the generator fills in from the answers."""
_MARK = "<" * 2 + " cookiecutter."
HEAVY = (
    "torch",
    "transformers",
    "peft",
    "trl",
    "datasets",
    "accelerate",
    "bitsandbytes",
    "sklearn",
    "llama_cpp",
    "gguf",
    "huggingface_hub",
)
"""Packages of the extras; a script's --help must do without them."""
HELP_SECONDS = 120
# A None in sys.modules makes `import torch` fail as on a machine without it.
_HELP = f"""
import contextlib, io, os, runpy, sys
sys.path.insert(0, os.path.dirname(sys.argv[1]))  # as python SCRIPT does
for name in {HEAVY!r}:
    sys.modules[name] = None
for script in sys.argv[1:]:
    sys.argv, output = [script, "--help"], io.StringIO()
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            runpy.run_path(script, run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException as fault:
        code = type(fault).__name__
    if code or "usage" not in output.getvalue().lower():
        print(script.replace("\\\\", "/").rsplit("/", 1)[-1], code)
"""


@evidence
def generated(facts: Facts) -> Finding:
    missing = [name for name in RENDERED if not (facts.root / name).is_file()]
    if missing:
        return not_yet(f"{', '.join(missing)} missing: run init_project.py or cookiecutter")
    for name in RENDERED:
        if _MARK in (facts.root / name).read_text(encoding="utf-8", errors="replace"):
            return failed(f"{name} still holds the template's variables: generate the repository first")
    return done(f"{', '.join(RENDERED)} are there, no template variable left")


@evidence
def folders(facts: Facts) -> Finding:
    listed = yaml.safe_load(Path(__file__).with_name("checklist.yaml").read_text(encoding="utf-8"))["files"]
    missing = [name for name in listed if not (facts.root / name).exists()]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        return failed(f"missing: {', '.join(missing[:5])}{more}")
    return done(f"{len(listed)} of {len(listed)} files and folders of the layout are there")


@evidence
def readme(facts: Facts) -> Finding:
    path = facts.root / "README.md"
    if not path.is_file():
        return not_yet("no README.md")
    if unloaded := facts.unloaded():
        return unloaded
    text = path.read_bytes().decode("utf-8", "replace")
    task = facts.task
    if facts.project and replace_task(text, facts.project) not in (text, None):
        return failed("README.md's table differs from the configurations: run scripts/checklist.py")
    wanted = [task.task_name, task.metrics.primary, *task.label_names[:1], "scripts/03_train.py"]
    absent = [name for name in wanted if name not in text]
    if absent:
        return failed(f"README.md does not mention {', '.join(absent)}")
    return done(f"README.md names task {task.task_name}, metric {task.metrics.primary} and the steps")


@evidence
def configs_load(facts: Facts) -> Finding:
    if facts.project is None:
        more = f" (and {len(facts.problems) - 1} more)" if len(facts.problems) > 1 else ""
        return failed(f"{facts.problems[0]}{more}")
    warnings = facts.project.warnings
    if warnings:
        return not_yet(f"{len(warnings)} warning{'s' * (len(warnings) > 1)}: {warnings[0]}")
    return done("task_definition.yaml, training_config.yaml and benchmark_config.yaml load without a warning")


@evidence
def training_parameters(facts: Facts) -> Finding:
    if refusal := facts.refused("configs/training_config.yaml"):
        return refusal
    training = facts.training
    rate, epochs = training.optimiser.learning_rate, training.optimiser.epochs
    return done(f"{training.method}, r {training.lora.r}, learning rate {rate:g}, {epochs:g} epochs: all rules hold")


@evidence
def benchmark_metrics(facts: Facts) -> Finding:
    if refusal := facts.refused("configs/benchmark_config.yaml"):
        return refusal
    names = [*facts.task.metric_names, *facts.benchmark.thresholds]
    listed = ", ".join(dict.fromkeys(names))
    return done(f"metrics for {facts.task.task_type}: {listed} (benchmark version {facts.benchmark.version})")


@evidence
def scripts_run(facts: Facts) -> Finding:
    scripts = sorted((facts.root / "scripts").glob("[!_]*.py"))
    if not scripts:
        return not_yet("no scripts/*.py")
    try:
        run = subprocess.run(
            [sys.executable, "-c", _HELP, *map(str, scripts)],
            cwd=facts.root,
            capture_output=True,
            text=True,
            timeout=HELP_SECONDS,
            env={**os.environ, "PYTHONPATH": str(facts.root), "PYTHONIOENCODING": "utf-8"},
        )
    except subprocess.TimeoutExpired:
        return failed(f"scripts/*.py --help did not end within {HELP_SECONDS} s")
    broken = run.stdout.split("\n")[0].strip()
    if run.returncode or broken:
        return failed(f"scripts/{broken or '*.py'}: --help fails without the extras")
    return done(f"--help of {len(scripts)} scripts works with the base install alone")
