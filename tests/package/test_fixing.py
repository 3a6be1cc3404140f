"""`01_validate_data.py --fix`: a corrected copy for what is mechanical, the original untouched."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import raw_rows
from finetune.console import run
from finetune.data.fixing import correct, fix
from finetune.data.stage import validate
from repository import ROOT

BOM = b"\xef\xbb\xbf"
NAME = "data/raw/rows.jsonl"
CLEAN = b'{"input": "a", "label": "billing"}\n'


@pytest.mark.parametrize(
    ("original", "corrected", "said"),
    [
        (b"\xef\xbb\xbf" + CLEAN, CLEAN, "byte order mark removed"),
        (CLEAN.replace(b"\n", b"\r\n") * 2, CLEAN * 2, "2 line ends from CRLF to LF"),
        (CLEAN.replace(b"\n", b"\r\r\n"), CLEAN, "1 line end from CRLF to LF"),
        (b"\n" + CLEAN + b" \t\n\n" + CLEAN, CLEAN * 2, "3 blank lines removed (lines 1, 3, 4)"),
        (CLEAN.strip() + b"\n\n ", CLEAN, "2 blank lines removed (lines 2, 3)"),
        ('{"input":  "cafe\u0301"}\n'.encode(), '{"input":  "café"}\n'.encode(), "1 row to NFC (line 1)"),
        (b'{"input": "cafe\\u0301"}', '{"input":"café"}'.encode(), "1 row to NFC (line 1)"),
        (CLEAN + b"\xef\xbb\xbf" + CLEAN, CLEAN * 2, "byte order mark removed (line 2)"),
        (b"\xef\xbb\xbf" * 2 + CLEAN + b"\xef\xbb\xbf", CLEAN, "byte order mark removed (lines 1, 2)"),
        ("ï»¿".encode() + CLEAN, CLEAN, "byte order mark removed"),
        (CLEAN.strip() + b"\xef\xbb\xbf" + CLEAN, CLEAN * 2, "records of one line parted (line 1)"),
        (CLEAN.strip() * 3, CLEAN * 2 + CLEAN.strip(), "records of one line parted (line 1)"),
        (
            CLEAN.strip() + b"\x1a" + CLEAN + b"\x1a",
            CLEAN * 2,
            "Ctrl-Z removed (line 2), records of one line parted (line 1)",
        ),
        (CLEAN + CLEAN.strip() + b",\n", CLEAN * 2, "1 comma after a record removed (line 2)"),
        (
            '{"\ufeffa": "\ufeff"}\n'.encode(),
            '{"a":"\ufeff"}\n'.encode(),
            "byte order mark removed from names (line 1)",
        ),
        (b'{"\\uFEFFa": "b"}\n', b'{"a":"b"}\n', "byte order mark removed from names (line 1)"),
        (b'{"\\ufeffa": "b", "a": "c"}\n', b'{"\\ufeffa": "b", "a": "c"}\n', ""),
        (CLEAN.strip() + b" {x}\n", CLEAN.strip() + b" {x}\n", ""),
        (CLEAN.strip(), CLEAN.strip(), ""),
        (b'{"input": "\\u00e9"}\n', b'{"input": "\\u00e9"}\n', ""),
        (b"\xef\xbb\xbf\r\n", b"\xef\xbb\xbf\r\n", ""),
        ("oops e\u0301\n".encode(), "oops e\u0301\n".encode(), ""),
        (b'{"input": "\xff"}\n', b'{"input": "\xff"}\n', ""),
        (b'{"a": 1}\r{"a": 2}\n', b'{"a": 1}\r{"a": 2}\n', ""),
        ('{"e\u0301": 1, "é": 2}\n'.encode(), '{"e\u0301": 1, "é": 2}\n'.encode(), ""),
    ],
)
def test_only_what_is_mechanical_is_corrected_and_named(original: bytes, corrected: bytes, said: str) -> None:
    found, changes = correct(original)
    assert (found, str(changes)) == (corrected, said)


@given(
    st.lists(
        st.sampled_from(
            [CLEAN, CLEAN[:-1], b"\r\n", b"\n", b"\r", b"x", "e\u0301".encode(), b"\xff", b" ", BOM, b"\x1a", b","]
        )
    )
)
def test_correcting_twice_changes_nothing_more(pieces: list[bytes]) -> None:
    once, _ = correct(b"".join(pieces))
    assert correct(once)[0] == once


@given(st.dictionaries(st.text(max_size=3), st.text(max_size=9), max_size=3), st.booleans())
def test_a_corrected_row_says_the_same_in_nfc(row: dict[str, str], ascii_only: bool) -> None:
    from unicodedata import normalize

    line = json.dumps(row, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    found = json.loads(correct(line)[0].decode("utf-8", "surrogatepass"))
    wanted = {normalize("NFC", key): normalize("NFC", text) for key, text in row.items()}
    assert found in (wanted, row) and (len(wanted) < len(row) or found == wanted)


def test_the_copy_lies_beside_the_original_and_passes_after_it_is_taken_over(make_project, capsys) -> None:
    project = make_project()
    file = project.paths.root / NAME
    lines = [json.dumps(row).encode() for row in raw_rows("classification")]
    lines[3] = json.dumps({"input": "le cafe\u0301", "label": "billing"}, ensure_ascii=False).encode()
    original = b"\xef\xbb\xbf" + b"\r\n".join(lines[:5]) + b"\r\n\r\n" + b"\n".join(lines[5:]) + b"\n"
    file.write_bytes(original)
    assert run(validate, project=project.paths.root) == 2
    capsys.readouterr()
    assert run(fix, project=project.paths.root) == 0
    said = capsys.readouterr().err
    assert f"mv {NAME}.fixed {NAME}" in said
    for part in ("byte order mark removed", "6 line ends", "1 blank line removed (line 6)", "1 row to NFC (line 4)"):
        assert part in said
    assert file.read_bytes() == original
    assert run(validate, project=project.paths.root, as_json=True) == 2  # the copy itself is not read
    (project.paths.raw / "rows.jsonl.fixed").rename(file)
    capsys.readouterr()
    assert run(validate, project=project.paths.root, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["problems"] == []


def test_a_copy_that_is_there_is_never_replaced(make_project, capsys) -> None:
    root = make_project().paths.root
    (root / NAME).write_bytes(CLEAN.replace(b"\n", b"\r\n"))
    copy = root / f"{NAME}.fixed"
    copy.write_bytes(b"mine")
    assert run(fix, project=root) == 2
    assert "E152" in capsys.readouterr().err
    assert copy.read_bytes() == b"mine"
    copy.unlink()
    copy.symlink_to(root / "elsewhere")
    assert run(fix, project=root) == 2
    assert not (root / "elsewhere").exists()
    copy.unlink()
    assert run(fix, project=root) == run(fix, project=root) == 0  # the same copy again is no conflict
    assert copy.read_bytes() == CLEAN


def test_a_clean_file_gets_no_copy_and_a_refused_one_is_named(make_project, capsys) -> None:
    root = make_project().paths.root
    (root / "data" / "raw" / "gone.jsonl").write_bytes(b"")
    assert run(fix, project=root) == 2
    said = capsys.readouterr().err
    assert f"{NAME}: nothing to fix" in said and "data/raw/gone.jsonl: E101" in said
    assert sorted(path.name for path in (root / "data" / "raw").iterdir()) == ["gone.jsonl", "rows.jsonl"]


def test_the_command_line_writes_copies_and_no_report(make_project) -> None:
    root = make_project().paths.root
    (root / NAME).write_bytes(CLEAN.replace(b"\n", b"\r\n"))
    command = [sys.executable, str(ROOT / "scripts" / "01_validate_data.py"), "--fix", "--project", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=_environment())
    assert (done.returncode, done.stdout) == (0, "")
    assert (root / f"{NAME}.fixed").read_bytes() == CLEAN
    assert not (root / "benchmarks").exists()


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT)}
