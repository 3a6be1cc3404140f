"""How much two texts have in common, word by word, for the overlap metrics."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

from finetune.words import split_words

_ARTICLES = frozenset(("a", "an", "the"))


def tokens(text: str) -> list[str]:
    """Lower-case words, see finetune.words. NFKC first (full-width forms)."""
    return split_words(unicodedata.normalize("NFKC", text).lower())


def token_f1(predicted: str, reference: str) -> float:
    """Bag-of-words F1 as SQuAD scores answers (Rajpurkar et al. 2016): no case, punctuation or English articles."""
    got, wanted = _content(predicted), _content(reference)
    if not got or not wanted:
        return float(got == wanted)
    common = sum((Counter(got) & Counter(wanted)).values())
    return 2 * common / (len(got) + len(wanted))


def _content(text: str) -> Sequence[str]:
    return [token for token in tokens(text) if token not in _ARTICLES]


def same_text(predicted: str, reference: str) -> bool:
    """Equal up to Unicode composition and the amount of white space."""
    return _canonical(predicted) == _canonical(reference)


def _canonical(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())
