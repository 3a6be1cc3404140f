"""Phase 6, first half: merged model and GGUF files belong to this adapter and answer as it does."""

from __future__ import annotations

from finetune.data.chat_format import system_text
from finetune.evaluation.report_schema import ArtefactRow
from finetune.evidence.facts import Facts
from finetune.evidence.findings import Finding, done, failed, not_yet
from finetune.evidence.registry import evidence
from finetune.evidence.values import finite_or_none

NAME = "evaluation_report.yaml"
OLLAMA_FILES = ("Modelfile", "template", "system", "params")
ROUNDING = 1e-5
"""Values in the report are rounded to six digits."""
_SCORED = "run scripts/07_verify_export.py"


@evidence
def merged(facts: Facts) -> Finding:
    if facts.merged_problem:
        return facts.merged_problem
    outputs = facts.manifest(facts.paths.merged / "manifest.json", "05_merge_adapter.py")[0].outputs
    size = sum(output.bytes for output in outputs.values())
    return done(f"{len(outputs)} files, {size} bytes, of this adapter (merged/manifest.json)")


def row_of(facts: Facts, name: str) -> ArtefactRow | Finding:
    """The artefact's row in the report, or why there is none that counts."""
    if facts.report_problem:
        return facts.report_problem
    return artefact_rows(facts).get(name.casefold()) or not_yet(f"{name} was not scored: {_SCORED}")


def artefact_rows(facts: Facts) -> dict[str, ArtefactRow]:
    """The measured rows of step 07 by lower-case name; what was not run has no row."""
    rows = facts.report.artefacts
    return {row.name.casefold(): row for row in rows if row.status not in ("open", "reference")}


def within_tolerance(facts: Facts, name: str) -> Finding:
    """The row's value against today's tolerance, not only the row's own word."""
    row = row_of(facts, name)
    if isinstance(row, Finding):
        return row
    value, reference = finite_or_none(row.value), finite_or_none(facts.report.primary.value)
    limit = facts.benchmark.tolerances.get(name, finite_or_none(row.tolerance))
    if value is None or reference is None or limit is None:
        return not_yet(f"{name} has no value in {NAME}: {_SCORED}")
    metric, loss = facts.task.metrics.primary, reference - value
    text = f"{name} {metric} {value:.3f}, adapter {reference:.3f}, largest loss {limit:.3f} ({NAME}: artefacts)"
    good = row.passed is True and loss <= limit + ROUNDING
    return done(text) if good else failed(text)


@evidence
def merged_loads(facts: Facts) -> Finding:
    if facts.merged_problem:
        return facts.merged_problem
    row = row_of(facts, "merged")
    if isinstance(row, Finding):
        return row
    if finite_or_none(row.value) is None:
        return not_yet(f"merged did not answer ({NAME}: artefacts): {_SCORED}")
    loaded = f"loaded by transformers, {finite_or_none(row.tokens_per_s) or 0:.0f} tokens/s ({NAME}: artefacts)"
    if isinstance(row_of(facts, "vllm"), Finding):
        return not_yet(f"{loaded}; vLLM has not served it yet, see 6.17")
    return done(f"{loaded}, and by vLLM")


@evidence
def merged_scored(facts: Facts) -> Finding:
    return facts.merged_problem or within_tolerance(facts, "merged")


@evidence
def converted_gguf(facts: Facts) -> Finding:
    if facts.gguf_problem:
        return facts.gguf_problem
    outputs = facts.manifest(facts.paths.gguf / "manifest.json", "06_convert_gguf.py")[0].outputs
    return done(f"{len(outputs)} files of this merged model (gguf/manifest.json)")


@evidence
def gguf_files(facts: Facts) -> Finding:
    if facts.gguf_problem:
        return facts.gguf_problem
    name, magic = facts.task.task_name, b"GGUF"
    for kind in facts.benchmark.quantisations:
        path = facts.paths.gguf / f"{name}-{kind}.gguf"
        if not path.is_file():
            return not_yet(f"{path.name} is missing: run scripts/06_convert_gguf.py")
        with open(path, "rb") as stream:
            if stream.read(len(magic)) != magic:
                return failed(f"{path.name} is no GGUF file")
    return done(f"{name}-{{{','.join(facts.benchmark.quantisations)}}}.gguf, sha256 as in gguf/manifest.json")


@evidence
def modelfile(facts: Facts) -> Finding:
    if facts.gguf_problem:
        return facts.gguf_problem
    outputs = facts.manifest(facts.paths.gguf / "manifest.json", "06_convert_gguf.py")[0].outputs
    missing = [name for name in OLLAMA_FILES if name not in outputs]
    if missing:
        return not_yet(f"{', '.join(missing)} missing in models/gguf: run scripts/06_convert_gguf.py")
    text = (facts.paths.gguf / "Modelfile").read_text(encoding="utf-8")
    context, tokens = facts.benchmark.generation.context, facts.task.output.max_new_tokens
    wanted = ("temperature 0\n", f"num_ctx {context}\n", f"num_predict {tokens}\n", "stop ")
    unset = [name.strip() for name in wanted if f"\nPARAMETER {name}" not in text]
    if unset:
        return failed(f"Modelfile does not set {', '.join(unset)}: run scripts/06_convert_gguf.py")
    if (facts.paths.gguf / "system").read_text(encoding="utf-8") != system_text(facts.task):
        return not_yet("the system prompt changed since models/gguf: run scripts/06_convert_gguf.py")
    unequal = [
        row.name
        for row in (artefact_rows(facts).values() if facts.report_problem is None else ())
        if row.name in facts.benchmark.quantisations and row.tokens_equal is not True
    ]
    if unequal:
        return failed(f"{', '.join(unequal)} read other tokens than training ({NAME}: artefacts)")
    return done(f"temperature 0, num_ctx {context}, num_predict {tokens}, stop; today's system prompt (models/gguf)")


@evidence
def ollama_test(facts: Facts) -> Finding:
    if facts.gguf_problem:
        return facts.gguf_problem
    row = row_of(facts, "ollama")
    if isinstance(row, Finding):
        return not_yet(f"no row ollama in {NAME}: needs ollama installed, then {_SCORED.removeprefix('run ')}")
    return within_tolerance(facts, "ollama")


@evidence
def vllm_api(facts: Facts) -> Finding:
    if facts.merged_problem:
        return facts.merged_problem
    row = row_of(facts, "vllm")
    if isinstance(row, Finding):
        return not_yet(f"no row vllm in {NAME}: needs vLLM in its own environment, then {_SCORED.removeprefix('run ')}")
    return within_tolerance(facts, "vllm")


@evidence
def performance(facts: Facts) -> Finding:
    if facts.report_problem:
        return facts.report_problem
    measured = artefact_rows(facts)
    wanted = ["merged", *facts.benchmark.quantisations]
    missing = [name for name in wanted if name.casefold() not in measured]
    if missing:
        return not_yet(f"{', '.join(missing)} not scored: {_SCORED}")
    for problem in (facts.merged_problem, facts.gguf_problem):
        if problem:
            return problem
    served = [row.name for name, row in measured.items() if name in ("vllm", "ollama")]
    findings = [within_tolerance(facts, name) for name in (*wanted, *served)]
    bad = next((finding for finding in findings if finding.status != "done"), None)
    if bad:
        return bad
    unknown = [name for name in wanted if measured[name.casefold()].tokens_per_s is None]
    if unknown:
        return not_yet(f"no throughput of {', '.join(unknown)} in {NAME}: {_SCORED}")
    return done(f"{len(findings)} artefacts within their tolerance, throughput recorded ({NAME}: artefacts)")
