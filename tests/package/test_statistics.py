"""Intervals: of known width, reproducible, paired, and for metrics that are no means over rows."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from finetune.config.benchmark import Bootstrap
from finetune.evaluation.metrics import Prediction, RowStatistics, score
from finetune.evaluation.report_parts import Difference
from finetune.evaluation.statistics import confidence_interval, paired_difference

SETTINGS = Bootstrap(samples=2000, confidence=0.95, seed=1)
TASK = SimpleNamespace(task_type="classification", label_names=("a", "b"))


def accuracy(right: int, wrong: int) -> RowStatistics:
    rows = [Prediction(str(i), "a", "", "a" if i < right else "b") for i in range(right + wrong)]
    return score(TASK, rows).statistics["accuracy"]


def test_interval_of_a_share_is_the_binomial_one() -> None:
    low, high = confidence_interval(accuracy(160, 40), SETTINGS)
    margin = 1.96 * (0.8 * 0.2 / 200) ** 0.5
    assert low == pytest.approx(0.8 - margin, abs=0.01) and high == pytest.approx(0.8 + margin, abs=0.01)


def test_macro_f1_interval_is_that_of_plain_resampling() -> None:
    random = np.random.default_rng(5)
    want = random.choice(["a", "b"], 60)
    got = np.where(random.random(60) < 0.7, want, "a")
    rows = [Prediction(str(i), w, g, g) for i, (w, g) in enumerate(zip(want.tolist(), got.tolist(), strict=True))]
    low, high = confidence_interval(score(TASK, rows).statistics["macro_f1"], SETTINGS)
    picks = [[rows[i] for i in random.integers(0, 60, 60)] for _ in range(2000)]
    plain = np.percentile([score_only(pick) for pick in picks], [2.5, 97.5])
    assert (low, high) == pytest.approx(tuple(plain), abs=0.02)


def score_only(rows: list[Prediction]) -> float:
    """Macro F1 over the labels that occur, in plain Python."""
    values = []
    for label in ("a", "b"):
        size = sum(p.reference == label for p in rows) + sum(p.parsed == label for p in rows)
        if size:
            values.append(2 * sum(p.reference == p.parsed == label for p in rows) / size)
    return sum(values) / len(values)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    rows = accuracy(30, 10)
    assert confidence_interval(rows, SETTINGS) == confidence_interval(rows, SETTINGS)
    other = [confidence_interval(rows, Bootstrap(samples=100, seed=seed)) for seed in range(5)]
    assert len(set(other)) > 1


def test_all_right_has_no_width() -> None:
    assert confidence_interval(accuracy(10, 0), SETTINGS) == (1.0, 1.0)


def test_one_row_is_enough() -> None:
    assert confidence_interval(accuracy(0, 1), SETTINGS) == (0.0, 0.0)


def test_a_paired_difference_is_sharper_than_two_intervals() -> None:
    ours, theirs = accuracy(150, 50), accuracy(140, 60)
    paired = paired_difference(ours, theirs, SETTINGS)
    assert paired.difference == pytest.approx(0.05)
    assert paired.low > 0, "ten rows better and none worse is a difference"
    assert confidence_interval(ours, SETTINGS)[0] < confidence_interval(theirs, SETTINGS)[1], "the intervals overlap"


def test_an_artefact_against_itself_differs_by_exactly_nothing() -> None:
    rows = accuracy(7, 3)
    assert paired_difference(rows, rows, SETTINGS) == Difference(difference=0.0, low=0.0, high=0.0)


def test_rows_that_cannot_be_paired_are_refused() -> None:
    with pytest.raises(ValueError, match="10 rows cannot be paired with 9"):
        paired_difference(accuracy(5, 5), accuracy(5, 4), SETTINGS)


def test_many_rows_are_resampled_in_slices() -> None:
    """1100 resamples of 8000 rows are three slices of at most four million numbers."""
    low, high = confidence_interval(accuracy(6000, 2000), Bootstrap(samples=1100, confidence=0.95, seed=1))
    margin = 1.96 * (0.75 * 0.25 / 8000) ** 0.5
    assert (low, high) == pytest.approx((0.75 - margin, 0.75 + margin), abs=0.001)
