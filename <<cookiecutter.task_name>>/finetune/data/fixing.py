"""`--fix`: a corrected copy beside each raw file, for what is mechanical; nothing is overwritten, nothing guessed."""

from __future__ import annotations

import shlex
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from finetune import provenance
from finetune.config.project import Project
from finetune.console import report_problems, say
from finetune.data.json_faults import find_faults
from finetune.data.raw_files import list_raw_files
from finetune.data.records import BOM
from finetune.errors import BAD_INPUT, OK, Problems

SUFFIX = ".fixed"
"""data/raw/rows.jsonl gets data/raw/rows.jsonl.fixed, which no step reads."""
_SHOWN_LINES = 10


@dataclass
class Changes:
    """What the copy of one file differs in; line numbers are those of the original."""

    boms: list[int] = field(default_factory=list)
    line_ends: int = 0
    blank: list[int] = field(default_factory=list)
    normalised: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [
            f"{_count(len(self.boms), 'byte order mark')} removed ({_lines(self.boms)})" if self.boms else "",
            f"{_count(self.line_ends, 'line end')} from CRLF to LF" if self.line_ends else "",
            f"{_count(len(self.blank), 'blank line')} removed ({_lines(self.blank)})" if self.blank else "",
            f"{_count(len(self.normalised), 'row')} to NFC ({_lines(self.normalised)})" if self.normalised else "",
        ]
        return ", ".join(filter(None, parts))


def fix(project: Project, as_json: bool = False) -> int:
    """Write NAME.jsonl.fixed for every readable raw file that needs it and say how to take it over.

    A copy that is there already is never replaced. Returns 2 when a file cannot be read or such a copy is in the way.
    """
    problems = Problems()
    for file in list_raw_files(project.paths, problems):
        _fix_file(file, project.paths.relative(file), problems)
    report_problems(problems, as_json=as_json)
    return BAD_INPUT if problems.error_count else OK


def _fix_file(file: Path, shown: str, problems: Problems) -> None:
    original = file.read_bytes()  # at most 100 MB: list_raw_files refuses more
    corrected, changes = correct(original)
    if corrected == original:
        say(f"{shown}: nothing to fix")
        return
    copy = file.with_name(file.name + SUFFIX)
    if copy.is_symlink() or copy.exists():
        if copy.is_symlink() or not copy.is_file() or copy.read_bytes() != corrected:
            message = f"{shown}{SUFFIX} is there already and differs from what would be written"
            problems.add(shown, "E152", message, f"look at it, then take it over or remove it: {_take_over(shown)}")
            return
    else:
        provenance.write_bytes(copy, corrected)
    say(f"{shown}{SUFFIX}: {changes}. Look at it, then take it over: {_take_over(shown)}")


def correct(original: bytes) -> tuple[bytes, Changes]:
    """`original` without byte order marks, CRLF line ends and blank lines, its texts in Unicode normal form NFC.

    A line that is no UTF-8 or no strict JSON object keeps its bytes: what it should say is for a person to decide.
    """
    changes, kept = Changes(), []
    lines = original.split(b"\n")
    for number, whole in enumerate(lines, 1):
        last = number == len(lines)
        line = whole
        while line.startswith(BOM):
            line = line[len(BOM) :]
        if line != whole:
            changes.boms.append(number)
        plain = line if last else line.rstrip(b"\r")
        changes.line_ends += plain != line
        if not plain.strip():
            if not last or plain:
                changes.blank.append(number)
            continue
        composed = _nfc(plain)
        if composed != plain:
            changes.normalised.append(number)
        kept.append(composed + (b"" if last else b"\n"))
    # A file of blank lines alone has nothing to correct; it is refused as it is.
    return (b"".join(kept), changes) if kept else (original, Changes())


def _nfc(line: bytes) -> bytes:
    """A JSON line with every text in NFC; its layout stays unless an escape (\\u0301) hides the sign to compose."""
    if line.isascii() and b"\\u" not in line:
        return line
    try:
        value = msgspec.json.decode(line)
        if find_faults(line, value) is not None or (wanted := _composed(value)) == value:
            return line
        simple = unicodedata.normalize("NFC", line.decode("utf-8")).encode("utf-8")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return line
    try:
        if msgspec.json.decode(simple) == wanted:
            return simple
    except msgspec.DecodeError:
        pass
    return msgspec.json.encode(wanted)


def _composed(value: Any) -> Any:
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, dict):
        pairs = {_composed(key): _composed(child) for key, child in value.items()}
        return pairs if len(pairs) == len(value) else value  # two keys would become one: a person decides
    return [_composed(child) for child in value] if isinstance(value, list) else value


def _take_over(shown: str) -> str:
    return f"mv {shlex.quote(shown + SUFFIX)} {shlex.quote(shown)}"


def _lines(numbers: list[int]) -> str:
    listed = ", ".join(map(str, numbers[:_SHOWN_LINES]))
    return f"line{'s' if len(numbers) > 1 else ''} {listed}" + (", …" if len(numbers) > _SHOWN_LINES else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
