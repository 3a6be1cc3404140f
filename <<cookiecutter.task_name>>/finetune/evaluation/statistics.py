"""How sure a measured value is: percentile bootstrap over test rows (Efron and Tibshirani 1993, chapters 13 and 16).

A resample of n rows with replacement is a vector of n multinomial counts; counts times row statistics give the sums of
all resamples in one matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from finetune.config.benchmark import Bootstrap
from finetune.evaluation.metrics import RowStatistics
from finetune.evaluation.report_parts import Difference

if TYPE_CHECKING:
    import numpy as np

_CELLS = 4_000_000
"""Largest weight matrix held at once (32 MB)."""


def confidence_interval(rows: RowStatistics, settings: Bootstrap) -> tuple[float, float]:
    """(low, high) of the metric's percentile interval at `settings.confidence`; the seed decides the resamples."""
    return _percentiles(_resampled([rows], settings)[0], settings.confidence)


def paired_difference(ours: RowStatistics, theirs: RowStatistics, settings: Bootstrap) -> Difference:
    """Ours minus theirs over the same rows, resampled together.

    An interval that contains 0 is a tie within the noise of this test set. Raises ValueError when the numbers of rows
    differ.
    """
    if len(ours.values) != len(theirs.values):
        raise ValueError(f"{len(ours.values)} rows cannot be paired with {len(theirs.values)}")
    first, second = _resampled([ours, theirs], settings)
    low, high = _percentiles(first - second, settings.confidence)
    return Difference(difference=ours.total() - theirs.total(), low=low, high=high)


def _resampled(metrics: list[RowStatistics], settings: Bootstrap) -> list[np.ndarray]:
    """The value of each metric in every resample: arrays of shape (samples,), the same resamples for all metrics."""
    import numpy as np

    collected: list[list[np.ndarray]] = [[] for _ in metrics]
    for weights in _weights(len(metrics[0].values), settings):
        for values, rows in zip(collected, metrics, strict=True):
            values.append(rows.value(weights @ rows.values))
    return [np.concatenate(values) for values in collected]


def _weights(rows: int, settings: Bootstrap) -> Iterator[np.ndarray]:
    import numpy as np

    random = np.random.default_rng(settings.seed)
    step = max(1, _CELLS // rows)
    for start in range(0, settings.samples, step):
        count = min(step, settings.samples - start)
        yield random.multinomial(rows, np.full(rows, 1 / rows), size=count).astype(float)


def _percentiles(values: np.ndarray, confidence: float) -> tuple[float, float]:
    import numpy as np

    tail = (1 - confidence) / 2 * 100
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)
