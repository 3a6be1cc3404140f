"""CSV and its kin: the delimiter is found by trying, quoting is strict, a cell is text and nothing else."""

from __future__ import annotations

import csv
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from finetune.data.columns import is_column_name, names_row
from finetune.data.records import MAX_LINE_BYTES
from finetune.errors import FinetuneError
from finetune.importing.sources import ROW, Entry, Refused, broken

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
_LOOK_AT = 100
_SEP = re.compile(r'"?sep=([^"\r\n])"?')


@dataclass(frozen=True)
class Dialect:
    """How the rows are written."""

    delimiter: str
    columns: tuple[str, ...]
    first_row: int
    """Rows before the first one with data: the one with the names, what stands above it, and Excel's `sep=` line."""
    reason: str
    unquoted: bool = False
    """Whether quotes are ordinary signs, as in many tab-separated files."""


def find_dialect(
    file: Path, name: str, codec: str, *, delimiter: str | None, header: bool | None, labels: frozenset[str]
) -> Dialect:
    """The dialect of `file`: the delimiter that gives most rows the same number of cells, two at least.

    One that gives it to the first row as well beats one that only the texts below are full of.
    Raises FinetuneError (E162) where none does.
    """
    skipped, reason = 0, "--delimiter says so"
    with open(file, encoding=codec, newline="") as stream:
        if declared := _SEP.fullmatch(stream.readline().strip("\r\n")):
            skipped, delimiter, reason = 1, delimiter or declared[1], "its first line says sep="
    best: tuple[tuple[float, bool, int], list[tuple[int, list[str]]], str, bool] | None = None
    for sign in [delimiter] if delimiter else DELIMITERS:
        for unquoted in (False, True) if sign == "\t" else (False,):
            rows = _sample(file, codec, sign, skipped, unquoted)
            widths = [len(cells) for _, cells in rows]
            width, number = Counter(widths).most_common(1)[0] if rows else (0, 0)
            score = (round(number / max(len(rows), 1), 1), widths[:1] == [width], width)
            if (width > 1 or delimiter) and (best is None or score > best[0]):
                best = (score, rows, sign, unquoted)
    if best is None or best[0][0] < 0.5:
        fix = "say how columns are separated with --delimiter, or save the table as CSV, XLSX or JSON"
        raise FinetuneError(f"{name}: text, but neither JSON nor a table of two columns or more", fix, "E162")
    (_, _, width), rows, sign, unquoted = best
    number, first = rows[names_row([cells for _, cells in rows])]
    named = header if header is not None else _has_names(first, labels)
    columns = [cell.strip().removeprefix("\ufeff") for cell in first] if named else [str(n + 1) for n in range(width)]
    share = sum(len(cells) == width for _, cells in rows) / len(rows)
    if not delimiter:
        reason = f"so {share:.0%} of the first {len(rows)} rows have {width} cells"
    return Dialect(sign, tuple(_unique(columns)), number + 1 if named else skipped, reason, unquoted)


def entries(file: Path, name: str, codec: str, dialect: Dialect) -> Iterator[Entry]:
    """The rows of `file` as records of their columns; a row with another number of cells is refused."""
    size = max(file.stat().st_size, 1)
    width = len(dialect.columns)
    with open(file, "rb") as raw, TextIOWrapper(raw, encoding=codec, newline="") as stream:
        reader = _reader(stream, dialect.delimiter, dialect.unquoted)
        for number in itertools.count():
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as failure:
                if "unexpected end" in str(failure):
                    raise broken(
                        name, f"the quote opened in line {line} is never closed: the file is cut off"
                    ) from None
                if number >= dialect.first_row:
                    yield Entry(f"{name}:{line}", Refused(ROW, "a row with broken quotes", _fault(failure)))
                continue
            if number < dialect.first_row or not any(cells):
                continue
            done = raw.tell() / size if number % 500 == 0 else 0.0
            while len(cells) > width and not cells[-1]:
                cells.pop()
            if len(cells) == width:
                yield Entry(f"{name}:{line}", dict(zip(dialect.columns, cells, strict=True)), done)
            else:
                what = f"{len(cells)} cells, {width} columns"
                yield Entry(f"{name}:{line}", Refused(ROW, "a row with another number of cells", what), done)


def _reader(stream: Iterator[str], delimiter: str, unquoted: bool) -> Any:
    """csv.reader, whose own type the csv module gives no name."""
    csv.field_size_limit(MAX_LINE_BYTES)
    if unquoted:
        return csv.reader(stream, delimiter=delimiter, strict=True, quoting=csv.QUOTE_NONE)
    return csv.reader(stream, delimiter=delimiter, strict=True)


def _sample(file: Path, codec: str, sign: str, skipped: int, unquoted: bool) -> list[tuple[int, list[str]]]:
    """The first rows that can be read and are not empty, each with its number in the file, from 0."""
    rows: list[list[str]] = []
    with open(file, encoding=codec, newline="") as stream:
        reader = _reader(stream, sign, unquoted)
        while len(rows) < _LOOK_AT + skipped:
            try:
                rows.append(next(reader))
            except StopIteration:
                break
            except csv.Error:
                rows.append([])
    return [(number, row) for number, row in enumerate(rows) if number >= skipped and any(row)]


def _has_names(first: list[str], labels: frozenset[str]) -> bool:
    """Whether the row `first` names the columns: unless a cell is a label of the task and none is a usual name."""
    return any(map(is_column_name, first)) or not any(cell.strip().casefold() in labels for cell in first)


def _unique(names: list[str]) -> list[str]:
    """`names` with a number behind those that came before, and one for those that are empty."""
    found: list[str] = []
    for number, name in enumerate(names, 1):
        wanted = name or f"column {number}"
        found.append(wanted if wanted not in found else f"{wanted} ({number})")
    return found


def _fault(failure: Exception) -> str:
    text = str(failure)
    return "a cell of more than 1 MB" if "field limit" in text else text
