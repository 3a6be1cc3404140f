"""What a file or folder is, told from its content; its name decides nothing."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from finetune.config.task import TaskDefinition
from finetune.data.layouts import records_inside
from finetune.data.raw_files import LFS, kind_of
from finetune.errors import FinetuneError
from finetune.importing import delimited, json_files, token_files
from finetune.importing.encodings import Encoding, find_encoding
from finetune.importing.native_reader import open_native
from finetune.importing.sources import Entry, Options, Refused, Source, first_of

_HEAD_CHARS = 64 * 1024
_SPLIT = re.compile(r"([A-Za-z0-9_.]+?)(?:-\d{5}-of-\d{5})?\.parquet")
_MARKUP = re.compile(r"\s*<(?:!DOCTYPE|html|table|\?xml|!--|[A-Za-z]+[ >/])", re.IGNORECASE)


def open_source(path: Path, task: TaskDefinition, options: Options) -> Source:
    """The source that `path` is.

    Raises FinetuneError: E160 not to be opened, E161 empty, E162 no format that is read, E163 encoding, E164 broken,
    E140 too large, E144 a Git LFS pointer, E178 protected by a password, E165 a package is missing,
    E169 one of several parts has to be named.
    """
    name = path.as_posix()
    try:
        status = path.stat()
    except OSError as failure:
        fix = "write the path as it is, in quotes where it has spaces"
        raise FinetuneError(f"{_shown(name)}: {failure.strerror or 'cannot be opened'}", fix, "E160") from None
    if not stat.S_ISDIR(status.st_mode) and not stat.S_ISREG(status.st_mode):
        raise FinetuneError(f"{_shown(name)}: neither a file nor a folder", "name the file that holds the data", "E160")
    if not os.access(path, os.R_OK):
        fix = f"make it readable, for instance: sudo chown $USER {_shown(name)}"
        raise FinetuneError(f"{_shown(name)}: belongs to somebody else, you may not read it", fix, "E160")
    name = _shown(name)
    if stat.S_ISDIR(status.st_mode):
        return _folder(path, name, options)
    if status.st_size == 0:
        raise FinetuneError(f"{name}: the file is empty", "get it again from where it comes", "E161")
    with open(path, "rb") as stream:
        head = stream.read(4096)
    return _native(path, name, head, options) or _text(path, name, task, options)


def _shown(name: str) -> str:
    return "".join(sign if sign.isprintable() else f"\\x{ord(sign):02x}" for sign in name)


def _native(path: Path, name: str, head: bytes, options: Options) -> Source | None:
    part = options.part or ""
    kind = kind_of(head)
    if kind in ("a zip archive", "an old Office file"):
        return open_native("workbook", [path], name, _workbook_format(head), part)
    if kind == "Parquet":
        return open_native("parquet", [path], name, "Parquet")
    if kind == "Arrow" or head.startswith(b"\xff\xff\xff\xff"):
        return open_native("arrow", [path], name, "Arrow")
    if kind:
        fix = "unpack it, and import what is inside" if "zip" in kind.lower() or kind in ("xz", "Zstandard") else ""
        raise FinetuneError(f"{name}: {kind}, which is not read", fix or "export it as CSV, JSON or Parquet", "E162")
    if head.startswith(LFS):
        raise FinetuneError(f"{name}: a Git LFS pointer, not the data", "run: git lfs pull", "E144")
    return None


def _workbook_format(head: bytes) -> str:
    if head.startswith(b"\xd0\xcf"):
        return "Excel (.xls)"
    return "OpenDocument (.ods)" if b"opendocument.spreadsheet" in head else "Excel (.xlsx)"


def _text(path: Path, name: str, task: TaskDefinition, options: Options) -> Source:
    marks = path.with_suffix(".ann")
    if path.suffix.lower() in (".txt", ".ann") and marks.is_file() and path.with_suffix(".txt").is_file():
        return Source(name, "brat", lambda: iter([token_files.brat_document(path.with_suffix(".txt"), name, 1.0)]))
    encoding = find_encoding(path, name, task.language, options.encoding)
    with open(path, encoding=encoding.codec, newline="") as stream:
        head = stream.read(_HEAD_CHARS).lstrip("\ufeff")
    found = [("encoding", encoding.shown, encoding.reason)]
    if not head.strip():
        raise FinetuneError(f"{name}: nothing but white space", "get the file again from where it comes", "E161")
    if "\0" in head:
        _unknown(name, "not text: it holds zero bytes")
    if _MARKUP.match(head):
        what = "HTML" if re.search("<(?:html|table)", head, re.IGNORECASE) else "XML"
        _unknown(
            name, f"{what}, whatever its name says", "open it in a spreadsheet program and save it as .xlsx or CSV"
        )
    if layout := json_files.layout_of(head):
        return _json(path, name, encoding, layout, found)
    if token_files.looks_like_tokens(head):
        source = Source(name, "CoNLL", lambda: token_files.sentences(path, name, encoding.codec), found)
        source.joined = True
        return source
    labels = frozenset(label.casefold() for label in task.label_names)
    dialect = delimited.find_dialect(
        path, name, encoding.codec, delimiter=options.delimiter, header=options.header, labels=labels
    )
    sign = delimited.DELIMITERS.get(dialect.delimiter, repr(dialect.delimiter))
    found.append(("delimiter", sign, dialect.reason))
    format = {",": "CSV", "\t": "TSV"}.get(dialect.delimiter, f"CSV with {sign}")
    return Source(name, format, lambda: delimited.entries(path, name, encoding.codec, dialect), found)


def _json(path: Path, name: str, encoding: Encoding, layout: str, found: list[tuple[str, str, str]]) -> Source:
    reader = {json_files.LINES: json_files.lines, json_files.TABLE: json_files.cells}.get(layout, json_files.values)
    source = Source(name, layout, lambda: reader(path, name, encoding.codec), found)
    first = first_of(source.entries(), 2) if layout in (json_files.LINES, json_files.OBJECTS) else []
    if len(first) == 1 and (inside := records_inside(first[0])):
        source.format, records = inside
        source.entries = lambda: _inside(name, records)
    return source


def _inside(name: str, records: Sequence[object]) -> Iterator[Entry]:
    for number, record in enumerate(records, 1):
        value = record if isinstance(record, dict) else Refused("E109", "a value that is no object")
        yield Entry(f"{name} record {number}", value, number / len(records))


def _folder(path: Path, name: str, options: Options) -> Source:
    """A data set as datasets saves it, a folder of Parquet files, or one of brat documents."""
    name = name.rstrip("/")
    splits: dict[str, list[Path]] = {}
    if (path / "state.json").is_file():
        splits[""] = sorted(path.glob("*.arrow"))
    elif (path / "dataset_dict.json").is_file():
        splits = {p.name: sorted(p.glob("*.arrow")) for p in sorted(path.iterdir()) if (p / "state.json").is_file()}
    if splits:
        return _data_set("arrow", splits, name, "Hugging Face data set (save_to_disk)", options)
    for file in sorted(p for p in path.rglob("*.parquet") if p.is_file()):
        named = _SPLIT.fullmatch(file.name)
        splits.setdefault(named[1] if named else file.stem, []).append(file)
    if splits:
        return _data_set("parquet", splits, name, "a folder of Parquet files", options)
    texts = sorted(p for p in path.rglob("*.txt") if p.is_file()) if any(path.rglob("*.ann")) else []
    if texts:
        documents = [(file, f"{name}/{file.relative_to(path).as_posix()}") for file in texts]
        return Source(
            name,
            f"brat, {len(texts)} documents",
            lambda: (token_files.brat_document(f, n, k / len(texts)) for k, (f, n) in enumerate(documents, 1)),
        )
    what = "a folder, but no Hugging Face data set, no Parquet files, no brat documents"
    raise FinetuneError(f"{name}: {what}", "name the files in it", "E160")


def _data_set(kind: str, splits: dict[str, list[Path]], name: str, format: str, options: Options) -> Source:
    part = options.part
    if len(splits) > 1 and part is None:
        listed = ", ".join(splits)
        fix = "say which with --split NAME, or --split all: the task's own splits are made afresh from all rows"
        raise FinetuneError(f"{name}: has {len(splits)} splits: {listed}", fix, "E169")
    if part not in (None, "all", *splits):
        raise FinetuneError(f"{name}: has no split {part!r}; it has {', '.join(splits)}", "name one of them", "E169")
    files = [file for split, there in splits.items() if part in (None, "all", split) for file in there]
    if not files:
        raise FinetuneError(f"{name}: the data set has no data file", "get the folder again, whole", "E164")
    source = open_native(kind, files, name, format)
    return source


def _unknown(name: str, what: str, fix: str = "save it as CSV, XLSX, JSON or Parquet") -> NoReturn:
    raise FinetuneError(f"{name}: {what}", fix, "E162")
