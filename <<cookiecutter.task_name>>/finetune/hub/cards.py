"""Model cards: what was measured on exactly these files, how to call them the way they were measured, and their limits.

A card holds nothing that a second measurement of the same model would change (no times, no speeds, no dates): the same
release made twice is byte for byte the same, so publishing it again changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from finetune.config.project import Project
from finetune.evaluation.report_schema import EvaluationReport
from finetune.hub.checks import ADAPTER, MERGED, Measured
from finetune.hub.filters import FILTERS
from finetune.hub.plan import KINDS, PlannedFile, folder_of, repo_of
from finetune.provenance import MANIFEST, NO_MANIFEST, read_manifest

_TEMPLATES = Path(__file__).parent / "templates"

LIBRARY = {"adapter": "peft", "gguf": "gguf", "merged": "transformers"}
RELATION = {"adapter": "adapter", "gguf": "quantized", "merged": "merge"}
_TASK_TYPE = {
    "classification": ("text-classification", "Text Classification"),
    "extraction": ("token-classification", "Information Extraction"),
    "generation": ("text-generation", "Text Generation"),
}
_METRIC_TYPE = {
    "macro_f1": "f1",
    "entity_f1": "f1",
    "entity_f1_partial": "f1",
    "token_f1": "f1",
    "entity_precision": "precision",
    "entity_recall": "recall",
    "rouge_l": "rouge",
}
"""The Hub's name of a metric where it is not ours."""

_HUB_LICENSES = frozenset(
    {
        "apache-2.0",
        "mit",
        "bsd-2-clause",
        "bsd-3-clause",
        "cc0-1.0",
        "cc-by-4.0",
        "cc-by-sa-4.0",
        "cc-by-nc-4.0",
        "cc-by-nc-sa-4.0",
        "cc-by-nc-nd-4.0",
        "cc-by-nd-4.0",
        "gpl-2.0",
        "gpl-3.0",
        "lgpl-3.0",
        "agpl-3.0",
        "mpl-2.0",
        "isc",
        "unlicense",
        "wtfpl",
        "artistic-2.0",
        "epl-2.0",
        "openrail",
        "gemma",
        "llama2",
        "llama3",
        "llama3.1",
        "llama3.2",
        "llama3.3",
        "unknown",
        "other",
    }
)
"""Licences the Hub has a name for, which is SPDX in lower case; any other is "other" with its name beside it."""


def render_card(
    project: Project,
    kind: str,
    tag: str,
    report: EvaluationReport,
    measured: Mapping[str, Measured],
    files: Sequence[PlannedFile],
) -> str:
    """README.md of one repository (adapter, gguf or merged) for a checked release; `files` are those it describes."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(FILTERS)
    context = _context(project, kind, tag, report, measured, files)
    return environment.get_template(f"{kind}.md.j2").render(context)


def front_matter(
    project: Project, kind: str, report: EvaluationReport, measured: Sequence[Measured], base: Mapping[str, Any]
) -> dict[str, Any]:
    """The card's metadata as the Hub reads it: base model and relation, library, licence, and the measured values."""
    task = project.task
    primary_tag = task.language.split("-")[0]
    values: dict[str, Any] = {
        **_license(task.license),
        "language": [primary_tag],
        **({"language_bcp47": [task.language]} if task.language != primary_tag else {}),
        "library_name": LIBRARY[kind],
        "pipeline_tag": "text-generation",
        **_base_models(project, kind, base),
        "tags": [task.task_type, "fine-tuned", "lora" if kind == "adapter" else kind, task.task_name],
        "model-index": [_index_entry(project, item, report) for item in measured],
    }
    return values


def headings(language: str) -> dict[str, Any]:
    """The card's own words: Traditional Chinese for zh-TW tasks, English for every other."""
    words = _all_headings()
    return words["zh-TW" if language == "zh-TW" else "en"]


@cache
def _all_headings() -> dict[str, dict[str, Any]]:
    return yaml.safe_load((_TEMPLATES / "headings.yaml").read_text(encoding="utf-8"))


def _context(
    project: Project,
    kind: str,
    tag: str,
    report: EvaluationReport,
    measured: Mapping[str, Measured],
    files: Sequence[PlannedFile],
) -> dict[str, Any]:
    from finetune.data.chat_format import system_text, template_options
    from finetune.data.tokens.template_clock import macro
    from finetune.export.gguf import DEFAULTS
    from finetune.export.merge import CLOCK

    task, facts = project.task, _facts(project)
    quantisations = project.benchmark.quantisations
    of_kind = {"adapter": [ADAPTER], "merged": [MERGED], "gguf": list(quantisations)}[kind]
    shown = [measured[name] for name in of_kind]
    base = _base(project, facts)
    options = template_options(project.training)
    told = (read_manifest(project.paths.merged / MANIFEST) or NO_MANIFEST).facts.get(CLOCK)
    metadata = front_matter(project, kind, report, shown, base)
    return {
        "kind": kind,
        "t": headings(task.language),
        "front_matter": yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True, width=10**6),
        "title": repo_of(project, kind).split("/")[1],
        "task": task,
        "tag": tag,
        "repo": repo_of(project, kind),
        "related": {other: repo_of(project, other) for other in KINDS if other != kind},
        "smoke": project.smoke,
        "rows": report.data.rows,
        "measured": shown,
        "metrics": [*task.metric_names, *sorted(set(shown[0].metrics) - set(task.metric_names))],
        "baselines": report.baselines,
        "primary": report.primary,
        "confidence": f"{project.benchmark.bootstrap.confidence:.0%}",
        "artefacts": [row for row in report.artefacts if row.name in measured],
        "system_prompt": system_text(task),
        "template_options": options,
        "template_arguments": "".join(f", {name}={value!r}" for name, value in options.items()),
        "template_clock": macro(told) if told else "",
        "context": project.benchmark.generation.context,
        "recommended": next((name for name in DEFAULTS if name in quantisations), quantisations[-1]),
        "base": base,
        "training": _training(project, base, facts),
        "data": {
            "test": report.data.test_sha256,
            **{name.removesuffix("_sha256"): value for name, value in (facts.get("data") or {}).items()},
        },
        "files": files,
    }


def _facts(project: Project) -> dict[str, Any]:
    """What training recorded beside the adapter."""
    return (read_manifest(folder_of(project, "adapter") / MANIFEST) or NO_MANIFEST).facts


def _base(project: Project, facts: Mapping[str, Any]) -> dict[str, Any]:
    config = project.training.base_model
    recorded = facts.get("base") or {}
    on_hub = not config.id.startswith("models/base/")
    return {
        "id": recorded.get("id", config.id),
        "revision": recorded.get("revision", config.revision),
        # The commit to load from the Hub, also where training took the same weights from a Python package.
        "hub_revision": config.revision if on_hub and config.pinned else None,
        "source": recorded.get("source"),
        "license": config.license,
        "on_hub": on_hub,
    }


def _license(spdx: str) -> dict[str, str]:
    name = spdx.lower()
    if name in _HUB_LICENSES:
        return {"license": name}
    return {"license": "other", "license_name": re.sub(r"[^a-z0-9.]+", "-", name).strip("-") or "other"}


def _base_models(project: Project, kind: str, base: Mapping[str, Any]) -> dict[str, Any]:
    """GGUF files are made from the merged model, the other two from the base; a local base has no page to point at."""
    origin = [project.task.hub.merged] if kind == "gguf" else [base["id"]] if base["on_hub"] else []
    return {"base_model": origin, "base_model_relation": RELATION[kind]} if origin else {}


def _index_entry(project: Project, item: Measured, report: EvaluationReport) -> dict[str, Any]:
    """One model of the model-index: the values measured on this artefact."""
    task = project.task
    kind, name = _TASK_TYPE[task.task_type]
    dataset = {
        "name": f"{task.task_name} test set, {report.data.rows} rows",
        "type": task.task_name,
        "split": "test",
        "revision": report.data.test_sha256,
    }
    metrics = [
        {"type": _METRIC_TYPE.get(metric, metric), "name": metric, "value": round(item.metrics[metric], 6)}
        for metric in task.metric_names
    ]
    results = [{"task": {"type": kind, "name": name}, "dataset": dataset, "metrics": metrics}]
    return {"name": f"{task.task_name}-{item.name}", "results": results}


def _training(project: Project, base: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Rows of the training table, by heading; None where nothing was recorded."""
    config, result, rows = facts.get("config") or {}, facts.get("result") or {}, facts.get("rows") or {}
    optimiser, lora, batch = config.get("optimiser") or {}, config.get("lora") or {}, config.get("batch") or {}
    environment = facts.get("environment") or {}
    packages = environment.get("packages") or {}
    shown = [f"{name} {packages[name]}" for name in ("torch", "transformers", "peft", "trl") if name in packages]
    method = f"{config['method']}, r={lora.get('r')}, alpha={lora.get('alpha')}" if "method" in config else None
    return {
        "base_model": base["id"],
        "revision": base["revision"],
        "base_source": base["source"],
        "method": method,
        "learning_rate": optimiser.get("learning_rate"),
        "epochs": optimiser.get("epochs"),
        "batch": batch.get("effective"),
        "seed": config.get("seed"),
        "steps": result.get("steps"),
        "validation_loss": result.get("best_eval_loss"),
        "rows": f"{rows['train']} + {rows['valid']}" if {"train", "valid"} <= rows.keys() else None,
        "versions": ", ".join(shown) or None,
        "commit": environment.get("git_commit"),
    }
