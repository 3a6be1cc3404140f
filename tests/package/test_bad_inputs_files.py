"""Bad raw data, D41 to D59: what is wrong with a set of rows or with a file, through 01 and 02.

D48 is the limit in characters here; tokens are counted where the tokenizer is, in 03 before the model is loaded.
D50 has no limit of rows: memory is a few dozen bytes a row, and files and lines are limited.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import test_bad_inputs_data
from bad_inputs import BAD, RAW, judge, places, row, rows
from conftest import raw_rows

FIRST = "data/raw/rows.jsonl"
SECRETS = {
    "Hugging Face": "hf_" + "a1B2" * 9,
    "GitHub": "ghp_" + "a1B2" * 9,
    "AWS": "AKIA" + "ABCD2345" * 2,
    "private key": "-----BEGIN RSA PRIVATE KEY-----",
}


@pytest.fixture
def raw(make_project: Callable) -> Path:
    """data/raw of a good repository."""
    return make_project().paths.raw


@pytest.mark.parametrize(("policy", "code"), [("warn", "W131"), ("error", "E131")])
def test_d41_an_exact_duplicate_follows_the_policy(make_project, capsys, policy: str, code: str) -> None:
    project = make_project(task={"data": {"duplicates": policy}})
    (project.paths.raw / "bad.jsonl").write_bytes(row() + json.dumps(rows()[4]).encode())
    _, problems, _ = judge(project.paths.root, capsys)
    # bad.jsonl is read before rows.jsonl, so the second of the two is the one in rows.jsonl.
    assert places(problems) == [(code, FIRST, 5)]
    assert f"{BAD}:2" in problems[0]["message"]


def test_d42_another_label_for_the_same_input_names_both_lines(raw, capsys) -> None:
    (raw / "bad.jsonl").write_bytes(row() + row(rows()[4]["input"], "billing"))
    assert rows()[4]["label"] != "billing"
    _, problems, _ = judge(raw.parent.parent, capsys)
    assert places(problems) == [("E132", FIRST, 5)]
    assert f"{BAD}:2" in problems[0]["message"]


def test_d43_a_row_in_two_splits_is_leakage(make_project, capsys, tmp_path) -> None:
    seen = set()
    for number in range(8):  # a group decides the split: some of eight lie in another one than the row without group
        project = make_project(root=tmp_path / str(number))
        copy = json.dumps({**rows()[4], "group": f"g{number}"}).encode()
        (project.paths.raw / "zz.jsonl").write_bytes(copy)
        found = places(judge(project.paths.root, capsys)[1])
        assert found in ([("W131", "data/raw/zz.jsonl", 1)], [(c, "data/raw/zz.jsonl", 1) for c in ("E133", "W131")])
        seen.add(len(found))
    assert seen == {1, 2}


NEAR = [("shiping", "shipping"), ("SHIPPING", "shipping"), (" billing", "billing")]


@pytest.mark.parametrize(("label", "near"), NEAR)
def test_d45_a_label_outside_the_set_gets_the_nearest_one(raw, capsys, label: str, near: str) -> None:
    (raw / "bad.jsonl").write_bytes(row(label=label))
    _, problems, _ = judge(raw.parent.parent, capsys)
    assert places(problems) == [("E135", BAD, 1)]
    assert problems[0]["fix"] == f'did you mean "{near}"?'


@pytest.mark.parametrize(("policy", "code", "exit_code"), [("leave_out", "W134", 0), ("error", "E134", 2)])
def test_d44_a_near_duplicate_in_a_later_split(make_project, capsys, policy: str, code: str, exit_code: int) -> None:
    project = make_project(task={"data": {"near_duplicates": policy, "max_imbalance": 10.0}})
    texts = [f"i ordered a lamp last week and parcel number {n} has still not arrived at my door" for n in range(20)]
    (project.paths.raw / "bad.jsonl").write_bytes(b"".join(map(row, texts)))
    ended, problems, _ = judge(project.paths.root, capsys)
    assert ended == exit_code
    of_rows = [problem for problem in problems if problem["line"]]
    assert of_rows and {(problem["code"], problem["path"]) for problem in of_rows} == {(code, BAD)}
    assert [problem["code"] for problem in problems if not problem["line"]] == (["W190"] if exit_code == 0 else [])
    for problem in of_rows:
        score, place = re.search(r"\((0\.\d\d)\) of (data/raw/bad\.jsonl:\d+)", problem["message"]).groups()
        assert float(score) >= 0.66 and place != f"{BAD}:{problem['line']}"


def test_d46_one_class_only(make_project, capsys) -> None:
    project = make_project(rows=[{"input": f"text {n}", "label": "billing"} for n in range(60)])
    _, problems, _ = judge(project.paths.root, capsys)
    assert places(problems) == [("E136", RAW, None)] * 2
    assert ["shipping" in problems[0]["message"], "account" in problems[1]["message"]] == [True, True]


def test_d46_a_class_missing_from_the_test_split(make_project, capsys) -> None:
    splits = {"train": 0.98, "valid": 0.01, "test": 0.01}
    _, problems, _ = judge(make_project(benchmark={"splits": splits}).paths.root, capsys)
    assert {(code, path) for code, path, _ in places(problems)} == {("E136", RAW)}
    assert any("no row in test" in problem["message"] for problem in problems)


def test_d47_fewer_rows_than_the_minimum(make_project, capsys) -> None:
    project = make_project(rows=raw_rows("classification", 12), task={"data": {"min_rows_per_class": 5}})
    _, problems, _ = judge(project.paths.root, capsys)
    assert [problem["code"] for problem in problems if problem["code"] == "E137"] == ["E137"] * 3
    assert "4 rows, data.min_rows_per_class is 5" in problems[0]["message"]


def test_d48_longer_than_the_limit_in_characters(raw, capsys) -> None:
    (raw / "bad.jsonl").write_bytes(row() + row("x " * 300 + "x"))
    _, problems, _ = judge(raw.parent.parent, capsys)
    assert places(problems) == [("E156", BAD, 2)]
    assert "601 characters, input.max_chars is 400" in problems[0]["message"]


def test_d50_a_line_of_more_than_a_megabyte(raw, capsys) -> None:
    (raw / "bad.jsonl").write_bytes(row() + row("a" * 1_100_000) + row("b"))
    assert places(judge(raw.parent.parent, capsys)[1]) == [("E140", BAD, 2)]


def test_d50_a_file_of_more_than_100_megabytes_is_not_opened(raw, capsys) -> None:
    with open(raw / "bad.jsonl", "wb") as file:
        file.truncate(100 * 1024 * 1024 + 1)
    assert places(judge(raw.parent.parent, capsys)[1]) == [("E140", BAD, None)]


@pytest.mark.parametrize("kind", list(SECRETS))
@pytest.mark.parametrize("place", ["text", "field name", "broken line", "label"])
def test_d51_a_secret_is_named_by_type_and_line_and_never_shown(raw, capsys, kind: str, place: str) -> None:
    secret = SECRETS[kind]
    content = {
        "text": row(f"use {secret} now"), "field name": row(**{secret: "x"}), "label": row(label=secret),
        "broken line": b"{'input': '" + secret.encode() + b"'}\n",
    }[place]  # fmt: skip
    (raw / "bad.jsonl").write_bytes(content)
    code, problems, said = judge(raw.parent.parent, capsys)
    assert (code, len(problems), problems[0]["line"]) == (2, 1, 1)
    if place == "text":
        assert problems[0]["code"] == "E141" and kind in problems[0]["message"]
    report = (raw.parent.parent / "benchmarks" / "results" / "data_report.md").read_text(encoding="utf-8")
    assert secret[:12] not in said + report


@pytest.mark.parametrize(("policy", "code"), [("warn", "W142"), ("error", "E142"), ("ignore", None)])
def test_d52_personal_data_follows_the_policy_and_is_never_shown(make_project, capsys, policy, code) -> None:
    project = make_project(task={"data": {"personal_data": policy}})
    (project.paths.raw / "bad.jsonl").write_bytes(row() + row("write to jo@acme.tw or pay 4111 1111 1111 1111"))
    _, problems, said = judge(project.paths.root, capsys)
    assert places(problems) == ([(code, BAD, 2)] if code else [])
    assert "jo@acme" not in said and "4111" not in said
    assert not code or "an e-mail address and a payment card number" in problems[0]["message"]


@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "link to a device"])
def test_d53_what_is_no_plain_file_is_never_opened(raw, capsys, tmp_path, kind: str) -> None:
    (tmp_path / "outside").write_bytes(row())
    make = {
        "link": lambda path: path.symlink_to(tmp_path / "outside"),
        "folder": Path.mkdir,
        "pipe": os.mkfifo,
        "link to a device": lambda path: path.symlink_to("/dev/zero"),
    }
    make[kind](raw / "bad.jsonl")
    assert places(judge(raw.parent.parent, capsys)[1]) == [("E143", BAD, None)]


def test_d54_a_git_lfs_pointer(raw, capsys) -> None:
    (raw / "bad.jsonl").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    _, problems, _ = judge(raw.parent.parent, capsys)
    assert places(problems) == [("E144", BAD, 1)] and problems[0]["fix"] == "run: git lfs pull"


@pytest.mark.parametrize(("kind", "says"), [("gzip", "gzip"), ("zip", "a zip archive"), ("parquet", "Parquet")])
def test_d55_an_archive_named_jsonl(raw, capsys, kind: str, says: str) -> None:
    file = raw / "bad.jsonl"
    if kind == "gzip":
        file.write_bytes(gzip.compress(row()))
    elif kind == "zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("rows.jsonl", row())
    else:
        file.write_bytes(b"PAR1" + bytes(40) + b"PAR1")
    _, problems, _ = judge(raw.parent.parent, capsys)
    assert places(problems) == [("E145", BAD, 1)] and f"looks like {says}" in problems[0]["message"]


@pytest.mark.parametrize("table", ["input,label\na\n", 'input,label\n"a\nb",x\n', "input;label\na;b\n", "a,b\n"])
def test_d56_a_table_is_refused_whatever_its_shape(raw, capsys, table: str) -> None:
    (raw / "table.csv").write_text(table, encoding="utf-8")
    assert places(judge(raw.parent.parent, capsys)[1]) == [("E146", "data/raw/table.csv", None)]


def test_d57_a_spreadsheet_formula_is_kept_as_text(raw, capsys) -> None:
    formula = '=cmd|"/c calc"!A1'
    (raw / "bad.jsonl").write_bytes(row(formula))
    assert judge(raw.parent.parent, capsys)[:2] == (0, [])
    data = raw.parent
    written = "".join(file.read_text(encoding="utf-8") for file in data.rglob("*.jsonl") if file.parent != raw)
    assert json.dumps(formula)[1:-1] in written
    assert not list(raw.parent.parent.rglob("*.csv"))


def test_d58_two_names_that_differ_by_case(raw, capsys) -> None:
    (raw / "ROWS.jsonl").write_bytes(row())
    assert places(judge(raw.parent.parent, capsys)[1]) == [("E147", FIRST, None)]


# The file system itself allows 255 bytes; 300 characters cannot be made.
@pytest.mark.parametrize("name", ["a\nb", "$(id)", "--help", "`id`", "a;b", "\u202ea", " a", "x" * 220])
def test_d59_an_unsafe_file_name(raw, capsys, name: str) -> None:
    (raw / f"{name}.jsonl").write_bytes(row())
    code, problems, _ = judge(raw.parent.parent, capsys)
    assert (code, [problem["code"] for problem in problems]) == (2, ["E148"])
    assert "\n" not in problems[0]["path"]


ELSEWHERE = {"D49": "an answer without any room (E139), and rows of too many tokens (E138): test_token_lengths.py"}


def test_every_row_of_the_list_has_its_case() -> None:
    tested = {case.id.split()[0] for case in test_bad_inputs_data.CASES}
    tested |= {name.split("_")[1].upper() for name in globals() if re.match(r"test_d[0-9]+_", name)}
    assert tested.isdisjoint(ELSEWHERE)
    assert tested | set(ELSEWHERE) == {f"D{number}" for number in range(1, 60)}
