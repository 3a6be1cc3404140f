"""Steps 01 and 02 beside the same work done with `datasets`, in one run: python benchmarks/data.py [--rows 1000000]

    python benchmarks/data.py --rows 1000000                     ours and the reference, once each, interleaved
    python benchmarks/data.py --rows 1000000 --rows 10000000     how time and memory grow; --no-reference leaves it out
    python benchmarks/data.py --distinct                         rows of 190 bytes, 20 words each that no other row has

Makes rows of about 160 bytes (nine in ten English, one Chinese; one in a hundred repeats the one before in another
case or spacing, one in a thousand is a near-duplicate, some hold numbers, addresses and quotation marks), and a
repository whose configuration has every check on, with the tokenizer of the base model. Prints seconds, rows/s, the
largest memory of all processes together (proportional set size, sampled), and the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "<<cookiecutter.task_name>>"
sys.path[:0] = [str(TEMPLATE), str(ROOT / "tests" / "package")]

import yaml  # noqa: E402

from conftest import benchmark_values, task_values, training_values  # noqa: E402
from tiny_model import write_tiny_model  # noqa: E402

LABELS = ("billing", "shipping", "account", "returns", "product", "other")
FILE_BYTES = 95_000_000
SAMPLE_SECONDS = 0.05


def sample_words() -> tuple[list[str], list[str]]:
    """Words and Chinese characters of the sample tickets, as often as they stand there."""
    texts = []
    for language in ("en", "zh-TW"):
        lines = (TEMPLATE / "data" / "samples" / f"classification.{language}.jsonl").read_text(encoding="utf-8")
        texts.append([json.loads(line)["input"] for line in lines.splitlines()])
    words = [word for text in texts[0] for word in text.split()]
    return words, [sign for text in texts[1] for sign in text if "\u4e00" <= sign <= "\u9fff"]


def rows(count: int) -> Iterator[bytes]:
    """JSON lines, the same ones on every machine."""
    words, signs = sample_words()
    draw = random.Random(0)
    text, label = "", LABELS[0]
    for number in range(count):
        kind = draw.random()
        if number and kind < 0.01:
            text = text.upper() if kind < 0.005 else f" {text} "
        elif number and kind < 0.011:
            text = f"{text} {draw.choice(words)}"
        elif kind < 0.111:
            text, label = "".join(draw.choices(signs, k=draw.randint(30, 50))), draw.choice(LABELS)
        else:
            drawn = draw.choices(words, k=draw.randint(14, 32))
            if kind < 0.211:
                drawn[3] = f'"{draw.randrange(10**6)}"'
            if kind < 0.121:
                drawn[5] = f"order-{draw.randrange(10**8)}@example.com"
            text, label = " ".join(drawn), draw.choice(LABELS)
        yield json.dumps({"input": text, "label": label}, ensure_ascii=False).encode() + b"\n"


def distinct_rows(count: int) -> Iterator[bytes]:
    """Rows of 20 words of seven letters drawn anew: every pair of words has to be looked at, none is found again."""
    draw = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    for _ in range(count):
        drawn = "".join(draw.choices(letters, k=140))
        text = " ".join(drawn[start : start + 7] for start in range(0, 140, 7))
        yield json.dumps({"input": text, "label": draw.choice(LABELS)}).encode() + b"\n"


def make_repository(root: Path, count: int, distinct: bool) -> int:
    """A repository at `root` with `count` rows; returns their bytes."""
    task, training = task_values("classification"), training_values()
    task["output"]["labels"] = [{"name": name, "description": f"about {name}"} for name in LABELS]
    task["input"]["max_chars"] = 2000
    task["data"] |= {"expected_rows": count, "min_rows_per_class": 10}
    values = {
        "task_definition.yaml": task,
        "configs/training_config.yaml": training,
        "configs/benchmark_config.yaml": benchmark_values(),
    }
    for name, value in values.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(yaml.safe_dump(value, sort_keys=False), encoding="utf-8")
    write_tiny_model(root / "models" / "base" / "tiny")
    raw = root / "data" / "raw"
    raw.mkdir(parents=True)
    size, total, files, file = FILE_BYTES, 0, 0, None
    for line in (distinct_rows if distinct else rows)(count):
        if size + len(line) > FILE_BYTES:
            if file:
                file.close()
            file, size, files = open(raw / f"rows{files:03}.jsonl", "wb"), 0, files + 1  # noqa: SIM115
        file.write(line)
        size += len(line)
        total += len(line)
    if file:
        file.close()
    return total


def tree_mb(pid: int) -> float:
    """Proportional set size of a process and all below it."""
    total, waiting = 0, [pid]
    while waiting:
        process = waiting.pop()
        try:
            for task in os.listdir(f"/proc/{process}/task"):
                waiting += map(int, Path(f"/proc/{process}/task/{task}/children").read_text().split())
            rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
            total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue
    return total / 1024


def measured(command: list[str]) -> tuple[float, float]:
    """(seconds, peak MB) of a command; exits with its output when it fails."""
    environment = os.environ | {"PYTHONPATH": str(TEMPLATE), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    with tempfile.TemporaryFile() as said:
        start = time.monotonic()
        process = subprocess.Popen([sys.executable, *command], env=environment, stdout=said, stderr=said)
        peak, over = 0.0, threading.Event()

        def watch() -> None:
            nonlocal peak
            while not over.wait(SAMPLE_SECONDS):
                peak = max(peak, tree_mb(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        code = process.wait()
        seconds = time.monotonic() - start
        over.set()
        watcher.join()
        if code:
            said.seek(0)
            sys.exit(f"{' '.join(command)} ended with {code}:\n{said.read().decode(errors='replace')[-3000:]}")
    return seconds, peak


def run(count: int, folder: Path, reference: bool, distinct: bool) -> None:
    root = folder / "repository"
    size = make_repository(root, count, distinct)
    print(f"{count:,} rows, {size / count:.0f} bytes each", flush=True)
    results: dict[str, tuple[float, float]] = {}
    scripts = TEMPLATE / "scripts"
    steps = {
        "01_validate_data": [str(scripts / "01_validate_data.py"), "--project", str(root)],
        "02_convert_format": [str(scripts / "02_convert_format.py"), "--project", str(root)],
    }
    for name, command in steps.items():
        results[name] = measured(command)
        show(name, count, *results[name])
    report = json.loads((root / "benchmarks" / "results" / "data_report.json").read_text(encoding="utf-8"))
    assert report["rows"]["accepted"] == count, "not every row was read"
    skipped = [name for name, fact in report["row_checks"].items() if fact["status"] != "done"]
    assert not skipped, f"checks were skipped: {skipped}"
    near = report["duplicates"]["near"]
    ours = sum(seconds for seconds, _ in results.values())
    show("01 + 02", count, ours, max(peak for _, peak in results.values()))
    print(f"    duplicates {report['duplicates']['exact']:,}, near-duplicates across splits {near['rows']:,}")
    if reference:
        sources = sorted(map(str, (root / "data" / "raw").glob("*.jsonl")))
        seconds, peak = measured([str(ROOT / "benchmarks" / "data_reference.py"), *sources, str(folder / "reference")])
        show("datasets", count, seconds, peak)
        print(f"    01 + 02 against datasets: {seconds / ours:.1f}x faster", flush=True)
    shutil.rmtree(root)


def show(name: str, count: int, seconds: float, peak: float) -> None:
    print(f"  {name:18} {seconds:7.1f} s {count / seconds:10,.0f} rows/s {peak:7.0f} MB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, action="append", help="how many; may be given several times")
    parser.add_argument("--no-reference", action="store_true", help="measure only 01 and 02")
    parser.add_argument("--distinct", action="store_true", help="rows that have no word in common")
    parser.add_argument("--folder", type=Path, help="where to work; needs about 2 KB a row")
    options = parser.parse_args()
    for count in options.rows or [1_000_000]:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            run(count, Path(folder), not options.no_reference, options.distinct)


if __name__ == "__main__":
    main()
