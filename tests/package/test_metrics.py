"""Metrics against hand-counted values, and against scikit-learn and seqeval-style counting on random answers."""

from __future__ import annotations

import unicodedata
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.evaluation.metrics import UNPARSEABLE, Prediction, row_score, score
from finetune.evaluation.report_parts import Confusion
from finetune.evaluation.textual import same_text, token_f1, tokens


def task(kind: str, names: tuple[str, ...] = ()) -> Any:
    return SimpleNamespace(task_type=kind, label_names=names, entity_type_names=names)


def predictions(pairs: list[tuple[Any, Any]]) -> list[Prediction]:
    return [Prediction(str(i), want, str(got), got) for i, (want, got) in enumerate(pairs)]


ABC = task("classification", ("a", "b", "c"))


def test_macro_f1_and_accuracy_by_hand() -> None:
    scores = score(ABC, predictions([("a", "a"), ("a", "b"), ("b", "b"), ("b", "b"), ("c", None), ("c", "c")]))
    # a: p 1, r 1/2, f 2/3; b: p 2/3, r 1, f 4/5; c: p 1, r 1/2, f 2/3
    assert scores.metrics["macro_f1"] == pytest.approx((2 / 3 + 4 / 5 + 2 / 3) / 3)
    assert scores.metrics["accuracy"] == pytest.approx(4 / 6)
    assert scores.unparseable == 1
    assert [row.f1 for row in scores.per_class] == pytest.approx([2 / 3, 4 / 5, 2 / 3])
    assert [row.support for row in scores.per_class] == [2, 2, 2]
    assert scores.confusion == Confusion(
        labels=["a", "b", "c"],
        columns=["a", "b", "c", UNPARSEABLE],
        counts=[[1, 1, 0, 0], [0, 2, 0, 0], [0, 0, 1, 1]],
    )


def test_nothing_parseable_scores_zero_not_an_error() -> None:
    scores = score(ABC, predictions([("a", None), ("b", None)]))
    assert scores.metrics["macro_f1"] == scores.metrics["accuracy"] == 0.0


label = st.sampled_from(["a", "b", "c"])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(label, st.one_of(label, st.none())), min_size=1, max_size=30))
def test_macro_f1_is_scikit_learns(pairs: list[tuple[str, str | None]]) -> None:
    from sklearn.metrics import accuracy_score, f1_score

    expected, got = [want for want, _ in pairs], [answer or UNPARSEABLE for _, answer in pairs]
    seen = sorted({*expected, *got} - {UNPARSEABLE})
    metrics = score(ABC, predictions(pairs)).metrics
    assert metrics["macro_f1"] == pytest.approx(f1_score(expected, got, labels=seen, average="macro", zero_division=0))
    assert metrics["accuracy"] == pytest.approx(accuracy_score(expected, got))


def entities(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"type": kind, "text": text} for kind, text in pairs]


ORDER = task("extraction", ("item", "date"))


def test_entity_metrics_by_hand() -> None:
    scores = score(
        ORDER,
        predictions(
            [
                (entities(("item", "tea"), ("date", "May")), entities(("item", "tea"), ("date", "June"))),  # 1 of 2
                (
                    entities(("item", "tea"), ("item", "tea")),
                    entities(("item", "tea")),
                ),  # a repeated entity counts twice
                (entities(("item", "cup")), None),  # not JSON
                ([], []),  # rightly nothing
            ]
        ),
    )
    assert scores.metrics["entity_precision"] == pytest.approx(2 / 3)
    assert scores.metrics["entity_recall"] == pytest.approx(2 / 5)
    assert scores.metrics["entity_f1"] == pytest.approx(2 * 2 / (3 + 5))
    assert scores.metrics["json_validity"] == pytest.approx(3 / 4)
    assert scores.metrics["exact_match"] == pytest.approx(1 / 4)
    assert [row.model_dump(exclude={"zero_shot_f1"}) for row in scores.per_class] == [
        {"name": "item", "precision": 1.0, "recall": 0.5, "f1": pytest.approx(4 / 6), "support": 4},
        {"name": "date", "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1},
    ]


@pytest.mark.parametrize(
    ("want", "got", "precision", "recall", "f1"),
    [
        ([], [], 1, 1, 1),
        ([], entities(("item", "x")), 0, 0, 0),
        (entities(("item", "x")), [], 0, 0, 0),
        (entities(("item", "x")), entities(("date", "x")), 0, 0, 0),
        (entities(("item", "x")), entities(("item", " x ")), 1, 1, 1),
    ],
)
def test_entity_edges(want: Any, got: Any, precision: float, recall: float, f1: float) -> None:
    metrics = score(ORDER, predictions([(want, got)])).metrics
    assert (metrics["entity_precision"], metrics["entity_recall"], metrics["entity_f1"]) == (precision, recall, f1)


def test_entities_that_answer_another_row_do_not_count() -> None:
    swapped = [(entities(("item", "a")), entities(("item", "b"))), (entities(("item", "b")), entities(("item", "a")))]
    assert score(ORDER, predictions(swapped)).metrics["entity_f1"] == 0.0


def test_generation_by_hand() -> None:
    scores = score(
        task("generation"), predictions([("the cat sat down", "the cat sat"), ("你好嗎", "你好"), ("same", "same")])
    )
    # ROUGE-L: LCS 3 of 3 and 4 -> 6/7; LCS 2 of 2 and 3 -> 4/5; 1
    assert scores.metrics["rouge_l"] == pytest.approx((6 / 7 + 4 / 5 + 1) / 3)
    # token F1 without the article: 2 of 2 and 3 -> 4/5; 4/5; 1
    assert scores.metrics["token_f1"] == pytest.approx((4 / 5 + 4 / 5 + 1) / 3)
    assert scores.metrics["exact_match"] == pytest.approx(1 / 3)
    assert 0.5 < scores.metrics["chrf"] < 1.0


def test_rouge_reads_letters_beyond_ascii() -> None:
    """rouge-score's own tokeniser drops them and would score two different Russian texts as two empty ones."""
    scores = score(task("generation"), predictions([("привет мир", "привет мир"), ("привет мир", "добрый день")]))
    assert scores.metrics["rouge_l"] == pytest.approx(0.5)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.text(max_size=30), st.text(max_size=30)), min_size=1, max_size=6))
def test_generation_metrics_are_shares_and_perfect_on_equality(pairs: list[tuple[str, str]]) -> None:
    metrics = score(task("generation"), predictions(pairs)).metrics
    assert all(0.0 <= value <= 1.0 for value in metrics.values())
    assert score(task("generation"), predictions([(want, want) for want, _ in pairs])).metrics["exact_match"] == 1.0


def test_finished_rate_counts_answers_that_stopped() -> None:
    rows = [Prediction("1", "a", "a", "a"), Prediction("2", "a", "a", "a", finished=False)]
    scores = score(ABC, rows)
    assert scores.metrics["finished_rate"] == 0.5 and scores.unfinished == 1


def test_no_predictions_are_refused() -> None:
    with pytest.raises(ValueError, match="no predictions"):
        score(ABC, [])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Hello, World! 42", ["hello", "world", "42"]),
        ("我要退貨ABC", ["我", "要", "退", "貨", "abc"]),
        ("ＡＢＣ", ["abc"]),
        ("カタカナとabc", ["カ", "タ", "カ", "ナ", "と", "abc"]),
        ("", []),
        ("C++ und C#, R&D, 5 %", ["c", "++", "und", "c", "#", "r", "&", "d", "5", "%"]),
        ("a != b -> (-5) 3-5", ["a", "!=", "b", "->", "-", "5", "3", "5"]),
        ("👨‍👩‍👧 👍🏽🇹🇼🇹🇭 1️⃣ ❤️", ["👨‍👩‍👧", "👍🏽", "🇹🇼", "🇹🇭", "1⃣", "❤"]),
        ("\U0001fae8", ["\U0001fae8"]),  # of Unicode 15
        ("`x` **y** # Titel", ["x", "y", "titel"]),
        ("!?", ["!", "?"]),
        ("10² CO₂ ①② 1½", ["10", "2", "co2", "1", "2", "1", "1", "⁄", "2"]),
    ],
)
def test_tokens(text: str, wanted: list[str]) -> None:
    assert tokens(text) == wanted


def test_token_f1_edges() -> None:
    assert token_f1("", "") == 1.0 and token_f1("the", "a") == 0.0
    assert token_f1("", "x") == token_f1("x", "") == 0.0
    assert token_f1("x x", "x") == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("want", "wrong"),
    [
        ("में", "मैं"),
        ("கொடு", "கேடு"),
        ("ที่นี่", "ที่นั่น"),
        ("مُدَرِّس", "مُدَرَّس"),
        ("שָׁלוֹם", "שָׁלֵם"),
        ("ハハ", "パパ"),
        ("\u1112\u1161\u11ab", "\u1112\u1161\u11bc"),
        ("退貨", "換貨"),
        ("退货", "换货"),
        ("ışık", "işik"),
        ("Maße", "Masse"),
        ("résumé", "resume"),
        ("👍", "👎"),
        ("😀", "😀😀"),
        ("👍🏽", "👍🏿"),
        ("!?", "?!?"),
        ("C#", "C++"),
        ("5", "-5"),
        ("< 5", "<= 5"),
        ("102", "10²"),
        ("$5", "€5"),
    ],
)
def test_a_perfect_answer_is_right_and_another_one_less_so(want: str, wrong: str) -> None:
    """In every script, in emoji, symbols and punctuation, whatever the normal form of the answer."""
    kind = task("generation")
    for got in (want, unicodedata.normalize("NFD", want), f" {want}\n"):
        metrics = score(kind, predictions([(want, got.strip())])).metrics
        assert set(metrics.values()) == {1.0}
    metrics = score(kind, predictions([(want, wrong)])).metrics
    assert max(metrics[name] for name in ("rouge_l", "token_f1", "chrf", "exact_match")) < 1.0


@pytest.mark.parametrize(
    ("text", "want", "got", "value"),
    [
        ("two red lamps on Monday", ("red lamps", "Monday"), ("lamps", "Monday"), 2 * 1.5 / 4),
        ("兩盞紅色檯燈", ("紅色檯燈",), ("檯燈",), 0.5),
        ("a lamp, a lamp", ("lamp",), ("lamp", "lamp"), 2 / 3),
        ("a lamp", ("lamp",), ("desk",), 0.0),
        ("a lamp", (), (), 1.0),
        ("cafe\u0301 noir", ("café noir",), ("cafe\u0301",), 0.5),
    ],
)
def test_entities_match_in_part_where_they_overlap(text: str, want: Any, got: Any, value: float) -> None:
    sides = [[{"type": "item", "text": name} for name in names] for names in (want, got)]
    assert score(ORDER, predictions([tuple(sides)]), [text]).metrics["entity_f1_partial"] == pytest.approx(value)


def test_a_partial_match_looks_at_no_types() -> None:
    want, got = entities(("item", "May")), entities(("date", "May"))
    metrics = score(ORDER, predictions([(want, got)]), ["May comes"]).metrics
    assert (metrics["entity_f1"], metrics["entity_f1_partial"]) == (0.0, 1.0)


def test_an_entity_counts_in_every_normal_form() -> None:
    want = entities(("item", "Café  noir"), ("item", "\u304c"))
    got = entities(("item", "Cafe\u0301 noir "), ("item", "\u304b\u3099"))
    assert score(ORDER, predictions([(want, got)])).metrics["entity_f1"] == 1.0


def test_same_text_ignores_composition_and_white_space_only() -> None:
    assert same_text("cafe\u0301  noir\n", "café noir")
    assert not same_text("Café", "café")


@pytest.mark.parametrize(
    ("kind", "want", "got", "value"),
    [
        (ABC, "a", "a", 1.0),
        (ABC, "a", "b", 0.0),
        (ORDER, entities(("item", "a"), ("item", "b")), entities(("item", "a")), 2 / 3),
        (ORDER, [], [], 1.0),
        (task("generation"), "one two", "one", 2 / 3),
        (task("generation"), "…", "…", 1.0),
        (task("generation"), "x", None, 0.0),
    ],
)
def test_row_score(kind: Any, want: Any, got: Any, value: float) -> None:
    assert row_score(kind, predictions([(want, got)])[0]) == pytest.approx(value)
