"""Why a line is not a JSON object: the parser's complaint turned into a coded, located sentence."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

import msgspec

from finetune.data import marks
from finetune.data.text_rules import shown

MAX_DEPTH = 32
ONE_PER_LINE = 'write one JSON object per line, like {"input": "…", …}'

_BYTE = re.compile(r"\(byte (\d+)\)")
_WORD = re.compile(rb"-?[A-Za-z]+$")
_PAIR = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_SURROGATE = re.compile(rb"\\u([dD][89a-fA-F][0-9a-fA-F]{2})")

Fault = marks.Fault


def diagnose(line: bytes, offset: int, failure: Exception) -> Fault:
    """Explain why `line` (no newline; first byte at `offset` of the file) failed to parse with `failure`."""
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as bad:
        place = f"byte {bad.start + 1} of the line, offset {offset + bad.start} of the file"
        if line[bad.start : bad.start + 2] in marks.UTF16:
            what = f"not UTF-8 from {place} on: the byte order mark of UTF-16, so another file was joined on here"
            return "E105", what, "save both files as UTF-8 and join them again"
        return "E105", f"not UTF-8: 0x{line[bad.start]:02x} at {place}", "save the file as UTF-8"
    if isinstance(failure, RecursionError):
        return _too_deep()
    if b"\0" in line:
        what = "zero bytes on the line: a piece of UTF-16, or a file that was not written to its end"
        return "E105", what, "save the file as UTF-8, or get it again from where it comes"
    if b"\r" in line:
        return "E106", "a lone carriage return (CR) ends a line", "save the file with LF line ends"
    if isinstance(failure, msgspec.ValidationError):
        return _number(str(failure))
    surrogate = _SURROGATE.search(_PAIR.sub(b"", line.replace(rb"\\", b"__")))
    if surrogate:
        escape = surrogate[1].decode().lower()
        return "E115", f"\\u{escape} is half of a surrogate pair, not a character", "remove it or write the whole pair"
    if "truncated" in str(failure):
        if line.lstrip().startswith(b"["):
            return "E109", "the line starts a JSON array", ONE_PER_LINE
        return "E107", "the line ends before its JSON object does", "write the record whole, on one line"
    position = _BYTE.search(str(failure))
    return _malformed(line, int(position[1]) if position else 0, str(failure))


def _malformed(line: bytes, at: int, complaint: str) -> Fault:
    if "trailing characters" in complaint:
        at -= 1  # here alone the parser counts the sign that it refuses
    column = len(line[:at].decode("utf-8", "replace")) + 1
    if "trailing characters" in complaint:
        if records := marks.parted(line):
            return _joined(line, records, column)
        if line[at:].strip() == b"," and line.lstrip().startswith(b"{"):
            what = f"a comma after the JSON object, at column {column}"
            return "E108", what, "remove it, or run: make validate FLAGS=--fix"
        rest = line[at:].lstrip(b", \t")
        what = "two JSON values on one line" if rest[:1] in (b"{", b"[") else "extra data after the JSON object"
        return "E108", f"{what}, at column {column}", ONE_PER_LINE
    end = at
    while end < len(line) and line[end : end + 1].isalpha():
        end += 1
    word = _WORD.search(line[:end])
    literal = word[0].decode() if word else ""
    if literal.lstrip("-").lower() in ("nan", "inf", "infinity"):
        return "E112", f"{literal} is not a JSON number", "write a number, or leave the field out"
    if literal in ("True", "False", "None"):
        right = {"True": "true", "False": "false", "None": "null"}[literal]
        return "E110", f"not JSON: {literal} at column {column}", f"write {right}"
    if at < len(line) and line[at] < 0x20:
        return "E116", f"unescaped control character U+{line[at]:04X} at column {column}", "remove it or escape it"
    near = shown(line[max(0, at - 10) : at + 20].decode("utf-8", "ignore"), 40)
    reason = _BYTE.sub("", complaint.removeprefix("JSON is malformed: ")).strip()
    fix = "write double quotes, no comments, no trailing commas"
    return "E110", f"not JSON: {reason} at column {column}, near {near}", fix


def _joined(line: bytes, records: list[bytes], column: int) -> Fault:
    """Several records on one line, each of them whole, and what stands between them."""
    between = line
    for record in records:
        between = between.replace(record, b"", 1)
    if between.strip():
        where = f"between two records, at column {column}: two files were joined"
        return marks.fault(between.strip(), where, "put a line end in its place")
    many = "two" if len(records) == 2 else str(len(records))
    what = f"{many} JSON values on one line, the second at column {column}"
    return "E108", what, f"{ONE_PER_LINE}, or run: make validate FLAGS=--fix"


def _number(complaint: str) -> Fault:
    if complaint.startswith("Integer"):
        return "E113", "an integer has too many digits", "write it as text, in double quotes"
    return "E112", "a number is too large", "write it as text, in double quotes"


def _too_deep() -> Fault:
    return "E114", f"nested deeper than {MAX_DEPTH} levels", "records are flat objects"


def find_faults(line: bytes, value: Any) -> Fault | None:
    """What a lenient parser lets pass: not an object, too deep, a key written twice."""
    if not isinstance(value, dict):
        kind = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}.get(type(value), "a number")
        return "E109", f"the line is {kind}, not an object", ONE_PER_LINE
    if line.count(b"[") + line.count(b"{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        return _too_deep()
    # Every string the parser kept needs two quotes; more means an escaped quote or a key that was overwritten.
    # The parser tells two normal forms of a key apart, which no reader does.
    if line.count(b'"') > 2 * _strings(value) or not all(map(str.isascii, _keys(value))):
        return _repeated_key(line)
    return None


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
    return depth


def _strings(value: Any) -> int:
    if isinstance(value, str):
        return 1
    if isinstance(value, dict):
        return len(value) + sum(_strings(child) for child in value.values())
    return sum(_strings(child) for child in value) if isinstance(value, list) else 0


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    for child in value.values() if isinstance(value, dict) else value:
        if isinstance(child, dict | list):
            yield from _keys(child)


def _repeated_key(line: bytes) -> Fault | None:
    """Walk braces and strings once; `line` is known to be valid JSON. Keys are the same where their NFC is."""
    seen: list[dict[str, bytes]] = []
    for token in re.finditer(rb'"(?:[^"\\]|\\.)*"(?:\s*:)?|[{}]', line):
        text = token[0]
        if text == b"{":
            seen.append({})
        elif text == b"}":
            seen.pop()
        elif text.endswith(b":"):
            written = text[:-1].strip()
            key = unicodedata.normalize("NFC", msgspec.json.decode(written))
            other = seen[-1].setdefault(key, written)
            if other is not written:
                twice = "twice" if other == written else "twice, in two spellings"
                return "E111", f"the key {shown(key)} is written {twice}", "keep one of them"
    return None
