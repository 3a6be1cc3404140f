"""The whole run on one screen: how the base model, the adapter and every artefact score, and where to look."""

from __future__ import annotations

from finetune.config.project import Project
from finetune.console import say, table
from finetune.errors import OK, FinetuneError
from finetune.evaluation.report import read_report
from finetune.evaluation.report_schema import ArtefactRow
from finetune.numbers import format_signed


def summarise(project: Project) -> int:
    """Print the scores of the last evaluation and the files people open next; FinetuneError (E506) without a report."""
    report = read_report(project)
    if report is None:
        raise FinetuneError("no evaluation report", "run scripts/04_evaluate.py first", "E506")
    metric, paths = report.primary.metric, project.paths
    rows: list[tuple[str, str, str, str]] = []
    if before := report.baselines.zero_shot:
        rows.append(("zero-shot base model", _score(before.value), "–", project.training.base_model.id))
    rows.append(("tuned adapter", _score(report.primary.value), "–", paths.relative(paths.adapter)))
    for row in report.artefacts:
        if row.status in ("passed", "failed"):
            rows.append((row.name, _score(row.value), _change(row), row.file or "–"))
    table(f"{project.task.task_name}: {report.verdict}", ("model", metric, "against the adapter", "where"), rows)
    for row in report.artefacts:
        if row.status == "open":
            say(f"  {row.name}: open, not run here")
    say(f"look at   {paths.relative(paths.report_html)}  (curves, confusion matrix, worst answers)")
    if paths.gguf.is_dir():
        say(f"serve     {paths.relative(paths.gguf)}  (ollama create NAME -f Modelfile, or llama.cpp)")
    if paths.merged.is_dir():
        say(f"serve     {paths.relative(paths.merged)}  (vLLM, transformers)")
    return OK


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _change(row: ArtefactRow) -> str:
    return "–" if row.difference is None else f"{format_signed(row.difference)} (limit {row.tolerance:g})"
