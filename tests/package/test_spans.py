"""Entities have one place each in their text; what no answer could name is said, in scripts that set words apart."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.spans import in_text_order, odd_spans, spans


def entities(*texts: str, kind: str = "item") -> list[dict[str, str]]:
    return [{"type": kind, "text": text} for text in texts]


@pytest.mark.parametrize(
    ("text", "named", "places"),
    [
        ("a red lamp, a blue lamp", ("lamp", "lamp"), [(6, 10), (19, 23)]),
        ("start with art", ("art",), [(11, 14)]),
        ("start with art", ("art", "art"), [(11, 14), (2, 5)]),
        ("one lamp", ("lamp", "lamp"), [(4, 8), None]),
        ("one lamp", ("desk",), [None]),
        ("訂單訂單", ("訂單", "訂單"), [(0, 2), (2, 4)]),
    ],
)
def test_the_nth_mention_is_the_nth_occurrence_whole_words_first(text: str, named: Any, places: Any) -> None:
    assert spans(text, entities(*named)) == places


def test_one_text_of_two_types_has_one_place() -> None:
    both = [{"type": "name", "text": "May"}, {"type": "date", "text": "May"}]
    assert spans("May comes", both) == [(0, 3), (0, 3)] and not list(odd_spans("May comes", both))


def test_the_order_is_that_of_the_text() -> None:
    text = "two lamps and a desk lamp on Monday"
    wanted = entities("two", "desk lamp", "desk", "Monday")
    assert in_text_order(text, wanted[::-1]) == wanted
    assert in_text_order(text, entities("sofa", "Monday")) == entities("Monday", "sofa")


@pytest.mark.parametrize(
    ("text", "named", "codes"),
    [
        ("two lamps and one lamp", ("lamp",), []),
        ("two lamps", ("lamp",), ["W157"]),
        ("two lamps", ("lamp", "lamp"), ["E157", "W157"]),
        ("2kg of x2", ("2", "x"), []),
        ("order 12345", ("123",), ["W157"]),
        ("a red lamp", ("red ",), ["W158"]),
        ("a red lamp here", ("red lamp", "lamp here"), ["W159"]),
        ("a red lamp here", ("red lamp", "lamp"), []),
        ("我訂了兩盞檯燈", ("檯燈", "兩盞"), []),
        ("ハンドルを交換", ("ハンド",), []),
        ("ผมสั่งโคมไฟ", ("โคม",), []),
        ("ผมสั่งโคมไฟ", ("สั",), ["W157"]),
        ("서울에서 부산까지", ("서울", "부산"), []),
        ("سافر والقاهرة", ("القاهرة",), []),
        ("גר בתל אביב", ("תל אביב",), []),
        ("मुझे किताबें चाहिए", ("किताब",), ["W157"]),
        ("мои лампы", ("лампа", "ламп"), ["W157"]),
        ("eine Straßenlampe", ("Straße", "Lampe"), ["W157"]),
        ("İstanbul'da", ("İstanbul",), []),
        ("cafe\u0301 noir", ("cafe",), ["W157"]),
        ("👍🏽 lamp", ("👍",), []),
    ],
)
def test_what_is_odd_about_a_span(text: str, named: tuple[str, ...], codes: list[str]) -> None:
    assert [code for code, *_ in odd_spans(text, entities(*named))] == codes


def test_the_counts_are_named() -> None:
    (problem,) = odd_spans("one lamp", entities("lamp", "lamp", "lamp"))
    assert "annotated 3 times" in problem[1] and "1 time" in problem[1] and problem[2] == "remove 2 of them"


@given(st.text("ab ", max_size=12), st.lists(st.text("ab ", min_size=1, max_size=3), max_size=6))
def test_ordering_loses_nothing_and_is_stable(text: str, named: list[str]) -> None:
    once = in_text_order(text, entities(*named))
    assert sorted(e["text"] for e in once) == sorted(named) and in_text_order(text, once) == once
