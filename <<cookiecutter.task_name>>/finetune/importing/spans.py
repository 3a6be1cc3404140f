"""Marked spans of a text → entities, each checked against the text; offsets of JavaScript are found and corrected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from finetune.data.shapes import is_span
from finetune.importing.sources import Refused

_TYPES = ("type", "label", "labels", "entity", "entity_type", "entity_group", "tag", "category")
_STARTS = ("start", "start_offset", "start_char", "begin")
_ENDS = ("end", "end_offset", "end_char", "stop")
_TEXTS = ("text", "word", "value", "surface")
Entities = list[dict[str, str]]


def entities_of(marks: Any, text: str, offsets: str | None, notes: Counter[str]) -> Entities:
    """The entities of `text` in its order, as {"type", "text"}; `notes` counts what was corrected.

    `marks` is a list of spans in any of the usual spellings, or of {"type", "text"}; "entities" or "spans" may stand
    around it. Raises Refused for what cannot be taken as it is meant.
    """
    if isinstance(marks, dict):
        marks = marks.get("entities", marks.get("spans", marks))
    if not isinstance(marks, list):
        raise Refused("E123", "no list of entities")
    found = [_span(mark) for mark in marks]
    placed = [span for span in found if span[1] is not None]
    if placed and len(placed) < len(found):
        raise Refused("E184", "entities with and without offsets")
    if not placed:
        return [{"type": kind, "text": _trimmed(said or "", notes)} for kind, _, _, said in found]
    counted = _counting(placed, text, offsets, notes)
    cut = sorted({_cut(span, text, counted, notes) for span in placed})
    for (_, end, _), (start, _, kind) in pairwise(cut):
        if start < end:
            raise Refused("E183", "overlapping spans", f"{kind} at character {start + 1}")
    return [{"type": kind, "text": text[start:end]} for start, end, kind in cut]


def _span(mark: Any) -> tuple[str, int | None, int | None, str | None]:
    """(type, start, end, text) of one mark; what it does not say is None."""
    if is_span(mark):
        return mark[2], mark[0], mark[1], None
    if not isinstance(mark, dict):
        raise Refused("E184", "an entity that is neither an object nor [start, end, type]")
    kind = _first(mark, _TYPES)
    if isinstance(kind, list):
        if len(kind) != 1:
            raise Refused("E181", "a span with more than one label" if kind else "a span without a label")
        kind = kind[0]
    start, end, text = _first(mark, _STARTS), _first(mark, _ENDS), _first(mark, _TEXTS)
    if not isinstance(kind, str) or not kind.strip():
        raise Refused("E184", "an entity without a type")
    whole = all(type(number) is int for number in (start, end))
    if not whole and not isinstance(text, str):
        raise Refused("E184", "an entity with neither offsets nor text")
    return kind.strip(), *((start, end) if whole else (None, None)), text if isinstance(text, str) else None


def _first(mark: dict[str, Any], names: Iterable[str]) -> Any:
    return next((mark[name] for name in names if mark.get(name) is not None), None)


def _counting(spans: list[Any], text: str, offsets: str | None, notes: Counter[str]) -> list[int] | None:
    """None where offsets count characters; else the character that each UTF-16 unit, as JavaScript counts, is in."""
    if text.isascii() or max(text) <= "\uffff":
        return None
    units = [number for number, sign in enumerate(text) for _ in range(1 + (sign > "\uffff"))] + [len(text)]
    if offsets:
        return units if offsets == "utf-16" else None
    said = [span for span in spans if span[3] is not None]
    if all(text[start:end].strip() == quoted.strip() for _, start, end, quoted in said):
        past = any(end > len(text) for _, _, end, _ in spans)
        if not past:
            return None
    in_units = all(end < len(units) for _, _, end, _ in spans)
    if in_units and all(text[units[start] : units[end]].strip() == quoted.strip() for _, start, end, quoted in said):
        notes["rows whose offsets counted UTF-16 units, as JavaScript does"] += 1
        return units
    return None


def _cut(span: Any, text: str, units: list[int] | None, notes: Counter[str]) -> tuple[int, int, str]:
    kind, start, end, quoted = span
    if not 0 <= start < end <= (len(units) - 1 if units else len(text)):
        raise Refused("E182", "a span outside the text", f"{start} to {end}, the text has {len(text)} characters")
    if units:
        start, end = units[start], units[end]
    if quoted is not None and " ".join(text[start:end].split()) != " ".join(quoted.split()):
        raise Refused("E182", "a span whose text is another one", f"{kind} at {start}")
    piece = text[start:end]
    if piece != piece.strip():
        notes["spans with outer spaces"] += 1
        start, end = start + len(piece) - len(piece.lstrip()), end - (len(piece) - len(piece.rstrip()))
    if start >= end:
        raise Refused("E182", "a span of nothing but spaces", kind)
    return start, end, kind


def _trimmed(text: str, notes: Counter[str]) -> str:
    if text != text.strip():
        notes["spans with outer spaces"] += 1
    return text.strip()
