"""Where the entities of an extraction stand in their text, and what is odd about that.

A reference names an entity by its type and text, without a place. The n-th mention of an entity is the n-th occurrence
of its text, whole words first: "art" in "start with art" is the second one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from finetune.data.chat_format import Entity
from finetune.data.text_rules import shown
from finetune.words import MARKS, SINGLE

_GLUED = "\u0590-\u08ff\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff\ufb1d-\ufdff\ufe70-\ufeff"
"""Hebrew, Arabic, Hangul: particles are written onto the word."""
_LETTER = f"[^\\W\\d_{SINGLE}{_GLUED}]"
_INSIDE = re.compile(f"(?<={_LETTER})(?={_LETTER})|(?<=[{MARKS}])(?={_LETTER})|(?=[{MARKS}])|(?<=\\d)(?=\\d)")
"""Places inside a word or number, in scripts that set words apart; 2kg and x2 may be cut between letter and digit."""

Span = tuple[int, int]
"""First character and the one after the last."""


def spans(text: str, entities: Sequence[Entity]) -> list[Span | None]:
    """The place of each mention; None for one that has no occurrence of its own left."""
    named = Counter[tuple[str, str]]()
    found: list[Span | None] = []
    known: dict[str, list[Span]] = {}
    for entity in entities:
        name = entity["text"]
        if name not in known:
            known[name] = _occurrences(text, name)
        number = named[entity["type"], name]
        named[entity["type"], name] += 1
        found.append(known[name][number] if number < len(known[name]) else None)
    return found


def in_text_order(text: str, entities: Sequence[Entity]) -> list[Entity]:
    """The entities by their places, the longer one first where two begin together; what has no place comes last."""
    places = spans(text, entities)

    def order(number: int) -> tuple[int, int]:
        place = places[number]
        return (place[0], -place[1]) if place else (len(text), 0)

    return [entities[number] for number in sorted(range(len(entities)), key=order)]


def overlap(one: Sequence[Span | None], other: Sequence[Span | None]) -> tuple[int, int]:
    """(equal, partial): places that both have, and places of `one` that overlap another of `other`; each is used once.

    The partial match of nervaluate 1.2 (MUC-5), which looks at no types: a place of `one` takes the first free place of
    `other` that is the same, else the first that overlaps it.
    """
    free = [place for place in other if place]
    equal = partial = 0
    for place in one:
        near = [there for there in free if place and there[0] < place[1] and place[0] < there[1]]
        if place in near:
            equal += 1
            free.remove(place)
        elif near:
            partial += 1
            free.remove(near[0])
    return equal, partial


def odd_spans(text: str, entities: Sequence[Entity]) -> Iterator[tuple[str, str, str]]:
    """(code, message, fix) of every mention that an answer could hardly name; texts that do not occur are E151's."""
    named = Counter((entity["type"], entity["text"]) for entity in entities)
    for (kind, name), number in named.items():
        places = _occurrences(text, name)
        if places and number > len(places):
            what = f"{kind} {shown(name)} is annotated {number} times and stands in the input {len(places)} "
            what += "time" if len(places) == 1 else "times"
            yield "E157", what, f"remove {number - len(places)} of them"
        if name != name.strip():
            yield "W158", f"{kind} {shown(name)} has spaces at its ends", "leave them out"
        elif places and sum(_is_whole(text, place) for place in places) < min(number, len(places)):
            yield "W157", f"{kind} {shown(name)} begins or ends inside a word of the input", "annotate whole words"
    placed = sorted({place for place in spans(text, entities) if place})
    for one, other in pairwise(placed):
        if one[0] < other[0] < one[1] < other[1]:
            what = f"{shown(text[slice(*one)])} and {shown(text[slice(*other)])} overlap"
            yield "W159", what, "let one of them end where the other begins"


def _occurrences(text: str, name: str) -> list[Span]:
    found = [match.span() for match in re.finditer(re.escape(name), text)] if name else []
    return sorted(found, key=lambda span: not _is_whole(text, span))


def _is_whole(text: str, span: Span) -> bool:
    return not any(0 < place < len(text) and _INSIDE.match(text, place) for place in span)
