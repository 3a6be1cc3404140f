"""Text of every Unicode block for the reader of data/raw, and what must not change when rows are written otherwise.

    nice -n 19 python benchmarks/fuzz_text.py [--examples 10000] [--only blocks|same] [--seed 0]

blocks: rows of all three task types whose texts are drawn from any block of any plane, signs that Python does not know
and lone surrogates included. Each ends in rows or coded, located problems, the same whether read together or singly.
same: a data set is written in another way, and steps 01 and 02 make the same of it. Byte-equal: escapes, order of keys,
line ends, blank last line, white space in the JSON. Same ids, splits and verdict: order of rows, names and number of
files, NFC or NFD of the inputs, full width of their letters. Exit status 1 and the example on the first failure.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from fuzz_data import Fuzz, fuzz_round  # puts the template folder on the path
from hypothesis import strategies as st

from conftest import raw_rows, task_values
from finetune import console
from finetune.config.project import load_project
from finetune.console import run
from finetune.data.stage import convert, validate

TYPES = ("classification", "extraction", "generation")
BLOCK = 128
"""No block of Unicode is smaller than 16 points, most have 128 or a multiple."""
LETTERS = {ord(sign): ord(sign) + 0xFEE0 for sign in map(chr, range(ord("!"), ord("~") + 1))}
FULL_WIDTH = {ord("\u3000"): " ", **{wide: chr(narrow) for narrow, wide in LETTERS.items()}}


def blocks() -> st.SearchStrategy[str]:
    """A short text: signs of one block, at times with ASCII or signs of another block between them."""
    common, any_plane = st.integers(0, 0x1FFFF // BLOCK), st.integers(0, 0x10FFFF // BLOCK)
    starts = (common | common | any_plane).map(lambda number: number * BLOCK)
    signs = starts.flatmap(
        lambda start: st.text(st.integers(start, start + BLOCK - 1).map(chr), min_size=1, max_size=8)
    )
    return st.lists(
        signs | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=6), min_size=1, max_size=5
    ).map("".join)


def rows_of(task_type: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Up to three rows of the task's form."""
    if task_type == "classification":
        answer: st.SearchStrategy[Any] = st.sampled_from(["billing", "shipping"]) | blocks()
    elif task_type == "generation":
        answer = blocks()
    else:
        entity = st.fixed_dictionaries({"type": st.sampled_from(["product", "quantity"]) | blocks(), "text": blocks()})
        answer = st.lists(entity, max_size=3)
    field = {"classification": "label", "extraction": "entities", "generation": "output"}[task_type]
    optional = {"id": blocks(), "group": blocks()}
    row = st.fixed_dictionaries({"input": blocks(), field: answer}, optional=optional)
    return st.lists(row.flatmap(with_entities_of_the_text), min_size=1, max_size=3)


def with_entities_of_the_text(row: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Half of the entities are part of the input, else all but none would be refused for that alone."""
    text = row["input"]
    if not row.get("entities") or not text:
        return st.just(row)
    parts = st.tuples(st.integers(0, len(text) - 1), st.integers(1, 6)).map(lambda cut: text[cut[0] : sum(cut)])
    first, *others = row["entities"]
    return parts.map(lambda part: {**row, "entities": [{**first, "text": part}, *others]})


def lines_of(rows: list[dict[str, Any]], **options: Any) -> bytes:
    options.setdefault("ensure_ascii", False)
    return b"".join(json.dumps(row, **options).encode("utf-8", "surrogatepass") + b"\n" for row in rows)


class TextFuzz(Fuzz):
    """A repository of each task type."""

    def __init__(self, root: Path, limit: float) -> None:
        super().__init__(root, limit)
        self.accepted = self.compared = 0
        self.projects = {}
        for task_type in TYPES:
            folder = root / task_type
            shutil.copytree(root / "configs", folder / "configs")
            (folder / "data" / "raw").mkdir(parents=True)
            values = task_values(task_type) | {"data": {"expected_rows": 60, "min_rows_per_class": 1}}
            (folder / "task_definition.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
            self.projects[task_type] = load_project(folder)

    def blocks(self, example: tuple[str, list[dict[str, Any]]]) -> None:
        task_type, rows = example
        self.project = self.projects[task_type]
        self.root = self.project.paths.root
        self.reader(lines_of(rows, ensure_ascii=any("\ud800" <= sign < "\ue000" for sign in repr(rows))))

    def same(self, example: tuple[str, list[str], int]) -> None:
        """Sixty rows whose inputs end in drawn texts, written in ten ways."""
        task_type, texts, number = example
        shuffled = random.Random(number)
        rows = raw_rows(task_type, 60)
        for place, text in enumerate(texts):
            written = text.encode("utf-8", "ignore").decode("utf-8")  # a lone surrogate has no other way to be written
            rows[place * 3]["input"] += f" {written}"
        before = self.outcome(task_type, {"rows.jsonl": lines_of(rows)})
        self.accepted += before[0] == 0
        self.codes.update(before[1])
        turned = [dict(reversed(row.items())) for row in rows]
        for name, content in {
            "escapes": lines_of(rows, ensure_ascii=True),
            "order of keys": lines_of(turned),
            "line ends": lines_of(rows).replace(b"\n", b"\r\n"),
            "blank last line": lines_of(rows) + b"\n",
            "white space": lines_of(rows, separators=(" ,  ", ":\t")),
            "no last line end": lines_of(rows)[:-1],
        }.items():
            self.compare(name, before, self.outcome(task_type, {"rows.jsonl": content}), exactly=True)
        moved = shuffled.sample(rows, len(rows))
        cut = shuffled.randrange(1, len(rows))
        self.compare("order of rows", before, self.outcome(task_type, {"rows.jsonl": lines_of(moved)}))
        parts = {"b-first.jsonl": lines_of(rows[:cut]), "a second, 第二.jsonl": lines_of(rows[cut:])}
        self.compare("names of files", before, self.outcome(task_type, parts))
        if before[0] == 0 and task_type != "extraction":  # an entity is a part of its text, sign by sign
            for name, change in {
                "NFC": lambda text: unicodedata.normalize("NFC", text),
                "NFD": lambda text: unicodedata.normalize("NFD", text),
                "full width": lambda text: text.translate(LETTERS),
            }.items():
                other = [{**row, "input": change(row["input"])} for row in rows]
                self.compare(name, before, self.outcome(task_type, {"rows.jsonl": lines_of(other)}))

    def outcome(self, task_type: str, files: dict[str, bytes]) -> tuple[int, Counter[str], dict[str, str], bytes]:
        """Exit code, codes of the problems, split of every id, and the converted bytes."""
        project = self.projects[task_type]
        shutil.rmtree(project.paths.raw)
        project.paths.raw.mkdir()
        for name, content in files.items():
            (project.paths.raw / name).write_bytes(content)
        with open(os.devnull, "w", encoding="utf-8") as sink, contextlib.redirect_stdout(sink):
            code = run(validate, project=project.paths.root, as_json=True)
            converted = run(convert, project=project.paths.root, force=True)
        assert code in (0, 2) and converted == code, f"exit codes {code} and {converted}"
        report = json.loads(project.paths.data_report_json.read_text(encoding="utf-8"))
        codes = Counter(problem["code"] for problem in report["problems"]["problems"])
        if code:
            return code, codes, {}, b""
        contents = {split: getattr(project.paths, split).read_bytes() for split in ("train", "valid", "test")}
        ids = {json.loads(line)["id"]: split for split, content in contents.items() for line in content.splitlines()}
        return code, codes, ids, b"\0".join(contents.values())

    def compare(self, name: str, before: tuple[Any, ...], after: tuple[Any, ...], exactly: bool = False) -> None:
        self.compared += 1
        found = [{code: count for code, count in each[1].items() if code.startswith("E")} for each in (before, after)]
        assert found[0] == found[1], f"{name}: {found[0]} becomes {found[1]}"
        assert before[0] == after[0], f"{name}: exit {before[0]} becomes {after[0]}: {before[1]} {after[1]}"
        if exactly:
            assert before[3] == after[3], f"{name}: other bytes"
        moved = {key for key in {*before[2], *after[2]} if before[2].get(key) != after[2].get(key)}
        assert not moved, f"{name}: {len(moved)} rows in another split or of another id"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=10_000, help="in total: 97 %% blocks, 3 %% same")
    parser.add_argument("--only", choices=["blocks", "same"], help="one kind of example, all of them")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ.pop("GITHUB_ACTIONS", None)
    console._err.quiet = True
    start, storage = time.monotonic(), "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=storage) as folder:
        fuzz = TextFuzz(Path(folder), 10.0)
        task_types = st.sampled_from(TYPES)
        kinds = [
            ("blocks", 97, task_types.flatmap(lambda name: st.tuples(st.just(name), rows_of(name))), fuzz.blocks),
            ("same", 3, st.tuples(task_types, st.lists(blocks(), max_size=8), st.integers(0, 2**32)), fuzz.same),
        ]
        for name, share, strategy, check in kinds:
            wanted = (
                0 if options.only not in (None, name) else options.examples * (100 if options.only else share) // 100
            )
            count = number = 0
            while count < wanted:
                count += fuzz_round(strategy, check, min(2500, wanted - count), options.seed * 1000 + number)
                number += 1
                print(f"{name}: {count} of {wanted}, {time.monotonic() - start:.0f} s", flush=True)
        compared = f"{fuzz.compared} comparisons, {fuzz.accepted} data sets without error"
        print(f"no traceback, {len(fuzz.codes)} codes seen; {compared}")
        print(" ".join(f"{code}:{count}" for code, count in sorted(fuzz.codes.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
