"""Workbooks, Parquet and Arrow: what their readers make of cells, and what is said where a reader fails or dies."""

from __future__ import annotations

import base64
import datetime
import io
import signal
import sys
import zipfile
import zlib
from pathlib import Path

import pytest

import exports
from conftest import raw_rows
from test_importing import empty, importing, written  # noqa: F401

# Written by xlwt 1.3.0, which nobody maintains any more: 內容/類別, 很好/billing, "00123"/shipping, 12/billing.
XLS = (
    r"""c-rk)O=uHA6#izDZGK48q^3eElu&5Z+CzUXBDAZ5_GD=b;xE?3h8h~u5WOg<)f$k3Ab3&nQs~7?)r(s6pf?XfML|I*Bzp8DD0pbIzImC|v<7KF"""
    r"""i^_b<ym|ZHH$S`c=IzhRg>Zi6ep3Of&<7WawhuLBHbKSboP<Dr+m@<Rd#TtO{}g;)TF4p`k859e<QmHLF2KM&_cM~fdn!kf!N5d15nV^@<~hWK"""
    r"""oI@{3f!kyWqLF7+&+-Jz4J_|6^9jqHY`My^m$-Rx7z@@w`*sz@2aOi?1tI%=$Zg)Sr3(#sE~EIuHBsW4*p*GjQh%qT*&V<vXx;h~=|nb`$|FJx"""
    r"""IEycK6!`4y)TdExUthZb*}tx|dn(wk8*X3{_HhpI90FK$Nsl4+PrsR7!VbB%yd}v$HZ*^Ps$(}=hpD<Ua_$g0<H=MinI1EN&d#px9?HO{P9`%M"""
    r"""GWlh)=FJ^ivAJtG=mR82QOA0iLqA06d+E-nSNr0F)(BfBIiZ)*eyf}*Y+RHrsBw@zZkCeU&T<>eOWf-w)|*&HC}62>8*EU@-YMo>W^Wsf)5Cae"""
    r"""Z7$Qdke>TE^r$)a!P-jtTz}zgWbUmsgBE%WjZ%AgOrb+`h+8)$<}IfdDn%@^Z2T!*c#V*nyRDvWby$X<)iBG_nY=qf@kIr`V7{UFg844RH!AQA"""
    r"""=DQWYboWigcdg=|H~ef1qg(M^-}~<~>hVB!M#=66{Ls+Q(9qD((9qEMC4_o`cd6HTQ++0Q)PJ32Dn<R9<iEu*Cg?a#AEtYdraFr=RmIOnn8N8x"""
    r"""tg(&rzfj@;jh@9g;yjP>s^gbF^F;aethr(6_idqS$1heh&p$l=H_>>{EC"""
)


def workbook(path: Path, *sheets: list[list[object]]) -> Path:
    import openpyxl

    book = openpyxl.Workbook()
    book.remove(book.active)
    for number, rows in enumerate(sheets, 1):
        sheet = book.create_sheet(f"工作表{number}")
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`reader(code)`: the Python that reads workbooks runs `code` instead, whatever it is asked."""

    def behave(code: str) -> None:
        stand_in = tmp_path / "python"
        stand_in.write_text(f"#!{sys.executable}\n{code}\n", encoding="utf-8")
        stand_in.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(stand_in))

    return behave


def changed(path: Path, part: str, change) -> Path:
    """The zip archive with one of its files changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, change(old.read(name)) if name == part else old.read(name))
    path.write_bytes(out.getvalue())
    return path


def test_an_old_workbook_is_told_by_its_content_not_by_its_name(empty, tmp_path) -> None:  # noqa: F811
    (tmp_path / "a.xlsx").write_bytes(zlib.decompress(base64.b85decode(XLS)))
    root = empty()
    assert importing(root, tmp_path / "a.xlsx") == 0
    assert written(root, "a") == [
        {"input": "很好", "label": "billing"}, {"input": "00123", "label": "shipping"},
        {"input": "12", "label": "billing"},
    ]  # fmt: skip


def test_cells_become_texts_as_people_see_them(empty, tmp_path) -> None:  # noqa: F811
    cells = ["00123", 7, 7.5, datetime.date(2024, 5, 1), datetime.datetime(2024, 5, 1, 13, 5), True, "a_x000D_\nb"]
    rows = [["內容", "類別"], *([cell, "billing"] for cell in cells)]
    file = workbook(tmp_path / "a.xlsx", rows)
    import openpyxl

    book = openpyxl.load_workbook(file)
    book.active["A9"], book.active["B9"] = '=cmd|"/c calc"!A1', "billing"
    book.active["A9"].data_type = "s"
    book.save(file)
    root = empty()
    assert importing(root, file) == 0
    assert [row["input"] for row in written(root, "a")] == [
        "00123",
        "7",
        "7.5",
        "2024-05-01",
        "2024-05-01T13:05:00",
        "true",
        "a\nb",
        '=cmd|"/c calc"!A1',
    ]


def test_a_merged_label_counts_for_all_its_rows(empty, tmp_path, capsys) -> None:  # noqa: F811
    import openpyxl

    file = workbook(tmp_path / "a.xlsx", [["內容", "類別"], ["一", "billing"], ["二", None], ["三", "shipping"]])
    book = openpyxl.load_workbook(file)
    book.active.merge_cells("B2:B3")
    book.save(file)
    root = empty()
    assert importing(root, file) == 0
    assert [row["label"] for row in written(root, "a")] == ["billing", "billing", "shipping"]
    assert "merged cells=1 filled" in capsys.readouterr().err


def test_of_several_sheets_one_is_named(empty, tmp_path, capsys) -> None:  # noqa: F811
    rows = [["text", "label"], ["a b", "billing"]]
    file = workbook(tmp_path / "a.xlsx", rows, [["text", "label"], ["c d", "shipping"]])
    root = empty()
    assert importing(root, file) == 2
    said = capsys.readouterr().err
    assert "E169 has 2 sheets with rows: 工作表1, 工作表2" in said and "--sheet NAME" in said
    assert importing(root, file, sheet="沒有") == 2
    assert importing(root, file, sheet="工作表2") == 0
    assert written(root, "a") == [{"input": "c d", "label": "shipping"}]


def test_a_hidden_sheet_and_one_without_rows_are_no_choice(empty, tmp_path) -> None:  # noqa: F811
    import openpyxl

    rows = [["text", "label"], ["a b", "billing"]]
    file = workbook(tmp_path / "a.xlsx", rows, rows, [["note"]], [])
    book = openpyxl.load_workbook(file)
    book.worksheets[1].sheet_state = "hidden"
    book.save(file)
    root = empty()
    assert importing(root, file) == 0 and len(written(root, "a")) == 1


def bomb(path: Path) -> None:
    with zipfile.ZipFile(path) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new:
        for name, data in parts.items():
            if name != "xl/worksheets/sheet1.xml":
                new.writestr(name, data)
                continue
            with new.open(name, "w", force_zip64=True) as stream:
                for _ in range(1100):
                    stream.write(b" " * 1_000_000)


@pytest.mark.parametrize("form", ["xlsx", "ods", "parquet", "saved_data_set"])
@pytest.mark.parametrize("damage", ["cut", "zeros"])
def test_a_broken_file_is_one_coded_line_and_nothing_is_written(empty, tmp_path, capsys, form, damage) -> None:  # noqa: F811
    path = {**exports.CLASSIFICATION}[form](tmp_path, raw_rows("classification"))
    file = next(path.glob("*.arrow")) if path.is_dir() else path
    data = file.read_bytes()
    middle = len(data) // 2
    start = middle // 2
    file.write_bytes(data[:middle] if damage == "cut" else data[:start] + bytes(middle) + data[start + middle :])
    root = empty()
    code = importing(root, path)
    said = capsys.readouterr().err
    if code == 0:  # zeros that hit only a text: what is left has to be right
        assert "NOT taken" in said or len(written(root, path.stem)) == 60
        return
    assert code in (2, 70) and ("E164" in said or "E166" in said or "E171" in said), said
    assert "Traceback" not in said and "panicked" not in said and not list((root / "data" / "raw").iterdir())


def test_a_zip_bomb_is_refused_by_what_it_unpacks_to(empty, tmp_path, capsys) -> None:  # noqa: F811
    file = workbook(tmp_path / "a.xlsx", [["text", "label"], ["a", "billing"]])
    bomb(file)
    root = empty()
    assert importing(root, file) == 2
    assert "E140 unpacks to more than 1 GB" in capsys.readouterr().err


def test_a_sheet_that_needs_more_memory_than_allowed_ends_its_reader_alone(empty, tmp_path, capsys) -> None:  # noqa: F811
    """A cell in the last corner: the reader asks for 17 billion cells, and Rust ends its process."""
    cell = b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>'
    file = workbook(tmp_path / "a.xlsx", [["text", "label"], ["a", "billing"]])
    changed(file, "xl/worksheets/sheet1.xml", lambda data: data.replace(b"</sheetData>", cell))
    root = empty()
    assert importing(root, file) == 70
    said = capsys.readouterr().err
    assert "E166" in said and "SIGABRT" in said and "CSV" in said
    assert not list((root / "data" / "raw").iterdir())


@pytest.mark.parametrize("how", ["SIGSEGV", "SIGILL", "SIGKILL", "SIGBUS"])
def test_a_reader_that_dies_is_named_with_its_signal(empty, tmp_path, capsys, reader, how: str) -> None:  # noqa: F811
    number = int(getattr(signal, how))
    reader(f"import os; os.kill(os.getpid(), {number})")
    file = workbook(tmp_path / "a.xlsx", [["text", "label"], ["a", "billing"]])
    root = empty()
    assert importing(root, file) == 70
    said = capsys.readouterr().err
    assert f"E166 {file}" in said and how in said and "nothing was written" in said


def test_a_reader_that_hangs_is_ended_and_says_so(empty, tmp_path, capsys, monkeypatch, reader) -> None:  # noqa: F811
    row = '{"rows":[[1,{"text":"a","label":"billing"}]],"done":0.5}'
    reader(f"import time; print({row!r}, flush=True); time.sleep(600)")
    monkeypatch.setenv("LLM_FT_SILENCE_SECONDS", "1")
    root = empty()
    assert importing(root, workbook(tmp_path / "a.xlsx", [["text", "label"], ["a", "billing"]])) == 70
    said = capsys.readouterr().err
    assert "E177" in said and "no sign of life for 1 seconds" in said and "LLM_FT_SILENCE_SECONDS" in said
    assert not list((root / "data" / "raw").iterdir())


def test_a_reader_sees_no_secret(empty, tmp_path, capsys, monkeypatch, reader) -> None:  # noqa: F811
    monkeypatch.setenv("HF_TOKEN", "a")
    monkeypatch.setenv("GITHUB_TOKEN", "b")
    look = 'import os, sys; sys.exit(f\'sees {sorted({"HF_TOKEN", "GITHUB_TOKEN"} & os.environ.keys())}\')'
    reader(look)
    assert importing(empty(), workbook(tmp_path / "a.xlsx", [["text", "label"], ["a", "billing"]])) == 70
    said = capsys.readouterr().err
    assert "E166" in said and "exit code 1 (sees [])" in said


def test_a_reader_that_ends_early_is_no_success(empty, tmp_path, capsys, reader) -> None:  # noqa: F811
    rows = '{"rows":[[1,{"text":"a","label":"billing"}]],"done":0.5}'
    reader(f"print({rows!r})")
    root = empty()
    assert importing(root, workbook(tmp_path / "a.xlsx", [["text", "label"], ["a", "billing"]])) == 70
    assert "E166" in capsys.readouterr().err and not list((root / "data" / "raw").iterdir())


def test_a_missing_package_is_one_line_that_installs_it(empty, tmp_path, capsys, monkeypatch) -> None:  # noqa: F811
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    root = empty()
    assert importing(root, workbook(tmp_path / "a.xlsx", [["text", "label"], ["a", "billing"]])) == 2
    said = capsys.readouterr().err
    assert "E165" in said and "pip install -c constraints.txt -e '.[import]'" in said


def test_splits_of_a_data_set_are_named_or_taken_together(empty, tmp_path, capsys) -> None:  # noqa: F811
    from datasets import Dataset, DatasetDict

    part = {"text": ["a b", "c d"], "label": ["billing", "shipping"]}
    other = {"text": ["e f"], "label": ["account"]}
    DatasetDict({"train": Dataset.from_dict(part), "test": Dataset.from_dict(other)}).save_to_disk(tmp_path / "saved")
    root = empty()
    assert importing(root, tmp_path / "saved") == 2
    assert "E169 has 2 splits: test, train" in capsys.readouterr().err
    assert importing(root, tmp_path / "saved", sheet="test") == 0 and len(written(root, "saved")) == 1
    assert importing(root, tmp_path / "saved", sheet="all", name="all") == 0 and len(written(root, "all")) == 3


def test_a_report_with_its_title_and_date_above_the_table(empty, tmp_path) -> None:  # noqa: F811
    rows = [
        ["Customers"],
        ["as of", "2026"],
        ["text", "team", "label"],
        ["a b", "x", "billing"],
        ["c d", "y", "account"],
    ]
    root = empty()
    assert importing(root, workbook(tmp_path / "a.xlsx", rows), strict=True) == 0
    assert [row["label"] for row in written(root, "a")] == ["billing", "account"]
