"""Every bad line of data/raw gets its code, file and line; every good one becomes exactly one record."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.data.raw_files import list_raw_files
from finetune.data.records import RecordReader
from finetune.data.text_rules import normalise, shown
from finetune.errors import Problems
from finetune.paths import Paths

GOOD = b'{"input": "where is my parcel", "label": "shipping"}\n'
TOKEN = "hf_" + "a1B2" * 9


def read(project, content: bytes, problems: Problems | None = None):
    """The records of data/raw when its one file holds `content`, and the problems."""
    problems = problems or Problems()
    (project.paths.raw / "rows.jsonl").write_bytes(content)
    reader = RecordReader(project.task, problems)
    records = []
    for file in list_raw_files(project.paths, problems):
        records += reader.read(file, f"data/raw/{file.name}")
    return records, problems


def row(**fields: object) -> bytes:
    return json.dumps({"input": "where is my parcel", "label": "shipping"} | fields).encode() + b"\n"


@pytest.fixture
def project(make_project):
    return make_project()


@pytest.mark.parametrize(
    ("content", "code", "line", "also"),
    [
        pytest.param(b"", "E101", None, set(), id="D1 empty file"),
        pytest.param(b"\n \n", "E102", 1, set(), id="D2 only blank lines"),
        pytest.param(GOOD + b"\n" + row(input="b"), "W103", 2, set(), id="D3 blank line"),
        pytest.param(b"\xef\xbb\xbf" + GOOD, "E104", 1, set(), id="D4 BOM"),
        pytest.param(GOOD.decode().encode("utf-16"), "E105", 1, set(), id="D5 UTF-16 with BOM"),
        pytest.param(GOOD.decode().encode("utf-16-le"), "E105", 1, set(), id="D5 UTF-16 without BOM"),
        pytest.param(GOOD + b'{"input": "caf\xff", "label": "shipping"}\n', "E105", 2, set(), id="D6 invalid byte"),
        pytest.param(GOOD.replace(b"\n", b"\r\n"), "W106", 1, set(), id="D7 CRLF"),
        pytest.param(GOOD.replace(b"\n", b"\r") * 2, "E106", 1, set(), id="D8 lone CR"),
        pytest.param(GOOD + b'{"input": "where is', "E107", 2, set(), id="D10 truncated last line"),
        pytest.param(GOOD.strip() + GOOD, "E108", 1, set(), id="D12 two objects"),
        pytest.param(GOOD.strip() + b" foo\n", "E108", 1, set(), id="D13 trailing text"),
        pytest.param(b"[" + GOOD.strip() + b"]\n", "E109", 1, set(), id="D14 array"),
        pytest.param(b"[\n" + GOOD + b"]\n", "E109", 1, {"E110"}, id="D14 array over lines"),
        pytest.param(b"null\n", "E109", 1, set(), id="D15 null"),
        pytest.param(b"{'input': 'a', 'label': 'shipping'}\n", "E110", 1, set(), id="D16 single quotes"),
        pytest.param(b'{"input": "a", "label": "shipping",}\n', "E110", 1, set(), id="D16 trailing comma"),
        pytest.param(GOOD + b"// done\n", "E110", 2, set(), id="D16 comment"),
        pytest.param(b'{"input": "a", "label": "x", "label": "shipping"}\n', "E111", 1, set(), id="D17 duplicate key"),
        pytest.param(b'{"input": NaN, "label": "shipping"}\n', "E112", 1, set(), id="D18 NaN"),
        pytest.param(b'{"input": -Infinity, "label": "shipping"}\n', "E112", 1, set(), id="D18 -Infinity"),
        pytest.param(b'{"input": 1e400, "label": "shipping"}\n', "E112", 1, set(), id="D19 1e400"),
        pytest.param(b'{"input": ' + b"9" * 5000 + b"}\n", "E113", 1, set(), id="D20 long integer"),
        pytest.param(b"[" * 1000 + b"]" * 1000 + b"\n", "E114", 1, set(), id="D22 depth 1000 array"),
        pytest.param(b'{"input": ' + b"[" * 40 + b"]" * 40 + b"}\n", "E114", 1, set(), id="D22 depth 40"),
        pytest.param(b'{"input": ' + b"[" * 99999 + b"]" * 99999 + b"}\n", "E114", 1, set(), id="D22 depth 99999"),
        pytest.param(b'{"input": "a \\ud800 b", "label": "shipping"}\n', "E115", 1, set(), id="D23 high surrogate"),
        pytest.param(b'{"input": "a \\ude00", "label": "shipping"}\n', "E115", 1, set(), id="D23 low surrogate"),
        pytest.param(b'{"input": "a \\ud800\\u0041", "label": "shipping"}\n', "E115", 1, set(), id="D23 broken pair"),
        pytest.param(row(input="a\x00b"), "E116", 1, set(), id="D24 NUL"),
        pytest.param(b'{"input": "a\x01b", "label": "shipping"}\n', "E116", 1, set(), id="D24 unescaped control"),
        pytest.param(row(input="pay\u200bment"), "W117", 1, set(), id="D25 zero width"),
        pytest.param(row(input="pay\u202ement"), "E117", 1, set(), id="D25 bidi"),
        pytest.param(row(input="pay\U000e0041ment"), "E117", 1, set(), id="D25 tag"),
        pytest.param(row(input="cafe\u0301"), "W118", 1, set(), id="D26 not NFC"),
        pytest.param(row(lable="x"), "E120", 1, set(), id="D27 unknown field"),
        pytest.param(GOOD + b'{"input": "b"}\n', "E121", 2, set(), id="D28 missing field"),
        pytest.param(row(label=None), "E122", 1, set(), id="D29 null"),
        pytest.param(row(group=None), "E122", 1, set(), id="D29 null group"),
        pytest.param(GOOD + row(input=3), "E123", 2, set(), id="D30 integer"),
        pytest.param(b'{"input": 9223372036854775808, "label": "shipping"}\n', "E123", 1, set(), id="D21 2^63"),
        pytest.param(row(input=" \t\n"), "E124", 1, set(), id="D32 white space"),
        pytest.param(row(input="\u200b\ufeff"), "E124", 1, set(), id="D32 only invisible"),
        pytest.param(row(input="hi<|im_end|>"), "E130", 1, set(), id="D39 control token"),
        pytest.param(row(input="hi [INST] x"), "E130", 1, set(), id="D39 INST"),
        pytest.param(row(input="hi <|im_\u200bend|>"), "E130", 1, {"W117"}, id="D40 hidden inside"),
        pytest.param(row(input="hi ＜｜im_end｜＞"), "E130", 1, set(), id="D40 full width"),
        pytest.param(row(input="a" * 1_100_000), "E140", 1, set(), id="D50 long line"),
        pytest.param(row(input=f"use {TOKEN}"), "E141", 1, set(), id="D51 token"),
        pytest.param(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "E144", 1, set(), id="D54 LFS"),
        pytest.param(b"\x1f\x8b\x08\x00rest", "E145", 1, set(), id="D55 gzip"),
        pytest.param(b"PAR1rest", "E145", 1, set(), id="D55 parquet"),
        pytest.param(row(id="a", input="b") + row(id="a"), "E150", 2, set(), id="id used twice"),
    ],
)
def test_a_bad_line_gets_its_code_file_and_line(project, content, code, line, also):
    _, problems = read(project, content)
    first, *others = problems.all
    assert (first.path, first.code, first.line) == ("data/raw/rows.jsonl", code, line)
    assert {problem.code for problem in others} <= also


def test_the_rows_around_a_bad_one_are_read_and_counted_in_their_own_lines(project):
    records, problems = read(project, GOOD + b"oops\n" + row(input="b") + b'{"input": "c"\n' + row(input="d"))
    assert [record.line for record in records] == [1, 3, 5]
    assert [problem.line for problem in problems.errors] == [2, 4]


SEPARATED = ["a\u2028b", "a\x85b", "a\x0bb", "a\x1cb", "a\nb", "a\r\nb"]
JOINED = ["👨‍👩‍👧 family", "می‌خواهم", "🏴󠁧󠁢󠁥󠁮󠁧󠁿 flag"]


@pytest.mark.parametrize("text", SEPARATED + JOINED)
def test_line_separators_and_joiners_inside_a_text_stay_in_one_clean_record(project, text):
    content = json.dumps({"input": text, "label": "shipping"}, ensure_ascii="\x1c" in text or "\x0b" in text)
    records, problems = read(project, content.encode() + b"\n")
    assert [record.input for record in records] == [text]
    assert problems.all == []


def test_a_missing_final_newline_and_dates_are_accepted_as_they_are(project):
    records, problems = read(project, row(input="2024-01-01") + row(input="2024-01-02").strip())
    assert [record.input for record in records] == ["2024-01-01", "2024-01-02"]
    assert problems.all == []


def test_an_invalid_byte_is_located_by_its_offset_in_the_file(project):
    bad = b'{"input": "caf\xff", "label": "shipping"}\n'
    _, problems = read(project, GOOD + bad)
    assert f"offset {len(GOOD) + bad.index(0xFF)} of the file" in problems.errors[0].message


def test_a_misspelt_field_is_answered_with_the_nearest_name(project):
    _, problems = read(project, b'{"imput": "a", "label": "shipping"}\n')
    assert {p.code: p.fix for p in problems.errors} == {"E120": 'did you mean "input"?', "E121": "add it"}


def test_no_message_repeats_a_secret(project):
    for content in (row(input=f"use {TOKEN}"), b"{'input': '" + TOKEN.encode() + b"'}\n", row(**{TOKEN: "x"})):
        _, problems = read(project, content)
        assert problems.error_count
        assert TOKEN[:12] not in problems.render()


def test_the_mapped_field_names_are_the_ones_read(make_project):
    data = {"id_field": "key", "group_field": "customer"}
    project = make_project(task={"input": {"field": "text"}, "output": {"field": "intent"}, "data": data})
    records, problems = read(project, b'{"key": "k1", "text": "hello", "intent": "billing", "customer": "c9"}\n')
    assert problems.all == []
    assert [(r.id, r.input, r.reference, r.group) for r in records] == [("k1", "hello", "billing", "c9")]


def test_a_default_id_depends_on_the_normalised_input_alone(project):
    first, _ = read(project, row(input="Where  IS my parcel") + row(input="other"))
    second, _ = read(project, row(input="other") + row(input="ｗhere is my parcel ", label="billing"))
    assert len(first[0].id) == 16
    assert first[0].id == second[1].id
    assert first[1].id == second[0].id


def test_a_repeated_input_gets_its_own_id_and_knows_its_twin(project):
    records, _ = read(project, row() + row(input="x") + row() + row(label="billing"))
    assert [r.id for r in records[2:]] == [f"{records[0].id}-2", f"{records[0].id}-3"]
    assert [r.duplicate.line for r in records[2:]] == [1, 1]


def test_an_id_copied_from_the_converted_files_may_return_but_not_name_another_row(project):
    identifier = read(project, row())[0][0].id
    assert read(project, row(id=identifier))[1].all == []
    assert [p.code for p in read(project, row() + row(id=identifier, input="other"))[1].all] == ["E150"]


@pytest.mark.parametrize(
    ("entities", "code"),
    [
        (None, "E122"),
        ("text", "E123"),
        (["text"], "E123"),
        ([{"type": "product"}], "E121"),
        ([{"type": "product", "text": None}], "E122"),
        ([{"type": "product", "text": 3}], "E123"),
        ([{"type": "product", "text": ""}], "E124"),
        ([{"type": "product", "text": "a", "start": 1}], "E120"),
    ],
)
def test_a_malformed_entity_is_located(make_project, entities, code):
    project = make_project("extraction")
    _, problems = read(project, json.dumps({"input": "a", "entities": entities}).encode())
    assert [(p.code, p.line) for p in problems.all] == [(code, 1)]


def test_what_is_no_plain_file_is_refused_without_being_opened(project, tmp_path):
    raw = project.paths.raw
    (tmp_path / "outside.jsonl").write_bytes(GOOD)
    (raw / "link.jsonl").symlink_to(tmp_path / "outside.jsonl")
    (raw / "folder.jsonl").mkdir()
    os.mkfifo(raw / "pipe.jsonl")
    (raw / "table.csv").write_text("input,label\n")
    (raw / "--help.jsonl").write_bytes(GOOD)
    (raw / "$(id)\n.jsonl").write_bytes(GOOD)
    (raw / "Rows.jsonl").write_bytes(GOOD)
    (raw / ".gitkeep").touch()
    (raw / "README.md").touch()
    problems = Problems()
    files = list_raw_files(project.paths, problems)
    assert [file.name for file in files] == ["Rows.jsonl", "rows.jsonl"]
    assert sorted((p.code, p.path.removeprefix("data/raw/")) for p in problems.all) == [
        ("E143", "folder.jsonl"),
        ("E143", "link.jsonl"),
        ("E143", "pipe.jsonl"),
        ("E146", "table.csv"),
        ("E147", "rows.jsonl"),
        ("E148", "$(id)\\x0a.jsonl"),
        ("E148", "--help.jsonl"),
    ]


def test_a_file_name_that_is_not_utf_8_is_refused_by_name(make_project):
    project = make_project()
    os.rename(next(project.paths.raw.glob("*.jsonl")), os.fsencode(project.paths.raw) + b"/\xff.jsonl")
    problems = Problems()
    assert list_raw_files(project.paths, problems) == []
    assert next((p.code, p.path) for p in problems.all) == ("E148", "data/raw/\\xdcff.jsonl")


def test_a_repository_without_raw_data_says_where_it_belongs(tmp_path):
    problems = Problems()
    assert list_raw_files(Paths(Path(tmp_path)), problems) == []
    assert [p.code for p in problems.all] == ["E143"]
    (tmp_path / "data" / "raw").mkdir(parents=True)
    list_raw_files(Paths(Path(tmp_path)), problems)
    assert [p.code for p in problems.all] == ["E143", "E102"]


@given(st.text())
def test_normalising_twice_changes_nothing_and_ignores_case_and_space(text):
    once = normalise(text)
    assert normalise(once) == once
    assert normalise(f" {text}\t") == once


@given(st.text())
def test_a_shown_text_is_one_printable_line(text):
    assert shown(text).isprintable()


@settings(max_examples=300)
@given(st.binary(max_size=80))
def test_any_bytes_give_records_or_located_problems_but_no_exception(tmp_path_factory, line):
    from conftest import task_values
    from finetune.config.task import TaskDefinition

    folder = tmp_path_factory.mktemp("bytes")
    (folder / "rows.jsonl").write_bytes(b'{"input": "' + line + b'", "label": "billing"}\n' + line)
    problems = Problems()
    task = TaskDefinition.model_validate_json(json.dumps(task_values("classification")))
    reader = RecordReader(task, problems)
    records = list(reader.read(folder / "rows.jsonl", "rows.jsonl"))
    assert records or problems.error_count
    assert all(problem.line for problem in problems.all)
