"""Words are whole in every script: marks belong to their letters, and every place that compares words cuts alike."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.scan.near_duplicates import pairs
from finetune.data.text_rules import normalise
from finetune.evaluation.textual import token_f1, tokens
from finetune.github.data_pr.phrases import _phrases
from finetune.words import split_words

TEXTS = {
    "हिन्दी में लिखा": ["हिन्दी", "में", "लिखा"],
    "தமிழ் மொழி": ["தமிழ்", "மொழி"],
    "مُحَمَّد قال": ["مُحَمَّد", "قال"],
    "שָׁלוֹם עולם": ["שָׁלוֹם", "עולם"],
    "می‌خواهم": ["می\u200cخواهم"],
    "ที่ดี ๆ": ["ที่", "ดี", "ๆ"],
    "ភាសាខ្មែរ។": ["ភា", "សា", "ខ្", "មែ", "រ"],
    "မြန်မာစာ၊": ["မြ", "န်", "မာ", "စာ"],
    "中文ab12・カー": ["中", "文", "ab12", "カ", "ー"],
    "한국어 문장": ["한국어", "문장"],
    "x\u0331y z": ["x\u0331y", "z"],
    "snake_case, 1.5 [x] \\": ["snake", "case", "1", "5", "x"],
    "❤️ 👍🏽 !": [],
    "𠮷野家": ["𠮷", "野", "家"],
}


@pytest.mark.parametrize(("text", "wanted"), TEXTS.items())
def test_words_of_every_script(text: str, wanted: list[str]) -> None:
    assert split_words(text) == wanted


@pytest.mark.parametrize("text", [text for text, wanted in TEXTS.items() if wanted])
def test_metrics_near_duplicates_and_phrases_cut_alike(text: str) -> None:
    normal = normalise(text)
    words = split_words(normal)
    assert pairs([normal])[0] == [before + word for before, word in pairwise(["$", *words, "$"])]
    assert words == tokens(text)
    assert {word for word in _phrases(text) if isinstance(word, str)} == set(words)


def test_another_vowel_sign_is_another_word() -> None:
    """Cut at its marks, a Hindi word would share its consonants with every other one."""
    assert token_f1("में", "मैं") == 0.0 and token_f1("हिन्दी में", "हिन्दी मैं") == pytest.approx(0.5)


@given(st.text())
def test_no_letter_is_lost_and_no_mark_leaves_its_word(text: str) -> None:
    text = "".join(sign for sign in text if sign < "\U00020000")  # beyond it, signs count before Python knows them
    found = "".join(split_words(text))
    kinds = [unicodedata.category(sign)[0] for sign in found if sign not in "\u200c\u200d"]
    assert set(kinds) <= set("LMN") and sum(sign.isalnum() for sign in found) == sum(sign.isalnum() for sign in text)
