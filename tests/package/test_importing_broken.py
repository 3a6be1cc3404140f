"""Text files that are broken or no data at all: one coded line with its place, and nothing written."""

from __future__ import annotations

import os

import pytest

from test_importing import empty, importing  # noqa: F401

BROKEN = {
    "cut array": ('[{"text":"a b","label":"billing"},{"text":"c', "the file is cut off"),
    "cut objects": ('{\n"text":"a b",\n"label":"billing"\n}\n{\n"text"', "the file is cut off"),
    "not JSON": ('[{"text":"a b","label":"billing"},{text:"c"}]', "line 1 is not JSON"),
    "after the array": ('[{"text":"a b","label":"billing"}]\nx', "line 2 is not JSON"),
    "deep": ('[{"text":' + "[" * 100_000 + "]" * 100_000 + "}]", "nested too deeply"),
    "a huge number": ('[{"text":' + "9" * 6000 + ',"label":"billing"}]', "a number is too long"),
    "an open quote": ('text,label\na b,billing\n"c d,billing\n', "the quote opened in line 3 is never closed"),
}


@pytest.mark.parametrize("case", list(BROKEN))
def test_a_broken_text_file_is_one_coded_line_with_its_place(empty, tmp_path, capsys, case: str) -> None:  # noqa: F811
    content, says = BROKEN[case]
    (tmp_path / "a").write_text(content, encoding="utf-8")
    root = empty()
    assert importing(root, tmp_path / "a") == 2
    said = capsys.readouterr().err
    assert "E164" in said and says in said and "1 error" in said and not list((root / "data" / "raw").iterdir())


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "E161"), (b" \n\n", "E161"), (b"<html><table></table></html>", "E162"), (b"%PDF-1.7\n", "E162"),
        (b"\x1f\x8b\x08rest", "E162"), (b"SQLite format 3\0", "E162"), (b"PK\x03\x04rest", "E164"),
        (b"version https://git-lfs.github.com/spec/v1\n", "E144"), (b"just one text\nand another\n", "E162"),
        (b"a\0b\n", "E162"),
    ],
)  # fmt: skip
def test_what_is_no_data_is_named(empty, tmp_path, capsys, content: bytes, code: str) -> None:  # noqa: F811
    (tmp_path / "a.csv").write_bytes(content)
    assert importing(empty(), tmp_path / "a.csv") == 2
    said = capsys.readouterr().err
    assert f"{tmp_path}/a.csv: {code} " in said and "Fix: " in said


@pytest.mark.parametrize("kind", ["pipe", "device", "dangling", "folder", "nothing"])
def test_what_is_no_file_is_never_opened(empty, tmp_path, capsys, kind: str) -> None:  # noqa: F811
    path = tmp_path / "a.csv"
    make = {
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "folder": path.mkdir,
        "dangling": lambda: path.symlink_to("nowhere"),
        "nothing": lambda: None,
    }
    make[kind]()
    assert importing(empty(), path) == 2 and "E160" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity"])
@pytest.mark.parametrize("layout", ['[{{"text":{},"label":"billing"}},\n{}]', '{{"text":{},"label":"billing"}}\n{}\n'])
def test_a_number_that_is_not_finite_never_becomes_a_text(empty, tmp_path, capsys, layout: str, number: str) -> None:  # noqa: F811
    """As text it would have been "inf", and trained on."""
    good = '{"text":"where is it","label":"shipping"}'
    (tmp_path / "a.json").write_text(layout.format(number, good), encoding="utf-8")
    root = empty()
    assert importing(root, tmp_path / "a.json", input="text", label="label") == 0
    assert "1 of 2 records are NOT taken" in (said := capsys.readouterr().err) and "E112 " in said
    assert (root / "data" / "raw" / "a.jsonl").read_text(encoding="utf-8").count("\n") == 1


def test_an_infinite_number_of_a_parquet_file_is_no_text_either(empty, tmp_path, capsys) -> None:  # noqa: F811
    import pyarrow as pa
    import pyarrow.parquet as pq

    values = {"text": [1.5, float("inf"), float("-inf"), 3.0], "label": ["billing"] * 4}
    pq.write_table(pa.table(values), tmp_path / "a.parquet")
    root = empty()
    assert importing(root, tmp_path / "a.parquet", input="text", label="label") == 0
    assert "2 of 4 records are NOT taken" in capsys.readouterr().err
    assert "inf" not in (root / "data" / "raw" / "a.jsonl").read_text(encoding="utf-8")


@pytest.mark.parametrize("content", ["{}", "[{}]", "[{}, {}]", "{}\n{}\n"])
def test_records_without_fields_are_no_records(empty, tmp_path, capsys, content: str) -> None:  # noqa: F811
    (tmp_path / "a.json").write_text(content, encoding="utf-8")
    assert importing(empty(), tmp_path / "a.json") == 2
    assert "E161 its records hold no fields" in (said := capsys.readouterr().err) and "E167" not in said
