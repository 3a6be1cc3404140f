"""The data stage: 01 checks data/raw and reports, 02 converts it to chat records in three splits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from finetune import provenance
from finetune.config.project import Project
from finetune.console import progress, report_problems, say, table
from finetune.data.balance import class_weights, oversample
from finetune.data.chat_format import completion_text, parse_completion, prompt_messages
from finetune.data.checks import Checks
from finetune.data.raw_files import list_raw_files
from finetune.data.records import Record, RecordReader
from finetune.data.report import build_report, write_data_report
from finetune.data.row_checks import RowChecks
from finetune.data.splits import SPLITS, check_overlap
from finetune.errors import BAD_INPUT, OK, Problems

FORMAT_VERSION = 1
"""Raised when the same raw data would convert to other bytes."""
STEP = "02_convert_format"
_PROGRESS_FROM_BYTES = 10_000_000


@dataclass
class RawData:
    """The files of data/raw that can be read, with size and sha256, and the problems of those that cannot."""

    files: list[Path]
    facts: dict[str, dict[str, Any]]
    problems: Problems
    row_checks: dict[str, Any] = field(default_factory=dict)


def validate(project: Project, as_json: bool = False) -> int:
    """Check every record and write the data report, also when there are errors. Returns 2 on errors, else 0."""
    raw = _open_raw(project)
    reader, checks = _scan(project, raw, None)
    report = _write_report(project, raw, reader, checks)
    if not as_json:
        _show(report)
    report_problems(raw.problems, as_json=as_json)
    if not as_json:
        say(f"report: {project.paths.relative(project.paths.data_report_md)}")
    return OK if report["valid"] else BAD_INPUT


def convert(project: Project, force: bool = False) -> int:
    """Check the records again and write data/chat_format/{train,valid}.jsonl and data/test.jsonl, manifest last.

    Raises BadInput when any record is wrong; the files of an earlier run then stay as they are.
    """
    raw = _open_raw(project)
    inputs = _digests(project, raw)
    if not force and not raw.problems.error_count and provenance.is_current(project.paths.data_manifest, inputs):
        say("data/chat_format is up to date")
        return OK
    paths = project.paths
    with _part_files({"train": paths.train, "valid": paths.valid, "test": paths.test}) as parts:
        with ExitStack() as stack:
            writer = ChatWriter(project, {split: stack.enter_context(open(parts[split], "wb")) for split in SPLITS})
            reader, checks = _scan(project, raw, writer)
        if not raw.problems.error_count:
            check_overlap(parts, checks.group_of, raw.problems)
        report = _write_report(project, raw, reader, checks)
        raw.problems.raise_if_errors()
        balance = _balance(project, checks, parts["train"])
    facts = {
        "task_type": project.task.task_type,
        "rows": {split: checks.rows[split] for split in SPLITS},
        "classes": report["classes"],
        "train_sha256": provenance.sha256(paths.train),
        "valid_sha256": provenance.sha256(paths.valid),
        "test_sha256": provenance.sha256(paths.test),
        "balance": balance,
    }
    outputs = [paths.train, paths.valid, paths.test]
    provenance.write_manifest(paths.data_manifest, step=STEP, inputs=inputs, outputs=outputs, facts=facts)
    _show(report)
    report_problems(raw.problems)
    say(f"wrote {', '.join(paths.relative(output) for output in outputs)}")
    return OK


def data_inputs(project: Project) -> dict[str, str]:
    """Digests of everything the converted data depends on; compare with the manifest by provenance.is_current.

    Raises BadInput when data/raw cannot be read at all.
    """
    raw = _open_raw(project)
    raw.problems.raise_if_errors()
    return _digests(project, raw)


def _open_raw(project: Project) -> RawData:
    problems = Problems()
    files = list_raw_files(project.paths, problems)
    facts = {
        _name(file): {"sha256": provenance.sha256(file), "bytes": file.stat().st_size, "rows": 0} for file in files
    }
    return RawData(files, facts, problems)


def _name(file: Path) -> str:
    return f"data/raw/{file.name}"


def _digests(project: Project, raw: RawData) -> dict[str, str]:
    """Only what changes the converted bytes or the checks: a release that edits status or hub names redoes nothing."""
    parts = {"task_type", "input", "output", "system_prompt", "data"}
    task = project.task.model_dump(mode="json", include=parts)
    return {
        "raw": provenance.digest({name: fact["sha256"] for name, fact in raw.facts.items()}),
        "task": provenance.digest(task),
        "splits": provenance.digest(project.benchmark.splits.model_dump(mode="json")),
        "format": str(FORMAT_VERSION),
    }


class ChatWriter:
    """Writes each record as a chat record of its split; the test split keeps its reference apart from the prompt."""

    def __init__(self, project: Project, files: dict[str, BinaryIO]) -> None:
        self._task = project.task
        self._files = files
        self._encode = msgspec.json.Encoder().encode

    def write(self, record: Record, split: str) -> None:
        messages = prompt_messages(self._task, record.input)
        completion = completion_text(self._task, record.reference)
        if split == "test":
            # The reference goes through the same text as in training, so that a perfect answer is always scored so.
            row = {"id": record.id, "messages": messages, "reference": parse_completion(self._task, completion)}
        else:
            row = {"id": record.id, "messages": [*messages, {"role": "assistant", "content": completion}]}
        self._files[split].write(self._encode(row) + b"\n")


def _scan(project: Project, raw: RawData, writer: ChatWriter | None) -> tuple[RecordReader, Checks]:
    """One pass over all records: read, check, split, and write where a writer is given."""
    reader = RecordReader(project.task, raw.problems)
    checks = Checks(project.task, project.benchmark.splits, raw.problems)
    rows = RowChecks(project, raw.problems)
    for file in raw.files:
        name = _name(file)
        before = reader.lines
        for record in _watched(reader.read(file, name), name, file):
            split = checks.add(record)
            rows.add(record)
            if writer is not None and not raw.problems.error_count:
                writer.write(record, split)
        raw.facts[name]["rows"] = reader.lines - before
    checks.finish()
    raw.row_checks = rows.finish()
    return reader, checks


def _watched(records: Iterator[Record], name: str, file: Path) -> Iterator[Record]:
    """A progress bar for files that take more than a moment."""
    if file.stat().st_size < _PROGRESS_FROM_BYTES:
        return records
    with open(file, "rb") as stream:
        lines = sum(block.count(b"\n") for block in iter(lambda: stream.read(1 << 20), b""))
    return progress(records, name, total=lines)


@contextmanager
def _part_files(targets: dict[str, Path]) -> Iterator[dict[str, Path]]:
    """Temporary names beside the targets; renamed, all after each other, when the block succeeds, else removed."""
    parts = {split: path.with_name(f".{path.name}.part") for split, path in targets.items()}
    for path in targets.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield parts
        for part in parts.values():
            with open(part, "rb") as file:
                os.fsync(file.fileno())
        for split, path in targets.items():
            os.replace(parts[split], path)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def _balance(project: Project, checks: Checks, train: Path) -> dict[str, Any]:
    """Balance the training split as the task asks; validation and test are never touched."""
    policy = project.task.data.balance
    facts: dict[str, Any] = {"policy": policy}
    if policy == "oversample":
        facts["copies"] = dict(sorted(oversample(train).items()))
    elif policy == "weights":
        facts["class_weights"] = class_weights(checks.classes["train"])
    return facts


def _write_report(project: Project, raw: RawData, reader: RecordReader, checks: Checks) -> dict[str, Any]:
    task = project.task
    report = build_report(
        task_name=task.task_name, task_type=task.task_type, expected_rows=task.data.expected_rows,
        max_imbalance=task.data.max_imbalance, raw=raw.facts, inputs=_digests(project, raw), rows_read=reader.lines,
        checks=checks, problems=raw.problems,
    )  # fmt: skip
    report["row_checks"] = raw.row_checks
    write_data_report(project.paths, report)
    return report


def _show(report: dict[str, Any]) -> None:
    rows = report["rows"]
    counts = [(name, count["rows"], *(count[s] for s in SPLITS)) for name, count in report["classes"].items()]
    table("Rows", ("class", "all", *SPLITS), [*counts, ("all rows", rows["accepted"], *(rows[s] for s in SPLITS))])
    if rows["accepted"] < rows["expected"]:
        say(f"  {rows['accepted']} of {rows['expected']} expected rows (data.expected_rows)")
