"""May this be published? Every reason against it at once, and what was measured on each artefact.

What you ship is what you measured: the kept predictions name the artefact they came from by digest, and the report's
numbers are computed again from them. Neither a file changed after the measurement nor an edited report gets through.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from finetune.config.project import Project
from finetune.data.chat_format import ChatRecord
from finetune.errors import BadInput, FinetuneError, Problems
from finetune.evaluation.gate import PASSED
from finetune.evaluation.report_parts import ClassRow
from finetune.evaluation.report_schema import EvaluationReport
from finetune.export.safety import refuse_code
from finetune.hub.plan import CARD, KINDS, folder_of
from finetune.provenance import MANIFEST, FileFacts, read_manifest, sha256, tree_digest
from finetune.sealed import deviations, is_current

ADAPTER, MERGED = "adapter", "merged"
GATE_CODES = frozenset({"E802", "E804"})
"""Problems that are a failed gate, not a wrong file."""

_STEP = {"adapter": "03_train.py", "merged": "05_merge_adapter.py", "gguf": "06_convert_gguf.py"}
_OLLAMA_FILES = ("Modelfile", "template", "system", "params")
_SAME = 1e-4
"""Largest difference between a reported value and the one computed again from the predictions: rounding only."""


@dataclass(frozen=True)
class Measured:
    """One artefact on the test set."""

    name: str
    """adapter, merged, or the quantisation."""
    metrics: Mapping[str, float]
    per_class: tuple[ClassRow, ...]
    unparseable: int


def measured_names(project: Project) -> list[str]:
    """Every artefact that is published, the adapter first."""
    return [ADAPTER, MERGED, *project.benchmark.quantisations]


def check_release(project: Project, report: EvaluationReport | None, problems: Problems) -> dict[str, Measured]:
    """Add every reason against publishing to `problems`; what was measured, by artefact, as far as it could be read."""
    for kind in KINDS:
        _check_files(project, kind, problems)
    _check_lineage(project, problems)
    shown = project.paths.relative(project.paths.report_yaml)
    if report is None:
        problems.add(shown, "E801", "no evaluation report", "run scripts/04_evaluate.py and 07_verify_export.py first")
        return {}
    gates = report.gates
    if report.verdict != PASSED or any(not row.passed for row in gates):
        missed = ", ".join(row.name for row in gates if not row.passed)
        verdict = f"the verdict is {report.verdict[:60]!r}" + (f", missed: {missed}" if missed else "")
        problems.add(shown, "E802", verdict, "follow the report's advice, then train again")
    elif report.primary.threshold != project.task.metrics.threshold:
        judged = f"judged by threshold {report.primary.threshold:g}, the task says {project.task.metrics.threshold:g}"
        problems.add(shown, "E802", judged, "run scripts/04_evaluate.py and 07_verify_export.py again")
    _check_table(project, report, shown, problems)
    if problems.error_count and not _all_present(project):
        return {}
    return _check_measurements(project, report, shown, problems)


def _all_present(project: Project) -> bool:
    return all(read_manifest(folder_of(project, kind) / MANIFEST) for kind in KINDS)


def _check_files(project: Project, kind: str, problems: Problems) -> None:
    """The artefact's folder holds what its manifest says, and nothing that could run."""
    folder = folder_of(project, kind)
    shown, again = project.paths.relative(folder), f"run scripts/{_STEP[kind]}"
    manifest = read_manifest(folder / MANIFEST)
    if manifest is None:
        problems.add(shown, "E805", f"no finished {kind}", again + " first")
        return
    outputs = manifest.outputs
    _check_bytes(folder, shown, outputs, again, problems)
    if kind == "gguf":
        wanted = [*_OLLAMA_FILES, *(f"{project.task.task_name}-{q}.gguf" for q in project.benchmark.quantisations)]
        for name in wanted:
            if name not in outputs:
                problems.add(f"{shown}/{name}", "E805", "missing or not in the manifest", again + " again")
    try:
        refuse_code(folder, shown)
    except FinetuneError as failure:
        problems.add(shown, "E808", failure.message, again + " again, or choose another base model")


def _check_bytes(folder: Path, shown: str, outputs: dict[str, FileFacts], again: str, problems: Problems) -> None:
    """Hidden files are what a desktop or an editor left behind; they are not published."""
    deviating = deviations(folder, outputs, beside=[MANIFEST, CARD])
    if any(deviation.kind in ("missing", "size", "changed") for deviation in deviating):
        problems.add(shown, "E806", "files changed after they were made", again + " again")
    for name, kind in ((d.name, d.kind) for d in deviating):
        if kind == "unsafe":
            message = f"names a file outside the folder, or of an unsafe name: {ascii(name)[1:-1]}"
            problems.add(f"{shown}/{MANIFEST}", "E806", message, again + " again")
        elif kind == "irregular" and name in outputs:
            problems.add(f"{shown}/{name}", "E806", "a link or device in place of the file", again + " again")
        elif kind == "flood" or "/." not in f"/{name}":
            problems.add(f"{shown}/{name}", "E818", "the manifest does not know this file", "remove it, or " + again)


def _check_lineage(project: Project, problems: Problems) -> None:
    """The adapter was trained on what lies here, the merged model made from it, the GGUF files from that."""
    _check_adapter(project, problems)
    manifests = {kind: read_manifest(folder_of(project, kind) / MANIFEST) for kind in KINDS}
    adapter, gguf, merged = (manifests[kind] for kind in KINDS)
    if adapter and merged and merged.inputs.get("adapter") != tree_digest(project.paths.adapter):
        problems.add(project.paths.relative(project.paths.merged), "E806", "made from another adapter", "run 05 to 07")
    if merged and gguf and gguf.inputs.get("merged") != merged.outputs_digest:
        problems.add(project.paths.relative(project.paths.gguf), "E806", "made from another merged model", "run 06, 07")


def _check_adapter(project: Project, problems: Problems) -> None:
    from finetune.training.adapter import outdated, read_adapter_manifest
    from finetune.training.base_model import resolve_base

    shown = project.paths.relative(project.paths.adapter)
    manifest, stale = read_adapter_manifest(project.paths.adapter), None
    try:
        stale = outdated(project, manifest, resolve_base(project)) if manifest else None
    except BadInput as failure:  # data/raw cannot be read
        problems.extend(failure.problems)
    except FinetuneError as failure:
        stale = failure
    if stale:
        problems.add(shown, stale.code, stale.message, f"{stale.fix}, then the steps after it")


def _check_table(project: Project, report: EvaluationReport, shown: str, problems: Problems) -> None:
    """Step 07 measured every shipped artefact and found it within its tolerance."""
    rows = {row.name: row for row in report.artefacts}
    for name in measured_names(project)[1:]:
        row = rows.get(name)
        if row is None:
            problems.add(shown, "E803", f"{name} was not verified", "run scripts/07_verify_export.py first")
        elif row.passed is not True:
            message = f"{name} is outside its tolerance (difference {row.difference})"
            problems.add(shown, "E804", message, "leave the quantisation out, or find out why it lost")
        elif row.tokens_equal is False:
            problems.add(shown, "E804", f"{name} tokenises the prompt differently", "run 06 and 07 again")


def _check_measurements(
    project: Project, report: EvaluationReport, shown: str, problems: Problems
) -> dict[str, Measured]:
    from finetune.evaluation.predictions import artefact_digest, score_kept

    test = _check_test_set(project, report, shown, problems)
    rows = {row.name: row for row in report.artefacts}
    primary, measured = project.task.metrics.primary, {}
    for name in measured_names(project):
        kept = project.paths.predictions / f"{name}.jsonl"
        where, step = project.paths.relative(kept), "04_evaluate.py" if name == ADAPTER else "07_verify_export.py"
        manifest = read_manifest(kept.with_name(f"{name}.manifest.json"))
        if manifest is None or not is_current(kept.with_name(f"{name}.manifest.json"), manifest.inputs):
            problems.add(where, "E807", f"no intact predictions of {name}", f"run scripts/{step}")
            continue
        try:
            shipped = artefact_digest(project, name)
        except FinetuneError as failure:
            problems.add(where, "E805", failure.message, failure.fix)
            continue
        if manifest.inputs.get("artefact") != shipped or manifest.inputs.get("test") != test:
            problems.add(where, "E807", f"{name} is not the one that was measured", f"run scripts/{step} again")
            continue
        scores = score_kept(project, kept)
        row = rows.get(name)
        reported = report.primary.value if name == ADAPTER else row.value if row else None
        if reported is None or not abs(reported - scores.metrics[primary]) <= _SAME:
            by_rows = f"{primary} of {name} is {scores.metrics[primary]:.4f} by its predictions"
            problems.add(shown, "E807", f"{by_rows}, {reported} by the report", f"run scripts/{step} again")
        measured[name] = Measured(name, scores.metrics, tuple(scores.per_class), scores.unparseable)
    return measured


def _check_test_set(project: Project, report: EvaluationReport, shown: str, problems: Problems) -> str | None:
    """sha256 of the test set; it must be the report's, and ask with today's system prompt."""
    from finetune.data.chat_format import system_text

    path = project.paths.test
    if not path.is_file():
        problems.add(project.paths.relative(path), "E410", "no test set", "run scripts/02_convert_format.py first")
        return None
    test = sha256(path)
    if report.data.test_sha256 != test:
        problems.add(shown, "E807", "the report was measured on another test set", "run scripts/04_evaluate.py again")
    if next(_system_texts(path), None) != system_text(project.task):
        fix = "run 02_convert_format.py, 03_train.py and the steps after it again"
        problems.add("task_definition.yaml", "E819", "the system prompt changed after the measurement", fix)
    return test


def _system_texts(path: Path) -> Iterator[str]:
    decode = msgspec.json.Decoder(ChatRecord).decode
    with open(path, "rb") as file:
        for line in file:
            yield from (message.content for message in decode(line).messages if message.role == "system")
