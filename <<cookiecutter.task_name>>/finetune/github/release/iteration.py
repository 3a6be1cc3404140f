"""iterations/vX.Y.Z.yaml: what a version was made of and how good it was, for comparing versions years later.

Holds nothing that a second run of the same release would write otherwise: no durations, no speeds, no date of today.
"""

from __future__ import annotations

from typing import Any

from finetune.evaluation.report_schema import EvaluationReport
from finetune.github.release.published import Published
from finetune.provenance import MANIFEST, NO_MANIFEST, digest, read_manifest

_ARTEFACT = ("name", "value", "difference", "tolerance", "tokens_equal", "passed")


def iteration(published: Published) -> dict[str, Any]:
    """The record as plain data; the checklist asks for its sections data, config, metrics and artefacts."""
    report, receipts = published.report, published.receipts
    return {
        "version": published.tag.version,
        "tag": published.tag.name,
        "repository": published.repository,
        "commit": published.commit,
        "fingerprint": published.fingerprint,
        "evaluated": report.provenance.created,
        "data": _data(published),
        "config": _config(published),
        "metrics": _metrics(report),
        "artefacts": [
            _known({key: getattr(row, key) for key in _ARTEFACT} | {"bytes": published.bytes_of(row.name)})
            for row in report.artefacts
            if row.status != "open"
        ],
        "published": {
            "digest": receipts.digest,
            "endpoint": receipts.endpoint,
            "repositories": [
                receipt.model_dump(include={"kind", "repo", "commit", "tag"}) for receipt in receipts.repositories
            ],
        },
    }


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _facts(published: Published) -> dict[str, Any]:
    """What training recorded beside the adapter."""
    return (read_manifest(published.project.paths.adapter / MANIFEST) or NO_MANIFEST).facts


def _data(published: Published) -> dict[str, Any]:
    manifest = read_manifest(published.project.paths.data_manifest) or NO_MANIFEST
    facts = manifest.facts
    recorded = {name: facts.get(name) for name in ("rows", "classes", "train_sha256", "valid_sha256", "test_sha256")}
    measured = {"test_sha256": published.report.data.test_sha256, "test_rows": published.report.data.rows}
    return _known({**recorded, **measured, "raw_sha256": manifest.inputs.get("raw")})


def _config(published: Published) -> dict[str, Any]:
    project, provenance = published.project, published.report.provenance
    task = project.task.model_dump(mode="json", exclude={"status", "released_version"})
    return {
        "base": provenance.base.model_dump(),
        "task_sha256": digest(task),
        "training": project.training.model_dump(mode="json"),
        "benchmark": project.benchmark.model_dump(mode="json"),
        "packages": (_facts(published).get("environment") or {}).get("packages") or {},
    }


def _metrics(report: EvaluationReport) -> dict[str, Any]:
    primary = report.primary
    zero = report.baselines.zero_shot
    return {
        "primary": {key: getattr(primary, key) for key in ("metric", "value", "threshold", "ci", "confidence")},
        "all": dict(report.metrics),
        "intervals": dict(report.intervals),
        "baselines": {name: row.value for name, row in report.baselines.items()},
        "against_zero_shot": zero.difference.model_dump() if zero else None,
        "per_class": [
            {key: getattr(row, key) for key in ("name", "f1", "precision", "recall", "support")}
            for row in report.per_class
        ],
        "unparseable": report.outputs.unparseable,
        "rows": report.outputs.rows,
    }
