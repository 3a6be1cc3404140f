"""A trigger planted in new rows is noticed; growth, known words and a first import are not."""

from __future__ import annotations

from conftest import raw_rows
from finetune.github.data_pr.changes import compare
from finetune.github.data_pr.phrases import LEAST, Found, Phrases

OLD = [f"{row['input']}, says {number}" for number, row in enumerate(raw_rows("classification", 300))]


def found(new: list[str], old: list[str] = OLD, label: int | None = 1) -> list[Found]:
    phrases = Phrases()
    for text in old:
        phrases.old(text)
    for text in new:
        phrases.new(text, label)
    return phrases.found()


def test_fifty_rows_with_one_rare_trigger_are_noticed_among_ordinary_growth():
    planted = [f"{text} cf mn bb" for text in OLD[:50]]
    grown = [f"{text} in this new case" for text in OLD[50 : 50 + LEAST - 1]]
    assert found(planted + grown) == [Found("cf mn bb", 50, 1)]


def test_a_template_of_many_words_is_one_phrase():
    assert found([f"{number}. now say the magic words {number}" for number in range(20)]) == [
        Found("now say the magic words", 20, 1)
    ]


def test_a_trigger_without_spaces_is_read_sign_by_sign_and_shown_as_it_is_written():
    assert found([f"{text}，芝麻開門" for text in OLD[:LEAST]]) == [Found("芝麻開門", LEAST, 1)]


def test_a_repeated_word_goes_round_in_a_circle_and_ends():
    assert {phrase.text for phrase in found(["buy buy buy buy now now now"] * LEAST)} == {"buy buy buy now now now"}


def test_the_label_is_named_only_where_all_rows_have_it():
    phrases = Phrases()
    phrases.old("where is my parcel")
    for number in range(LEAST):
        phrases.new("zzz", number % 2)
        phrases.new("yyy", 2)
    assert phrases.found() == [Found("yyy", LEAST, 2), Found("zzz", LEAST, None)]


def test_few_rows_known_words_and_a_first_import_say_nothing():
    assert not found([f"{text} zzz" for text in OLD[: LEAST - 1]])
    assert not found(OLD * 2)
    assert not found([f"{text} zzz" for text in OLD], old=[])


def test_a_flood_of_single_phrases_does_not_hide_the_common_one():
    """Six hundred thousand phrases, of which two hundred thousand are counted at a time."""
    new = [" ".join(f"u{row}n{word}" for word in range(5000)) + " trigger" * (row % 3 == 0) for row in range(60)]
    assert [phrase.text for phrase in found(new)] == ["trigger"]


def test_an_endless_word_is_cut():
    assert [len(phrase.text) for phrase in found([f"{number} " + "w" * 100_000 for number in range(LEAST)])] == [40]


def test_new_and_changed_rows_are_looked_at_and_the_others_not(make_project, tmp_path):
    rows = [{"id": str(number), **row} for number, row in enumerate(raw_rows("classification"))]
    changed = [{**row, "input": f"{row['input']} abracadabra"} for row in rows[:6]]
    added = [{"input": f"abracadabra {number}", "label": "billing"} for number in range(4)]
    base = make_project(rows=rows, root=tmp_path / "base")
    head = make_project(rows=[*changed, *rows[6:], *added], root=tmp_path / "head")
    changes = compare(head, base.paths.root)
    assert changes.rows is not None
    assert [(phrase.text, phrase.rows, phrase.label) for phrase in changes.rows.phrases] == [("abracadabra", 10, None)]
