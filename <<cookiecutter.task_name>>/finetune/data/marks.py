"""What programs leave between records and never in them: byte order marks, DOS's end-of-file sign, joined lines.

`cat a b` puts the byte order mark of `b` into the middle, at the start of a line, or after the last record of `a` where
that ended without a line end; DOS's `copy a+b` ends it with Ctrl-Z. Step 01 names them, `--fix` takes them out.
"""

from __future__ import annotations

import json
import re

BOM = b"\xef\xbb\xbf"
CTRL_Z = b"\x1a"
UTF16 = (b"\xff\xfe", b"\xfe\xff")
"""The byte order marks of UTF-16."""
_READ_WRONGLY = "\ufeff".encode().decode("latin-1").encode()
"""The byte order mark of a file that was read as Latin-1 and saved as UTF-8: ï»¿."""
_MARKS = (BOM, _READ_WRONGLY, CTRL_Z)
_SPACE = b" \t\r"
_BETWEEN = re.compile("(?:[ \t]|\ufeff|\u00ef\u00bb\u00bf|\x1a)*")
Fault = tuple[str, str, str]
"""(code, message, fix)"""


def strip(line: bytes) -> tuple[bytes, bytes]:
    """`line` without the marks at its start and end, and those marks."""
    found = b""
    plain = line
    while mark := next((mark for mark in _MARKS if (rest := plain.lstrip(_SPACE)).startswith(mark)), b""):
        plain, found = rest[len(mark) :], found + mark
    while mark := next((mark for mark in _MARKS if (rest := plain.rstrip(_SPACE)).endswith(mark)), b""):
        plain, found = rest[: -len(mark)].rstrip(_SPACE), found + mark
    return plain, found


def fault(marks: bytes, where: str, remedy: str = "remove it") -> Fault:
    """What is said about `marks`, found `where`."""
    by_fix = f"{remedy}, or run: make validate FLAGS=--fix"
    if marks.replace(CTRL_Z, b"").strip():
        return "E104", f"a byte order mark {where}", by_fix
    return "E116", f"the end-of-file sign of DOS (U+001A, Ctrl-Z) {where}", by_fix


def parted(line: bytes) -> list[bytes] | None:
    """The JSON objects of a line that holds several, or one, with marks or white space between them; else None."""
    decoder, found, at = json.JSONDecoder(), [], 0
    try:
        text = line.decode("utf-8")
        while (at := _BETWEEN.match(text, at).end()) < len(text):  # type: ignore[union-attr]
            value, end = decoder.raw_decode(text, at)
            if not isinstance(value, dict):
                return None
            found.append(text[at:end].encode("utf-8"))
            at = end
    except (ValueError, RecursionError):  # also what is no UTF-8
        return None
    return found or None
