"""How much two texts have in common, word by word, for the overlap metrics."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from finetune.words import MARKS, WORD

_ARTICLES = frozenset(("a", "an", "the"))
_IGNORED = re.compile("[\u00ad\u180e\u200b\u200e\u200f\u2060-\u2064\ufeff\ufe0e\ufe0f]")
"""What nobody sees: soft hyphens, marks of direction, the choice between an emoji's two pictures."""
_UNLIKE = ("<super>", "<sub>", "<fraction>", "<circle>")
"""Compatibility forms that must not grow together with a digit: 10² is not 102, 1½ not 11/2; CO₂ is CO2."""


def tokens(text: str) -> list[str]:
    """Lower-case words (see finetune.words) and the signs that carry meaning, in order.

    Signs are an operator as a whole (`++`, `!=`, `->`), a minus before a number, `#` beside a letter, `%`, `&`, `@`,
    currency, every other symbol, and an emoji with all that belongs to it. Punctuation counts only where a text has
    nothing else. NFKC comes first (full-width forms); a superscript or fraction beside a digit stays apart from it.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", _unlike().sub(r"\g<0> ", _IGNORED.sub("", text))).replace("\u2212", "-")
    text = text.lower()
    return _token().findall(text) or re.findall(rf"\S[{MARKS}]*", text)


@lru_cache(maxsize=1)
def _token() -> re.Pattern[str]:
    symbols = "".join(
        re.escape(sign) for sign in map(chr, range(0x20000)) if unicodedata.category(sign)[0] == "S" and sign != "`"
    )
    pictures = "\U0001f000-\U0001faff"  # emoji of Unicode 16 too, which Python does not know yet
    flag = "[\U0001f1e6-\U0001f1ff]{2}"
    picture = rf"[{symbols}{pictures}][{MARKS}\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]*"
    operator = r"[!:?*/-]*[<>=+|^~]+[*/]*"
    number_sign = rf"(?<=\w)\#|\#(?=\w)|(?<![\w{MARKS})\]])[-\u2013](?=\.?\d)"
    return re.compile(rf"{WORD}|{operator}|{number_sign}|[%&@‰]|{flag}|{picture}(?:\u200d{picture})*")


@lru_cache(maxsize=1)
def _unlike() -> re.Pattern[str]:
    signs = "".join(sign for sign in map(chr, range(0x20000)) if unicodedata.decomposition(sign).startswith(_UNLIKE))
    return re.compile(rf"[\d{signs}](?=[{signs}])|[{signs}](?=\d)")


def token_f1(predicted: str, reference: str) -> float:
    """Bag-of-words F1 as SQuAD scores answers (Rajpurkar et al. 2016): no case, punctuation or English articles.

    Signs that carry meaning count, see `tokens`.
    """
    got, wanted = _content(predicted), _content(reference)
    if not got or not wanted:
        return float(got == wanted)
    common = sum((Counter(got) & Counter(wanted)).values())
    return 2 * common / (len(got) + len(wanted))


def _content(text: str) -> Sequence[str]:
    found = tokens(text)
    return [token for token in found if token not in _ARTICLES] or found


def same_text(predicted: str, reference: str) -> bool:
    """Equal up to Unicode composition and the amount of white space."""
    return canonical(predicted) == canonical(reference)


def canonical(text: str) -> str:
    """The form in which two texts are the same: NFC, runs of white space as one space, none outside."""
    return " ".join(unicodedata.normalize("NFC", text).split())
