"""The rows to answer: a file of JSON Lines or of one text a line, or standard input; read line by line, twice."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from finetune.config.task import TaskDefinition
from finetune.console import resolved, say
from finetune.data.json_faults import diagnose
from finetune.data.raw_files import refuse_head
from finetune.data.records import MAX_LINE_BYTES, Layout, LineReader, split_lines
from finetune.data.text_rules import shown
from finetune.errors import FinetuneError, Problems
from finetune.inference.answers import FIELD
from finetune.inference.checks import AddProblem, TextChecks

STDIN = "-"
FORMATS = ("jsonl", "txt")
HOW = "make predict IN=… OUT=….jsonl, where IN is a .jsonl, a .txt with one text a line, or - (standard input)"
_BLOCK = 1024 * 1024


@dataclass(frozen=True)
class InputRow:
    """One line with a text to answer."""

    line: int
    text: str
    raw: bytes
    """the line as it stands, a JSON object; of a .txt file, one made of the text"""


class Source:
    """An open input: what it is, its digest, its rows."""

    def __init__(self, file: BinaryIO, name: str, form: str) -> None:
        self.name, self.form = name, form
        """the name in messages; jsonl or txt"""
        self._file = file
        self._state = self._stat()
        file.seek(0)
        summed = hashlib.sha256()
        self.lines = self.bytes = 0
        while block := file.read(_BLOCK):
            summed.update(block)
            self.lines += block.count(b"\n")
            self.bytes += len(block)
        self.sha256 = summed.hexdigest()

    def rows(self, task: TaskDefinition, problems: Problems, checks: TextChecks | None = None) -> Iterator[InputRow]:
        """Every row that can be answered, in order; blank lines are passed over, every other line is a problem.

        Without `checks`, only what is needed to read the row is looked at.
        """
        reader = _Rows(self.name, self.form, task, problems, checks)
        offset, layout = 0, Layout()
        self._file.seek(0)
        for number, (whole, size) in enumerate(split_lines(self._file), 1):
            line = layout.strip(whole, number)
            row = reader.read(line, number, offset) if line else None
            if row:
                yield row
            offset += size
        if not layout.values:
            problems.add(self.name, "E102" if offset else "E101", "no rows", "write at least one text", line=1)

    def changed(self) -> bool:
        """Whether somebody wrote into the file since it was opened."""
        return self._stat() != self._state

    def close(self) -> None:
        self._file.close()

    def _stat(self) -> tuple[int, int]:
        status = os.fstat(self._file.fileno())
        return status.st_size, status.st_mtime_ns


class _Rows:
    """Turns lines of one format into rows."""

    def __init__(
        self, name: str, form: str, task: TaskDefinition, problems: Problems, checks: TextChecks | None
    ) -> None:
        self._name, self._problems, self._checks, self._field = name, problems, checks, task.input.field
        self._json = LineReader(task, problems) if form == "jsonl" else None

    def read(self, line: bytes, number: int, offset: int) -> InputRow | None:
        def report(code: str, message: str, fix: str) -> None:
            self._problems.add(self._name, code, message, fix, line=number)

        if self._json is None:
            return self._plain(line, number, offset, report)
        value = self._json.decode(line, self._name, number, offset)
        if value is None:
            return None
        if self._field not in value:
            there = ", ".join(shown(key, 30) for key in list(value)[:6]) or "none"
            report("E121", f'field "{self._field}" is missing', f"call the text so; fields of this row: {there}")
            return None
        good = True
        if FIELD in value:
            report("E448", f'field "{FIELD}" is where the answer goes', "rename it")
            good = False
        text = value[self._field]
        if self._checks and not self._checks.check(text, f'field "{self._field}"', number, report):
            return None
        return InputRow(number, text, line.strip()) if good else None

    def _plain(self, line: bytes, number: int, offset: int, report: AddProblem) -> InputRow | None:
        if len(line) > MAX_LINE_BYTES:
            report("E140", "the line is longer than 1 MB", "one text is one line; split it, or remove it")
            return None
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as failure:
            report(*diagnose(line, offset, failure))
            return None
        if "\r" in text:
            report("E106", "a lone carriage return (CR) on the line", "save the file with LF line ends")
            return None
        if self._checks and not self._checks.check(text, "the text", number, report):
            return None
        return InputRow(number, text, msgspec.json.encode({self._field: text}))


def open_source(given: str, form: str | None, folder: Path) -> Source:
    """Open the input; what is no plain file (standard input, a pipe) is first copied into a nameless file in `folder`.

    Raises FinetuneError (E440) for what cannot be read, and for a format that is none.
    """
    if form is not None and form not in FORMATS:
        raise FinetuneError(f"there is no format {form[:20]!r}", f"one of {', '.join(FORMATS)}", "E440")
    if given == STDIN:
        say("  reading standard input to its end")
        file, name = _spooled(sys.stdin.buffer, folder), "standard input"
    else:
        file, name = _opened(Path(given), folder), given
    head = file.read(64)
    refusal = refuse_head(head)
    if refusal:
        file.close()
        problems = Problems()
        problems.add(name, *refusal, line=1)
        problems.raise_if_errors()
    return Source(file, name, form or _format(given, head))


def _opened(path: Path, folder: Path) -> BinaryIO:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise FinetuneError(f"there is no file {path}", HOW, "E440") from None
    if stat.S_ISDIR(mode):
        raise FinetuneError(f"{path} is a folder", HOW, "E440")
    file = open(path, "rb")  # noqa: SIM115 - it stays open for as long as its rows are answered
    if stat.S_ISREG(mode):
        return file
    with file:
        return _spooled(file, folder)


def _spooled(stream: BinaryIO, folder: Path) -> BinaryIO:
    copy = tempfile.TemporaryFile(dir=folder, prefix=".stdin-")  # noqa: SIM115
    shutil.copyfileobj(stream, copy, _BLOCK)
    copy.flush()
    copy.seek(0)
    return copy


def _format(given: str, head: bytes) -> str:
    """By the name where it says it, else by the first sign: JSON Lines start with a brace."""
    suffix = Path(given).suffix.lower()
    if given != STDIN and suffix in (".jsonl", ".txt"):
        return suffix[1:]
    if suffix in (".csv", ".tsv", ".json", ".xlsx", ".ods", ".parquet"):
        raise FinetuneError(f"{given}: {suffix} files are not read", HOW, "E440")
    form = "jsonl" if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") else "txt"
    resolved("format", form, "the first line starts with {" if form == "jsonl" else "the first line is no JSON object")
    return form
