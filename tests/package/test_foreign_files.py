"""F5, F14, F15: what step 01 says about files of data/raw that are none of its own: once, with the command."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import exports
import exports_spans
from bad_inputs import judge, places
from conftest import raw_rows
from finetune.console import run
from finetune.data.fixing import fix
from finetune.data.layouts import one_a_line
from repository import ROOT

NAMES = {
    "messages": "OpenAI messages",
    "sharegpt": "ShareGPT",
    "alpaca": "alpaca",
    "prompts": "prompt and completion",
    "label_studio": "Label Studio",
    "label_studio_min": "Label Studio JSON-MIN",
    "doccano": "doccano",
    "prodigy": "Prodigy",
    "argilla": "Argilla",
    "json_array": 'a table ("sentence"',
    "label_studio_spans": "Label Studio",
    "doccano_spans": "doccano",
    "doccano_relations": "doccano",
    "prodigy_spans": "Prodigy",
}
LINES = sorted(set(NAMES) - {"json_array"})


def as_lines(source: Path) -> bytes:
    text = source.read_text(encoding="utf-8")
    records = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
    return b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in records)


def follow(root: Path, fix: str) -> subprocess.CompletedProcess[str]:
    """Do what a fix says, in a shell, in the repository."""
    for part in ("scripts", "finetune"):
        if not (root / part).exists():
            (root / part).symlink_to(ROOT / part)
    command = re.sub(r"\bpython\b", shlex.quote(sys.executable), fix, count=1)
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ".", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(["sh", "-c", command], cwd=root, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("form", sorted(NAMES))
def test_an_export_is_named_once_and_its_fix_imports_it(make_project, capsys, tmp_path, form: str) -> None:
    task_type = "extraction" if form in exports_spans.EXTRACTION else "classification"
    project = make_project(task_type)
    raw = project.paths.raw
    (raw / "rows.jsonl").unlink()
    rows = raw_rows(task_type)
    source = {**exports.CLASSIFICATION, **exports_spans.EXTRACTION}[form](tmp_path, rows)
    spread = form == "json_array"
    (raw / "export.jsonl").write_bytes(source.read_bytes() if spread else as_lines(source))
    code, problems, _ = judge(project.paths.root, capsys)
    of_file = [problem for problem in problems if problem["path"] == "data/raw/export.jsonl"]
    assert code == 2 and [problem["code"] for problem in of_file] == ["E109" if spread else "E175"]
    assert NAMES[form] in of_file[0]["message"] and "→ label" in of_file[0]["message"].replace("entities", "label")
    done = follow(project.paths.root, of_file[0]["fix"])
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in raw.iterdir()) == ["export.jsonl"]
    assert judge(project.paths.root, capsys)[0] == 0
    found = [json.loads(line) for line in (raw / "export.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [{key: row[key] for key in rows[0]} for row in found] == rows


PRETTY = {
    "objects": "\n".join(json.dumps(row, indent=2) for row in raw_rows("classification", 30)),
    "array and objects": '[\n  {\n    "input": "a b c",\n    "label": "billing"\n  }\n]\n{\n "input": "d"\n}',
    "tabs": "\n".join(json.dumps(row, indent="\t") for row in raw_rows("classification", 30)),
    "one object": json.dumps(raw_rows("classification", 1)[0], indent=1),
    "longer than the head": json.dumps({"input": "x" * 400_000, "label": "billing"}, indent=1),
    "CRLF": "\r\n".join(json.dumps(row, indent=2).replace("\n", "\r\n") for row in raw_rows("classification", 3)),
}


@pytest.mark.parametrize("case", sorted(PRETTY))
def test_pretty_printed_json_is_one_problem_of_the_file(make_project, capsys, case: str) -> None:
    project = make_project()
    (project.paths.raw / "case.jsonl").write_text(PRETTY[case], encoding="utf-8", newline="")
    _, problems, _ = judge(project.paths.root, capsys)
    assert len(problems) == 1 and problems[0]["path"] == "data/raw/case.jsonl"
    assert problems[0]["code"] == ("E109" if case.startswith("array") else "E176")
    assert "python scripts/import_data.py data/imports/case.jsonl" in problems[0]["fix"]


ROWS = raw_rows("classification")
LINES_OF = [json.dumps(row) for row in ROWS]
CELLS = [list(row.values()) for row in ROWS]
COLUMNS = {name: {str(n): row[name] for n, row in enumerate(ROWS)} for name in ROWS[0]}
LAYOUTS = {
    "an array of objects": json.dumps(ROWS),
    "a pretty-printed array of objects": "[\n" + ",\n".join(LINES_OF) + "\n]\n",
    "arrays of objects": "\n".join(f"[{line}]" for line in LINES_OF),
    "an array of arrays": json.dumps([list(ROWS[0]), *CELLS]),
    "a pretty-printed array of arrays": json.dumps([list(ROWS[0]), *CELLS], indent=1),
    "arrays of cells": "\n".join(map(json.dumps, [list(ROWS[0]), *CELLS])),
    'a JSON object with the records in "data"': json.dumps({"version": "1", "data": ROWS}),
    'a JSON object with the records in "rows"': json.dumps({"rows": ROWS}, indent=2),
    "JSON objects with a comma after each": ",\n".join(LINES_OF),
    "pretty-printed JSON objects": ",\n".join(json.dumps(row, indent="\t") for row in ROWS),
    "a JSON table by columns": json.dumps(COLUMNS),
    "a JSON object of records by number": json.dumps({str(n): row for n, row in enumerate(ROWS)}, indent=1),
    "a JSON table of columns and rows": json.dumps({"columns": list(ROWS[0]), "index": [1], "data": CELLS}),
    "JSON objects inside strings": "\n".join(map(json.dumps, LINES_OF)),
}


@pytest.mark.parametrize("kind", LAYOUTS)
def test_another_layout_is_named_once_and_written_one_a_line_by_fix_and_by_import(make_project, capsys, kind) -> None:
    project = make_project()
    file = project.paths.raw / "rows.jsonl"
    file.write_text(LAYOUTS[kind], encoding="utf-8")
    _, problems, _ = judge(project.paths.root, capsys)
    of_file = [problem for problem in problems if problem["path"] == "data/raw/rows.jsonl"]
    assert [problem["code"] for problem in of_file] in (["E109"], ["E176"])
    assert kind + ", not one object per line" in of_file[0]["message"]
    assert run(fix, project=project.paths.root) == 0
    copy = file.with_name("rows.jsonl.fixed")
    assert [json.loads(line) for line in copy.read_text(encoding="utf-8").splitlines()] == ROWS
    if "version" in LAYOUTS[kind]:
        assert 'without "version" beside them' in capsys.readouterr().err
    if "strings" in kind:
        return  # nothing but --fix reads these, and the message says no other way
    copy.unlink()
    done = follow(project.paths.root, of_file[0]["fix"])
    assert done.returncode == 0, done.stderr
    assert [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] == ROWS
    assert judge(project.paths.root, capsys)[0] == 0


def test_cells_without_names_are_left_to_the_import_which_asks_or_finds_out(make_project, capsys) -> None:
    project = make_project()
    (project.paths.raw / "rows.jsonl").write_text("\n".join(map(json.dumps, CELLS)), encoding="utf-8")
    _, problems, _ = judge(project.paths.root, capsys)
    assert "--fix" not in problems[0]["message"]
    assert run(fix, project=project.paths.root) == 2 and not list(project.paths.raw.glob("*.fixed"))
    assert follow(project.paths.root, problems[0]["fix"]).returncode == 0
    assert judge(project.paths.root, capsys)[0] == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{\n "input": "a b",\n "label": "billing"\n}\n{\n "input": "a\n', "line 6 is not JSON"),
        ('{\n "input": "a b",\n "label": "billing",\n "label": "account"\n}\n', "a key is written twice"),
        ('[\n {"input": "a b", "label": "billing"},\n 3]\n', "line 3 holds a value that is no object"),
        ('[\n {"input": "a b", "label": "billing"}\n', "the array is not closed"),
    ],
)
def test_fix_writes_no_copy_of_what_would_lose_something(make_project, capsys, text: str, says: str) -> None:
    project = make_project()
    (project.paths.raw / "case.jsonl").write_text(text, encoding="utf-8")
    assert run(fix, project=project.paths.root) == 2
    assert says in capsys.readouterr().err and not list(project.paths.raw.glob("*.fixed"))


@pytest.mark.parametrize(
    "row", ['{"input": "1.50 \\u00e9 \\" [ {", "label":  "billing"}', '{"input": 1.50, "label": [ 1e5 ]}']
)
def test_what_is_written_one_a_line_keeps_every_sign_of_its_values(row: str) -> None:
    written, _ = one_a_line(row.replace(", ", ",\n  ").encode())
    assert written == [
        row.replace(", ", ",")
        .replace(":  ", ":")
        .replace(": ", ":")
        .replace("[ 1e5 ]", "[1e5]")
        .replace("[{", "[ {")
        .encode()
    ]


def test_an_array_over_lines_is_imported_by_its_fix(make_project, capsys) -> None:
    project = make_project()
    rows = raw_rows("classification")
    (project.paths.raw / "rows.jsonl").write_text(json.dumps(rows, indent=2), encoding="utf-8")
    _, problems, _ = judge(project.paths.root, capsys)
    fix = next(problem["fix"] for problem in problems if problem["code"] == "E109")
    assert follow(project.paths.root, fix).returncode == 0
    assert judge(project.paths.root, capsys)[0] == 0


@pytest.mark.parametrize(
    "lines",
    [
        '{"input": "a b", "label": "billing", "source": "x"}\n',
        '{"input": "a b", "labl": "billing"}\n',
        '{"input": "a b"}\n',
        "not json\n",
        '{"input": "a b", "label": ["billing"]}\n',
        '{"foo": 1}\n',
        "[1, 2]\n",
    ],
)
def test_a_slip_in_own_records_is_still_told_line_by_line(make_project, capsys, lines: str) -> None:
    project = make_project()
    (project.paths.raw / "bad.jsonl").write_text(lines, encoding="utf-8")
    _, problems, _ = judge(project.paths.root, capsys)
    assert problems and all(problem["line"] == 1 and problem["code"] != "E175" for problem in problems)


UNREAD = {
    "more.jsonl.bz2": b"BZh91AY&SY",
    "batch2.jsonl.bak": b'{"input":"x y z","label":"billing"}\n',
    "export.xls": b"\xd0\xcf",
    "labels.xml": b"<a/>",
    "rows.jsonl.1": b"{}\n",
    "rows.jsonl.crdownload": b'{"in',
    "part-00000": b"{}\n",
    "rows.orc": b"ORC",
    "rows.pkl": b"\x80\x04.",
    "dump.sqlite": b"SQLite format 3\0",
    "train.conll": b"a O\n",
    "rows.JSON": b"[]",
    "notes": b"",
    "rows.jsonl~": b"{}",
    "table.csv": b"a,b\n",
    "rows.fixed": b"{}",
    "Thumbs.db": b"\0",
    "data.": b"x",
    "rows.jsonl.gz": b"\x1f\x8b",
    "README.csv": b"a,b",
    "readme.jsonl.gz": b"\x1f\x8b",
}


@pytest.mark.parametrize("name", sorted(UNREAD))
def test_every_visible_file_that_nobody_reads_is_said(make_project, capsys, name: str) -> None:
    project = make_project()
    (project.paths.raw / name).write_bytes(UNREAD[name])
    _, problems, _ = judge(project.paths.root, capsys)
    assert places(problems) == [("E146", f"data/raw/{name}", None)] and problems[0]["fix"]


def test_what_belongs_beside_the_data_is_no_problem(make_project, capsys) -> None:
    project = make_project()
    for name in (".gitkeep", ".DS_Store", "README.md", "README", "readme.zh-TW.md", "rows.jsonl.fixed"):
        (project.paths.raw / name).write_bytes(b"x")
    assert judge(project.paths.root, capsys)[:2] == (0, [])


def test_a_link_or_a_pipe_beside_the_data_is_said_and_not_opened(make_project, capsys) -> None:
    import os

    project = make_project()
    os.mkfifo(project.paths.raw / "pipe")
    (project.paths.raw / "link.csv").symlink_to("/dev/zero")
    _, problems, _ = judge(project.paths.root, capsys)
    assert places(problems) == [("E146", "data/raw/link.csv", None), ("E146", "data/raw/pipe", None)]


def test_arrays_and_objects_after_each_other_are_imported_by_the_fix(make_project, capsys) -> None:
    """field/f_pretty: an array, then objects, each over several lines."""
    project = make_project()
    rows = raw_rows("classification")
    text = json.dumps(rows[:30], indent=2) + "\n" + "\n".join(json.dumps(row, indent=2) for row in rows[30:])
    (project.paths.raw / "rows.jsonl").write_text(text, encoding="utf-8")
    _, problems, _ = judge(project.paths.root, capsys)
    of_file = [problem for problem in problems if problem["path"] == "data/raw/rows.jsonl"]
    assert len(of_file) == 1 and follow(project.paths.root, of_file[0]["fix"]).returncode == 0
    assert judge(project.paths.root, capsys)[0] == 0
