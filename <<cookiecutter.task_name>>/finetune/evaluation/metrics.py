"""Metrics of the three task types, each with its confidence interval's raw material.

Every metric is a function of sums over rows: a row contributes a few counts (`RowStatistics.values`), and `value` turns
summed counts into the metric. So macro F1 and micro entity F1, which are no means over rows, can be bootstrapped
exactly and fast, and the reported value and its interval come from one definition.

A prediction that cannot be parsed is wrong: it matches no label, holds no entity, equals no text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from finetune.config.task import TaskDefinition
from finetune.config.task_defaults import METRICS
from finetune.data.spans import overlap, spans
from finetune.evaluation.report_parts import ClassRow, Confusion
from finetune.evaluation.textual import canonical, same_text, token_f1, tokens

if TYPE_CHECKING:
    import numpy as np

UNPARSEABLE = "(unparseable)"
Entity = dict[str, str]


@dataclass(frozen=True)
class Prediction:
    """One test row, what was expected and what the model answered."""

    id: str
    reference: Any
    """label, list of {"type", "text"}, or text"""
    text: str
    """the raw answer"""
    parsed: Any
    """the answer as a reference would be written, None when it cannot be parsed"""
    finished: bool = True
    tokens: int = 0
    seconds: float = 0.0
    confidence: float | None = None


@dataclass(frozen=True)
class RowStatistics:
    """Per-row counts (rows, counts) and the function from summed counts (…, counts) to the metric (…)."""

    values: np.ndarray
    value: Callable[[np.ndarray], np.ndarray]

    def total(self) -> float:
        """The metric over all rows."""
        return float(self.value(self.values.sum(axis=0)))


@dataclass(frozen=True)
class Scores:
    """Everything measured on one artefact's predictions."""

    metrics: dict[str, float]
    """all metrics of the task type, and finished_rate; each in 0..1"""
    statistics: dict[str, RowStatistics]
    """the same metrics per row, for the bootstrap"""
    per_class: list[ClassRow] = field(default_factory=list)
    """classification: one row a label; extraction: one row an entity type"""
    confusion: Confusion | None = None
    """classification: counts[reference][prediction], the last column unparseable"""
    unparseable: int = 0
    unfinished: int = 0


def score(task: TaskDefinition, predictions: Sequence[Prediction], texts: Sequence[str] = ()) -> Scores:
    """Score predictions by the task's type. Raises ValueError when there are none: an empty test proves nothing.

    `texts` are the inputs, in the order of the predictions: entities overlap where they stand. Without them an entity
    overlaps itself alone.
    """
    if not predictions:
        raise ValueError("no predictions to score")
    statistics = {
        "classification": lambda: _classification(task.label_names, predictions),
        "extraction": lambda: _extraction(predictions, texts),
        "generation": lambda: _generation(predictions),
    }[task.task_type]()
    assert set(METRICS[task.task_type]) == set(statistics)
    statistics["finished_rate"] = _mean([float(p.finished) for p in predictions])
    per_class: list[ClassRow] = []
    confusion = None
    if task.task_type == "classification":
        per_class, confusion = per_label(task.label_names, predictions)
    elif task.task_type == "extraction":
        per_class = per_entity_type(task.entity_type_names, predictions)
    return Scores(
        {name: rows.total() for name, rows in statistics.items()},
        statistics,
        per_class,
        confusion,
        unparseable=sum(p.parsed is None for p in predictions),
        unfinished=sum(not p.finished for p in predictions),
    )


def row_score(task: TaskDefinition, prediction: Prediction) -> float:
    """How right one answer is, 0..1: exact for labels, entity F1 of the row for extraction, token F1 for generation."""
    if prediction.parsed is None:
        return 0.0
    if task.task_type == "classification":
        return float(prediction.parsed == prediction.reference)
    if task.task_type == "generation":
        return (
            1.0
            if same_text(prediction.parsed, prediction.reference)
            else token_f1(prediction.parsed, prediction.reference)
        )
    got, wanted = bag(prediction.parsed), bag(prediction.reference)
    size = got.total() + wanted.total()
    return 2 * (got & wanted).total() / size if size else 1.0


def _mean(values: Sequence[float]) -> RowStatistics:
    """A metric that is a mean over rows."""
    import numpy as np

    rows = np.asarray(values, dtype=float)
    return RowStatistics(np.stack([rows, np.ones_like(rows)], axis=1), lambda sums: sums[..., 0] / sums[..., 1])


def _classification(labels: Sequence[str], predictions: Sequence[Prediction]) -> dict[str, RowStatistics]:
    """Accuracy, and macro F1 over the labels that occur as reference or prediction (scikit-learn's default)."""
    import numpy as np

    place = {label: index for index, label in enumerate(labels)}
    counts = np.zeros((len(predictions), 3, len(labels)))  # right, predicted, expected: by label
    for row, prediction in enumerate(predictions):
        expected, got = place[prediction.reference], place.get(prediction.parsed)
        counts[row, 2, expected] = 1
        if got is not None:
            counts[row, 1, got] = 1
            counts[row, 0, got] = got == expected

    def macro_f1(sums: np.ndarray) -> np.ndarray:
        right, predicted, expected = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, len(labels)), -2, 0)
        size = predicted + expected
        f1 = np.divide(2 * right, size, out=np.zeros_like(size), where=size > 0)
        return f1.sum(-1) / np.maximum((size > 0).sum(-1), 1)

    return {
        "macro_f1": RowStatistics(counts.reshape(len(predictions), -1), macro_f1),
        "accuracy": _mean([float(p.parsed == p.reference) for p in predictions]),
    }


def per_label(labels: Sequence[str], predictions: Sequence[Prediction]) -> tuple[list[ClassRow], Confusion]:
    """Precision, recall, F1 and support of every label, and the confusion matrix with its unparseable column."""
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    expected = [p.reference for p in predictions]
    got = [UNPARSEABLE if p.parsed is None else p.parsed for p in predictions]
    table = zip(*precision_recall_fscore_support(expected, got, labels=list(labels), zero_division=0), strict=True)
    rows = [_class_row(label, *values) for label, values in zip(labels, table, strict=True)]
    columns = [*labels, UNPARSEABLE]
    counts = confusion_matrix(expected, got, labels=columns)[: len(labels)]  # nothing is expected to be unparseable
    return rows, Confusion(labels=list(labels), columns=columns, counts=counts.tolist())


def bag(entities: Sequence[Entity] | None) -> Counter[tuple[str, str]]:
    """A multiset of (type, canonical text): an entity named twice counts twice."""
    return Counter((entity["type"], canonical(entity["text"])) for entity in entities or ())


def _overlapping(prediction: Prediction, text: str) -> float:
    """How many entities match in part: one for an equal place, a half for an overlap (nervaluate's partial match)."""
    text = canonical(text)
    sides = [
        spans(text, [{**entity, "text": canonical(entity["text"])} for entity in side or ()])
        for side in (prediction.parsed, prediction.reference)
    ]
    equal, partial = overlap(*sides)
    return equal + partial / 2


def _extraction(predictions: Sequence[Prediction], texts: Sequence[str]) -> dict[str, RowStatistics]:
    """Micro precision, recall and F1 over (type, text) multisets per row; validity of the JSON; rows wholly right.

    entity_f1_partial is micro too, by places in the text and whatever the types.
    """
    import numpy as np

    pairs = [(bag(p.parsed), bag(p.reference)) for p in predictions]
    counts = np.array([[(got & want).total(), got.total(), want.total()] for got, want in pairs], dtype=float)
    near = counts.copy()
    if texts:
        near[:, 0] = [_overlapping(p, text) for p, text in zip(predictions, texts, strict=True)]
    return {
        "entity_f1_partial": RowStatistics(near, lambda s: _share(2 * s[..., 0], s[..., 1] + s[..., 2])),
        "entity_f1": RowStatistics(counts, lambda s: _share(2 * s[..., 0], s[..., 1] + s[..., 2])),
        "entity_precision": RowStatistics(counts, lambda s: _share(s[..., 0], s[..., 1], empty=s[..., 2])),
        "entity_recall": RowStatistics(counts, lambda s: _share(s[..., 0], s[..., 2], empty=s[..., 1])),
        "json_validity": _mean([float(p.parsed is not None) for p in predictions]),
        "exact_match": _mean(
            [float(p.parsed is not None and got == want) for p, (got, want) in zip(predictions, pairs, strict=True)]
        ),
    }


def _share(part: np.ndarray, whole: np.ndarray, empty: np.ndarray | float = 0.0) -> np.ndarray:
    """part / whole; where whole is 0: 1 when nothing was on the other side either (all agree on "none"), else 0."""
    import numpy as np

    part, whole = np.asarray(part, dtype=float), np.asarray(whole, dtype=float)
    agreed = (np.asarray(empty, dtype=float) == 0).astype(float)
    return np.divide(part, whole, out=np.broadcast_to(agreed, whole.shape).copy(), where=whole > 0)


def per_entity_type(types: Sequence[str], predictions: Sequence[Prediction]) -> list[ClassRow]:
    """Precision, recall, F1 and support (entities, not rows) of every entity type; 0 where nothing can be divided."""
    rows = []
    for name in types:
        right = predicted = expected = 0
        for prediction in predictions:
            got, want = (
                Counter({key: n for key, n in bag(side).items() if key[0] == name})
                for side in (prediction.parsed, prediction.reference)
            )
            right, predicted, expected = right + (got & want).total(), predicted + got.total(), expected + want.total()
        rows.append(
            _class_row(
                name,
                right / predicted if predicted else 0.0,
                right / expected if expected else 0.0,
                2 * right / (predicted + expected) if predicted + expected else 0.0,
                expected,
            )
        )
    return rows


def _class_row(name: str, precision: float, recall: float, f1: float, support: int) -> ClassRow:
    """A row without its baseline, which the report adds."""
    return ClassRow(
        name=name,
        precision=float(precision),  # of numpy
        recall=float(recall),
        f1=float(f1),
        support=int(support),
        zero_shot_f1=None,
    )


def _generation(predictions: Sequence[Prediction]) -> dict[str, RowStatistics]:
    """Means over rows: ROUGE-L F1 (Lin 2004), sentence chrF / 100 (Popović 2015), SQuAD token F1, equality."""
    from rouge_score.rouge_scorer import RougeScorer
    from rouge_score.tokenizers import Tokenizer
    from sacrebleu.metrics import CHRF

    class AnyLanguage(Tokenizer):  # the package's own tokeniser drops every letter that is not ASCII
        def tokenize(self, text: str) -> list[str]:
            return tokens(text)

    rouge, chrf = RougeScorer(["rougeL"], tokenizer=AnyLanguage()), CHRF()
    texts = [(canonical(p.parsed or ""), canonical(p.reference)) for p in predictions]
    return {
        "rouge_l": _mean([rouge.score(want, got)["rougeL"].fmeasure for got, want in texts]),
        "chrf": _mean([min(chrf.sentence_score(got, [want]).score / 100, 1.0) for got, want in texts]),
        "token_f1": _mean([token_f1(got, want) for got, want in texts]),
        "exact_match": _mean([float(same_text(got, want)) for got, want in texts]),
    }
