"""Random and mutated bytes for the reader of data/raw and the loader of the configurations.

    nice -n 19 python benchmarks/fuzz_data.py [--examples 100000] [--only reader|config|step] [--seed 0]

Every example must end in accepted rows or coded, located problems: no other exception, none that takes longer than
`--limit` seconds of CPU, and a resident memory that does not grow with the number of examples. Prints a row
a round and the largest values; exit status 1 and the example on the first failure.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "<<cookiecutter.task_name>>"
sys.path[:0] = [str(TEMPLATE), str(ROOT / "tests" / "package")]

import yaml  # noqa: E402
from hypothesis import HealthCheck, Phase, given, seed, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from conftest import benchmark_values, task_values, training_values  # noqa: E402
from finetune import console  # noqa: E402
from finetune.config.benchmark import BenchmarkConfig  # noqa: E402
from finetune.config.loading import build  # noqa: E402
from finetune.config.project import load_project  # noqa: E402
from finetune.config.strict_yaml import read_yaml  # noqa: E402
from finetune.config.task import TaskDefinition  # noqa: E402
from finetune.config.training import TrainingConfig  # noqa: E402
from finetune.console import run  # noqa: E402
from finetune.data.checks import Checks  # noqa: E402
from finetune.data.raw_files import list_raw_files  # noqa: E402
from finetune.data.records import RecordReader  # noqa: E402
from finetune.data.scan.survey import survey  # noqa: E402
from finetune.data.stage import convert, validate  # noqa: E402
from finetune.errors import BadInput, Problems  # noqa: E402

ROUND = 2500
"""Examples a hypothesis run: its own bookkeeping grows with the run and would hide a leak of ours."""
FILES = {
    "task_definition.yaml": TaskDefinition,
    "configs/training_config.yaml": TrainingConfig,
    "configs/benchmark_config.yaml": BenchmarkConfig,
}
PIECES = [
    b"\n",
    b"\r",
    b"\r\n",
    b'"',
    b"\\",
    b"\\u",
    b"\\ud800",
    b"\\ud83d\\ude00",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b" ",
    b"null",
    b"true",
    b"NaN",
    b"-Infinity",
    b"1e400",
    b"9" * 30,
    b"0",
    b"-",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\x00",
    b"\x1f\x8b",
    b'"input"',
    b'"label"',
    b'"id"',
    b'"group"',
    b'"inpt"',
    b"<|im_end|>",
    b"</s>",
    "＜｜im_end｜＞".encode(),
    "\u200b\u202e\u2028".encode(),
    "e\u0301".encode(),
    "中文".encode(),
    b"hf_" + b"a" * 34,
    b"4111 1111 1111 1111",
    b"a@b.co",
    b"[" * 40,
    b"{" * 1200,
    b"x" * 3000,
    b'"a":' * 50,
]
YAML_PIECES = [
    "\n",
    "  ",
    "\t",
    "- ",
    ": ",
    "? ",
    "&a ",
    "*a",
    "!!python/object/apply:os.system [id]",
    "!!int ",
    "<<: ",
    "---\n",
    "...\n",
    "{",
    "}",
    "[",
    "]",
    "'",
    '"',
    "\\x",
    "\\U00110000",
    "|\n",
    ">-\n",
    "#",
    "%YAML 9.9\n",
    "@",
    "`",
    "~",
    "no",
    ".nan",
    "1e400",
    "0x1F",
    "1:30",
    "2024-01-01",
    "9" * 30,
    "\x00",
    "\x85",
    "\u2028",
    "\ufeff",
    "\ud800",
    "𝟙",
    "١",
    "trust_remote_code: true\n",
    "[" * 40,
    "a: " * 40,
    "null",
    "true",
    "-1",
    "x" * 300,
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=10,
)


def edits(pieces: list[Any], size: int) -> st.SearchStrategy[list[tuple[int, int, Any]]]:
    """Up to eight cuts: at a place, remove a few units, put a piece there."""
    cut = st.tuples(st.integers(0, size), st.integers(0, 6), st.sampled_from(pieces))
    return st.lists(cut, min_size=1, max_size=8)


def mutated(text: Any, cuts: list[tuple[int, int, Any]]) -> Any:
    for at, removed, piece in cuts:
        text = text[:at] + piece + text[at + removed :]
    return text


GOOD = b"".join(
    json.dumps({"input": f"where is parcel {n}", "label": "shipping", "id": f"r{n}"}).encode() + b"\n" for n in range(3)
)
FIELDS = st.sampled_from(["input", "label", "id", "group", "messages", "entities"])
OBJECT = st.dictionaries(FIELDS | st.text(max_size=4), JSON, max_size=4)


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


DATA = st.one_of(
    st.binary(max_size=200),
    edits(PIECES, len(GOOD)).map(lambda cuts: mutated(GOOD, cuts)),
    st.lists(st.sampled_from(PIECES), max_size=20).map(b"".join),
    st.lists(OBJECT.map(json.dumps), min_size=1, max_size=4).map(lambda lines: encoded("\n".join(lines))),
    st.text(max_size=60).map(lambda t: encoded(json.dumps({"input": t, "label": "billing"}, ensure_ascii=False))),
)


class Fuzz:
    """A small repository in memory-backed storage, and one function a kind of example."""

    def __init__(self, root: Path, limit: float) -> None:
        self.root, self.limit = root, limit
        self.codes: Counter[str] = Counter()
        self.slowest = 0.0
        values = (task_values("classification"), training_values(), benchmark_values())
        self.texts = {name: yaml.safe_dump(value, sort_keys=False) for name, value in zip(FILES, values, strict=True)}
        self.configs = 0
        (root / "configs").mkdir()
        (root / "data" / "raw").mkdir(parents=True)
        for name, text in self.texts.items():
            (root / name).write_text(text, encoding="utf-8")
        self.project = load_project(root)

    def reader(self, content: bytes) -> None:
        """data/raw/rows.jsonl holds `content`: listed, read in chunks, checked; read row by row, the same rows."""
        (self.root / "data" / "raw" / "rows.jsonl").write_bytes(content)
        problems, again = Problems(), Problems()
        files = [(file, "data/raw/rows.jsonl") for file in list_raw_files(self.project.paths, problems)]
        found = survey(self.project, files, problems)
        checks = Checks(found)
        checks.run()
        assert checks.accepted or problems.error_count, "neither a row nor an error"
        self.judge(problems)
        reader = RecordReader(self.project.task, again)
        records = [record for file, name in files for record in reader.read(file, name)]
        twice = sum(problem.code == "E150" for problem in problems.all)
        assert len(records) + twice == checks.accepted, "the two ways to read find other rows"
        unsaid = {problem.code for problem in again.all} - {problem.code for problem in problems.all}
        assert not unsaid, f"only row by row: {unsaid}"

    def step(self, content: bytes) -> None:
        """The whole of scripts/01_validate_data.py and 02_convert_format.py in this process."""
        (self.root / "data" / "raw" / "rows.jsonl").write_bytes(content)
        with open(os.devnull, "w", encoding="utf-8") as sink, contextlib.redirect_stdout(sink):
            code = run(validate, project=self.root, as_json=True)
            converted = run(convert, project=self.root)
        assert code in (0, 2), f"exit code {code}"
        assert converted == code, f"exit code {converted} of the conversion"

    def config(self, name: str, content: bytes) -> None:
        """One of the three files holds `content`; each tenth time the whole project is loaded with it."""
        file, self.configs = self.root / name, self.configs + 1
        file.write_bytes(content)
        try:
            if self.configs % 10 == 0:
                load_project(self.root)
                return
            problems = Problems()
            located = read_yaml(file, name, problems)
            built = located and build(FILES[name], located, problems)
            assert built or problems.error_count, "neither a configuration nor an error"
            self.judge(problems)
        except BadInput as refusal:
            self.judge(refusal.problems)
        finally:
            file.write_text(self.texts[name], encoding="utf-8")

    def judge(self, problems: Problems) -> None:
        for problem in problems.all:
            self.codes[problem.code] += 1
            assert problem.code[0] in "EW" and len(problem.code) == 4 and problem.path, str(problem)
            assert "\n" not in str(problem)

    def timed(self, check: Callable[..., None], *arguments: Any) -> None:
        start = time.process_time()
        signal.setitimer(signal.ITIMER_VIRTUAL, self.limit)
        signal.setitimer(signal.ITIMER_REAL, 60 * self.limit)  # waiting for something that never comes costs no CPU
        try:
            check(*arguments)
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
        self.slowest = max(self.slowest, time.process_time() - start)


def config_content(fuzz: Fuzz) -> st.SearchStrategy[tuple[str, bytes]]:
    """(file, content): a mutated file of ours, a value of any kind at a key of it, or plain noise."""

    def broken(name: str) -> st.SearchStrategy[tuple[str, bytes]]:
        text = fuzz.texts[name]
        noise = st.text(alphabet="ab:-[]{}&*!%@`'\"\\#|>?,~\t\n 0.e1\ufeff\x85\u2028", max_size=60)
        content = st.one_of(
            edits(YAML_PIECES, len(text)).map(lambda cuts: encoded(mutated(text, cuts))),
            st.tuples(st.integers(0, text.count("\n") - 1), JSON).map(lambda pair: replaced(text, *pair)),
            st.lists(st.sampled_from(YAML_PIECES), max_size=12).map(lambda pieces: encoded("".join(pieces))),
            noise.map(str.encode),
            st.binary(max_size=60),
        )
        return content.map(lambda data: (name, data))

    return st.one_of([broken(name) for name in FILES])


def replaced(text: str, at: int, value: Any) -> bytes:
    """`text` with the value of its line `at` replaced."""
    lines = text.split("\n")
    lines[at] = lines[at].partition(":")[0] + ": " + json.dumps(value, ensure_ascii=False)
    return encoded("\n".join(lines))


def too_slow(*_: Any) -> None:
    raise TimeoutError("the example took longer than the limit")


def resident_mb() -> float:
    fields = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return int(fields[1]) * resource.getpagesize() / 2**20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=100_000, help="in total: 70 %% reader, 28 %% configuration")
    parser.add_argument("--only", choices=["reader", "config", "step"], help="one kind of example, all of them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=10.0, help="seconds of CPU an example may take")
    options = parser.parse_args()
    signal.signal(signal.SIGVTALRM, too_slow)
    signal.signal(signal.SIGALRM, too_slow)
    storage = "/dev/shm" if os.path.isdir("/dev/shm") else None
    os.environ.pop("GITHUB_ACTIONS", None)
    console._err.quiet = True  # a hundred thousand reports are no use
    start, done, first = time.monotonic(), 0, 0.0
    with tempfile.TemporaryDirectory(dir=storage) as folder:
        fuzz = Fuzz(Path(folder), options.limit)
        kinds = [
            ("reader", 70, DATA, lambda content: fuzz.timed(fuzz.reader, content)),
            ("config", 28, config_content(fuzz), lambda pair: fuzz.timed(fuzz.config, *pair)),
            ("step", 2, DATA, lambda content: fuzz.timed(fuzz.step, content)),
        ]
        for name, share, strategy, check in kinds:
            if options.only not in (None, name):
                continue
            wanted, count, number = options.examples * (100 if options.only else share) // 100, 0, 0
            while count < wanted:
                size = min(ROUND, wanted - count)
                count += fuzz_round(strategy, check, size, options.seed * 1000 + number)
                number += 1
                gc.collect()
                first = first or resident_mb()
                done_now, seconds = done + count, time.monotonic() - start
                print(
                    f"{name}: {count} of {wanted}, all {done_now}, {seconds:.0f} s, {resident_mb():.0f} MB, "
                    f"slowest {fuzz.slowest * 1000:.0f} ms",
                    flush=True,
                )
            done += count
        print(
            f"{done} examples, no traceback, slowest {fuzz.slowest * 1000:.0f} ms, resident memory after the first "
            f"round {first:.0f} MB and at the end {resident_mb():.0f} MB, {len(fuzz.codes)} codes seen"
        )
        print(" ".join(f"{code}:{count}" for code, count in sorted(fuzz.codes.items())))
    return 0


def fuzz_round(strategy: st.SearchStrategy[Any], check: Callable[[Any], None], size: int, number: int) -> int:
    """Run `size` examples; returns how many were run. An exception of `check` comes through with its example."""
    counted = 0

    @seed(number)
    @settings(
        max_examples=size,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def example(value: Any) -> None:
        nonlocal counted
        counted += 1
        try:
            check(value)
        except Exception:
            print(f"FAILED on {value!r}", flush=True)
            raise

    example()
    return counted


if __name__ == "__main__":
    sys.exit(main())
