"""Error analysis points at rows: confused pairs, groups, worst answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from finetune.evaluation.errors import TEXT_LIMIT, WORST, analyse
from finetune.evaluation.metrics import Prediction
from finetune.evaluation.report_parts import ConfusedPair, Group

CLASSES = SimpleNamespace(task_type="classification", label_names=("a", "b"))
ENTITIES = SimpleNamespace(task_type="extraction", entity_type_names=("item", "date"))


def row(id: str, want: Any, got: Any, **more: Any) -> Prediction:
    return Prediction(id, want, str(got), got, **more)


def test_confused_pairs_are_counted_with_their_rows() -> None:
    rows = [row("1", "a", "b"), row("2", "a", "b"), row("3", "b", None), row("4", "a", "a")]
    found = analyse(CLASSES, rows, dict.fromkeys("1234", "x"))
    assert found.errors == 3
    assert found.confused_pairs == [
        ConfusedPair(expected="a", predicted="b", count=2, ids=["1", "2"]),
        ConfusedPair(expected="b", predicted="(unparseable)", count=1, ids=["3"]),
    ]


def test_entity_errors_are_wrong_types_missed_and_spurious() -> None:
    want = [{"type": "item", "text": "May"}, {"type": "item", "text": "tea"}]
    got = [{"type": "date", "text": "May"}, {"type": "date", "text": "June"}]
    pairs = analyse(ENTITIES, [row("1", want, got)], {"1": "x"}).confused_pairs
    assert {(pair.expected, pair.predicted) for pair in pairs} == {
        ("item", "date"), ("item", "(missed)"), ("(spurious)", "date"),
    }  # fmt: skip


def test_groups_show_where_errors_gather() -> None:
    inputs = {str(i): "x" * (i + 1) for i in range(8)}
    rows = [row(str(i), "a" if i < 6 else "b", "a", finished=i != 7) for i in range(8)]
    groups = analyse(CLASSES, rows, inputs).groups
    assert groups["length"][0] == Group(group="7 to 8 characters", rows=2, errors=2, error_rate=1.0, mean_score=0.0)
    assert sum(group.rows for group in groups["length"]) == 8
    assert [(g.group, g.errors) for g in groups["class"]] == [("b", 2), ("a", 0)]
    assert [(g.group, g.rows) for g in groups["format"]] == [("cut off at the token cap", 1), ("well-formed", 7)]


def test_inputs_of_one_length_are_one_group() -> None:
    groups = analyse(CLASSES, [row(str(i), "a", "a") for i in range(5)], dict.fromkeys("01234", "xx")).groups
    assert [group.group for group in groups["length"]] == ["2 to 2 characters"]


def test_the_most_confident_errors_come_first_and_only_twenty() -> None:
    rows = [row(f"{i:02}", "a", "b", confidence=i / 100) for i in range(30)] + [row("right", "a", "a", confidence=1.0)]
    worst = analyse(CLASSES, rows, {r.id: "text" for r in rows}).worst
    assert len(worst) == WORST and [entry.id for entry in worst[:2]] == ["29", "28"]


def test_long_texts_are_shortened() -> None:
    (entry,) = analyse(CLASSES, [row("1", "a", "b")], {"1": "漢" * 5000}).worst
    assert len(entry.input) == TEXT_LIMIT and entry.input.endswith("…")


def test_generation_counts_clearly_wrong_texts() -> None:
    task = SimpleNamespace(task_type="generation")
    found = analyse(task, [row("1", "one two three", "one two"), row("2", "one two", "three")], {"1": "x", "2": "y"})
    assert found.errors == 1 and found.worst[0].id == "2" and found.confused_pairs == []
