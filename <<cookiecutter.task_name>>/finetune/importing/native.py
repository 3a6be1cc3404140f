"""Reads what native libraries read, in a process of its own: python -m finetune.importing.native KIND PATH [PART].

Writes one JSON line a message to standard output: {"about": …}, then {"rows": [[place, record], …], "done": share},
then {"end": true}; or {"error": [code, message, fix]}. Whatever kills this process, the import goes on living.
"""

from __future__ import annotations

import datetime
import io
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from finetune.data.columns import names_row

MEMORY = 8 * 1024**3
"""Address space of a process that unpacks a workbook, in bytes: one that asks for more is ended, not the machine."""
UNPACKED = 1024**3
"""Most that a workbook may unpack to."""
_BATCH = 500


class Fault(Exception):
    """(code, message, fix) for the parent to show."""


def main(kind: str, path: str, part: str = "") -> None:
    """Write the messages for one file."""
    try:
        rows = workbook(Path(path), part) if kind == "workbook" else arrow(kind, [Path(p) for p in json.loads(path)])
        for message in rows:
            _send(message)
        _send({"end": True})
    except Fault as fault:
        _send({"error": fault.args})
    except (OSError, ValueError, MemoryError) as failure:
        _send({"error": ("E164", f"cannot be read: {_one_line(failure)}", "")})
    except BaseException as failure:  # panics of Rust are no Exception
        _send({"error": ("E164", f"cannot be read: {type(failure).__name__}: {_one_line(failure)}", "")})


def _send(message: dict[str, Any]) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(message, enc_hook=_plain) + b"\n")
    sys.stdout.buffer.flush()


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return None
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else str(value)


def _one_line(failure: BaseException) -> str:
    return " ".join(str(failure).split())[:200]


def workbook(path: Path, part: str) -> Iterator[dict[str, Any]]:
    """The rows of one sheet of an .xlsx, .xls, .ods file, under the names of its first row; merged cells filled."""
    import resource

    from python_calamine import CalamineError, PasswordError, load_workbook

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    data = path.read_bytes()
    if data.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if not {"xl/workbook.xml", "xl/workbook.bin", "content.xml"} & set(archive.namelist()):
                raise Fault("E162", "a zip archive, and no workbook", "unpack it, and import what is inside")
            if sum(item.file_size for item in archive.infolist()) > UNPACKED:
                raise Fault("E140", "unpacks to more than 1 GB", "save the sheet as CSV")
    try:
        book = load_workbook(io.BytesIO(data))
        known = [s for s in book.sheets_metadata if str(s.typ).endswith(".WorkSheet")]
        sheets = {s.name: book.get_sheet_by_name(s.name) for s in known}
    except PasswordError:
        raise Fault("E178", "is protected by a password", "save it without one") from None
    except CalamineError as failure:
        fix = "save it as .xlsx once more, or get it again"
        raise Fault("E164", f"no workbook that can be read: {_one_line(failure)}", fix) from None
    if part and part not in sheets:
        raise Fault("E169", f"has no sheet {part!r}; it has {', '.join(sheets)}", "name one of them with --sheet")
    # Lists for drop-down menus lie on hidden sheets; a sheet of one row has names and nothing under them.
    filled = [s.name for s in known if str(s.visible).endswith(".Visible") and sheets[s.name].height > 1]
    if not filled and not part:
        raise Fault("E161", "has no visible sheet with rows under a first one", "put names in row 1, records below")
    if len(filled) > 1 and not part:
        raise Fault("E169", f"has {len(filled)} sheets with rows: {', '.join(filled)}", "say which with --sheet NAME")
    sheet = sheets[part or filled[0]]
    rows = [[_cell(cell) for cell in row] for row in sheet.to_python(skip_empty_area=False)]
    merged = _fill(rows, sheet)
    top = names_row(rows)
    columns = [str(cell).strip() or f"column {n}" for n, cell in enumerate(rows[top], 1)]
    columns = [c if c not in columns[:n] else f"{c} ({n + 1})" for n, c in enumerate(columns)]
    about = [
        ["sheet", sheet.name, "--sheet" if part else "the only one with rows"],
        ["names", f"row {top + 1}", "the first row of two cells, or of two usual names"],
    ]
    about += [["merged cells", f"{merged} filled", "they show one value for all their rows"]] if merged else []
    yield {"about": about, "columns": columns}
    for start in range(top + 1, len(rows), _BATCH):
        batch = enumerate(rows[start : start + _BATCH], start + 1)
        there = [(number, dict(zip(columns, row, strict=False))) for number, row in batch if any(c != "" for c in row)]
        yield {"rows": there, "done": min(start + _BATCH, len(rows)) / len(rows)}


def _cell(value: Any) -> Any:
    """Dates as ISO 8601, whole numbers without decimals; calamine has replaced Excel's _x000D_ already."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    if isinstance(value, datetime.datetime) and value.time() == datetime.time(0):
        return value.date().isoformat()
    return value if isinstance(value, str | int | float | bool) else _plain(value)


def _fill(rows: list[list[Any]], sheet: Any) -> int:
    """Give every cell of a merged range its value; only .xlsx and .xls say which are merged."""
    filled = 0
    for (top, left), (bottom, right) in getattr(sheet, "merged_cell_ranges", None) or ():
        for row in range(top, min(bottom, len(rows) - 1) + 1):
            for column in range(left, min(right, len(rows[row]) - 1) + 1):
                if (row, column) != (top, left) and rows[row][column] == "":
                    rows[row][column] = rows[top][left]
                    filled += 1
    return filled


def arrow(kind: str, files: list[Path]) -> Iterator[dict[str, Any]]:
    """The rows of Parquet or Arrow files, in their order; class numbers of a Hugging Face data set as names."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for number, file in enumerate(files):
        try:
            if kind == "parquet":
                source = pq.ParquetFile(file)
                schema, batches = source.schema_arrow, source.iter_batches(batch_size=_BATCH)
            else:
                source = _ipc(file)
                schema = source.schema
                batches = (
                    (source.get_batch(n) for n in range(source.num_record_batches))
                    if hasattr(source, "get_batch")
                    else source
                )
            names = _class_names(schema)
            kept = [f.name for f in schema if not (pa.types.is_binary(f.type) or pa.types.is_large_binary(f.type))]
            yield {"columns": kept}
            row = 0
            for batch in batches:
                records = batch.select(kept).to_pylist()
                for record in records:
                    for column, known in names.items():
                        record[column] = _named(record.get(column), known)
                for start in range(0, len(records), _BATCH):
                    rows = enumerate(records[start : start + _BATCH], row + start + 1)
                    yield {"file": file.name, "rows": list(rows), "done": (number + 0.5) / len(files)}
                row += len(records)
        except pa.ArrowException as failure:
            raise Fault("E164", f"{file.name} cannot be read: {_one_line(failure)}", "") from None


def _ipc(file: Path) -> Any:
    """A reader of Arrow's file or stream form; save_to_disk of datasets writes streams."""
    import pyarrow as pa

    mapped = pa.memory_map(str(file))
    return pa.ipc.open_file(mapped) if mapped.read(6) == b"ARROW1" else pa.ipc.open_stream(pa.memory_map(str(file)))


def _class_names(schema: Any) -> dict[str, list[str]]:
    """Names of the classes by column, where the file was written by datasets and knows them."""
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    except (TypeError, KeyError, ValueError):
        return {}
    found = {}
    for column, feature in features.items():
        while isinstance(feature, list) or (isinstance(feature, dict) and "feature" in feature):
            feature = feature[0] if isinstance(feature, list) else feature["feature"]
        if isinstance(feature, dict) and isinstance(feature.get("names"), list):
            found[column] = [str(name) for name in feature["names"]]
    return found


def _named(value: Any, names: list[str]) -> Any:
    if isinstance(value, list):
        return [_named(item, names) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return names[value] if 0 <= value < len(names) else None
    return value


if __name__ == "__main__":
    main(*sys.argv[1:])
