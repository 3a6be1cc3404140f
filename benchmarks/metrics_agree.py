"""Our metrics beside the libraries that define them: python benchmarks/metrics_agree.py [--cases 1000]

    python -m pip install --target build/agree --no-deps seqeval nervaluate
    PYTHONPATH=build/agree python benchmarks/metrics_agree.py

Draws data sets of a few rows in six scripts, so that the right tokens and places are known without any tokeniser of
ours; scores each with ours and with the library, and prints the largest difference. Ends with 1 if one is above 1e-9.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "<<cookiecutter.task_name>>"))

from finetune.evaluation.metrics import Prediction, score  # noqa: E402

ALLOWED = 1e-9
WORDS = {
    "Latin": ("straße", "café", "naïve", "İzmir", "order", "refund", "łódź", "ışık", "tea", "paid", "late", "box"),
    "Chinese": tuple("退貨換訂單付款運費客服問題查詢"),
    "Japanese": tuple("返品交換注文のはをがカタカナひらがな"),
    "Hindi": ("हिन्दी", "में", "मैं", "लिखा", "कृपया", "वापस", "पैसा", "किताब", "दिन", "रात", "कहाँ", "क्यों"),
    "Arabic": ("مُدَرِّس", "طلب", "إرجاع", "كتاب", "يوم", "ليل", "أين", "لماذا", "من", "إلى", "فضلك", "سعر"),
    "Thai": ("ที่", "นี่", "ดี", "มี", "ก", "ซื้", "คื", "สิ", "น้", "ผู้", "กี่", "ตู้"),
}
"""Distinct tokens; where a script writes no spaces between words, single signs with their marks."""
UNSPACED = ("Chinese", "Japanese", "Thai")
TYPES = ("item", "place", "date")
Pair = tuple[float, float]


def joined(script: str, tokens: list[str]) -> str:
    return ("" if script in UNSPACED else " ").join(tokens)


def ours(
    kind: str, names: tuple[str, ...], pairs: list[tuple[Any, Any]], texts: list[str] | None = None
) -> dict[str, float]:
    task: Any = SimpleNamespace(task_type=kind, label_names=names, entity_type_names=names)
    return score(
        task, [Prediction(str(n), want, str(got), got) for n, (want, got) in enumerate(pairs)], texts or ()
    ).metrics


def changed(draw: random.Random, tokens: list[str], words: tuple[str, ...]) -> list[str]:
    """An answer that shares some of the reference's tokens, in part in another order."""
    found = [draw.choice(words) if draw.random() < 0.3 else token for token in tokens if draw.random() < 0.9]
    if draw.random() < 0.3:
        draw.shuffle(found)
    return found or [draw.choice(words)]


def classification(draw: random.Random, script: str) -> Iterator[tuple[str, Pair]]:
    from sklearn.metrics import accuracy_score, f1_score

    labels = WORDS[script][:4]
    pairs = [(draw.choice(labels), draw.choice((*labels, None))) for _ in range(draw.randint(1, 30))]
    expected, got = [want for want, _ in pairs], [answer or "(none)" for _, answer in pairs]
    seen = sorted({*expected, *got} - {"(none)"})
    found = ours("classification", labels, pairs)
    theirs = f1_score(expected, got, labels=seen, average="macro", zero_division=0)
    yield "macro_f1 scikit-learn", (found["macro_f1"], float(theirs))
    yield "accuracy scikit-learn", (found["accuracy"], float(accuracy_score(expected, got)))


def generation(draw: random.Random, script: str) -> Iterator[tuple[str, Pair]]:
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics import CHRF

    words = WORDS[script]
    rows = []
    for _ in range(draw.randint(1, 6)):
        want = draw.choices(words, k=draw.randint(1, 12))
        rows.append((want, changed(draw, want, words)))
    known = {joined(script, tokens): tokens for row in rows for tokens in row}
    found = ours("generation", (), [(joined(script, want), joined(script, got)) for want, got in rows])
    rouge = RougeScorer(["rougeL"], tokenizer=SimpleNamespace(tokenize=known.__getitem__))
    texts = [(joined(script, want), joined(script, got)) for want, got in rows]
    theirs = sum(rouge.score(want, got)["rougeL"].fmeasure for want, got in texts) / len(rows)
    yield "rouge_l rouge-score", (found["rouge_l"], theirs)
    theirs = sum(CHRF().sentence_score(got, [want]).score for want, got in texts) / len(rows) / 100
    yield "chrf sacrebleu", (found["chrf"], theirs)


def spans(draw: random.Random, length: int) -> list[tuple[str, int, int]]:
    """Spans (type, first, last token) that do not overlap, in order."""
    found, start = [], 0
    while start < length:
        end = min(start + draw.randint(0, 2), length - 1)
        if draw.random() < 0.5:
            found.append((draw.choice(TYPES), start, end))
        start = end + 1
    return found


def moved(draw: random.Random, known: list[tuple[str, int, int]], length: int) -> list[tuple[str, int, int]]:
    """An answer: some spans as they are, some of another type, some longer or shorter, some missing or new."""
    if draw.random() < 0.2:
        return spans(draw, length)
    found, free = [], 0
    for kind, start, end in known:
        if draw.random() < 0.15:
            continue
        kind = draw.choice(TYPES) if draw.random() < 0.2 else kind
        end = min(end + draw.choice((0, 0, 0, 1, -1)), length - 1)
        if start >= free and end >= start:
            found.append((kind, start, end))
            free = end + 1
    return found


def tags(found: list[tuple[str, int, int]], length: int) -> list[str]:
    marks = ["O"] * length
    for kind, start, end in found:
        marks[start : end + 1] = [f"B-{kind}"] + [f"I-{kind}"] * (end - start)
    return marks


def extraction(draw: random.Random, script: str) -> Iterator[tuple[str, Pair]]:
    from nervaluate import Evaluator
    from seqeval.metrics import f1_score, precision_score, recall_score

    rows = []
    for _ in range(draw.randint(1, 6)):
        text = list(dict.fromkeys(draw.choices(WORDS[script], k=draw.randint(3, 12))))  # each token names its place
        want = spans(draw, len(text))
        rows.append((text, want, moved(draw, want, len(text))))

    def entities(text: list[str], found: list[tuple[str, int, int]]) -> list[dict[str, str]]:
        return [{"type": kind, "text": joined(script, text[start : end + 1])} for kind, start, end in found]

    pairs = [(entities(text, want), entities(text, got)) for text, want, got in rows]
    metrics = ours("extraction", TYPES, pairs, [joined(script, text) for text, _, _ in rows])
    true = [tags(want, len(text)) for text, want, _ in rows]
    answered = [tags(got, len(text)) for text, _, got in rows]
    if any(want for _, want, _ in rows) and any(got for _, _, got in rows):  # what the libraries leave undefined
        for name, function in (("f1", f1_score), ("precision", precision_score), ("recall", recall_score)):
            yield (
                f"entity_{name} seqeval",
                (metrics[f"entity_{name}"], float(function(true, answered, zero_division=0))),
            )
        found = Evaluator(true, answered, tags=list(TYPES), loader="list").evaluate()["overall"]
        yield "entity_f1 nervaluate strict", (metrics["entity_f1"], found["strict"].f1)
        yield "entity_f1_partial nervaluate partial", (metrics["entity_f1_partial"], found["partial"].f1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1000, help="data sets of each kind and script")
    options = parser.parse_args()
    names = ("scikit-learn", "rouge-score", "sacrebleu", "seqeval", "nervaluate")
    print(", ".join(f"{name} {version(name)}" for name in names))
    kinds: tuple[Callable[[random.Random, str], Iterator[tuple[str, Pair]]], ...]
    kinds = (classification, generation, extraction)
    worst: dict[tuple[str, str], tuple[int, float]] = {}
    for script in WORDS:
        for kind in kinds:
            draw = random.Random(f"{script} {kind.__name__}")
            drawn = 0
            while drawn < options.cases:
                found = list(kind(draw, script))
                drawn += bool(found)
                for name, (mine, theirs) in found:
                    count, most = worst.get((name, script), (0, 0.0))
                    worst[name, script] = count + 1, max(most, abs(mine - theirs))
    for (name, script), (count, most) in sorted(worst.items()):
        print(f"{name:40} {script:9} {count:6,} cases   largest difference {most:.1e}")
    return int(any(most > ALLOWED for _, most in worst.values()))


if __name__ == "__main__":
    sys.exit(main())
