"""Training speed by number and waiting of threads, alone and beside busy processes on the same CPUs, in one run.

    python benchmarks/threads.py REPOSITORY [--loops 0 2] [--seconds 10] [--rounds 3]

REPOSITORY is a baked task repository after `make convert`; its training split, base model and LoRA settings are used.
Modes: `torch` as many threads as CPUs, waiting as libgomp likes; `spin 0` the same with GOMP_SPINCOUNT=0; `one` thread;
`fitting` what the pipeline does (finetune/threads.py). Rounds are interleaved, so that a noisy machine disturbs all
modes alike; ratios count. The busy processes end with this one, however it ends.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "<<cookiecutter.task_name>>"
MODES = ("torch", "spin 0", "one", "fitting")
_PR_SET_PDEATHSIG = 1


def one(arguments: argparse.Namespace) -> None:
    """Child process: train in one mode for some seconds and print one JSON line."""
    sys.path.insert(0, str(TEMPLATE))
    import torch
    from peft import LoraConfig, get_peft_model

    from finetune.config.project import load_project
    from finetune.threads import Adapting
    from finetune.training.base_model import load_tokenizer, load_weights, quiet, resolve_base, resolve_device
    from finetune.training.batches import Collator, loss_sum
    from finetune.training.dataset import load_rows
    from finetune.training.sft import as_dataset

    quiet()
    project = load_project(arguments.repository)
    base, size = resolve_base(project), project.training.batch.per_device
    tokenizer = load_tokenizer(base)
    rows = as_dataset(load_rows(project.paths.train, project, tokenizer))
    model = load_weights(base, dtype=resolve_device(project.training)[1], device="cpu")
    lora = LoraConfig(r=project.training.lora.r, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(model, lora).train()
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    collate, threads = Collator("shared_prefix", tokenizer.pad_token_id), Adapting()

    def step(number: int) -> None:
        batch = collate([rows[(number * size + place) % len(rows)] for place in range(size)])
        (loss_sum(model, batch) / batch["labels"].numel()).backward()
        optimiser.step()
        optimiser.zero_grad()

    if arguments.mode == "one":
        torch.set_num_threads(1)
    if arguments.mode == "fitting":
        threads.look(soon=True)
    step(0)
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < arguments.seconds:
        done += 1
        step(done)
        if arguments.mode == "fitting":
            threads.look()
    seconds = time.perf_counter() - began
    result = {"samples_per_s": done * size / seconds, "threads": torch.get_num_threads()}
    sys.stdout.write("\n" + json.dumps(result) + "\n")


def busy(count: int) -> list[subprocess.Popen[bytes]]:
    """`count` processes that only take time, at the same priority, and end with this one."""

    def end_with_parent() -> None:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    command = [sys.executable, "-c", "while True: pass"]
    return [subprocess.Popen(command, preexec_fn=end_with_parent) for _ in range(count)]


def measure(repository: Path, mode: str, seconds: float) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    if mode == "spin 0":
        environment["GOMP_SPINCOUNT"] = "0"
    command = [sys.executable, __file__, str(repository), "--mode", mode, "--seconds", str(seconds)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", type=Path)
    parser.add_argument("--loops", type=int, nargs="+", default=[0, len(os.sched_getaffinity(0))])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mode", choices=MODES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.mode:
        one(arguments)
        return
    results: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for number in range(arguments.rounds):
        for loops in arguments.loops:
            neighbours = busy(loops)
            try:
                for mode in MODES:
                    found = measure(arguments.repository, mode, arguments.seconds)
                    results.setdefault((loops, mode), []).append(found)
                    sys.stderr.write(f"round {number + 1}, {loops} loops, {mode}: {found}\n")
            finally:
                for process in neighbours:
                    process.kill()
                    process.wait()
    sys.stdout.write(
        "| busy processes | mode | samples/s, median | of torch's own | threads |\n|---|---|---|---|---|\n"
    )
    for (loops, mode), found in results.items():
        speed, own = (median(r["samples_per_s"] for r in results[loops, m]) for m in (mode, "torch"))
        used = ", ".join(str(r["threads"]) for r in found)
        sys.stdout.write(f"| {loops} | {mode} | {speed:.2f} | {speed / own:.2f} | {used} |\n")


if __name__ == "__main__":
    main()
