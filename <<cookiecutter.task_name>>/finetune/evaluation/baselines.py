"""What the adapter must be compared with: the same base model unadapted, and an answer that needs no model at all."""

from __future__ import annotations

from collections import Counter

import msgspec

from finetune.config.project import Project
from finetune.data.chat_format import ChatRecord, EvaluationRecord, parse_completion
from finetune.data.manifest import read_data_manifest
from finetune.errors import FinetuneError
from finetune.evaluation.backends import ZERO_SHOT
from finetune.evaluation.metrics import Prediction, score
from finetune.evaluation.predictions import ArtefactScore, score_artefact
from finetune.evaluation.report_parts import Majority


def zero_shot(project: Project, *, limit: int | None = None, force: bool = False) -> ArtefactScore:
    """The same base model with the same prompt and no adapter."""
    return score_artefact(project, ZERO_SHOT, limit=limit, force=force)


def majority(project: Project, records: list[EvaluationRecord]) -> Majority:
    """The most frequent answer of the training split, given to every test row.

    Ties go to the alphabetically first answer. The test set is not looked at: a baseline must not know it either.
    """
    answer = most_frequent_answer(project)
    parsed = parse_completion(project.task, answer)
    predictions = [Prediction(record.id, record.reference, answer, parsed) for record in records]
    metrics = score(project.task, predictions, [record.input for record in records]).metrics
    return Majority(value=metrics[project.task.metrics.primary], metrics=metrics, answer=answer)


def most_frequent_answer(project: Project) -> str:
    """Of the training split, before balancing; FinetuneError when step 02 has not written it."""
    path = project.paths.train
    if not path.is_file():
        raise FinetuneError(
            f"no training split in {project.paths.relative(path)}", "run scripts/02_convert_format.py first", "E414"
        )
    counts: Counter[str] = Counter()
    decode = msgspec.json.Decoder(ChatRecord).decode
    with open(path, "rb") as file:
        for line in file:
            counts[decode(line).messages[-1].content] += 1
    # Copies made by data.balance: oversample are no evidence of what is frequent.
    manifest = read_data_manifest(project.paths.data_manifest)
    counts -= Counter(manifest.facts.balance.copies if manifest else None)
    if not counts:
        raise FinetuneError(f"{project.paths.relative(path)} has no rows", "run scripts/02_convert_format.py", "E414")
    return min(counts, key=lambda answer: (-counts[answer], answer))
