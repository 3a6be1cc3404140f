"""How much two texts have in common, word by word, for the overlap metrics."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from finetune.characters import compatible
from finetune.words import MARKS, WORD

_ARTICLES = frozenset(("a", "an", "the"))


def tokens(text: str) -> list[str]:
    """Lower-case words (see finetune.words) and the signs that carry meaning, in order.

    Signs are an operator as a whole (`++`, `!=`, `->`), a minus before a number, `#` beside a letter, `%`, `&`, `@`,
    currency, every other symbol, and an emoji with all that belongs to it. Punctuation counts only where a text has
    nothing else. Full-width forms count as plain ones, see finetune.characters.
    """
    if not text.isascii():
        text = compatible(text).replace("\u2212", "-")
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
