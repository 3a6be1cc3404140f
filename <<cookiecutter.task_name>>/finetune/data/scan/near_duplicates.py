"""Near-duplicates: texts of which about nine in ten words (in Chinese and Japanese: characters) are the same.

Two texts are compared by the Jaccard similarity of their sets of word pairs. Candidates come from MinHash signatures
(Broder 1997) of the package rensa, cut into bands (Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, 3.4);
each candidate is then compared exactly, so a reported score is never an estimate. A pair with a similarity of 0.7 is
found with a probability of 0.996, one of 0.75 with 0.9995.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence

from finetune.data.text_rules import normalise
from finetune.words import split_words

THRESHOLD = 0.66
"""Of ten words one is another: 9 of 13 pairs are shared, 0.69. Of very many, one in ten: 0.67."""
BANDS = 20
_SLOTS = 4
_SEED = 20_261_127
_LANE = 32
_EDGE = "$"
_APOSTROPHE = re.compile("['\u2019]")  # "don't" is one word, with either sign or without
# Every ASCII sign but letters, digits and the line end, which separates texts, becomes a space.
_SPACES = bytes(code if code == 10 or chr(code).isalnum() or code > 127 else 32 for code in range(256))
_BATCH = 256
"""Texts whose hashes are made at once; more do not fit into the processor's cache."""


def pairs(normalised: Sequence[str]) -> list[list[str]]:
    """Of each normalised text, every word together with the next one; the edges of the text count as words.

    Punctuation is left out; where there is nothing else, the text itself is its only word.
    """
    plain = "\n".join([text if text.isascii() else "" for text in normalised])  # a normalised text has no line end
    lines = plain.encode("ascii").translate(_SPACES, b"'").decode("ascii").split("\n")
    found = []
    for text, line in zip(normalised, lines, strict=True):
        words = line.split() or ([] if text.isascii() else split_words(_APOSTROPHE.sub("", text))) or [text]
        before, joined = _EDGE, []
        for word in words:  # quicker than map: adding two strings is a single instruction
            joined.append(before + word)
            before = word
        joined.append(before + _EDGE)
        found.append(joined)
    return found


def pair_set(text: str) -> frozenset[str]:
    """What `similarity` compares, of a text as it was written."""
    return frozenset(pairs([normalise(text)])[0])


def similarity(one: frozenset[str], other: frozenset[str]) -> float:
    """Jaccard similarity, from 0 to 1."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)


def band_hashes(normalised: Sequence[str]) -> bytes:
    """Hashes of 32 bits, those of the first band for every text, then those of the second band …

    Texts that share one are candidates. Native byte order.
    """
    from rensa import RMinHash

    slots = BANDS * _SLOTS
    bands: list[list[bytes]] = [[] for _ in range(BANDS)]
    for start in range(0, len(normalised), _BATCH):
        matrix = RMinHash.digest_matrix_from_token_sets(pairs(normalised[start : start + _BATCH]), slots, _SEED)
        flat = array("I")
        for row in matrix.to_rows():
            flat.fromlist(row)
        # As one large number, all texts at once: every slot becomes itself XOR the next one, then XOR the next three.
        number = int.from_bytes(flat.tobytes(), "little")
        number ^= number >> _LANE
        number ^= number >> 2 * _LANE
        mixed = memoryview(number.to_bytes(4 * len(flat), "little")).cast("I")
        for band, parts in enumerate(bands):
            parts.append(mixed[band * _SLOTS :: slots].tobytes())
    return b"".join(map(b"".join, bands))
