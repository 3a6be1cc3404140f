"""Training speed of our three batchings beside TRL's own SFTTrainer, each in its own process, in one run.

    python benchmarks/training.py REPOSITORY [--steps 12] [--dtype bf16|fp32] [--out curves.html]

REPOSITORY is a baked task repository after `make convert`; its training split, base model, LoRA and optimiser
settings are used by all four. Rounds are interleaved, so that a noisy machine disturbs all of them alike; ratios count.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "<<cookiecutter.task_name>>"
FORMS = ("trl", "padded", "packed", "shared_prefix")
COLOURS = {"trl": "var(--soft)", "padded": "var(--limited)", "packed": "var(--good)", "shared_prefix": "var(--tuned)"}


def ours(project: Any, base: Any, form: str, steps: int, dtype: Any) -> dict[str, Any]:
    """`steps` optimiser steps of our trainer."""
    from peft import LoraConfig

    from finetune.training.base_model import load_tokenizer, load_weights
    from finetune.training.batches import Collator
    from finetune.training.dataset import load_rows
    from finetune.training.sft import PromptCompletionTrainer, arguments, as_dataset

    tokenizer = load_tokenizer(base)
    rows = load_rows(project.paths.train, project, tokenizer)
    batch = project.training.batch.per_device
    settings = arguments(
        project.training,
        output=Path("unused"),
        micro_batch=batch,
        rows=len(rows),
        device="cpu",
        dtype=dtype,
        checkpointing=False,
        processes=1,
    )
    settings = _bounded(settings, steps, batch)
    trainer = PromptCompletionTrainer(
        model=load_weights(base, dtype=dtype, device="cpu"),
        args=settings,
        data_collator=Collator(form, tokenizer.pad_token_id),
        train_dataset=as_dataset(rows),
        processing_class=tokenizer,
        peft_config=LoraConfig(**_lora(project)),
    )
    return _timed(trainer, steps, batch)


def trl(project: Any, base: Any, steps: int, dtype: Any) -> dict[str, Any]:
    """The same through TRL as its documentation shows it: prompt-completion records, TRL's defaults otherwise."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    with open(project.paths.train, encoding="utf-8") as file:
        records = [json.loads(line)["messages"] for line in file]
    data = Dataset.from_list([{"prompt": record[:-1], "completion": record[-1:]} for record in records])
    batch = project.training.batch.per_device
    settings = _bounded(
        SFTConfig(
            output_dir="unused",
            per_device_train_batch_size=batch,
            seed=project.training.seed,
            use_cpu=True,
            learning_rate=project.training.optimiser.learning_rate,
            lr_scheduler_type=project.training.optimiser.schedule,
            bf16=False,
            gradient_checkpointing=False,
            report_to=[],
            disable_tqdm=True,
            dataloader_pin_memory=False,
        ),
        steps,
        batch,
    )
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(base.path, dtype=dtype),
        args=settings,
        train_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(base.path),
        peft_config=LoraConfig(**_lora(project)),
    )
    return _timed(trainer, steps, batch)


def _lora(project: Any) -> dict[str, Any]:
    lora = project.training.lora
    targets = lora.target_modules if isinstance(lora.target_modules, str) else list(lora.target_modules)
    return {
        "r": lora.r,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "target_modules": targets,
        "task_type": "CAUSAL_LM",
    }


def _bounded(settings: Any, steps: int, batch: int) -> Any:
    settings.max_steps, settings.gradient_accumulation_steps, settings.warmup_steps = steps, 1, max(steps // 20, 1)
    settings.eval_strategy = settings.save_strategy = "no"
    settings.load_best_model_at_end, settings.logging_steps = False, 1
    return settings


def _timed(trainer: Any, steps: int, batch: int) -> dict[str, Any]:
    from transformers import TrainerCallback

    stamps: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            stamps.append(time.perf_counter())

    trainer.add_callback(Clock())
    stamps.append(time.perf_counter())
    trainer.train()
    # The first step pays for allocation and kernel selection in every form.
    each = [after - before for before, after in pairwise(stamps[1:])]
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {"samples_per_s": batch / median(each), "seconds_per_step": median(each), "losses": losses}


def one(arguments: argparse.Namespace) -> None:
    """Child process: measure one form and print one JSON line."""
    sys.path.insert(0, str(TEMPLATE))
    import torch

    from finetune.config.project import load_project
    from finetune.training.base_model import quiet, resolve_base

    quiet()
    project = load_project(arguments.repository)
    base = resolve_base(project)
    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[arguments.dtype]
    if arguments.form == "trl":
        result = trl(project, base, arguments.steps, dtype)
    else:
        result = ours(project, base, arguments.form, arguments.steps, dtype)
    sys.stdout.write("\n" + json.dumps(result) + "\n")


def draw(results: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """A page with the loss over steps and over seconds, in the style of the reports."""
    sys.path.insert(0, str(TEMPLATE))
    from finetune.html_page import SHARED

    by_step = {form: [*enumerate(rounds[0]["losses"], 1)] for form, rounds in results.items()}
    pace = {form: median(r["seconds_per_step"] for r in rounds) for form, rounds in results.items()}
    by_time = {form: [(step * pace[form], loss) for step, loss in curve] for form, curve in by_step.items()}
    curves = [panel("optimiser step", by_step), panel("seconds", by_time)]
    style = (SHARED / "page.css.j2").read_text(encoding="utf-8")
    colours = " ".join(f".{form} {{ stroke: {colour}; fill: {colour}; }}" for form, colour in COLOURS.items())
    style += f"polyline {{ fill: none !important; stroke-width: 2; }} text {{ font-size: 12px; }} {colours}"
    sections = "".join(f"<section>{curve}</section>" for curve in curves)
    title = "training loss of four batchings"
    page = f"<!doctype html><meta charset='utf-8'><title>{title}</title><style>{style}</style><main>{sections}</main>"
    path.write_text(page, encoding="utf-8")


def panel(label: str, curves: dict[str, list[tuple[float, float]]]) -> str:
    """Training loss over `label`: one line a form, their names beside it."""
    from finetune.svg import axis, svg

    points = [point for curve in curves.values() for point in curve]
    x = axis(0, max(place for place, _ in points), 48, 600)
    y = axis(0, max(loss for _, loss in points), 214, 12)
    parts = [f'<text x="324" y="236" text-anchor="middle">{label}, to {max(place for place, _ in points):.4g}</text>']
    parts += [
        f'<text x="42" y="{y(loss) + 4}" text-anchor="end">{loss:.3g}</text>' for loss in (0, max(v for _, v in points))
    ]
    for row, (form, curve) in enumerate(curves.items()):
        path = " ".join(f"{x(place)},{y(loss)}" for place, loss in curve)
        parts.append(f'<polyline class="{form}" points="{path}"/>')
        parts.append(f'<text class="{form}" stroke="none" x="616" y="{24 + 20 * row}">{form}</text>')
    return svg(720, 244, f"training loss over {label}", parts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", type=Path)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--dtype", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--out", type=Path, help="write the loss curves as a page")
    parser.add_argument("--form", choices=FORMS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.form:
        one(arguments)
        return 0
    results: dict[str, list[dict[str, Any]]] = {form: [] for form in FORMS}
    for number in range(arguments.rounds):
        for form in FORMS:
            command = [
                sys.executable,
                __file__,
                str(arguments.repository),
                "--steps",
                str(arguments.steps),
                "--dtype",
                arguments.dtype,
                "--form",
                form,
            ]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            results[form].append(json.loads(done.stdout.strip().splitlines()[-1]))
            pace = results[form][-1]["samples_per_s"]
            print(f"round {number + 1}  {form:14} {pace:6.2f} samples/s", file=sys.stderr)
    reference = median(r["samples_per_s"] for r in results["trl"])
    print(f"{arguments.dtype}, {arguments.steps} steps, {arguments.rounds} rounds, median samples/s")
    for form, rounds in results.items():
        pace, losses = median(r["samples_per_s"] for r in rounds), rounds[0]["losses"]
        shown = " ".join(f"{loss:.3f}" for loss in losses[:: max(len(losses) // 8, 1)])
        print(f"{form:14} {pace:6.2f} samples/s  {pace / reference:4.1f}x trl  loss {shown}")
    if arguments.out:
        draw(results, arguments.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
