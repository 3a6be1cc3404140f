"""Step 07: is what we ship what we measured? Every artefact is scored again on the test set, against the adapter.

Release gates per artefact: the primary metric drops by no more than its tolerance, as many answers come to an end, its
chat template has the base model's bytes, and it turns prompts into exactly the token ids that training used.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from finetune import provenance
from finetune.config.project import Project
from finetune.console import say, table
from finetune.errors import OK, FinetuneError, GateFailed
from finetune.evaluation.backends import ADAPTER, MERGED, artefact_path, open_backend
from finetune.evaluation.markdown import runtime_notes
from finetune.evaluation.metrics import Prediction
from finetune.evaluation.predictions import ArtefactScore, artefact_digest, read_test, score_artefact
from finetune.evaluation.report import DIGITS, read_report, write_report
from finetune.evaluation.report_schema import ArtefactRow, EvaluationReport
from finetune.export.gguf import require_files
from finetune.export.gguf_check import read_facts, template_of
from finetune.interrupts import rerun

COMPARED_PROMPTS = 50
_ROUNDING = 1e-9
OPEN = ("vLLM", "Ollama")
"""Ways of serving that no step has run: neither passed nor failed."""


@rerun("artefacts that have answered every row are not asked again, the others start over")
def verify(project: Project, force: bool = False) -> int:
    """Score merged model and GGUF files, put the comparison into the report, and fail when one may not be released.

    Raises FinetuneError when a predecessor is missing (E401, E506) or outdated (E310 to E312), when the report is about
    another test set (E507) or adapter (E313), and GateFailed (E760), after the report is written, when an artefact is
    outside of its tolerance or reads other prompts.
    """
    names = [MERGED, *project.benchmark.quantisations]
    for name in (ADAPTER, *names):
        artefact_path(project, name)
    require_files(project)
    report = _report(project)
    adapter = score_artefact(project, ADAPTER, force=force)
    prompts = Prompts(project)
    rows = [_reference_row(project, adapter)]
    for name in names:
        rows.append(_row(project, name, adapter, prompts, force))
    rows += [ArtefactRow(name=name, file=None, status="open", passed=None) for name in OPEN]
    write_report(project, report.model_copy(update={"artefacts": rows}))
    _show(project, rows)
    failed = [f"{row.name} ({row.reason})" for row in rows if row.passed is False]
    if failed:
        raise GateFailed(
            f"{len(failed)} of {len(names)} artefacts may not be released: {', '.join(failed)}",
            "drop that quantisation, or find out what it lost: benchmarks/results/predictions",
            "E760",
        )
    say(f"all {len(names)} artefacts are within their tolerance of the adapter")
    return OK


class Prompts:
    """The prompts compared, and the token ids that training would feed for them."""

    def __init__(self, project: Project) -> None:
        from finetune.data.chat_format import encode_prompt, template_options
        from finetune.training.base_model import load_tokenizer, resolve_base

        tokenizer = load_tokenizer(resolve_base(project))
        options = template_options(project.training)
        self.messages = [record.messages for record in read_test(project, COMPARED_PROMPTS)]
        self.ids = [encode_prompt(tokenizer, messages, options) for messages in self.messages]
        self.template = template_of(tokenizer)


def _report(project: Project) -> EvaluationReport:
    step = "run scripts/04_evaluate.py first"
    report = read_report(project)
    if report is None:
        raise FinetuneError(f"no report in {project.paths.relative(project.paths.report_yaml)}", step, "E506")
    if project.paths.test.is_file() and report.data.test_sha256 != provenance.sha256(project.paths.test):
        raise FinetuneError("the evaluation report is about another test set", step, "E507")
    if report.provenance.adapter != artefact_digest(project, ADAPTER):
        raise FinetuneError("the evaluation report is about another adapter", step, "E313")
    return report


def _reference_row(project: Project, adapter: ArtefactScore) -> ArtefactRow:
    return ArtefactRow(
        name=ADAPTER,
        file=project.paths.relative(project.paths.adapter),
        bytes=_bytes(project.paths.adapter),
        status="reference",
        passed=True,
        value=_rounded(adapter.metrics[project.task.metrics.primary]),
        difference=0.0,
        finished_rate=_rounded(_finished(adapter.predictions)),
        tokens_per_s=_rounded(adapter.tokens_per_s),
    )


def _rounded(value: float) -> float:
    """As every number of the report."""
    return round(value, DIGITS)


def _row(project: Project, name: str, adapter: ArtefactScore, prompts: Prompts, force: bool) -> ArtefactRow:
    """One artefact's measurements; one whose template is not the base model's is not run at all."""
    path = artefact_path(project, name)
    assert path is not None
    tolerance = project.benchmark.tolerances[name]
    template_equal = _template(path) == prompts.template
    row = partial(
        ArtefactRow,
        name=name,
        file=project.paths.relative(path),
        bytes=_bytes(path),
        tolerance=tolerance,
        template_equal=template_equal,
    )
    if not template_equal:
        return row(status="failed", passed=False, reason="its chat template is not the base model's")
    backend = open_backend(project, name)
    try:
        ids = [backend.prompt_ids(messages) for messages in prompts.messages]
        scored = score_artefact(project, name, backend, force=force)
    finally:
        backend.close()
    primary = project.task.metrics.primary
    difference = scored.metrics[primary] - adapter.metrics[primary]
    finished, before = _finished(scored.predictions), _finished(adapter.predictions)
    tokens_equal = ids == prompts.ids
    if scored.runtime:
        row = partial(row, runtime=scored.runtime)
    reason = release_fault(tokens_equal, difference, finished, before, tolerance)
    return row(
        prompts_compared=len(ids),
        tokens_equal=tokens_equal,
        value=_rounded(scored.metrics[primary]),
        difference=_rounded(difference),
        agreement=_rounded(agreement(scored.predictions, adapter.predictions)),
        finished_rate=_rounded(finished),
        tokens_per_s=_rounded(scored.tokens_per_s),
        sha256=scored.digest,
        status="failed" if reason else "passed",
        passed=not reason,
        reason=reason,
    )


def release_fault(
    tokens_equal: bool, difference: float, finished: float, finished_before: float, tolerance: float
) -> str:
    """Why the artefact may not be released; empty when it may."""
    allowed = tolerance + _ROUNDING
    if not tokens_equal:
        return "it reads prompts as other tokens than training did"
    if difference < -allowed:
        return f"{difference:+.4f} against a tolerance of {tolerance:g}"
    if finished < finished_before - allowed:
        return f"only {finished:.0%} of its answers come to an end"
    return ""


def agreement(predictions: Sequence[Prediction], others: Sequence[Prediction]) -> float:
    """Share of rows, 0..1, whose parsed answers are identical; two unreadable answers agree only as the same text."""
    known = {other.id: other for other in others}
    same = 0
    for prediction in predictions:
        other = known[prediction.id]
        same += prediction.parsed == other.parsed and (prediction.parsed is not None or prediction.text == other.text)
    return same / max(len(predictions), 1)


def _finished(predictions: Sequence[Prediction]) -> float:
    return sum(prediction.finished for prediction in predictions) / max(len(predictions), 1)


def _template(path: Path) -> bytes | None:
    """The chat template that the artefact carries."""
    if path.is_dir():
        from transformers import AutoTokenizer

        return template_of(AutoTokenizer.from_pretrained(path, local_files_only=True))
    return read_facts(path).template


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _show(project: Project, rows: list[ArtefactRow]) -> None:
    for note in runtime_notes(rows):
        say(note)

    def cell(value: float | None, form: str) -> str:
        return "–" if value is None else format(value, form)

    ids: dict[bool | None, str] = {True: "yes", False: "NO"}
    gate = {"passed": "ok", "failed": "FAILED", "reference": "–", "open": "open"}
    say("change: against the adapter; agree: same answers; end: answers that end; ids: prompts are the same token ids")
    table(
        f"Artefacts on the test set ({project.task.metrics.primary})",
        ("model", "value", "change", "limit", "agree", "end", "ids", "MB", "tok/s", "gate"),
        [
            (
                row.name, cell(row.value, ".3f"), cell(row.difference, "+.3f"), cell(row.tolerance, "g"),
                cell(row.agreement, ".0%"), cell(row.finished_rate, ".0%"), ids.get(row.tokens_equal, "–"),
                "–" if row.bytes is None else f"{row.bytes / 1e6:.0f}", cell(row.tokens_per_s, ".0f"),
                gate[row.status],
            )
            for row in rows
        ],
    )  # fmt: skip
