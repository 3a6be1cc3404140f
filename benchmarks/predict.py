"""scripts/predict.py beside transformers.pipeline("text-generation"): same merged model, same prompts, greedy.

    python benchmarks/predict.py REPOSITORY [--rows 5000] [--peer-rows 5000] [--texts FILE] [--dtype bf16|fp32]

REPOSITORY is a baked task repository after `make merge`. Its raw rows, varied, are the texts, or the lines of FILE.
Both sides run in a process of their own, with the batch size of benchmark_config.yaml; the seconds start when the
model is loaded, and end with the last answer: on our side that includes writing it to the disk. Where an answer
differs, the prompt is asked once more, alone, without padding: that says which side the batch has led astray.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "<<cookiecutter.task_name>>"
SIDES = ("predict", "pipeline")


def varied(project: Any, count: int) -> list[str]:
    """`count` distinct texts: raw inputs, joined and numbered as people write them."""
    chance = random.Random(0)
    known = [
        json.loads(line)[project.task.input.field]
        for file in sorted(project.paths.raw.glob("*.jsonl"))
        for line in file.read_text(encoding="utf-8").split("\n")
        if line
    ]
    found = dict.fromkeys(known[:count])
    while len(found) < count:
        text = chance.choice(known)
        text = chance.choice((f"{text} Case {chance.randrange(10**6)}.", f"{text} {chance.choice(known)}"))
        found.setdefault(text[: project.task.input.max_chars])
    return list(found)


def clocks() -> tuple[float, float]:
    """Wall time and the CPU time of all threads, in seconds; the second one counts also on a busy machine."""
    return time.perf_counter(), time.process_time()


def since(began: tuple[float, float]) -> dict[str, Any]:
    wall, cpu = clocks()
    return {"seconds": wall - began[0], "cpu_seconds": cpu - began[1]}


def ours(project: Any, texts: list[str]) -> dict[str, Any]:
    """predict() on a file; the clock starts when the backend is there."""
    from finetune.inference import predict

    began = (0.0, 0.0)
    load = predict.open_backend

    def timed(*arguments: Any) -> Any:
        nonlocal began
        backend = load(*arguments)
        began = clocks()
        return backend

    predict.open_backend = timed
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "in.jsonl", Path(folder) / "out.jsonl"
        field = project.task.input.field
        source.write_text("".join(json.dumps({field: text}) + "\n" for text in texts), encoding="utf-8")
        predict.predict(project, str(source), str(out), "merged")
        spent = since(began)
        rows = [json.loads(line)["prediction"] for line in out.read_text(encoding="utf-8").split("\n") if line]
    return spent | {"answers": [row["text"] for row in rows], "confidence": [row["confidence"] for row in rows]}


def peer(project: Any, texts: list[str], batch_size: int) -> dict[str, Any]:
    """The pipeline as its documentation batches it: left padding, a list of conversations."""
    from transformers import pipeline

    from finetune.data.chat_format import prompt_messages, template_options
    from finetune.training.base_model import quiet, resolve_device

    quiet()
    device, dtype, _ = resolve_device(project.training)
    pipe = pipeline("text-generation", model=str(project.paths.merged), dtype=dtype, device=device)
    pipe.tokenizer.padding_side = "left"
    if pipe.tokenizer.pad_token is None:
        pipe.tokenizer.pad_token = pipe.tokenizer.eos_token
    options = template_options(project.training)
    began = clocks()
    answers = pipe(
        [prompt_messages(project.task, text) for text in texts],
        batch_size=batch_size,
        do_sample=False,
        max_new_tokens=project.task.output.max_new_tokens,
        return_full_text=False,
        **({"tokenizer_encode_kwargs": options} if options else {}),
    )
    return since(began) | {"answers": [answer[0]["generated_text"] for answer in answers]}


def one(arguments: argparse.Namespace) -> None:
    """Child process: run one side and print one JSON line."""
    sys.path.insert(0, str(TEMPLATE))
    from finetune.config.project import load_project

    project = load_project(arguments.repository)
    precision = {"bf16": "bf16", "fp32": "fp32"}.get(arguments.dtype)
    if precision:
        training = project.training.model_copy(update={"precision": precision})
        project = type(project)(project.paths, project.task, training, project.benchmark)
    texts = json.loads(arguments.given.read_text(encoding="utf-8"))
    if arguments.side == "predict":
        result = ours(project, texts)
    else:
        result = peer(project, texts, 1 if arguments.side == "alone" else project.benchmark.generation.batch_size)
    arguments.result.write_text(json.dumps(result), encoding="utf-8")


def run_side(side: str, arguments: argparse.Namespace, texts: list[str], folder: Path) -> dict[str, Any]:
    given, result = folder / "texts.json", folder / f"{side}.json"
    given.write_text(json.dumps(texts), encoding="utf-8")
    command = [sys.executable, __file__, str(arguments.repository), "--side", side, "--given", str(given)]
    subprocess.run([*command, "--result", str(result), "--dtype", arguments.dtype or ""], check=True)
    found = json.loads(result.read_text(encoding="utf-8"))
    wall, cpu = found["seconds"], found["cpu_seconds"]
    print(f"{side:9} {len(texts):6} rows {wall:8.1f} s {len(texts) / wall:8.1f} rows/s {cpu:8.1f} CPU s", flush=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", type=Path)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--peer-rows", type=int, help="give the pipeline only the first so many rows")
    parser.add_argument("--texts", type=Path, help="one text a line, in place of varied raw rows")
    parser.add_argument("--dtype", choices=["", "bf16", "fp32"], default="", help="default: as configured")
    for hidden in ("--given", "--result"):
        parser.add_argument(hidden, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--side", choices=[*SIDES, "alone"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        one(arguments)
        return 0
    sys.path.insert(0, str(TEMPLATE))
    from finetune.config.project import load_project

    if arguments.texts:
        texts = [line for line in arguments.texts.read_text(encoding="utf-8").split("\n") if line.strip()]
        texts = texts[: arguments.rows]
    else:
        texts = varied(load_project(arguments.repository), arguments.rows)
    with tempfile.TemporaryDirectory() as folder:
        own = run_side("predict", arguments, texts, Path(folder))
        fewer = texts[: arguments.peer_rows]
        other = run_side("pipeline", arguments, fewer, Path(folder))
        pace = len(texts) / own["seconds"] / (len(fewer) / other["seconds"])
        unlike = [i for i in range(len(fewer)) if own["answers"][i].strip() != other["answers"][i].strip()]
        work = other["cpu_seconds"] / len(fewer) / (own["cpu_seconds"] / len(texts))
        print(f"CPU seconds a row: {work:.2f} times fewer")
        equal = f"{len(fewer) - len(unlike)} of {len(fewer)} answers equal"
        print(f"{pace:.2f} times the pipeline's rows a second; {equal}")
        if unlike:
            alone = run_side("alone", arguments, [fewer[i] for i in unlike], Path(folder))["answers"]
            mine = sum(own["answers"][i].strip() == text.strip() for i, text in zip(unlike, alone, strict=True))
            theirs = sum(other["answers"][i].strip() == text.strip() for i, text in zip(unlike, alone, strict=True))
            print(f"of {len(unlike)} different ones, asked alone: {mine} as predict.py, {theirs} as the pipeline")
            for i in unlike[:10]:
                print(f"  {own['answers'][i]!r} / {other['answers'][i]!r}, confidence {own['confidence'][i]}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
