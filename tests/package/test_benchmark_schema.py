"""benchmark_config.yaml: floors, quantisations, tolerances and splits."""

from __future__ import annotations

import pytest

from config_files import BENCHMARK, Make, refused
from finetune.config.benchmark import QUANTISATIONS
from finetune.errors import BadInput


def test_floors_beside_the_primary_metric_must_be_metrics(make_project: Make) -> None:
    assert refused(make_project, benchmark={"thresholds": {"json_valid": 0.9}}) == [
        (BENCHMARK, "E228", "thresholds.json_valid")
    ]
    assert make_project(benchmark={"thresholds": {"finished_rate": 1, "accuracy": 0.5}}).benchmark.thresholds == {
        "finished_rate": 1.0,
        "accuracy": 0.5,
    }


@pytest.mark.parametrize(
    ("name", "near"), [("q8_0", "Q8_0"), ("q4_k_m", "Q4_K_M"), ("F16", "f16"), ("Q9_9", None), ("", None)]
)
def test_c31_an_unknown_quantisation_is_refused_at_once(make_project: Make, name: str, near: str | None) -> None:
    tolerances = {"merged": 1.0, name: 1.0, "f16": 1.0}
    with pytest.raises(BadInput) as failure:
        make_project(benchmark={"quantisations": ["f16", name], "tolerances": tolerances})
    errors = failure.value.problems.errors
    assert ("E229", "quantisations") in [(p.code, p.key) for p in errors] and {p.code for p in errors} == {"E229"}
    assert errors[0].fix == (f"did you mean {near}?" if near else f"one of {', '.join(QUANTISATIONS)}")


def test_c31_the_quantisations_are_a_list_without_repetition(make_project: Make) -> None:
    for names in ([], ["f16", "f16"]):
        assert refused(make_project, benchmark={"quantisations": names}) == [(BENCHMARK, "E229", "quantisations")]


def test_every_artefact_needs_a_tolerance(make_project: Make) -> None:
    assert refused(make_project, benchmark={"quantisations": ["f16", "Q8_0", "Q4_K_M"]}) == [
        (BENCHMARK, "E215", "tolerances")
    ]


def test_a_tolerance_for_no_artefact_is_a_typo(make_project: Make) -> None:
    assert refused(make_project, benchmark={"tolerances": {"Q4KM": 0.1}}) == [(BENCHMARK, "E229", "tolerances.Q4KM")]


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_a_tolerance_lies_between_0_and_1(make_project: Make, value: float) -> None:
    assert refused(make_project, benchmark={"tolerances": {"f16": value}}) == [(BENCHMARK, "E224", "tolerances.f16")]


@pytest.mark.parametrize(
    "splits",
    [
        {"train": 0.7, "valid": 0.2, "test": 0.2}, {"train": 1.0, "valid": 0.0, "test": 0.0},
        {"train": 0.5, "valid": 0.5, "test": 0},
    ],
)  # fmt: skip
def test_splits_are_positive_and_whole(make_project: Make, splits: dict[str, float]) -> None:
    assert refused(make_project, benchmark={"splits": splits}) == [(BENCHMARK, "E224", "splits")]
