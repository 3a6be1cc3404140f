"""`--fix`: a corrected copy beside each raw file, for what is mechanical; nothing is overwritten, nothing guessed."""

from __future__ import annotations

import shlex
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from finetune import provenance
from finetune.config.project import Project
from finetune.config.task import TaskDefinition
from finetune.console import report_problems, say
from finetune.data import marks
from finetune.data.foreign import find_foreign, move_and_import
from finetune.data.json_faults import find_faults
from finetune.data.layouts import Unconvertible, one_a_line
from finetune.data.raw_files import list_raw_files
from finetune.data.text_rules import shown as visible
from finetune.errors import BAD_INPUT, OK, Problems

SUFFIX = ".fixed"
"""data/raw/rows.jsonl gets data/raw/rows.jsonl.fixed, which no step reads."""
_SHOWN_LINES = 10


@dataclass
class Changes:
    """What the copy of one file differs in; line numbers are those of the original, unless `layout` says otherwise."""

    layout: str = ""
    bom: list[int] = field(default_factory=list)
    ctrl_z: list[int] = field(default_factory=list)
    names: list[int] = field(default_factory=list)
    parted: list[int] = field(default_factory=list)
    commas: list[int] = field(default_factory=list)
    line_ends: int = 0
    blank: list[int] = field(default_factory=list)
    normalised: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        bom = "byte order mark removed" + ("" if self.bom == [1] else f" ({_lines(self.bom)})")
        parts = [
            self.layout,
            bom if self.bom else "",
            f"Ctrl-Z removed ({_lines(self.ctrl_z)})" if self.ctrl_z else "",
            f"byte order mark removed from names ({_lines(self.names)})" if self.names else "",
            f"records of one line parted ({_lines(self.parted)})" if self.parted else "",
            f"{_count(len(self.commas), 'comma')} after a record removed ({_lines(self.commas)})"
            if self.commas
            else "",
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
        _fix_file(file, project.paths.relative(file), project.task, problems)
    report_problems(problems, as_json=as_json)
    return BAD_INPUT if problems.error_count else OK


def _fix_file(file: Path, shown: str, task: TaskDefinition, problems: Problems) -> None:
    original = file.read_bytes()  # at most 100 MB: list_raw_files refuses more
    foreign, laid_out, layout = find_foreign(file, task), original, ""
    if foreign:
        try:
            if not foreign.layout:
                raise Unconvertible("only an import can tell its text from its answer")
            laid_out, layout = _one_a_line(original)
        except Unconvertible as reason:
            what = f"{foreign.what}: --fix writes no copy, {reason}"
            problems.add(shown, foreign.code, what, move_and_import(shown), line=foreign.line)
            return
    corrected, changes = correct(laid_out)
    changes.layout = layout
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


def _one_a_line(original: bytes) -> tuple[bytes, str]:
    records, around = one_a_line(original)
    what = f"{_count(len(records), 'record')} written one a line"
    if around:
        what += f", without {', '.join(map(visible, around[:_SHOWN_LINES]))} beside them"
    return b"".join(record + b"\n" for record in records), what


def correct(original: bytes) -> tuple[bytes, Changes]:
    """`original` without marks, CRLF line ends, blank lines and commas after records, its texts in normal form NFC.

    A line that is no UTF-8 or not made of strict JSON objects keeps its bytes: what it should say is for a person.
    """
    changes, kept = Changes(), []
    lines = original.split(b"\n")
    for number, line in enumerate(lines, 1):
        last = number == len(lines)
        ended = line if last else line.rstrip(b"\r")
        changes.line_ends += ended != line
        plain, around = marks.strip(ended)
        if around.replace(marks.CTRL_Z, b""):
            changes.bom.append(number)
        if marks.CTRL_Z in around:
            changes.ctrl_z.append(number)
        if not plain.strip():
            if not around and (not last or plain):
                changes.blank.append(number)
            continue
        pieces = [_row(piece, number, changes) for piece in _records(plain, number, changes)]
        kept.append(b"\n".join(pieces) + (b"" if last else b"\n"))
    # A file of blank lines alone has nothing to correct; it is refused as it is.
    return (b"".join(kept), changes) if kept else (original, Changes())


def _records(line: bytes, number: int, changes: Changes) -> list[bytes]:
    """The records of a line: itself, unless it is several whole ones, or one with a comma behind it."""
    if _is_json(line):
        return [line]
    if line.rstrip().endswith(b",") and _is_json(alone := line.rstrip()[:-1]) and alone.lstrip().startswith(b"{"):
        changes.commas.append(number)
        return [alone]
    if records := marks.parted(line):
        changes.parted.append(number)
        return records
    return [line]


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _row(line: bytes, number: int, changes: Changes) -> bytes:
    named = _without_marks_in_names(line)
    if named != line:
        changes.names.append(number)
    composed = _nfc(named)
    if composed != named:
        changes.normalised.append(number)
    return composed


def _without_marks_in_names(line: bytes) -> bytes:
    """A JSON line whose names have no byte order mark, which a table's first column often keeps."""
    if marks.BOM not in line and b"\\ufeff" not in line.lower():
        return line
    try:
        value = msgspec.json.decode(line)
        if find_faults(line, value) is None and (wanted := _mapped(value, _unmarked, str)) != value:
            return msgspec.json.encode(wanted)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    return line


def _unmarked(name: str) -> str:
    return name.strip("\ufeff")


def _nfc(line: bytes) -> bytes:
    """A JSON line with every text in NFC; its layout stays unless an escape (\\u0301) hides the sign to compose."""
    if line.isascii() and b"\\u" not in line:
        return line
    try:
        value = msgspec.json.decode(line)
        if find_faults(line, value) is not None or (wanted := _mapped(value, _composed, _composed)) == value:
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


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _mapped(value: Any, of_name: Callable[[str], str], of_text: Callable[[str], str]) -> Any:
    """`value` with every name and every text mapped."""
    if isinstance(value, str):
        return of_text(value)
    if isinstance(value, dict):
        pairs = {of_name(key): _mapped(child, of_name, of_text) for key, child in value.items()}
        return pairs if len(pairs) == len(value) else value  # two keys would become one: a person decides
    return [_mapped(child, of_name, of_text) for child in value] if isinstance(value, list) else value


def _take_over(shown: str) -> str:
    return f"mv {shlex.quote(shown + SUFFIX)} {shlex.quote(shown)}"


def _lines(numbers: list[int]) -> str:
    listed = ", ".join(map(str, numbers[:_SHOWN_LINES]))
    return f"line{'s' if len(numbers) > 1 else ''} {listed}" + (", …" if len(numbers) > _SHOWN_LINES else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
