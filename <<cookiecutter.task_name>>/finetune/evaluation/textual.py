"""Words of any language for the overlap metrics; Chinese and Japanese have no spaces, so each character is a token."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

_CJK = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_TOKEN = re.compile(f"[{_CJK}]|[^\\W{_CJK}]+")
_ARTICLES = frozenset(("a", "an", "the"))


def tokens(text: str) -> list[str]:
    """Lower-case words without punctuation; every Han and kana character alone. NFKC first (full-width forms)."""
    return _TOKEN.findall(unicodedata.normalize("NFKC", text).lower())


def token_f1(predicted: str, reference: str) -> float:
    """Bag-of-words F1 as SQuAD scores answers (Rajpurkar et al. 2016): no case, punctuation or English articles."""
    found, wanted = _content(predicted), _content(reference)
    if not found or not wanted:
        return float(found == wanted)
    common = sum((Counter(found) & Counter(wanted)).values())
    return 2 * common / (len(found) + len(wanted))


def _content(text: str) -> Sequence[str]:
    return [token for token in tokens(text) if token not in _ARTICLES]


def same_text(predicted: str, reference: str) -> bool:
    """Equal up to Unicode composition and the amount of white space."""
    return _canonical(predicted) == _canonical(reference)


def _canonical(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())
