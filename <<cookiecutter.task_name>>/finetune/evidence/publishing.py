"""Phase 6, second half: what the three repositories hold is what lies here, and the documents say so."""

from __future__ import annotations

import re

from finetune.evidence.facts import Facts
from finetune.evidence.findings import Finding, done, failed, not_yet
from finetune.evidence.registry import evidence
from finetune.evidence.values import finite_or_none
from finetune.receipts import Receipt

RESULTS = re.compile(r"<!--\s*results:(?:start|begin)\s*-->(.*?)<!--\s*results:end\s*-->", re.DOTALL)
"""The part of README.md that the release rewrites."""
_COMMIT = re.compile(r"[0-9a-f]{40}")
_UPLOAD = "run scripts/08_upload_hf.py"
CARD = "README.md"
KINDS = ("adapter", "gguf", "merged")


def receipt_of(facts: Facts, kind: str) -> Receipt | Finding:
    """The receipt of one repository, when it is about the configured repository and names a commit."""
    if unloaded := facts.unloaded():
        return unloaded
    receipt = facts.receipts.of(kind) if facts.receipts else None
    repo = getattr(facts.task.hub, kind)
    if receipt is None:
        return not_yet(f"no receipt of {repo}: {_UPLOAD}")
    if receipt.repo != repo:
        return not_yet(f"the receipt is of {receipt.repo}, configured is {repo}: {_UPLOAD}")
    if not _COMMIT.fullmatch(receipt.commit):
        return failed(f"the receipt of {repo} names no commit")
    return receipt


def _uploaded(facts: Facts, kind: str, problem: Finding | None) -> Finding:
    receipt = receipt_of(facts, kind)
    if isinstance(receipt, Finding):
        return receipt
    if problem:
        return problem
    folder = {"adapter": facts.paths.adapter, "gguf": facts.paths.gguf, "merged": facts.paths.merged}[kind]
    outputs = facts.manifest(folder / "manifest.json", "08_upload_hf.py")[0].outputs
    there = {path: file.sha256 for path, file in receipt.files.items()}
    other = [name for name, output in outputs.items() if name != CARD and there.get(name) != output.sha256]
    if other:
        return not_yet(f"{receipt.repo} holds another {other[0]} than {facts.name(folder)}: {_UPLOAD}")
    where = f"{receipt.repo} tag {receipt.tag}, commit {receipt.commit[:12]}"
    return done(f"{where}, {len(there)} files, sha256 as here (receipts.json)")


@evidence
def hub_login(facts: Facts) -> Finding:
    receipts = [receipt_of(facts, kind) for kind in KINDS]
    written = [receipt.repo for receipt in receipts if not isinstance(receipt, Finding)]
    if not written:
        return not_yet(f"no receipt shows a login that worked: {_UPLOAD}")
    return done(f"the login wrote to {', '.join(written)} (receipts.json)")


@evidence
def adapter_uploaded(facts: Facts) -> Finding:
    return _uploaded(facts, "adapter", facts.adapter_problem)


@evidence
def gguf_uploaded(facts: Facts) -> Finding:
    return _uploaded(facts, "gguf", facts.gguf_problem)


@evidence
def merged_uploaded(facts: Facts) -> Finding:
    return _uploaded(facts, "merged", facts.merged_problem)


@evidence
def model_cards(facts: Facts) -> Finding:
    for kind, item in zip(KINDS, ("6.9", "6.10", "6.11"), strict=True):
        receipt = receipt_of(facts, kind)
        if isinstance(receipt, Finding):
            return receipt
        if CARD not in receipt.files:
            return failed(f"{receipt.repo} has no {CARD} (receipts.json)")
        here = facts.sha256(facts.paths.publish_plan / kind / CARD)
        if here is not None and here != receipt.files[CARD].sha256:
            return not_yet(f"the card of {receipt.repo} was written anew since the upload: {_UPLOAD}")
        found = facts.found.get(item)
        if found is None or found.status != "done":
            return not_yet(f"the card of {receipt.repo} belongs to other files, see {item}")
    return done(f"{CARD} of all three repositories came in one commit with the files it describes (receipts.json)")


@evidence
def integration_guide(facts: Facts) -> Finding:
    if unloaded := facts.unloaded():
        return unloaded
    path, hub = facts.paths.integration_guide, facts.task.hub
    if not path.is_file():
        return not_yet(f"no {facts.name(path)}: the release writes it")
    text = path.read_text(encoding="utf-8", errors="replace")
    absent = [repo for repo in (hub.adapter, hub.gguf, hub.merged) if repo not in text]
    if absent:
        return failed(f"{facts.name(path)} does not name {', '.join(absent)}")
    version = facts.task.released_version
    if not version or version.removeprefix("v") not in text:
        return not_yet(f"{facts.name(path)} is not of the released version {version or '(none yet)'}")
    return done(f"{facts.name(path)} names version {version} and the three repositories")


@evidence
def readme_current(facts: Facts) -> Finding:
    if facts.report_problem:
        return facts.report_problem
    path = facts.root / "README.md"
    block = RESULTS.search(path.read_text(encoding="utf-8")) if path.is_file() else None
    if block is None:
        return not_yet("README.md has no results between its markers")
    primary = facts.report.primary
    value = finite_or_none(primary.value)
    shown = [] if value is None else [f"{value:.{digits}f}" for digits in (2, 3, 4)]
    if primary.metric not in block[1] or not any(text in block[1] for text in shown):
        return not_yet(f"README.md does not show {primary.metric} {value} of the report between its markers")
    return done(f"README.md shows {primary.metric} {value:.3f} between its markers")


@evidence
def task_released(facts: Facts) -> Finding:
    if unloaded := facts.unloaded():
        return unloaded
    task = facts.task
    if task.status != "released" or not task.released_version:
        version = task.released_version or "unset"
        return not_yet(f"status {task.status}, released_version {version} (task_definition.yaml)")
    return done(f"status released, version {task.released_version} (task_definition.yaml)")


@evidence
def ollama_deployed(facts: Facts) -> Finding:
    if facts.newest_iteration is None:
        return not_yet("no iterations/*.yaml: the release records it where ollama is installed")
    name, iteration = facts.newest_iteration
    row = (iteration.get("deployment") or {}).get("ollama")
    if not row:
        return not_yet(f"{name} records no answer of ollama run hf.co/…: needs ollama on the release runner")
    text = f"ollama {row.get('value')} on the published GGUF ({name}: deployment)"
    return done(text) if row.get("passed") is True else failed(text)
