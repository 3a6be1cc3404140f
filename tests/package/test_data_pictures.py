"""The data report's pictures: as long as the rows they stand for, with the limit where it is, for many and for few."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_reports import counts
from finetune.data.check_results import SplitCounts
from finetune.data.report import pictures
from finetune.data.report.schema import Histogram, Imbalance, Lengths

BANKING = {f"intent_{n:02}": SplitCounts(**counts(187 - 2 * n)) for n in range(77)}


def found(drawing: str, style: str, key: str) -> list[float]:
    """The numbers of attribute `key` of every element of class `style`."""
    return [float(n) for n in re.findall(rf'class="{style}"[^>]*? {key}="([\d.]+)"', drawing)]


@pytest.mark.parametrize("width", [pictures.WIDE, pictures.NARROW])
def test_every_class_is_drawn_largest_first_with_parts_as_long_as_its_rows(width: int):
    drawing = str(pictures.class_bars(BANKING, Imbalance(5.3, 3.0), width))
    assert re.findall(r"<title>(intent_\d+):", drawing) == list(BANKING)
    train = found(drawing, "bar train", "width")
    lengths = [row.train for row in BANKING.values()]
    assert len(train) == 77
    assert all(abs(a / train[0] - b / lengths[0]) < 0.01 for a, b in zip(train, lengths, strict=True))


def test_the_imbalance_limit_is_drawn_where_the_smallest_class_may_end():
    classes = {
        "large": SplitCounts(300, 300, 0, 0),
        "fair": SplitCounts(100, 100, 0, 0),
        "few": SplitCounts(99, 99, 0, 0),
    }
    drawing = str(pictures.class_bars(classes, Imbalance(3.03, 3.0), pictures.WIDE))
    ends = [x + w for x, w in zip(*(found(drawing, "bar train", key) for key in ("x", "width")), strict=True)]
    (goal,) = set(found(drawing, "goal", "x1"))
    assert goal == pytest.approx(ends[1], abs=0.2) and ends[2] < goal
    assert "limit 3:1 = 100 rows" in drawing
    assert re.findall(r'class="sum few"[^>]*>([\d,]+)', drawing) == ["99"]
    assert "goal" not in pictures.class_bars(classes, None, pictures.WIDE)


def test_of_hundreds_of_classes_the_ends_are_drawn():
    many = {f"c{n:03}": SplitCounts(**counts(1000 - n)) for n in range(500)}
    drawing = str(pictures.class_bars(many, None, pictures.WIDE))
    assert drawing.count("<g>") == pictures.MOST_CLASSES and "… 380 classes between …" in drawing
    assert "<title>c000:" in drawing and "<title>c499:" in drawing and "<title>c200:" not in drawing


def test_a_long_name_is_shortened_in_the_picture_and_whole_in_its_title():
    name = "帳務與退款" * 20
    drawing = str(pictures.class_bars({name: SplitCounts(**counts(20))}, None, pictures.NARROW))
    assert f"<title>{name}:" in drawing and "…</text>" in drawing


LENGTHS = Lengths(0, 150, 280, 299)


def bins(limit: int | None) -> Histogram:
    return Histogram(limit, [(n * 10, n * 10 + 10, 1 + n % 7) for n in range(30)])


def test_a_limit_near_the_data_is_a_line_and_what_is_beyond_it_stands_out():
    drawing = str(pictures.histogram(bins(200), LENGTHS, pictures.WIDE))
    (goal,) = found(drawing, "goal", "x1")
    beyond = found(drawing, "bar over-limit", "x")
    assert len(beyond) == 9 and min(beyond) > goal >= max(found(drawing, "bar train", "x"))


def test_a_limit_far_beyond_the_data_is_told_and_squashes_nothing():
    far, near = (str(pictures.histogram(bins(limit), LENGTHS, pictures.WIDE)) for limit in (100_000, None))
    assert "limit 100,000, far to the right" in far and not found(far, "goal", "x1")
    assert found(far, "bar train", "x") == found(near, "bar train", "x")


@pytest.mark.parametrize("only", [[(0, 1, 1)], [(5, 5, 1)], [(9, 3, 2)], [(0, 10, 0), (10, 20, 10**15)]])
@pytest.mark.parametrize("limit", [None, 0, 15])
def test_a_histogram_of_one_bin_or_of_none_can_be_drawn(only: list[tuple[int, int, int]], limit: int | None):
    drawing = str(pictures.histogram(Histogram(limit, only), None, pictures.NARROW))
    assert (
        drawing.count("<rect") == 1
        and "nan" not in drawing
        and "-" not in "".join(re.findall(r'width="(.*?)"', drawing))
    )


@given(st.integers(0, 10**15), st.integers(1, 10))
def test_ticks_are_round_few_and_begin_at_nothing(most: int, about: int):
    ticks = pictures.nice_ticks(most, about)
    assert ticks[0] == 0 and ticks[-1] <= most and len(ticks) <= about + 1
    assert len(ticks) == 1 or str(ticks[1]).rstrip("0") in ("1", "2", "5")
