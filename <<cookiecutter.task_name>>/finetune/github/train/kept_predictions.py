"""The answers behind a report: all of them, as the manifest beside them says, over the test set that was frozen."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from finetune.github.train.strict_json import Unreadable, loads, read_bytes, read_json

NAME = "adapter"
MAX_BYTES = 256 << 20
_MANIFEST_BYTES = 1 << 20


def check_predictions(folder: Path, *, rows: int, test_sha256: str, adapter: str | None = None) -> list[str]:
    """Every reason why `folder`/adapter.jsonl is not the answers to this test set; none when it is.

    `rows` and `test_sha256` are the test set's; `adapter` is the digest that the report gives for the adapter it
    measured, None where there is no report to agree with.
    """
    file, manifest = f"predictions/{NAME}.jsonl", f"predictions/{NAME}.manifest.json"
    try:
        inputs, recorded = _parts(read_json(folder / f"{NAME}.manifest.json", _MANIFEST_BYTES))
    except Unreadable as refusal:
        return [f"{manifest}: {refusal}"]
    try:
        content = read_bytes(folder / f"{NAME}.jsonl", MAX_BYTES)
    except Unreadable as refusal:
        return [f"{file}: {refusal}"]
    reasons = []
    if recorded.get("sha256") != hashlib.sha256(content).hexdigest() or recorded.get("bytes") != len(content):
        reasons.append(f"{file}: other bytes than its manifest names")
    for key, wanted, what in (
        ("test", test_sha256, "another test set"),
        ("rows", str(rows), "another number of rows"),
        ("artefact", adapter, "another adapter than the report"),
    ):
        if wanted is not None and inputs.get(key) != wanted:
            reasons.append(f"{manifest}: inputs.{key} {'is missing' if key not in inputs else f'names {what}'}")
    return [*reasons, *(f"{file}: {fault}" for fault in _rows(content, rows))]


def _parts(manifest: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """(inputs, what is recorded of adapter.jsonl)."""
    if not isinstance(manifest, dict) or not isinstance(manifest.get("inputs"), dict):
        raise Unreadable("inputs are missing")
    outputs = manifest.get("outputs")
    if not isinstance(outputs, dict) or set(outputs) != {f"{NAME}.jsonl"}:
        raise Unreadable(f"outputs are not {NAME}.jsonl alone")
    recorded = outputs[f"{NAME}.jsonl"]
    if not isinstance(recorded, dict):
        raise Unreadable(f"outputs.{NAME}.jsonl is malformed")
    return manifest["inputs"], recorded


def _rows(content: bytes, rows: int) -> list[str]:
    """What is wrong with the lines: their number, their form, an id that is there twice."""
    lines = content.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    if len(lines) != rows:
        return [f"{len(lines)} answers, the test set has {rows} rows"]
    ids = set()
    for number, line in enumerate(lines, 1):
        try:
            row = loads(line)
        except Unreadable as refusal:
            return [f"line {number}: {refusal}"]
        if not isinstance(row, dict) or not isinstance(row.get("id"), str) or "parsed" not in row:
            return [f"line {number}: no prediction"]
        ids.add(row["id"])
    return [] if len(ids) == rows else [f"{rows} answers to {len(ids)} rows"]
