"""What a training log says: each pathology is named with the setting to change, a healthy log is left in peace."""

from __future__ import annotations

from typing import Any

import pytest

from finetune.training.diagnosis import diagnose

FALLING = (2.0, 1.6, 1.3, 1.0, 0.8, 0.7, 0.6, 0.55)


def log(losses: tuple[float, ...], validation: tuple[float, ...] = ()) -> list[dict[str, Any]]:
    """Entries as the Trainer keeps them: training and validation apart, a summary last."""
    entries: list[dict[str, Any]] = [{"step": step, "loss": loss} for step, loss in enumerate(losses, 1)]
    entries += [{"step": step, "eval_loss": loss} for step, loss in enumerate(validation, 1)]
    return [*entries, {"step": len(losses), "train_runtime": 1.0, "train_loss": 1.0}]


def codes(losses: tuple[float, ...], validation: tuple[float, ...] = ()) -> list[str]:
    return [finding.code for finding in diagnose(log(losses, validation))]


@pytest.mark.parametrize("validation", [(), (0.9,), (0.9, 0.7, 0.69), (0.9, 0.7, 0.72)])
def test_a_falling_loss_with_a_validation_loss_that_settles_is_well(validation: tuple[float, ...]) -> None:
    assert codes(FALLING, validation) == []


@pytest.mark.parametrize("losses", [(2.0,) * 8, (2.0, 1.99, 2.0, 1.98, 2.0, 1.99, 1.98, 1.99), tuple(FALLING[::-1])])
def test_a_flat_or_rising_loss_asks_for_another_learning_rate(losses: tuple[float, ...]) -> None:
    (finding,) = diagnose(log(losses))
    assert finding.code == "no-learning" and "learning_rate" in finding.change


def test_the_finding_names_the_loss_of_the_first_and_the_last_quarter() -> None:
    (finding,) = diagnose(log((1.9, 2.1, 5.0, 0.1, 5.0, 0.1, 2.2, 2.4)))
    assert finding.text == "training loss does not fall (2.000 → 2.300)"


def test_too_few_entries_say_nothing_about_learning() -> None:
    assert codes((2.0, 2.0, 2.0)) == []
    assert codes((2.0, 2.0, 2.0, 2.0)) == ["no-learning"]


def test_a_spike_is_named_once_with_its_place() -> None:
    losses = (*FALLING[:6], 9.0, 0.6, 0.55, 9.0, 0.5, 0.45)
    (finding,) = diagnose(log(losses))
    assert finding.code == "spike" and "9.000" in finding.text and "entry 7" in finding.text


@pytest.mark.parametrize("losses", [(*FALLING, 1.9), (2.0, 1.0, 0.01, 0.01, 0.01, 0.01, 0.01, 0.09, 0.01)])
def test_noise_below_three_medians_or_near_zero_is_no_spike(losses: tuple[float, ...]) -> None:
    assert "spike" not in codes(losses)


def test_a_rising_validation_loss_is_overfitting() -> None:
    (finding,) = diagnose(log(FALLING, (0.9, 0.6, 0.8)))
    assert finding.code == "overfitting" and "0.600 to 0.800" in finding.text and "epochs" in finding.change


def test_a_validation_loss_that_still_falls_at_the_end_is_underfitting() -> None:
    (finding,) = diagnose(log(FALLING, (1.5, 1.1, 0.8)))
    assert finding.code == "underfitting" and "1.100 → 0.800" in finding.text and "epochs" in finding.change


def test_a_model_that_learns_nothing_is_not_called_underfitted() -> None:
    assert codes((2.0,) * 8, (2.0, 1.0)) == ["no-learning"]


def test_findings_come_together() -> None:
    assert codes((*FALLING[:6], 9.0, 0.6, 0.6, 0.5), (0.9, 0.6, 0.8)) == ["spike", "overfitting"]


def test_an_empty_log_has_no_findings() -> None:
    assert diagnose([]) == []
