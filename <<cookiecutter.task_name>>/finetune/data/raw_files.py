"""The files of data/raw: which are read, in which order, and which are refused before a line is parsed."""

from __future__ import annotations

import re
import stat
import unicodedata
from pathlib import Path

from finetune.data.foreign import move_and_import
from finetune.data.text_rules import shown
from finetune.errors import Problems
from finetune.paths import Paths
from finetune.words import MARKS

RAW = "data/raw"
"""The folder, as problems name it."""
MAX_FILE_BYTES = 100 * 1024 * 1024
_UNSAFE = re.compile(rf"[^\w{MARKS}\u200c\u200d.,+ ()-]|^\W")
_LONGEST_NAME = 200
_BESIDE = re.compile(r"(?i:readme(?:(?:\.[a-z]{2,3}(?:-[a-z]{2,4})?)?\.(?:md|txt|rst))?)")
"""What may stand beside the data: a note about it. Our own corrected copies end in .jsonl.fixed."""
MAGIC = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "a zip archive",
    b"PAR1": "Parquet",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"ARROW1": "Arrow",
    b"SQLite": "an SQLite database",
    b"ORC": "ORC",
    b"%PDF": "PDF",
    b"\x80\x02": "a Python pickle",
    b"\x80\x03": "a Python pickle",
    b"\x80\x04": "a Python pickle",
    b"\x80\x05": "a Python pickle",
    b"\x93NUMPY": "a NumPy array",
    b"\x89HDF": "HDF5",
    b"Obj\x01": "Avro",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
    b"\xd0\xcf\x11\xe0": "an old Office file",
}
"""What files begin with, and what they are then."""
IMPORTABLE = {"a zip archive", "Parquet", "Arrow", "an old Office file"}
"""What of MAGIC scripts/import_data.py may be able to read; a zip archive is also what .xlsx and .ods are."""
PACKED = {"gzip", "Zstandard", "bzip2", "xz", "a 7-Zip archive", "a RAR archive"}
_UNFINISHED = (".crdownload", ".part", ".partial", ".download", ".tmp")
LFS = b"version https://git-lfs.github.com/spec/"


def list_raw_files(paths: Paths, problems: Problems) -> list[Path]:
    """The readable data/raw/*.jsonl, sorted by name; everything else that looks like data is a problem."""
    if paths.raw.is_symlink() or not paths.raw.is_dir():
        problems.add(RAW, "E143", "data/raw is not a folder", "put the records into data/raw/*.jsonl")
        return []
    if not paths.raw.resolve().is_relative_to(paths.root.resolve()):
        problems.add(RAW, "E220", "leads out of the repository through a symbolic link", "put the data itself there")
        return []
    files: list[Path] = []
    spelled: dict[str, str] = {}
    count = 0
    for path in sorted(paths.raw.iterdir(), key=lambda entry: entry.name):
        if path.name.startswith("."):
            continue
        place = f"{RAW}/{_printable(path.name)}"
        if path.suffix.lower() != ".jsonl":
            _refuse_other(path, place, problems)
            continue
        count += 1
        other = spelled.setdefault(unicodedata.normalize("NFC", path.name).casefold(), path.name)
        if other != path.name:
            what = f"differs from {_printable(other)} only by case, or by composed letters"
            problems.add(place, "E147", what, "rename one of them")
        if unsafe := _unsafe(path.name):
            problems.add(place, "E148", f"unsafe file name: {unsafe}", "use at most 200 letters, digits, - _ and .")
        elif _is_readable(path, place, problems):
            files.append(path)
    if not count:
        problems.add(RAW, "E102", "no .jsonl file", "put the records into data/raw/*.jsonl")
    return files


def _unsafe(name: str) -> str | None:
    if len(name) > _LONGEST_NAME:
        return f"{len(name)} characters"
    if name != name.strip():
        return "a space at its beginning or end"
    found = _UNSAFE.search(name)
    return found and f"{shown(found[0])} (U+{ord(found[0]):04X})"


def _refuse_other(path: Path, place: str, problems: Problems) -> None:
    """Everything visible that no step reads is said: a file that is taken for data must not lie there unread."""
    status = path.lstat()
    if stat.S_ISDIR(status.st_mode):
        fix = "move its files into data/raw itself"
        if any((path / name).is_file() for name in ("state.json", "dataset_dict.json", "dataset_info.json")):
            fix = move_and_import(place)
        problems.add(place, "E143", "a folder inside data/raw is not read", fix)
    elif not stat.S_ISREG(status.st_mode):
        problems.add(place, "E146", "not a .jsonl file, and no plain file at all: nobody reads it", "remove it")
    elif not (path.name.endswith(".jsonl.fixed") or _BESIDE.fullmatch(path.name)):
        problems.add(place, "E146", *_unread(path, place))


def _unread(path: Path, place: str) -> tuple[str, str]:
    kind = path.suffix if path.suffix else path.name[:40]
    what = f"not a .jsonl file, so nobody reads it ({_printable(kind)})"
    away = "or move it out of data/raw"
    if path.suffix.lower() in _UNFINISHED:
        return f"{what}: an unfinished download", f"download it again, {away}"
    with open(path, "rb") as file:
        head = file.read(64)
    magic = kind_of(head) or ("XML or HTML" if head.lstrip().startswith(b"<") else None)
    if magic in PACKED:
        return f"{what}: {magic}", f"unpack it, {away}"
    if magic and magic not in IMPORTABLE:
        return f"{what}: {magic}", f"export it as CSV, JSON or Parquet and import that, {away}"
    if not path.name.isprintable() or path.name != place.removeprefix(f"{RAW}/"):
        return what, f"rename it and import it with scripts/import_data.py, {away}"
    return what, f"{move_and_import(place)}; {away}"


def kind_of(head: bytes) -> str | None:
    """What a file that begins with `head` is, by its first bytes; None for text and for what is not known."""
    return next((name for magic, name in MAGIC.items() if head.startswith(magic)), None)


def _is_readable(path: Path, place: str, problems: Problems) -> bool:
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        kinds = {stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe (FIFO)"}
        kind = kinds.get(stat.S_IFMT(status.st_mode), "a device or socket")
        problems.add(place, "E143", f"{kind}, not a file", "put the data itself there")
        return False
    if status.st_size == 0:
        problems.add(place, "E101", "the file is empty", "add records or remove the file")
        return False
    if status.st_size > MAX_FILE_BYTES:
        problems.add(place, "E140", "the file is larger than 100 MB", "split it into several .jsonl files")
        return False
    with open(path, "rb") as file:
        head = file.read(64)
    refusal = refuse_head(head)
    if refusal:
        problems.add(place, refusal[0], refusal[1], refusal[2], line=1)
    return refusal is None


def refuse_head(head: bytes) -> tuple[str, str, str] | None:
    if head.startswith(LFS):
        return "E144", "a Git LFS pointer, not the data", "run: git lfs pull"
    if name := kind_of(head):
        how = "unpack it" if name in PACKED else "import it with scripts/import_data.py, or convert it to .jsonl"
        return "E145", f"looks like {name}, not JSON Lines", how
    # JSON starts with an ASCII character; a NUL beside it is one half of a UTF-16 or UTF-32 unit.
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or (b"\0" in head[:2] and any(head[:2])):
        return "E105", "not UTF-8, looks like UTF-16", "save the file as UTF-8"
    return None


def _printable(name: str) -> str:
    short = name if len(name) <= 80 else name[:77] + "…"
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in short)
