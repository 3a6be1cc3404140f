"""CoNLL files: one token a line with its tag in BIO, IOB1, BILOU or BIOES, a blank line between sentences; and brat."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from io import TextIOWrapper
from pathlib import Path

from finetune.importing.sources import ROW, Entry, Refused

TAG = re.compile(r"O|[BIOLUESM][-_].+")
_CJK = re.compile("[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")
_COMMENT = re.compile(r"#(?:\s|$)")
_BRAT = re.compile(r"(T\d+)\t(\S+) (\d{1,15} \d{1,15}(?:;\d{1,15} \d{1,15})*)\t(.*)")


def looks_like_tokens(head: str) -> bool:
    """Whether nearly every line of `head` is blank or a token and, last, a tag; one tag at least is no O."""
    rows = [line.split() for line in head.split("\n")[:400] if line.strip() and not _COMMENT.match(line)]
    tags = [row[-1] for row in rows if len(row) > 1]
    if len(rows) < 2 or len(tags) < 0.9 * len(rows):
        return False
    return sum(map(bool, map(TAG.fullmatch, tags))) >= 0.9 * len(rows) and any(tag != "O" for tag in tags)


def sentences(file: Path, name: str, codec: str) -> Iterator[Entry]:
    """One record {"tokens", "tags"} a sentence."""
    size, first = max(file.stat().st_size, 1), 0
    tokens: list[str] = []
    tags: list[str] = []
    bad: Refused | None = None
    with open(file, "rb") as raw, TextIOWrapper(raw, encoding=codec, newline="\n") as stream:
        for number, line in enumerate(_with_end(stream), 1):
            cells = line.strip("\r\n\ufeff").split("\t") if "\t" in line.strip() else line.split()
            if not line.strip("\ufeff").strip():  # an ideographic space alone is a blank line too
                if tokens or bad:
                    value = bad or {"tokens": tokens, "tags": tags}
                    yield Entry(f"{name}:{first}", value, min(raw.tell() / size, 1.0))
                tokens, tags, bad = [], [], None
                continue
            if _COMMENT.match(line) or cells[0] == "-DOCSTART-":
                continue
            first = first if tokens or bad else number
            if len(cells) < 2 or not TAG.fullmatch(cells[-1]):
                bad = bad or Refused(ROW, "a sentence with a line that is not token and tag", f"line {number}")
            tokens.append(cells[0])
            tags.append(cells[-1])


def _with_end(lines: Iterator[str]) -> Iterator[str]:
    yield from lines
    yield "\n"


def join(tokens: Sequence[str]) -> tuple[str, list[int]]:
    """The text of `tokens` and where each begins: a space between two, none beside a Chinese or Japanese character."""
    text, starts = "", []
    for token in tokens:
        if text and token and not (_CJK.match(text[-1]) or _CJK.match(token[0])):
            text += " "
        starts.append(len(text))
        text += token
    return text, starts


def spans_of(tokens: Sequence[str], tags: Sequence[str], starts: Sequence[int]) -> list[dict[str, object]]:
    """The entities that `tags` mark, as spans of the joined text.

    B, S and U begin one; I, M, E and L go on with one of the same type, and begin one where there is none (IOB1).
    """
    found: list[dict[str, object]] = []
    current: dict[str, object] | None = None
    for token, tag, start in zip(tokens, tags, starts, strict=True):
        prefix, kind = (tag[0], tag[2:]) if tag != "O" else ("O", "")
        if prefix == "O":
            current = None
            continue
        if prefix in "BSU" or current is None or current["type"] != kind:
            current = {"type": kind, "start": start}
            found.append(current)
        current["end"] = start + len(token)
        if prefix in "ELSU":
            current = None
    return found


def brat_document(text_file: Path, name: str, done: float) -> Entry:
    """A .txt file and the spans of the .ann file beside it, as one record."""
    marks = text_file.with_suffix(".ann")
    if not marks.is_file():
        return Entry(name, Refused("E187", "a document without annotations", "no .ann file"), done)
    try:
        with open(text_file, encoding="utf-8", newline="") as stream:
            text = stream.read()
        spans = []
        for line in marks.read_text(encoding="utf-8-sig").splitlines():
            found = _BRAT.fullmatch(line)
            if not found:
                if line.startswith("T"):
                    return Entry(name, Refused(ROW, "an .ann file with a line that is not brat's", line[:60]), done)
                continue  # relations, events, attributes and notes say nothing about which entities there are
            if ";" in found[3]:
                return Entry(name, Refused("E183", "a discontinuous span", f"{found[1]} {found[4][:40]}"), done)
            start, end = map(int, found[3].split())
            spans.append({"type": found[2], "start": start, "end": end, "text": found[4]})
    except UnicodeDecodeError as bad:
        return Entry(name, Refused("E163", "a document that is not UTF-8", f"byte {bad.start}"), done)
    return Entry(name, {"text": text, "entities": spans, "document": text_file.stem}, done)
