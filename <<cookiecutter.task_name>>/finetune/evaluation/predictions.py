"""Run one artefact over the test set, keep what it answered, and score it.

Predictions lie in benchmarks/results/predictions/<artefact>.jsonl. Their manifest names the artefact, the test set, the
answer format and the generation settings by digest: while none of these changes, a re-run reads the file instead of the
model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any

import msgspec
from pydantic import BaseModel, ValidationError

from finetune.config.project import Project
from finetune.console import progress, say
from finetune.data.chat_format import EvaluationRecord, parse_completion, template_options
from finetune.errors import FinetuneError
from finetune.evaluation.backends import ADAPTER, MERGED, ZERO_SHOT, artefact_path, open_backend
from finetune.evaluation.completions import Backend
from finetune.evaluation.metrics import Prediction, Scores, score
from finetune.evaluation.report_parts import Runtime, Speed
from finetune.provenance import NO_MANIFEST, digest, read_manifest, sha256, tree_digest, write_manifest, write_text
from finetune.sealed import is_current


@dataclass(frozen=True)
class ArtefactScore:
    """What one artefact reached on the test set."""

    name: str
    digest: str
    """fingerprint of the artefact's files (and of the base model below an adapter)"""
    scores: Scores
    predictions: list[Prediction]
    reused: bool
    """the answers come from an earlier run over the same artefact, test set and settings"""
    runtime: Runtime | None = None
    """of a GGUF file; None for everything else"""

    @property
    def metrics(self) -> dict[str, float]:
        return self.scores.metrics

    @property
    def seconds(self) -> float:
        """Generation time over all rows, model loading not counted."""
        return sum(prediction.seconds for prediction in self.predictions)

    @property
    def tokens_per_s(self) -> float:
        return sum(prediction.tokens for prediction in self.predictions) / max(self.seconds, 1e-9)

    @property
    def speed(self) -> Speed:
        """Rows, seconds, throughput, and the seconds of a row (in a batch: its share), median and 95th percentile."""
        times = sorted(prediction.seconds for prediction in self.predictions)
        marks = quantiles(times, n=20, method="inclusive") if len(times) > 1 else times * 19
        return Speed(
            rows=len(times),
            seconds=self.seconds,
            rows_per_s=len(times) / max(self.seconds, 1e-9),
            tokens_per_s=self.tokens_per_s,
            seconds_per_row_median=marks[9],
            seconds_per_row_p95=marks[18],
        )


def read_test(project: Project, limit: int | None = None) -> list[EvaluationRecord]:
    """The test set, or its first `limit` rows; FinetuneError when step 02 has not made it for this task."""
    path = project.paths.test
    name, redo = project.paths.relative(path), "run scripts/02_convert_format.py"
    if not path.is_file():
        raise FinetuneError(f"no test set in {name}", redo + " first", "E410")
    records = []
    decode, labels = msgspec.json.Decoder(EvaluationRecord).decode, project.task.label_names
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                record = decode(line)
            except (msgspec.DecodeError, UnicodeError, RecursionError):
                raise FinetuneError(f"{name}:{number} is damaged", redo + " again", "E411") from None
            if project.task.task_type == "classification" and record.reference not in labels:
                raise FinetuneError(f"{name}:{number} has a label the task does not define", redo + " again", "E412")
            records.append(record)
    if not records:
        raise FinetuneError(f"{name} has no rows", "add data and " + redo, "E413")
    return records[:limit]


def artefact_digest(project: Project, artefact: str) -> str:
    """Fingerprint of everything the artefact's answers depend on in its own files."""
    path = artefact_path(project, artefact)
    if artefact in (ZERO_SHOT, ADAPTER):
        from finetune.training.base_model import resolve_base

        base = resolve_base(project).fingerprint
        return digest({"base": base, "adapter": tree_digest(path) if path else None})
    assert path is not None
    return tree_digest(path) if artefact == MERGED else sha256(path)


def score_artefact(
    project: Project, artefact: str, backend: Backend | None = None, *, limit: int | None = None, force: bool = False
) -> ArtefactScore:
    """Answers of one artefact over the test set (or its first `limit` rows), and their scores.

    Reads kept predictions when nothing they depend on has changed and `force` is not set. Without `backend`, the
    artefact is loaded here and released again.
    """
    records = read_test(project, limit)
    folder = project.paths.predictions
    name = artefact if limit is None else f"{artefact}.limited"
    kept, manifest = folder / f"{name}.jsonl", folder / f"{name}.manifest.json"
    fingerprint = artefact_digest(project, artefact)
    inputs = {
        "artefact": fingerprint,
        "test": sha256(project.paths.test),
        "rows": str(len(records)),
        "task": digest({"type": project.task.task_type, "output": project.task.output.model_dump(mode="json")}),
        "generation": digest(generation_settings(project, artefact)),
    }
    recorded = None if force else _facts_of_current(manifest, inputs)
    if recorded:
        say(f"  {artefact}: {len(records)} kept predictions are up to date")
        predictions, runtime = list(read_predictions(kept)), recorded.runtime
    else:
        predictions, runtime = _predict(project, artefact, records, backend)
        write_text(kept, "".join(json.dumps(asdict(p), ensure_ascii=False) + "\n" for p in predictions))
        facts = _Facts(runtime=runtime).model_dump(exclude_unset=True)
        write_manifest(manifest, step=f"predict {artefact}", inputs=inputs, outputs=[kept], facts=facts)
    return ArtefactScore(
        artefact,
        fingerprint,
        score(project.task, predictions, [record.input for record in records]),
        predictions,
        recorded is not None,
        runtime,
    )


class _Facts(BaseModel):
    """What the manifest of kept predictions says beside their digests."""

    runtime: Runtime | None = None


def _facts_of_current(manifest: Path, inputs: dict[str, str]) -> _Facts | None:
    """The facts of predictions that nothing has changed since; None where there are none, or they are damaged."""
    if not is_current(manifest, inputs):
        return None
    try:
        return _Facts.model_validate((read_manifest(manifest) or NO_MANIFEST).facts)
    except ValidationError:
        return None


def read_predictions(path: Path) -> Iterator[Prediction]:
    """Predictions as `score_artefact` keeps them."""
    decode = msgspec.json.Decoder(Prediction).decode
    with open(path, "rb") as file:
        for line in file:
            yield decode(line)


def score_kept(project: Project, path: Path) -> Scores:
    """Scores of kept predictions, computed again; the manifest beside them has to name the test set that lies here."""
    predictions = list(read_predictions(path))
    return score(project.task, predictions, [record.input for record in read_test(project, len(predictions))])


def _predict(
    project: Project, artefact: str, records: list[EvaluationRecord], backend: Backend | None
) -> tuple[list[Prediction], Runtime | None]:
    """Predictions, and how the runtime ran where a backend says so."""
    used = backend or open_backend(project, artefact)
    try:
        completions = used.generate([record.messages for record in records], project.task.output.max_new_tokens)
        predictions = [
            Prediction(
                id=record.id,
                reference=record.reference,
                text=completion.text,
                parsed=parse_completion(project.task, completion.text),
                finished=completion.finished,
                tokens=completion.tokens,
                seconds=completion.seconds,
                confidence=completion.confidence,
            )
            for record, completion in zip(
                records, progress(completions, f"{artefact}: answering", total=len(records)), strict=True
            )
        ]
        return predictions, getattr(used, "runtime", None)
    finally:
        if backend is None:
            used.close()


def generation_settings(project: Project, artefact: str) -> dict[str, Any]:
    """What may change an answer without changing the artefact or the prompt's messages; the batch size does not."""
    settings: dict[str, Any] = {
        "max_new_tokens": project.task.output.max_new_tokens,
        "template_options": template_options(project.training),
    }
    if artefact in (ZERO_SHOT, ADAPTER, MERGED):
        training = project.training
        settings |= {"precision": training.precision, "device": training.device, "method": training.method}
    return settings
