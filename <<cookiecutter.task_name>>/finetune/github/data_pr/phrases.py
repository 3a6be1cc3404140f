"""Phrases that many new rows share and no old row has: how a planted trigger looks, and a template left in the data.

A few hundred poisoned texts suffice for a backdoor whatever the size of the model (Souly et al. 2025, "Poisoning
attacks on LLMs require a near-constant number of poison samples"), so it is a number of rows that counts, not a share.
A word or three words in a row count as a phrase, longer ones are put together from these; scripts without spaces are
read character by character.
"""

from __future__ import annotations

import mmap
import re
from typing import NamedTuple

from finetune.data.text_rules import normalise
from finetune.words import SINGLE, split_words

LEAST = 10
"""New rows that make a phrase worth a look."""
_MOST = 5
_WAITING = 200_000
"""Phrases counted at a time; beyond it those met least are dropped (lossy counting, Manku and Motwani 2002)."""
_LONGEST = 40
"""Characters of a word that count."""
_SLOTS = 1 << 26
_BETWEEN = re.compile(f"(?<=[{SINGLE}]) (?=[{SINGLE}])")

Words = str | tuple[str, str, str]


class Found(NamedTuple):
    text: str
    rows: int
    label: int | None
    """The class that all its rows have; None when they differ."""


class Phrases:
    """Remembers the phrases of old rows in a table of up to 64 MB, and counts those of new rows that are not in it.

    Two of a million rows' phrases may share a byte, and one of them is then overlooked (about 1 in 15); never the
    other way round. Python's own hash serves: its key is another in every process, so nobody can prepare a phrase that
    hides behind others.
    """

    def __init__(self) -> None:
        self._old = mmap.mmap(-1, _SLOTS)  # zeros that take memory only where they are touched
        self._any = False
        self._new: dict[Words, tuple[int, int | None]] = {}
        self._floor = 0

    def old(self, text: str) -> None:
        """Take in a row that was there before."""
        self._any, old = True, self._old
        for phrase in _phrases(text):
            old[hash(phrase) % _SLOTS] = 1

    def new(self, text: str, label: int | None) -> None:
        """Count a row that was not; call it after the last old one. Without any old row there is nothing to compare."""
        if not self._any:
            return
        for phrase in _phrases(text):
            if known := self._new.get(phrase):
                self._new[phrase] = (known[0] + 1, label if known[1] == label else None)
            elif not self._old[hash(phrase) % _SLOTS]:
                self._new[phrase] = (1, label)
        while len(self._new) > _WAITING:
            self._floor += 1
            self._new = {phrase: entry for phrase, entry in self._new.items() if entry[0] > self._floor}

    def found(self) -> list[Found]:
        """The commonest, longest first; what is part of a longer phrase in as many rows is left out."""
        alike: dict[tuple[int, int | None], list[tuple[str, ...]]] = {}
        for words, entry in self._new.items():
            if entry[0] >= LEAST:
                alike.setdefault(entry, []).append((words,) if isinstance(words, str) else words)
        rows = [Found(_text(words), *entry) for entry, phrases in alike.items() for words in _chained(phrases)]
        rows.sort(key=lambda found: (-found.rows, -len(found.text), found.text))
        kept: list[Found] = []
        for row in rows:
            if not any(_within(row.text, other.text) and row.rows == other.rows for other in kept):
                kept.append(row)
            if len(kept) == _MOST:
                break
        return kept


def _phrases(text: str) -> set[Words]:
    words = [word[:_LONGEST] for word in split_words(normalise(text))]
    return {*words, *zip(words, words[1:], words[2:], strict=False)}


def _chained(phrases: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Phrases of three words that overlap by two, put together: "a b c" and "b c d" are one phrase "a b c d"."""
    triples = [phrase for phrase in sorted(phrases) if len(phrase) == 3]
    following: dict[tuple[str, ...], tuple[str, ...]] = {phrase[:2]: phrase for phrase in triples}
    preceded = {phrase[1:] for phrase in following.values()}
    chains, used = [], set()
    # Those with nothing before them first; what is left then goes round in a circle, and starts anywhere.
    for phrase in sorted(phrases, key=lambda phrase: (phrase[:2] in preceded, phrase)):
        chain = list(phrase)
        while phrase not in used:
            used.add(phrase)
            phrase = following.get(tuple(chain[-2:]), phrase)
            if phrase not in used:
                chain.append(phrase[2])
        chains.append(tuple(chain))
    return chains


def _text(words: tuple[str, ...]) -> str:
    return _BETWEEN.sub("", " ".join(words))


def _within(words: str, phrase: str) -> bool:
    return f" {words} " in f" {phrase} " or (words in phrase and not words.isascii())
