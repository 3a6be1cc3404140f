"""The data stage: 01 checks data/raw and reports, 02 converts it to chat records in three splits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from finetune import provenance, sealed
from finetune.config.project import Project
from finetune.console import report_problems, say, table
from finetune.data.balance import class_weights, oversample
from finetune.data.checks import Checks
from finetune.data.conversion import write_splits
from finetune.data.foreign import is_foreign
from finetune.data.manifest import Balance, DataFacts, DataManifest, read_data_manifest
from finetune.data.overlap import check_overlap
from finetune.data.plan import Plan, checks_digest, make_plan, read_plan, write_plan
from finetune.data.raw_files import RAW, list_raw_files
from finetune.data.report.building import build_report, write_data_report
from finetune.data.report.schema import DataReport
from finetune.data.row_checks import NAMES
from finetune.data.scan.survey import Survey, survey
from finetune.data.splits import SPLITS
from finetune.errors import BAD_INPUT, OK, FinetuneError, Problems

FORMAT_VERSION = 3
"""Raised when the same raw data would convert to other bytes."""
STEP = "02_convert_format"
DECIDING = ("license", "metrics.primary", "metrics.threshold", "hub.merged", "hub.private")
"""Keys that are always said when they are left to their defaults."""
_MADE_FROM = {
    "raw": RAW,
    "task": "task_definition.yaml",
    "splits": "splits in configs/benchmark_config.yaml",
    "format": "this version of the code",
}


@dataclass
class RawData:
    """The files of data/raw whose rows are read; size and sha256, also of foreign ones; what is wrong with any."""

    files: list[Path]
    facts: dict[str, provenance.FileFacts]
    problems: Problems


def validate(project: Project, as_json: bool = False) -> int:
    """Check every record and write the data report, also when there are errors. Returns 2 on errors, else 0."""
    raw = _open_raw(project)
    if not as_json:
        _show_derived(project)
    report, _, _ = _check(project, raw)
    if not as_json:
        _show(report)
    report_problems(raw.problems, as_json=as_json)
    if not as_json:
        say(f"report: {project.paths.relative(project.paths.data_report_md)}")
    return OK if report.valid else BAD_INPUT


def convert(project: Project, force: bool = False) -> int:
    """Write data/chat_format/{train,valid}.jsonl and data/test.jsonl, manifest last.

    The records are checked again unless step 01 has passed exactly this data under exactly this configuration.
    Raises BadInput when any record is wrong; the files of an earlier run then stay as they are.
    """
    raw = _open_raw(project)
    inputs = _digests(project, raw)
    plan = None if raw.problems.error_count else read_plan(project, _plan_inputs(project, inputs))
    # What lies here passed the checks of its day; without today's plan, today's checks are asked again.
    if plan and not force and _is_converted(project, inputs):
        say("data/chat_format is up to date")
        return OK
    groups: dict[str, str] | None = None
    checked = plan is not None
    if plan is None or plan.groups:  # the last look at what was written needs to know the groups
        report, surveyed, checks = _check(project, raw)
        raw.problems.raise_if_errors()
        plan = make_plan(_plan_inputs(project, inputs), surveyed, checks)
        groups = surveyed.groups_by_id()
        if not checked:
            _show(report)
            report_problems(raw.problems)
    if checked:
        say("every record was checked by step 01")
    paths = project.paths
    with _part_files({"train": paths.train, "valid": paths.valid, "test": paths.test}) as parts:
        with ExitStack() as stack:
            outputs = {split: stack.enter_context(open(part, "wb")) for split, part in parts.items()}
            write_splits(project, [(file, _name(file)) for file in raw.files], plan, outputs)
        check_overlap(parts, groups or {}, raw.problems)
        raw.problems.raise_if_errors()
        balance = _balance(project, plan, parts["train"])
    digests = {file: provenance.sha256(file) for file in (paths.train, paths.valid, paths.test)}
    facts = DataFacts(
        task_type=project.task.task_type,
        rows=plan.rows,
        classes=plan.classes,
        train_sha256=digests[paths.train],
        valid_sha256=digests[paths.valid],
        test_sha256=digests[paths.test],
        balance=balance,
    )
    provenance.write_manifest(
        paths.data_manifest,
        step=STEP,
        inputs=inputs,
        outputs=digests,
        facts=msgspec.to_builtins(facts),
        known=digests,
    )
    say(f"wrote {', '.join(map(paths.relative, digests))}")
    return OK


def _is_converted(project: Project, inputs: dict[str, str]) -> bool:
    """Whether the data lies here as it would be written now, with a manifest that the later steps can read."""
    manifest = project.paths.data_manifest
    return read_data_manifest(manifest) is not None and sealed.is_current(manifest, inputs)


def _check(project: Project, raw: RawData) -> tuple[DataReport, Survey, Checks]:
    """The report, written, and what it was made from; with the plan for step 02 where nothing is wrong."""
    files = [(file, _name(file)) for file in raw.files]
    surveyed = survey(project, files, raw.problems)
    checks = Checks(surveyed)
    checks.run()
    raw.problems.sort([name for _, name in files])
    for name, row_check in surveyed.row_checks.items():
        if row_check.status == "skipped":
            say(f"  not checked: {NAMES[name]} ({row_check.reason})")
    inputs = _digests(project, raw)
    report = build_report(project, raw.facts, inputs, surveyed, checks)
    write_data_report(project.paths, report)
    if report.valid:
        write_plan(project, make_plan(_plan_inputs(project, inputs), surveyed, checks))
    else:
        project.paths.data_plan.unlink(missing_ok=True)
    return report, surveyed, checks


def _plan_inputs(project: Project, inputs: dict[str, str]) -> dict[str, str]:
    return {**inputs, "checks": checks_digest(project)}


def data_inputs(project: Project) -> dict[str, str]:
    """Digests of everything the converted data depends on; compare with the manifest by sealed.is_current.

    Raises BadInput when data/raw cannot be read at all.
    """
    raw = _open_raw(project)
    raw.problems.raise_if_errors()
    return _digests(project, raw)


def require_current(project: Project) -> DataManifest:
    """The manifest of the converted data, once that is what step 02 would make now.

    Raises FinetuneError: E414 for no converted data, E416 when something it was made from changed since, or its files;
    BadInput when data/raw cannot be read at all.
    """
    manifest = read_data_manifest(project.paths.data_manifest)
    redo = "run scripts/02_convert_format.py"
    if manifest is None:
        raise FinetuneError("no converted data", f"{redo} first", "E414")
    now, before = data_inputs(project), manifest.inputs
    changed = [_MADE_FROM.get(name, name) for name in {**now, **before} if now.get(name) != before.get(name)]
    if changed:
        raise FinetuneError(f"the converted data is older than {' and '.join(changed)}", redo, "E416")
    if faults := sealed.faults(project.paths.data_manifest):
        raise FinetuneError(f"the converted data was changed: {'; '.join(faults)}", redo, "E416")
    return manifest


def _open_raw(project: Project) -> RawData:
    problems = Problems()
    files = list_raw_files(project.paths, problems)
    facts = {_name(file): provenance.FileFacts.of(file) for file in files}
    files = [file for file in files if not is_foreign(file, _name(file), project.task, problems)]
    return RawData(files, facts, problems)


def _name(file: Path) -> str:
    return f"{RAW}/{file.name}"


def _digests(project: Project, raw: RawData) -> dict[str, str]:
    """Only what changes the converted bytes or the checks: a release that edits status or hub names redoes nothing."""
    parts = {"task_type", "input", "output", "system_prompt", "data"}
    task = project.task.model_dump(mode="json", include=parts)
    return {
        "raw": provenance.digest({name: file.sha256 for name, file in raw.facts.items()}),
        "task": provenance.digest(task),
        "splits": provenance.digest(project.benchmark.splits.model_dump(mode="json")),
        "format": str(FORMAT_VERSION),
    }


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


def _balance(project: Project, plan: Plan, train: Path) -> Balance:
    """Balance the training split as the task asks; validation and test are never touched."""
    policy = project.task.data.balance
    if policy == "oversample":
        return Balance(policy, copies=dict(sorted(oversample(train).items())))
    if policy == "weights":
        return Balance(policy, class_weights=class_weights({name: c.train for name, c in plan.classes.items()}))
    return Balance(policy)


def _show_derived(project: Project) -> None:
    """How much task_definition.yaml leaves to its rules, and what of it a release depends on, in one line."""
    derived = project.derived
    if derived:
        weighty = ", ".join(f"{key}={derived[key]}" for key in DECIDING if key in derived).replace("True", "true")
        say(
            f"task_definition.yaml leaves {len(derived)} {'key' if len(derived) == 1 else 'keys'} to the defaults of "
            "docs/reference.md" + (f", among them {weighty}" if weighty else "")
        )


def _show(report: DataReport) -> None:
    rows = report.rows
    lines = [(name, c.rows, c.train, c.valid, c.test, c.left_out) for name, c in report.classes.items()]
    lines.append(("all rows", rows.accepted, rows.train, rows.valid, rows.test, rows.left_out))
    heads = ("class", "all", *SPLITS, "left out")
    shown = len(heads) if rows.left_out else len(heads) - 1
    table("Rows", heads[:shown], [line[:shown] for line in lines])
    if rows.accepted < rows.expected:
        say(f"  {rows.accepted} of {rows.expected} expected rows (data.expected_rows)")
