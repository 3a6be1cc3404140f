"""The training run as the report shows it: its loss curve and the numbers read from it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from finetune.evaluation.report_parts import Training, TrainingFinding
from finetune.training.diagnosis import diagnose

POINTS = 200
"""Most points kept of a curve; a chart shows no more."""


def read_curve(log: Path) -> Training | None:
    """Training and evaluation loss by step from training_log.jsonl, or None when there is no readable log.

    Values that are not finite are left out.
    """
    try:
        lines = log.read_text(encoding="utf-8").splitlines()
        entries = [json.loads(line) for line in lines if line.strip()]
    except (OSError, ValueError, RecursionError):
        return None
    loss, evaluated = _points(entries, "loss"), _points(entries, "eval_loss")
    if not loss and not evaluated:
        return None
    epochs = {entry["step"]: entry.get("epoch") for entry in entries if "step" in entry}
    best = min(evaluated, key=lambda point: point[1]) if evaluated else None
    return Training(
        loss=_thin(loss),
        eval_loss=_thin(evaluated),
        first_loss=loss[0][1] if loss else None,
        last_loss=loss[-1][1] if loss else None,
        best_eval_loss=best[1] if best else None,
        best_eval_step=int(best[0]) if best else None,
        best_eval_epoch=epochs.get(best[0]) if best else None,
        last_eval_loss=evaluated[-1][1] if evaluated else None,
        epochs=max((e for e in epochs.values() if e is not None), default=None),
        steps=max(epochs, default=None),
        findings=[TrainingFinding(**asdict(finding)) for finding in diagnose(entries)],
    )


def _points(entries: list[dict[str, Any]], name: str) -> list[list[int | float]]:
    """[step, value] in order of steps; a resumed run logs some steps twice, the last one counts."""
    values = {}
    for entry in entries:
        value = entry.get(name)
        if isinstance(entry.get("step"), int) and isinstance(value, (int, float)) and math.isfinite(value):
            values[entry["step"]] = float(value)
    return [[step, values[step]] for step in sorted(values)]


def _thin(points: list[list[int | float]]) -> list[list[int | float]]:
    """At most POINTS points, the first and the last always among them."""
    if len(points) <= POINTS:
        return points
    return [points[round(index * (len(points) - 1) / (POINTS - 1))] for index in range(POINTS)]
