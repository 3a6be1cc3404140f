"""Scripts of the rows against the declared language: counts, Simplified Chinese, and the two warnings."""

from __future__ import annotations

import json
import pickle
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bad_inputs import judge
from finetune.data.languages import SCRIPTS, LanguageCounts, is_traditional, script_of, simplified_only
from finetune.data.report.facts import language_sentences
from finetune.data.report.schema import Languages
from repository import SAMPLES

FILES = sorted(SAMPLES.glob("*.jsonl"))
"""Of the template; a generated repository keeps none."""
TRADITIONAL = "退款、發票與價差的問題,包裹在哪裡、何時會到?"
SIMPLIFIED = "退款、发票与价差的问题,包裹在哪里、什么时候到?"
JAPANESE = [
    "荷物はどこですか。届け先の区を変更したいです。",
    "会社の国際電話の番号を教えてください。",
    "数学と写真が趣味です。",
    "桜の枝が乱れて横に倒れている。",
    "来週の点検の当番は誰ですか。",
    "昨日の残業は大変でした。",
]


def counted(*texts: str) -> LanguageCounts:
    made, together = LanguageCounts(), LanguageCounts()
    for text in texts:
        made.add(text)
    together.add_all(texts)
    assert made == together
    return made


@pytest.mark.parametrize(
    ("text", "scripts"),
    [
        ("where is it", {"Latin"}),
        ("12345", {"Latin"}),
        ("où est-il", {"Latin"}),
        (TRADITIONAL, {"Han"}),
        ("Tracking 一直沒更新", {"Han", "Latin"}),
        ("ＡＢＣ 好", {"Han", "Latin"}),
        ("荷物はどこ", {"Han", "Kana"}),
        ("ﾆﾓﾂ", {"Kana"}),
        ("约翰・史密斯", {"Han"}),
        ("택배가 어디", {"Hangul"}),
        ("где посылка", {"other"}),
        ("أين الطرد", {"other"}),
        ("สวัสดี 好", {"other", "Han"}),
        ("😀 … 「」", set()),
        ("𠮷野家", {"Han"}),
    ],
)
def test_a_row_counts_for_each_of_its_scripts(text: str, scripts: set[str]) -> None:
    made = counted(text)
    assert {name for name, rows in made.scripts.items() if rows} == scripts
    assert tuple(made.scripts) == SCRIPTS and set(made.scripts.values()) <= {0, 1}


@given(st.text(alphabet=st.characters(categories=["Lu", "Ll", "Lo", "Lm"]), min_size=1))
def test_every_letter_is_of_some_script(text: str) -> None:
    assert any(counted(text).scripts.values())


@given(st.characters(categories=["Lu", "Ll", "Lo", "Lm"], min_codepoint=128))
def test_the_scripts_are_those_of_the_characters_names(character: str) -> None:
    found = {name for name, rows in counted(character).scripts.items() if rows}
    name = unicodedata.name(character, "")
    for start, script in (
        ("CJK UNIFIED", "Han"),
        ("CJK COMPAT", "Han"),
        ("HIRAGANA LETTER", "Kana"),
        ("KATAKANA LETTER", "Kana"),
        ("HANGUL SYLLABLE", "Hangul"),
        ("CYRILLIC", "other"),
        ("GREEK", "other"),
        ("ARABIC", "other"),
        ("LATIN CAPITAL", "Latin"),
        ("LATIN SMALL LETTER A", "Latin"),
    ):
        if name.startswith(start) and not name.endswith(("SIGN", "MARK")):
            assert found == {script}, name


def test_han_and_a_latin_word_are_a_mixed_row() -> None:
    texts = ["Tracking 沒更新", "A 型", "App 打不開", "只有中文", "only English", "où 好"]
    assert [counted(text).mixed for text in texts] == [1, 0, 1, 0, 0, 1]


@pytest.mark.parametrize("file", [pytest.param(file, id=file.name) for file in FILES])
def test_the_samples_fit_their_language_and_hold_nothing_simplified(file: Path) -> None:
    declared = file.name.split(".")[1]
    texts = [text for line in file.read_text(encoding="utf-8").splitlines() for text in _texts(json.loads(line))]
    made = counted(*texts)
    assert made.simplified == 0 and made.warnings(declared) == []
    assert made.scripts["Han" if declared == "zh-TW" else "Latin"] > 0.9 * len(texts)


def _texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for inner in value.values() for text in _texts(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in _texts(inner)]
    return [str(value)] if str(value)[0] > "\x7f" or " " in str(value) else []


def test_simplified_characters_are_those_that_traditional_chinese_does_not_write() -> None:
    assert set("们说时问简让请谢单应货") <= simplified_only()
    assert not simplified_only() & set(TRADITIONAL + "台灣里長什麼游泳後面乾淨群峰才夠着床")
    assert 1500 < len(simplified_only()) < 3000


@pytest.mark.parametrize("text", JAPANESE)
def test_japanese_is_not_taken_for_simplified_chinese(text: str) -> None:
    assert counted(text).simplified == 0


def test_simplified_rows_are_counted() -> None:
    assert counted(SIMPLIFIED, TRADITIONAL, "hello", "简体").simplified == 2


@pytest.mark.parametrize(
    ("language", "script"),
    [
        ("zh-TW", "Han"), ("zh", "Han"), ("yue", "Han"), ("ja", "Kana"), ("ko-KR", "Hangul"), ("en", "Latin"),
        ("de-CH", "Latin"), ("fr", "Latin"), ("ru", None), ("ar", None), ("th", None), ("hi", None), ("sr", None),
        ("sr-Latn", "Latin"), ("zh-Latn", "Latin"), ("sr-Cyrl", None), ("zh-Hant-HK", "Han"),
    ],
)  # fmt: skip
def test_the_script_of_a_language(language: str, script: str | None) -> None:
    assert script_of(language) == script


@pytest.mark.parametrize(
    ("language", "traditional"),
    [
        ("zh-TW", True), ("zh-Hant", True), ("zh-hant-hk", True), ("zh-HK", True), ("zh-MO", True), ("zh", False),
        ("zh-CN", False), ("zh-Hans-HK", False), ("ja", False), ("en-TW", False),
    ],
)  # fmt: skip
def test_traditional_chinese_by_its_tag(language: str, traditional: bool) -> None:
    assert is_traditional(language) == traditional


@pytest.mark.parametrize(
    ("declared", "texts", "codes"),
    [
        ("zh-TW", [TRADITIONAL] * 95 + [SIMPLIFIED] * 5, []),
        ("zh-TW", [TRADITIONAL] * 94 + [SIMPLIFIED] * 6, ["W154"]),
        ("zh-CN", [SIMPLIFIED] * 9, []),
        ("zh-TW", [TRADITIONAL, "hello"], []),
        ("zh-TW", [TRADITIONAL, "hello", "hello"], ["W153"]),
        ("en", [TRADITIONAL] * 3, ["W153"]),
        ("ja", [TRADITIONAL] * 3, ["W153"]),
        ("ja", JAPANESE, []),
        ("ko", ["hello"], ["W153"]),
        ("ru", ["hello"], []),
        ("en", [], []),
    ],
)
def test_what_does_not_fit_the_declared_language_is_a_warning(declared: str, texts: list[str], codes: list[str]):
    found = counted(*texts).warnings(declared)
    assert [code for code, *_ in found] == codes
    assert all(declared in message for _, message, _ in found)


@given(st.lists(st.sampled_from([TRADITIONAL, SIMPLIFIED, "hello", *JAPANESE, "где", "App 好"])), st.integers(0, 9))
def test_parts_add_up_to_the_whole(texts: list[str], cut: int) -> None:
    first, second = counted(*texts[:cut]), counted(*texts[cut:])
    first.merge(pickle.loads(pickle.dumps(second)))
    assert first == counted(*texts)


def test_the_report_has_the_counts_and_the_whole_data_the_warning(make_project, capsys) -> None:
    project = make_project(language="zh-TW")
    code, problems, _ = judge(project.paths.root, capsys)
    assert code == 0 and [(p["code"], p["path"], p["line"]) for p in problems] == [("W153", "data/raw", None)]
    report = json.loads(project.paths.data_report_json.read_text(encoding="utf-8"))
    assert report["languages"] == {
        "declared": "zh-TW",
        "scripts": {"Han": 0, "Latin": 60, "Kana": 0, "Hangul": 0, "other": 0},
        "mixed": 0,
        "simplified": 0,
        "rows": 60,
    }


def test_rows_of_two_scripts_are_counted_once() -> None:
    """36 rows of 190 are not 36 of 229."""
    counts = LanguageCounts()
    counts.add_all(["退貨 refund"] * 36 + ["退貨"] * 100 + ["refund"] * 54)
    found = Languages("zh-TW", counts.scripts, counts.mixed, counts.simplified, counts.rows)
    assert language_sentences(found) == ["36 rows of 190 mix scripts."]


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        ("en", "Where is my parcel?"),
        ("zh-TW", "我要退貨，謝謝"),
        ("zh-CN", "我要退货，谢谢"),
        ("ja", "返品をお願いします"),
        ("ko", "반품하고 싶습니다"),
        ("hi", "मेरा पार्सल कहाँ है"),
        ("ta", "என் பார்சல் எங்கே"),
        ("th", "พัสดุของฉันอยู่ที่ไหน"),
        ("ar", "أين طردي"),
        ("he", "איפה החבילה שלי"),
        ("tr", "Kargom ışık gibi İzmir'e gitti"),
        ("de", "Straße, Größe, Maße"),
    ],
)
def test_everyday_text_fits_its_language(declared: str, text: str) -> None:
    counts = LanguageCounts()
    counts.add_all([text] * 20)
    assert counts.warnings(declared) == []


def test_an_answer_in_the_declared_language_is_part_of_its_row(make_project, capsys) -> None:
    rows = [{"input": f"translate word {n}", "output": f"第{n}個詞"} for n in range(60)]
    project = make_project("generation", language="zh-TW", rows=rows)
    assert judge(project.paths.root, capsys)[1] == []
