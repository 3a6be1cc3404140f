"""One training killed again and again at random moments, each time resumed to its end: is the adapter the same?

    python benchmarks/kills.py [--runs 20] [--seed 1]

A tiny random Llama is trained with early stopping and dropout, once unbroken. Every other run gets one to three
signals (SIGINT, SIGTERM or SIGKILL) at moments drawn over the time that the unbroken one took, each in a process of
its own, and is then left to end. Its adapter files must have the unbroken run's bytes, and what an interrupted run
says about the next one must come true. Exits 1 on any difference. On one thread: another number may round
sums differently.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "FINETUNE_LANG": "en"}
ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "<<cookiecutter.task_name>>"
sys.path[:0] = [str(TEMPLATE), str(ROOT / "tests" / "package")]

import yaml  # noqa: E402

from conftest import benchmark_values, raw_rows, task_values, training_values  # noqa: E402
from finetune import provenance  # noqa: E402
from finetune.config.loading import merge  # noqa: E402
from finetune.config.project import load_project  # noqa: E402
from finetune.console import run  # noqa: E402
from finetune.data.stage import convert  # noqa: E402
from finetune.training.adapter import CONFIG, WEIGHTS  # noqa: E402
from finetune.training.trainer import LOG, train  # noqa: E402
from killing import in_child  # noqa: E402
from tiny_model import write_tiny_model  # noqa: E402

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
MOST_KILLS = 3
REACHED = 0.85
"""Of the unbroken run's time: later, a run that is a little faster would be over."""
RECIPE = {
    "lora": {"r": 4, "alpha": 8, "dropout": 0.1},
    "optimiser": {"learning_rate": 0.02, "epochs": 40},
    "batch": {"per_device": 2, "effective": 4},
    "early_stopping_patience": 2,
    "checks": {"epochs": [1, 40]},
}


def write_repository(root: Path) -> None:
    """A small task with converted data and a tiny base model."""
    files = {
        "task_definition.yaml": task_values("classification"),
        "configs/training_config.yaml": merge(training_values(), RECIPE),
        "configs/benchmark_config.yaml": benchmark_values(),
    }
    for name, values in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(yaml.safe_dump(values), encoding="utf-8")
    raw = root / "data" / "raw" / "rows.jsonl"
    raw.parent.mkdir(parents=True)
    raw.write_text("".join(json.dumps(row) + "\n" for row in raw_rows("classification")), encoding="utf-8")
    write_tiny_model(root / "models" / "base" / "tiny")
    convert(load_project(root))


def digests(root: Path) -> dict[str, str]:
    """sha256 of each file of the adapter, of the log's validations (an interruption adds a point of training loss)."""
    adapter = root / "models" / "adapter"
    if not (adapter / provenance.MANIFEST).is_file():
        return {}
    found = {name: provenance.sha256(adapter / name) for name in (WEIGHTS, CONFIG)}
    log = [json.loads(line) for line in (adapter / LOG).read_text(encoding="utf-8").splitlines()]
    return {**found, LOG: provenance.digest([entry for entry in log if "eval_loss" in entry])}


def promised(said: str) -> str | None:
    """What an interrupted run says of the next one; None where it had no time to say anything."""
    found = re.search(r"E975 .* again: (.*)", said)
    return found[1].strip() if found else None


def kept_word(promise: str | None, said: str) -> bool:
    """Whether the next run did what was promised."""
    resumed = re.search(r"resuming after step (\d+)", said)
    if promise is None:
        return True
    if promise.startswith("it starts over"):
        return resumed is None and "is up to date" not in said
    return resumed is not None and promise == f"it resumes after step {resumed[1]}"


def broken_run(root: Path, seconds: float, draw: random.Random) -> tuple[list[str], bool, float]:
    """Kill, resume, end. Returns (what happened, whether every promise was kept, seconds of work)."""
    happened, honest, worked, promise = [], True, 0.0, None
    log = root / "log"
    kills = [(draw.choice(SIGNALS), draw.uniform(0, REACHED * seconds)) for _ in range(draw.randint(1, MOST_KILLS))]
    for number, after in [*kills, (0, 0.0)]:
        ended = in_child(lambda: run(train, project=root), log, number, after)
        # What was stopped before it said from where it goes on says nothing about the promise.
        if not number or "trainable" in ended.said:
            honest, promise = honest and kept_word(promise, ended.said), None
        promise, worked = promised(ended.said) or promise, worked + ended.seconds
        if number:
            happened.append(f"{signal.Signals(number).name} {after:.2f} s: {ended.status}")
        if ended.status == 0:
            break
        if ended.status not in (75, -number):
            return [*happened, ended.said[-2000:]], False, worked
    return happened, honest, worked


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    # Before the forks, so that they do not spend their time on it.
    import finetune.training.callbacks
    import finetune.training.sft  # noqa: F401

    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        whole, fresh = Path(name) / "whole", Path(name) / "fresh"
        assert in_child(lambda: write_repository(fresh), Path(name) / "log").status == 0
        shutil.copytree(fresh, whole)
        unbroken = in_child(lambda: run(train, project=whole), whole / "log")
        assert unbroken.status == 0, unbroken.said
        expected = digests(whole)
        steps = provenance.read_manifest(whole / "models" / "adapter" / provenance.MANIFEST).facts["result"]["steps"]
        total = re.search(r"/(\d+) ", unbroken.said)
        out = sys.stdout.write
        of = f"{steps} steps of at most {total and total[1]}"
        out(f"seed {arguments.seed}; unbroken: {of}, {unbroken.seconds:.1f} s\n")
        out("| run | kills: exit status | work, s | word kept | same bytes |\n|---|---|---|---|---|\n")
        for number in range(arguments.runs):
            root = Path(name) / "broken"
            shutil.copytree(fresh, root)
            draw = random.Random(f"{arguments.seed}/{number}")
            happened, honest, worked = broken_run(root, unbroken.seconds, draw)
            found = digests(root)
            differ = [name for name, digest in expected.items() if digest != found.get(name)]
            wrong += bool(differ) or not honest
            told = "yes" if honest else "NO"
            out(f"| {number} | {', '.join(happened)} | {worked:.1f} | {told} | {', '.join(differ) or 'yes'} |\n")
            sys.stdout.flush()
            shutil.rmtree(root)
        out(f"{arguments.runs - wrong} of {arguments.runs} as the unbroken run\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
