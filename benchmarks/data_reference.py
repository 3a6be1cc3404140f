"""What a competent user would write with `datasets`: python benchmarks/data_reference.py SOURCE.jsonl … OUT/

Validates, removes duplicates, draws stratified splits and writes chat records of a classification data set. It checks
far less than steps 01 and 02: no labels, no lengths, no control tokens, no near-duplicates, no line of any problem.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

SEED = 0


def main() -> None:
    import datasets

    *sources, out = sys.argv[1:]
    target = Path(out)
    target.mkdir(parents=True, exist_ok=True)
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory(dir=target) as cache:
        rows = datasets.load_dataset("json", data_files=sources, cache_dir=cache)["train"]
        rows = rows.filter(_complete, batched=True)
        seen: set[str] = set()
        rows = rows.filter(lambda batch: [_is_new(text, seen) for text in batch["input"]], batched=True)
        rows = rows.class_encode_column("label")
        names = rows.features["label"].names
        first = rows.train_test_split(0.15, stratify_by_column="label", seed=SEED)
        second = first["train"].train_test_split(0.15, stratify_by_column="label", seed=SEED)
        system = "Sort the message. Answer with one label.\n" + "\n".join(f"- {name}" for name in names)
        for name, split in (("train", second["train"]), ("valid", second["test"]), ("test", first["test"])):
            chat = split.map(
                _chat, batched=True, remove_columns=split.column_names, fn_kwargs={"names": names, "system": system}
            )
            chat.to_json(str(target / f"{name}.jsonl"), force_ascii=False)


def _complete(batch: dict[str, list[str]]) -> list[bool]:
    return [bool(text.strip()) and bool(label) for text, label in zip(batch["input"], batch["label"], strict=True)]


def _is_new(text: str, seen: set[str]) -> bool:
    key = " ".join(text.lower().split())
    new = key not in seen
    seen.add(key)
    return new


def _chat(batch: dict[str, list[Any]], names: list[str], system: str) -> dict[str, list[Any]]:
    return {
        "messages": [
            [
                {"role": "system", "content": system},
                {"role": "user", "content": text},
                {"role": "assistant", "content": names[label]},
            ]
            for text, label in zip(batch["input"], batch["label"], strict=True)
        ]
    }


if __name__ == "__main__":
    main()
