"""The gate passes only what was measured, is finite, reaches every floor, and is not worse than the base."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from finetune.evaluation.gate import FAILED, LIMITED, PASSED, gate, verdict
from finetune.evaluation.report_parts import Difference, GateRow
from finetune.evaluation.report_schema import ArtefactRow

BETTER = Difference(difference=0.4, low=0.3, high=0.5)
GOOD = {"macro_f1": 0.9, "accuracy": 0.92, "finished_rate": 1.0}


@pytest.fixture
def judge(make_project: Callable[..., Any]) -> Callable[..., tuple[dict[str, Any], str]]:
    project = make_project(benchmark={"thresholds": {"accuracy": 0.85, "finished_rate": 0.99}})

    def run(metrics: dict[str, float] | None = None, **changes: Any) -> tuple[dict[str, Any], str]:
        facts = {"interval": (0.85, 0.95), "difference": BETTER, "trained_on_this_data": True, **changes}
        rows, word = gate(project, GOOD if metrics is None else metrics, **facts)
        return {row.name: row for row in rows}, word

    return run


def test_a_good_run_passes(judge: Any) -> None:
    rows, word = judge()
    assert word == PASSED and all(row.passed for row in rows.values())
    assert list(rows) == [
        "macro_f1",
        "accuracy",
        "finished_rate",
        "all values are finite",
        "not worse than zero-shot",
        "trained on the current data",
    ]


@pytest.mark.parametrize(
    ("metrics", "failing"),
    [
        ({**GOOD, "macro_f1": 0.7999}, "macro_f1"),
        ({**GOOD, "accuracy": 0.84}, "accuracy"),
        ({"macro_f1": 0.9, "accuracy": 0.9}, "finished_rate"),
        ({"accuracy": 0.9, "finished_rate": 1.0}, "macro_f1"),
        ({**GOOD, "macro_f1": float("nan")}, "macro_f1"),
        ({**GOOD, "other": float("nan")}, "all values are finite"),
        ({**GOOD, "other": float("inf")}, "all values are finite"),
        ({**GOOD, "macro_f1": 1.7}, "all values are finite"),
        ({**GOOD, "macro_f1": "0.9"}, "all values are finite"),
    ],
)
def test_it_fails_closed(judge: Any, metrics: Any, failing: str) -> None:
    rows, word = judge(metrics)
    assert word == FAILED and not rows[failing].passed


def test_the_threshold_itself_passes(judge: Any) -> None:
    rows, word = judge({**GOOD, "macro_f1": 0.8}, interval=(0.75, 0.85))
    assert word == PASSED
    assert "interval reaches down to 0.750" in rows["macro_f1"].note


def test_a_miss_inside_the_noise_is_still_a_miss(judge: Any) -> None:
    rows, word = judge({**GOOD, "macro_f1": 0.79}, interval=(0.74, 0.83))
    assert word == FAILED and "within the noise" in rows["macro_f1"].note


@pytest.mark.parametrize(
    ("difference", "passed", "note"),
    [
        (Difference(difference=-0.2, low=-0.3, high=-0.1), False, "training made the model worse"),
        (Difference(difference=-0.01, low=-0.05, high=0.03), True, "no difference beyond the noise of this test set"),
        (Difference(difference=0.0, low=0.0, high=0.0), True, "no difference beyond the noise of this test set"),
        (BETTER, True, ""),
    ],
)
def test_a_loss_against_the_base_counts_only_beyond_the_noise(
    judge: Any, difference: Difference, passed: bool, note: str
) -> None:
    row = judge(difference=difference)[0]["not worse than zero-shot"]
    assert (row.passed, row.note) == (passed, note)


def test_a_configured_baseline_that_was_not_measured_fails(judge: Any) -> None:
    rows, word = judge(difference=None)
    assert word == FAILED and rows["not worse than zero-shot"].note == "not measured"


def test_without_a_zero_shot_baseline_nothing_is_compared(make_project: Callable[..., Any]) -> None:
    project = make_project(benchmark={"baselines": ["majority"]})
    rows, word = gate(project, GOOD, interval=(0.8, 0.9), difference=None, trained_on_this_data=True)
    assert word == PASSED and "not worse than zero-shot" not in {row.name for row in rows}


def test_an_adapter_of_other_data_fails(judge: Any) -> None:
    rows, word = judge(trained_on_this_data=False)
    assert word == FAILED and "train again" in rows["trained on the current data"].note


def test_a_limited_run_never_passes(judge: Any) -> None:
    assert judge(limited=True)[1] == LIMITED


def test_artefacts_out_of_tolerance_fail_the_whole() -> None:
    met = GateRow(name="macro_f1", value=0.9, threshold=0.8, passed=True, note="")
    good = ArtefactRow(name="f16", file="f16.gguf", status="passed", passed=True)
    bad = ArtefactRow(name="Q4_K_M", file="q4.gguf", status="failed", passed=False)
    unserved = ArtefactRow(name="vLLM", file=None, status="open", passed=None)
    assert verdict([met], limited=False, artefacts=[good]) == PASSED
    assert verdict([met], limited=False, artefacts=[good, bad]) == FAILED
    assert verdict([met], limited=False, artefacts=[unserved]) == PASSED, "not run is no failure"
    assert verdict([met], limited=False, artefacts=[unserved.model_copy(update={"passed": False})]) == FAILED
    assert verdict([], limited=False) == FAILED
    assert verdict([met.model_copy(update={"passed": "yes"})], limited=False) == FAILED
