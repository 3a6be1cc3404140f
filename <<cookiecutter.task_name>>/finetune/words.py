"""The words of a text in any script: what metrics, near-duplicates and the search for phrases compare.

A word is a run of letters and digits with the marks that belong to them: vowel signs and viramas of Indic scripts,
Arabic and Hebrew points, accents that stand alone. Scripts written without spaces between words (Chinese, kana, Thai,
Lao, Burmese, Khmer) count sign by sign, each with its marks. Punctuation, symbols and underscores are in no word.
"""

from __future__ import annotations

import re
import unicodedata

_HAN = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_BLOCKS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff"
"""Thai and Lao, Burmese, Khmer, kana: beside letters they hold marks and punctuation."""
_JOINERS = "\u200c\u200d"


def _marks() -> str:
    """Unicode's marks (Mn, Mc, Me) as ranges: below U+20000, and the selectors of variants in a plane of their own."""
    runs: list[list[int]] = []
    for point in range(0x300, 0x20000):
        if unicodedata.category(chr(point))[0] == "M":
            if runs and runs[-1][1] == point - 1:
                runs[-1][1] = point
            else:
                runs.append([point, point])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in runs) + "\U000e0100-\U000e01ef"


_OF_BLOCKS = re.compile(f"[{_BLOCKS}]")
SINGLE = _HAN + "".join(sign for sign in map(chr, range(0xE00, 0x3200)) if sign.isalnum() and _OF_BLOCKS.match(sign))
"""Letters that count one by one, as the inside of a character class."""
MARKS = _marks()
"""Signs that belong to the letter or symbol before them, as the inside of a character class."""
# The whole blocks instead of their letters: Python looks through a negated class range by range.
_LETTER = f"[^\\W_{_HAN}{_BLOCKS}]"
WORD = f"[{SINGLE}][{MARKS}]*|{_LETTER}+(?:[{MARKS}{_JOINERS}]+{_LETTER}*)*"
"""One word, as a regular expression."""
_WORD = re.compile(WORD)


def split_words(text: str) -> list[str]:
    """The words of `text` in order. Case and Unicode normal form are the caller's, who knows what counts as equal."""
    return _WORD.findall(text)
