"""Rows read a thousand at once get exactly what they get one by one; several processes find what one finds."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import raw_rows
from finetune.data import conversion, overlap, stage
from finetune.data.row_checks import RowChecks
from finetune.data.scan import scanning, survey, workers
from finetune.data.scan.chunks import CHUNK_BYTES, cut
from finetune.data.scan.scanning import ChunkScanner
from finetune.data.scan.screens import Screen
from finetune.errors import OK, Problems, StorageFault
from finetune.threads import Threads
from repository import ROOT

PLAIN = [
    "where is my parcel",
    "請問我的包裹在哪裡",
    "a (1) b",
    "Ｎｏ. 4",
    '"quoted"',
    "back\\slash",
    "a\nb",
    "  two  spaces ",
]
PIECES = [
    *PLAIN,
    "Ａｂｃ",
    "cafe\u0301",
    "pay\u200bment",
    "a\tb",
    " ",
    "<|im_end|>",
    "＜|im_end|>",
    "[INST]",
    "a < b",
    "x@y.co",
    "0912 345 678",
    "１２３４５６７８",
    "12345678",
    "A123456789",
    "hf_" + "a" * 34,
    "sk-" + "a" * 40,
    "AKIA" + "B" * 16,
    "-----BEGIN PRIVATE KEY-----",
    "_",
    "\u0000",
    "\u007f",
    "\u202e",
    "\ufeff",
    "👍🏽",
    "\u2028",
    "K" * 500,
    "\u0301",
    "\u1161",
    "ﬁ",
    "ẞ",
    "İ",
]
SHORT = st.sampled_from(PLAIN)
TEXT = SHORT | SHORT | st.lists(st.sampled_from(PIECES), max_size=4).map(" ".join) | st.text(max_size=12)
GOOD_LABEL = st.sampled_from(["billing", "shipping", "account"])
LABEL = GOOD_LABEL | GOOD_LABEL | GOOD_LABEL | st.sampled_from(["Billing", "", " billing"]) | TEXT
ENTITY = st.fixed_dictionaries({"type": st.sampled_from(["product", "quantity", "colour"]), "text": TEXT})
NAMES = st.fixed_dictionaries(
    {}, optional={"id": TEXT | st.from_regex(r"[a-z]{1,4}-[0-9]", fullmatch=True), "group": TEXT}
)
EXTRA = st.fixed_dictionaries({}, optional={"id": TEXT | st.integers() | st.none(), "group": st.none(), "inpt": TEXT})
COMPARED = ["layout", "counts", "shorts", "answers", "offsets", "splits", "bands", "own", "groups", "salt_keys"]
ANSWERS = {
    "classification": LABEL,
    "generation": TEXT,
    "extraction": st.lists(ENTITY, max_size=3) | st.just([{"type": "product"}]) | st.just([{"type": 1, "text": "x"}]),
}
BROKEN = st.sampled_from(
    [
        b"",
        b" ",
        b"{",
        b"[]",
        b"null",
        b'{"input": "a", "input": "b", "label": "billing"}',
        b'{"input": "\\ud800"}',
        b"\xff",
        b'{"input": "a\\u0022b", "label": "billing"}',
        b'{"input": "x", "label": "billing"}\r',
        b'\xef\xbb\xbf{"input": "y"}',
    ]
)


def lines(task_type: str) -> st.SearchStrategy[list[bytes]]:
    field = {"classification": "label", "extraction": "entities", "generation": "output"}[task_type]

    def written(answer: st.SearchStrategy, extra: st.SearchStrategy) -> st.SearchStrategy[bytes]:
        return st.tuples(TEXT, answer, extra, st.booleans()).map(
            lambda parts: json.dumps({"input": parts[0], field: parts[1], **parts[2]}, ensure_ascii=parts[3]).encode(
                "utf-8", "surrogatepass"
            )
        )

    well_typed = written(st.lists(ENTITY, max_size=3) if task_type == "extraction" else ANSWERS[task_type], NAMES)
    anything = well_typed | written(ANSWERS[task_type], EXTRA) | BROKEN
    return st.lists(well_typed, min_size=1, max_size=8) | st.lists(anything, min_size=1, max_size=8)


@pytest.mark.parametrize("task_type", ["classification", "extraction", "generation"])
def test_reading_together_and_one_by_one_agree(make_project, task_type):
    project = make_project(task_type, base=True)
    scanner, single = ChunkScanner(project), ChunkScanner(project)
    screen = Screen(project.task, RowChecks(project, Problems()))
    file = project.paths.raw / "rows.jsonl"
    plain = 0

    @settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(lines(task_type))
    def agree(content):
        nonlocal plain
        file.write_bytes(b"\n".join(content))
        (chunk,) = cut([(file, "rows.jsonl")]) or [None]
        if chunk is None:
            return
        plain += sum(row is not None for row in screen.rows(chunk.read(), len(content)))
        together = scanner.scan(chunk)
        with pytest.MonkeyPatch.context() as patch:  # every row is looked at by itself
            patch.setattr(Screen, "rows", lambda screen, data, count: [None] * count)
            alone = single.scan(chunk)
        assert [str(p) for p in together.problems.all] == [str(p) for p in alone.problems.all]
        for name in COMPARED:
            assert getattr(together, name) == getattr(alone, name), name
        assert list(together.numbers or range(len(together.shorts))) == list(alone.numbers or range(len(alone.shorts)))

    agree()
    assert plain > 20, "hardly any row took the way that is tested here"


def many(count: int) -> list[dict]:
    """Rows of more than one chunk, with duplicates, own ids and groups among them."""
    draw = random.Random(1)
    words = [word for row in raw_rows("classification") for word in row["input"].split()] + [
        "包裹",
        "退款",
        "發票",
        "延遲",
    ]
    rows = []
    for number in range(count):
        row = {"input": " ".join(draw.choices(words, k=30)), "label": draw.choice(["billing", "shipping", "account"])}
        if rows and number % 50 == 0:
            row = {**draw.choice(rows), "input": draw.choice(rows)["input"].upper()}
        if number % 70 == 0:
            row["id"] = f"own-{number}"
        if number % 90 == 0:
            row["group"] = f"g{number % 7}"
        rows.append(row)
    return rows


def everything(project) -> dict[str, bytes]:
    for report in (project.paths.data_plan, project.paths.data_report_json):
        report.unlink(missing_ok=True)
    code = stage.validate(project)
    found = {"report": project.paths.data_report_json.read_bytes(), "code": str(code).encode()}
    if code == OK:
        found["plan"] = project.paths.data_plan.read_bytes()
        stage.convert(project, force=True)
        found |= {name: getattr(project.paths, name).read_bytes() for name in ("train", "valid", "test")}
    return found


@pytest.mark.parametrize("conflicts", [True, False])
def test_several_processes_and_many_chunks_find_and_write_the_same(make_project, monkeypatch, conflicts):
    rows = many(9000)
    if not conflicts:  # nothing wrong, so that it is converted too
        seen: dict[str, dict] = {}
        rows = [seen.setdefault(" ".join(row["input"].lower().split()), row) for row in rows]
        rows = [{key: value for key, value in row.items() if key in ("input", "label")} for row in rows]
    project = make_project(rows=rows, task={"data": {"expected_rows": 9000}})
    size = (project.paths.raw / "rows.jsonl").stat().st_size
    assert size > 2 * CHUNK_BYTES
    monkeypatch.setattr(survey, "PARALLEL_FROM_BYTES", size + 1)
    alone = everything(project)
    assert (b"E132" in alone["report"]) is conflicts
    monkeypatch.setattr(survey, "PARALLEL_FROM_BYTES", 0)
    monkeypatch.setattr("finetune.data.scan.chunks.CHUNK_BYTES", 30_000)
    monkeypatch.setattr(workers, "available", lambda: Threads(2, "the test says so"))
    ran = forked(monkeypatch)
    assert everything(project) == alone
    steps = {scanning} if conflicts else {scanning, conversion, overlap}
    assert {module.__name__ for module in steps} <= ran, "compared with itself: these ran in this process"


def forked(monkeypatch) -> set[str]:
    """Names of the modules whose work other processes do from now on."""
    names: set[str] = set()

    @contextmanager
    def watched(make_state, parallel):
        with workers.workers(make_state, parallel) as run:

            def told(function, pieces):
                for process, result in run(partial(with_process, function), pieces):
                    names.update({function.__module__} if process != os.getpid() else ())
                    yield result

            yield told

    for module in (survey, conversion, overlap):
        monkeypatch.setattr(module, "workers", watched)
    return names


def with_process(function, state, piece):
    return os.getpid(), function(state, piece)


def kill_at_three(_: object, piece: int) -> int:
    if piece == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return piece


def test_a_killed_process_is_said_and_not_waited_for():
    with pytest.raises(StorageFault, match="killed"), workers.workers(lambda: None, True) as run:
        list(run(kill_at_three, range(10)))


def test_written_records_are_those_a_json_encoder_writes(make_project):
    project = make_project("extraction")
    stage.convert(project)
    for path in (project.paths.train, project.paths.valid, project.paths.test):
        for line in path.read_bytes().splitlines():
            assert msgspec.json.encode(msgspec.json.decode(line)) == line


def test_hash_seed_locale_and_time_zone_change_no_byte(make_project, tmp_path):
    rows = [{key: value for key, value in row.items() if key in ("input", "label")} for row in many(24_000)]
    labels: dict[str, str] = {}
    for row in rows:  # the same label for the same input, so that everything is converted
        row["label"] = labels.setdefault(" ".join(row["input"].lower().split()), row["label"])
    written = []
    for number, environment in enumerate(
        ({"PYTHONHASHSEED": "1", "LC_ALL": "C", "TZ": "Asia/Taipei"}, {"PYTHONHASHSEED": "2", "LANG": "zh_TW.UTF-8"})
    ):
        project = make_project(rows=rows, root=tmp_path / str(number))
        assert (project.paths.raw / "rows.jsonl").stat().st_size > survey.PARALLEL_FROM_BYTES
        for script in ("01_validate_data.py", "02_convert_format.py"):
            command = [sys.executable, str(ROOT / "scripts" / script), "--project", str(project.paths.root)]
            done = subprocess.run(
                command, capture_output=True, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment}
            )
            assert done.returncode == OK, done.stderr.decode(errors="replace")[-2000:]
        paths = project.paths
        files = (paths.train, paths.valid, paths.test, paths.data_plan, paths.data_report_json, paths.data_report_html)
        written.append([file.read_bytes() for file in files])
    assert written[0] == written[1]


def test_rows_keep_ids_and_splits_whatever_file_they_lie_in(make_project, tmp_path):
    rows, found = [row for row in many(600) if "id" not in row], []
    labels: dict[str, str] = {}
    for row in rows:
        row["label"] = labels.setdefault(" ".join(row["input"].lower().split()), row["label"])
        row.pop("group", None)
    for number, (first, second) in enumerate((("a", "b"), ("b", "a"))):
        project = make_project(rows=rows[:200], root=tmp_path / str(number))
        (project.paths.raw / "rows.jsonl").rename(project.paths.raw / f"{first}.jsonl")
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows[200:]]
        (project.paths.raw / f"{second}.jsonl").write_text("".join(lines), encoding="utf-8")
        assert stage.convert(project) == OK
        splits = {}
        for name in ("train", "valid", "test"):
            for line in getattr(project.paths, name).read_bytes().splitlines():
                record = msgspec.json.decode(line)
                splits[record["id"]] = (name, " ".join(record["messages"][1]["content"].lower().split()))
        found.append(splits)
    assert found[0] == found[1]


SLEEPER = """
import sys, time
from finetune.data.scan.workers import workers

def nap(_, piece):
    time.sleep(60 if piece else 0)
    return piece

with workers(lambda: None, True) as run:
    for piece in run(nap, range(4)):
        print(piece, flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere one process does everything")
def test_no_process_outlives_a_killed_parent():
    command = [sys.executable, "-c", SLEEPER]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert process.stdout is not None
    assert process.stdout.readline() == b"0\n"  # they run now
    children = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    assert children or len(os.sched_getaffinity(0)) == 1
    process.kill()
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 20
    while any(_runs(pid) for pid in children):
        assert time.monotonic() < deadline, "a worker waits for a parent that is gone"
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
