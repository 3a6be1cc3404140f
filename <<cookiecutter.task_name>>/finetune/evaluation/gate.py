"""May this adapter be released? Every condition is a row; all must hold, and what was not measured does not hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from finetune.config.project import Project
from finetune.evaluation.report_parts import Difference, GateRow
from finetune.evaluation.report_schema import ArtefactRow

PASSED, FAILED, LIMITED = "passed", "failed", "limited run, not comparable"


def gate(
    project: Project,
    metrics: Mapping[str, float],
    *,
    interval: tuple[float, float],
    difference: Difference | None,
    trained_on_this_data: bool,
    limited: bool = False,
) -> tuple[list[GateRow], str]:
    """(conditions, verdict); a value that is no number in -1..1 stands as none.

    `interval` is the primary metric's, `difference` the paired one to zero-shot (None where it was not measured).
    The verdict is passed only when every row passed and the whole test set was run.
    """
    primary = project.task.metrics.primary
    rows = [_floor(primary, metrics, project.task.metrics.threshold, interval)]
    rows += [_floor(name, metrics, threshold) for name, threshold in sorted(project.benchmark.thresholds.items())]
    bad = sorted(name for name, value in metrics.items() if not _sound(value))
    note = f"not a number in 0..1: {', '.join(bad)}" if bad else ""
    rows.append(_row("all values are finite", None, None, not bad, note))
    if difference is not None:
        rows.append(_not_worse_than_base(difference))
    elif "zero_shot" in project.benchmark.baselines:
        rows.append(_row("not worse than zero-shot", None, 0.0, False, "not measured"))
    note = "" if trained_on_this_data else "the adapter was trained on other data than data/chat_format: train again"
    rows.append(_row("trained on the current data", None, None, trained_on_this_data, note))
    return rows, verdict(rows, limited=limited)


def verdict(rows: Sequence[GateRow], *, limited: bool, artefacts: Sequence[ArtefactRow] = ()) -> str:
    """PASSED only when there are gate rows, and all of them and all artefact rows of step 07 passed on a full run.

    An open artefact row, of what no step has run, is neither passed nor failed.
    """
    if limited:
        return LIMITED
    judged = [*(row.passed for row in rows), *(row.passed for row in artefacts if not row.is_open)]
    passed = bool(rows) and all(each is True for each in judged)
    return PASSED if passed else FAILED


def _floor(
    name: str, metrics: Mapping[str, float], threshold: float, interval: tuple[float, float] | None = None
) -> GateRow:
    value = metrics.get(name)
    if value is None:
        return _row(name, None, threshold, False, "not measured")
    passed = _reaches(value, threshold)
    note = ""
    if passed and interval and interval[0] < threshold:
        note = f"passes, but its interval reaches down to {interval[0]:.3f}: more test rows would make it certain"
    elif not passed and interval and interval[1] >= threshold:
        note = f"missed, but its interval reaches up to {interval[1]:.3f}: within the noise of this test set"
    return _row(name, value, threshold, passed, note)


def _not_worse_than_base(difference: Difference) -> GateRow:
    """Fails only on a loss beyond the noise of the test set; a tie is not a loss."""
    value, passed = difference.difference, difference.high >= 0
    tie = passed and difference.low <= 0
    note = "no difference beyond the noise of this test set" if tie else ""
    return _row("not worse than zero-shot", value, 0.0, passed, note if passed else "training made the model worse")


def _reaches(value: float, threshold: float) -> bool:
    """Whether a metric is good enough; what is no number in 0..1 is not."""
    return _sound(value) and value >= threshold


def _sound(value: float) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value) and 0.0 <= value <= 1.0


def _row(name: str, value: float | None, threshold: float | None, passed: bool, note: str) -> GateRow:
    shown = value if isinstance(value, (int, float)) and math.isfinite(value) and abs(value) <= 1 else None
    return GateRow(name=name, value=shown, threshold=threshold, passed=passed, note=note)
