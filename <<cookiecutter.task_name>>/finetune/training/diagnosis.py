"""Reads a training log as an engineer would: does the loss fall, does validation follow, what to change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

SPIKE = 3.0
RISE = 0.05
FLAT = 0.02


@dataclass(frozen=True)
class Diagnosis:
    """One observation: `code` is stable, `text` says what was seen, `change` which setting to change."""

    code: str
    text: str
    change: str


def diagnose(log: Sequence[Mapping[str, float]]) -> list[Diagnosis]:
    """Findings on a training log (entries with step and loss or eval_loss); empty when all is well.

    A spike is a logged loss above SPIKE times the median of the five before it. Overfitting: the last validation loss
    lies more than RISE (relative) above the best one. Underfitting: the training loss still falls at the end.
    """
    losses = [entry["loss"] for entry in log if "loss" in entry]
    validation = [entry["eval_loss"] for entry in log if "eval_loss" in entry]
    findings = []
    if len(losses) >= 4:
        quarter = max(len(losses) // 4, 1)
        start, end = median(losses[:quarter]), median(losses[-quarter:])
        if end > start * (1 - FLAT):
            text = f"training loss does not fall ({start:.3f} → {end:.3f})"
            findings.append(Diagnosis("no-learning", text, "raise optimiser.learning_rate; check the labels"))
        elif len(validation) >= 2 and validation[-1] == min(validation) and _still_falling(validation):
            text = f"validation loss still falls at the end ({validation[-2]:.3f} → {validation[-1]:.3f})"
            findings.append(Diagnosis("underfitting", text, "raise optimiser.epochs or optimiser.learning_rate"))
    for index in range(5, len(losses)):
        if losses[index] > SPIKE * median(losses[index - 5 : index]) and losses[index] > 0.1:
            text = f"loss spikes to {losses[index]:.3f} at log entry {index + 1}"
            findings.append(Diagnosis("spike", text, "lower optimiser.learning_rate or max_grad_norm"))
            break
    if validation and validation[-1] > min(validation) * (1 + RISE):
        text = f"validation loss rose from {min(validation):.3f} to {validation[-1]:.3f}; the best checkpoint is used"
        findings.append(Diagnosis("overfitting", text, "lower optimiser.epochs or raise lora.dropout; add data"))
    return findings


def _still_falling(validation: Sequence[float]) -> bool:
    return validation[-1] < validation[-2] * (1 - RISE)
