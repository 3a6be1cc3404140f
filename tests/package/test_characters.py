"""The table of code points: whole, in order, complete by Unicode 16, and silent about everyday text of every script."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

import pytest
import unicodedata2
from hypothesis import given
from hypothesis import strategies as st

from bad_inputs import BAD, judge, places, row
from finetune.characters import (
    TABLE,
    Treatment,
    compatible,
    control,
    difference,
    hidden,
    is_blank,
    lost,
    skeleton,
    treatment,
)
from finetune.data.text_rules import normalise

EVERYDAY = {
    "English": "Don't “worry” — it’s a café; naïve…",
    "Chinese, traditional": "我要退貨，謝謝！",
    "Chinese, simplified": "我要退货，谢谢！",
    "Japanese": "返品をお願いします。ガギグ・ーー葛\U000e0100城",
    "Korean": "안녕하세요, 반갑습니다",
    "Hindi": "हिन्दी में लिखा क्‍ष र्‍य",
    "Tamil": "தமிழ் மொழி",
    "Thai": "ที่นี่ดี ๆ\u200bครับ",
    "Khmer": "ភាសា\u200bខ្មែរ",
    "Arabic": "مُحَمَّد قال",
    "Persian": "می‌خواهم PDF‌ها",
    "Hebrew": "שָׁלוֹם עולם ב\u05bc\u034f\u05b0",
    "Turkish": "ışık İstanbul'da",
    "German": "Straße, Größe",
    "Mongolian": "ᠠᠡ\u180b",
    "emoji": "I ❤️‍🔥 you 👨‍👩‍👧 👍🏽 1️⃣ 🇹🇼 🏴󠁧󠁢󠁥󠁮󠁧󠁿 ☎︎ ©️",
    "mathematics": "∩︀ 0︀",
    "line ends": "a\tb\r\nc\u0085d\u2028e",
}


@pytest.mark.parametrize("text", EVERYDAY.values(), ids=EVERYDAY)
def test_nothing_is_said_of_everyday_text(text: str) -> None:
    assert (hidden(text), control(text), lost(text), is_blank(text)) == ([], None, None, False)


def test_the_table_is_in_order_and_has_reasons() -> None:
    assert all(first <= last and why for first, last, _, why in TABLE)
    assert all(before[1] < after[0] for before, after in pairwise(TABLE))


def test_every_code_point_of_unicode_16_that_is_no_plain_text_has_a_treatment() -> None:
    assert unicodedata2.unidata_version == "16.0.0"
    kept = []
    for first, last, found, _ in [*TABLE, (0x110000, 0x110000, Treatment.KEEP, "")]:
        start = kept[-1][1] if kept else 0
        kept.append((start, last + 1, first, found))
    odd = {
        point
        for start, _, end, _ in kept
        for point in range(start, end)
        if unicodedata2.category(chr(point)) in ("Cc", "Cf", "Co", "Cs") and not 0xD800 <= point < 0xE000
    }
    # Signs of Arabic, Syriac and Kaithi numbers and of hieroglyphs are shown.
    shown = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD, *range(0x13430, 0x13440)}
    assert odd <= shown


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("a\u200bb", ["W117"]),
        ("a\u200db", ["W117"]),
        ("好\u200c好", ["W117"]),
        ("a\u034fb", ["W117"]),
        ("a\u3164b", ["W117"]),
        ("x\u202ey", ["E117"]),
        ("x\u2066y", ["E117"]),
        ("😀\ufe0f\ufe0f", ["E117"]),
        ("a\ufe0f", ["E117"]),
        ("x\ufe00", ["E117"]),
        ("\ufe0f", ["E117"]),
        ("😀" + "".join(chr(0xE0100 + byte) for byte in b"ignore"), ["E117"]),
        ("葛\U000e0100\U000e0101", ["E117"]),
        ("hi" + "\u2062\u2064" * 4, ["E117"]),
        ("hi" + "\u200b\u200c\u200d" * 3, ["E117"]),
        ("\ufff9a\ufffab\ufffb", ["E117"]),
        ("a\U000e0041", ["E117"]),
        ("🏴" + "".join(chr(0xE0000 + byte) for byte in b"ignore all of it") + "\U000e007f", ["E117"]),
        ("a\U000e0fff", ["E117"]),
    ],
)
def test_what_hides_is_refused_and_what_is_unseen_is_said(text: str, codes: list[str]) -> None:
    assert [code for code, *_ in hidden(text)] == codes


@pytest.mark.parametrize(
    "text",
    ["\u3164", "\u2800\u2800", "\u115f\u1160", "\ufe0f", "\u034f", "\u00ad", "\u200b \u3000", "\u2065", "\uffa0"],
)
def test_what_shows_nothing_is_blank(text: str) -> None:
    assert is_blank(text) and not is_blank(f"{text}a")


def test_lost_and_control_signs() -> None:
    assert [lost(sign) for sign in "\ufffd\ufffc\ue000\ufdd0\U0010fffe"] == list("\ufffd\ufffc\ue000\ufdd0\U0010fffe")
    assert all(control(chr(point)) for point in (*range(0x80, 0x85), *range(0x86, 0xA0))) and not control("\u0085")
    assert treatment("\u00ad") == (Treatment.INVISIBLE, "soft hyphen, of web pages")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("ＡＢ１", "ab1", True),
        ("CO₂", "CO2", True),
        ("10²", "102", False),
        ("①②", "12", False),
        ("1½", "11/2", False),
        ("❤️", "❤", True),
        ("soft\u00adware", "software", True),
        ("a\u200bb", "ab", True),
        ("می‌خواهم", "میخواهم", False),
        ("ışık", "işik", False),
        ("Straße", "STRASSE", True),
        ("café", "cafe\u0301", True),
        ("👨‍👩‍👧", "👨👩👧", False),
    ],
)
def test_what_is_one_example(one: str, other: str, same: bool) -> None:
    assert (normalise(one) == normalise(other)) == same


@given(st.text(max_size=30))
def test_comparing_twice_changes_nothing_more(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once and compatible(compatible(text)) == compatible(text)


def test_names_that_look_alike() -> None:
    for one in ("b\u0456lling", "billing ", "Bi\u00adlling", "ｂｉｌｌｉｎｇ", "billin\u200bg"):
        assert skeleton(one) == skeleton("billing") == "billing"
    assert skeleton("o1") != skeleton("ol") and skeleton("оплата") != skeleton("оплаты")
    assert difference("b\u0456lling", "billing") == "U+0456 where the other has U+0069, at character 2"


def test_two_labels_that_look_alike_are_refused(make_project) -> None:
    from finetune.errors import BadInput

    for twin in ("b\u0456lling", "café", "ｂｉｌｌｉｎｇ"):
        known = "billing" if twin != "café" else "cafe\u0301"
        labels = [{"name": name, "description": "x"} for name in (known, twin)]
        with pytest.raises(BadInput) as failure:
            make_project(task={"output": {"labels": labels}})
        (problem,) = failure.value.problems.errors
        assert problem.code == "E217" and "looks like" in problem.message and "U+" in problem.message


def test_an_unknown_label_that_looks_known_names_the_code_point(make_project, capsys) -> None:
    project = make_project()
    (project.paths.raw / "bad.jsonl").write_bytes(row(label="b\u0456lling"))
    _, problems, _ = judge(project.paths.root, capsys)
    assert places(problems) == [("E135", BAD, 1)] and "U+0456 where the other has U+0069" in problems[0]["fix"]


def test_this_python_agrees_on_what_is_composed() -> None:
    """The normal forms of assigned characters never change, so an older table gives the same."""
    assert unicodedata.normalize("NFC", "e\u0301") == unicodedata2.normalize("NFC", "e\u0301")
