"""What goes wrong: confused pairs, groups in which errors gather, and the worst single answers, each with row ids."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from finetune.config.task import TaskDefinition
from finetune.evaluation.metrics import UNPARSEABLE, Prediction, bag, row_score
from finetune.evaluation.report_parts import ConfusedPair, Errors, Group, Grouping, WorstRow

ERROR_BELOW = {"classification": 1.0, "extraction": 1.0, "generation": 0.5}
"""A row whose score is lower than this counts as an error."""
WORST = 20
PAIRS = 20
IDS = 5
TEXT_LIMIT = 400
MISSED, SPURIOUS = "(missed)", "(spurious)"


def analyse(task: TaskDefinition, predictions: Sequence[Prediction], inputs: Mapping[str, str]) -> Errors:
    """Error analysis of one artefact; `inputs` holds the input text by row id."""
    scored = [(prediction, row_score(task, prediction)) for prediction in predictions]
    wrong = [(p, value) for p, value in scored if value < ERROR_BELOW[task.task_type]]
    groups: dict[Grouping, list[Group]] = {
        "length": _groups(task, scored, _length_bucket([len(inputs.get(p.id, "")) for p in predictions], inputs)),
        "format": _groups(task, scored, _format),
    }
    if task.task_type == "classification":
        groups["class"] = _groups(task, scored, lambda prediction: str(prediction.reference))
    elif task.task_type == "extraction":
        groups["class"] = _groups(task, scored, _entity_group)
    return Errors(
        rows=len(scored),
        errors=len(wrong),
        confused_pairs=_confused_pairs(task, predictions),
        groups=groups,
        worst=_worst(task, wrong, inputs),
    )


def _confused_pairs(task: TaskDefinition, predictions: Sequence[Prediction]) -> list[ConfusedPair]:
    """Most frequent first; for extraction, pairs of entity types."""
    ids: dict[tuple[str, str], list[str]] = defaultdict(list)
    for prediction in predictions:
        for pair in _row_pairs(task, prediction):
            ids[pair].append(prediction.id)
    ranked = sorted(ids.items(), key=lambda item: (-len(item[1]), item[0]))
    return [
        ConfusedPair(expected=expected, predicted=predicted, count=len(rows), ids=list(dict.fromkeys(rows))[:IDS])
        for (expected, predicted), rows in ranked[:PAIRS]
    ]


def _row_pairs(task: TaskDefinition, prediction: Prediction) -> list[tuple[str, str]]:
    if task.task_type == "classification":
        label = UNPARSEABLE if prediction.parsed is None else prediction.parsed
        return [] if label == prediction.reference else [(prediction.reference, label)]
    if task.task_type == "extraction":
        got, wanted = bag(prediction.parsed), bag(prediction.reference)
        return _type_pairs(got - wanted, wanted - got)
    return []


def _type_pairs(spurious: Counter[tuple[str, str]], missed: Counter[tuple[str, str]]) -> list[tuple[str, str]]:
    """Same text under another type is a confusion of types; the rest is missed or spurious."""
    left = sorted(spurious.elements())
    pairs = []
    for kind, text in sorted(missed.elements()):
        match = next((entity for entity in left if entity[1] == text), None)
        if match:
            left.remove(match)
        pairs.append((kind, match[0] if match else MISSED))
    return pairs + [(SPURIOUS, kind) for kind, _ in left]


def _groups(
    task: TaskDefinition, scored: Sequence[tuple[Prediction, float]], name: Callable[[Prediction], str]
) -> list[Group]:
    """Highest error rate first."""
    members: dict[str, list[float]] = defaultdict(list)
    for prediction, value in scored:
        members[name(prediction)].append(value)
    rows = []
    for group, values in members.items():
        errors = sum(value < ERROR_BELOW[task.task_type] for value in values)
        rows.append(
            Group(
                group=group,
                rows=len(values),
                errors=errors,
                error_rate=errors / len(values),
                mean_score=sum(values) / len(values),
            )
        )
    return sorted(rows, key=lambda row: (-row.error_rate, row.group))


def _length_bucket(lengths: Sequence[int], inputs: Mapping[str, str]) -> Callable[[Prediction], str]:
    """Quarters of the test set by input length in characters."""
    ordered = sorted(lengths)
    edges = sorted({ordered[(len(ordered) - 1) * part // 4] for part in (1, 2, 3, 4)})

    def name(prediction: Prediction) -> str:
        length = len(inputs.get(prediction.id, ""))
        place = next(index for index, edge in enumerate(edges) if length <= edge)
        low = edges[place - 1] + 1 if place else ordered[0]
        return f"{low} to {edges[place]} characters"

    return name


def _format(prediction: Prediction) -> str:
    if not prediction.finished:
        return "cut off at the token cap"
    return "unparseable" if prediction.parsed is None else "well-formed"


def _entity_group(prediction: Prediction) -> str:
    kinds = sorted({kind for kind, _ in bag(prediction.reference)})
    return " + ".join(kinds) or "no entity"


def _worst(
    task: TaskDefinition, wrong: Sequence[tuple[Prediction, float]], inputs: Mapping[str, str]
) -> list[WorstRow]:
    """Lowest score first, among equals the most confident: errors the model is sure of show wrong labels and gaps."""
    ranked = sorted(wrong, key=lambda pair: (pair[1], -(pair[0].confidence or 0.0), pair[0].id))
    return [
        WorstRow(
            id=prediction.id,
            input=shorten(inputs.get(prediction.id, "")),
            expected=shorten(written(task, prediction.reference)),
            answer=shorten(prediction.text),
            score=value,
            confidence=prediction.confidence,
            problem=_format(prediction),
        )
        for prediction, value in ranked[:WORST]
    ]


def written(task: TaskDefinition, reference: Any) -> str:
    """A reference as people read it."""
    return json.dumps(reference, ensure_ascii=False) if task.task_type == "extraction" else str(reference)


def shorten(text: str) -> str:
    return text if len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT - 1] + "…"
