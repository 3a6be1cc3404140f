"""Phase 3: the data is checked, converted, split, and what is on disk is what was checked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from finetune.data.chat_format import system_text
from finetune.data.overlap import check_overlap
from finetune.data.report.schema import NearDuplicates
from finetune.data.splits import SPLITS, far_off
from finetune.errors import Problem, Problems
from finetune.evidence.facts import Facts
from finetune.evidence.findings import Finding, done, failed, not_yet
from finetune.evidence.registry import evidence

FILES = {"E101", "E102", "E104", "E105", "E106", "E140", "E143", "E144", "E145", "E146", "E147", "E148"}
JSON = {"E107", "E108", "E109", "E110", "E111", "E112", "E113", "E114", "E115"}
FIELDS = {
    "E116",
    "E117",
    "E119",
    "E120",
    "E121",
    "E122",
    "E123",
    "E124",
    "E130",
    "E138",
    "E139",
    "E141",
    "E142",
    "E150",
    "E156",
    "E158",
}
LABELS = {"E135", "E151", "E157"}
LEVELS = (("3.2", FILES), ("3.5", JSON), ("3.6", FIELDS), ("3.7", LABELS))
"""Rows refused at one level are not looked at by the next."""


@evidence
def raw_data(facts: Facts) -> Finding:
    files = sorted(facts.paths.raw.glob("*.jsonl"))
    if not files:
        return not_yet("no data/raw/*.jsonl: put the records there")
    size = sum(file.stat().st_size for file in files if file.is_file())
    return done(f"{len(files)} file{'s' * (len(files) > 1)}, {size} bytes in data/raw")


def _errors(facts: Facts, codes: set[str]) -> list[Problem]:
    return [problem for problem in facts.data_report.problems.problems if problem.code in codes]


def _level(facts: Facts, item: str, good: str) -> Finding:
    """Done when the report has no error of the item's level and none of a level before it."""
    if facts.data_report_problem:
        return facts.data_report_problem
    for before, codes in LEVELS:
        errors = _errors(facts, codes)
        if errors and before == item:
            first = errors[0]
            place = first.path + (f":{first.line}" if first.line else "")
            text = f"{place} {first.code} {first.message} (data_report.json)"
            return failed(f"{len(errors)} errors, the first: {text}")
        if errors:
            return not_yet(f"{len(errors)} rows or files were refused before this check, see {before}")
        if before == item:
            break
    problems = facts.data_report.problems
    if problems.errors > sum(not problem.is_warning for problem in problems.problems):
        return not_yet(f"{problems.errors} errors, more than the report lists: correct the first ones and run again")
    return done(f"{good} (data_report.json)")


@evidence
def raw_jsonl(facts: Facts) -> Finding:
    if facts.data_report_problem:
        return facts.data_report_problem
    files = len(facts.data_report.files)
    return _level(facts, "3.2", f"{files} JSONL file{'s' * (files > 1)} read, 0 format errors")


@evidence
def coverage(facts: Facts) -> Finding:
    if facts.data_report_problem:
        return facts.data_report_problem
    classes, rows = facts.data_report.classes, facts.data_report.rows
    empty = [f"{name} in {split}" for name, counts in classes.items() for split in SPLITS if not getattr(counts, split)]
    empty = empty or [f"any row in {split}" for split in SPLITS if not getattr(rows, split)]
    if empty:
        return failed(f"no row of {', '.join(empty[:5])}{' …' if len(empty) > 5 else ''} (data_report.json)")
    whole = f"{len(classes)} classes, each in train, valid and test" if classes else "rows in train, valid and test"
    return done(f"{whole}; {facts.data_report.groups.distinct} groups (data_report.json)")


@evidence
def validated(facts: Facts) -> Finding:
    if facts.data_report_problem:
        return facts.data_report_problem
    problems, rows = facts.data_report.problems, facts.data_report.rows
    counts = f"{rows.accepted} of {rows.read} rows accepted, {problems.errors} errors, "
    counts += f"{problems.warnings} warnings (data_report.json, bound to data/raw)"
    return done(counts) if facts.data_report.valid else failed(counts)


@evidence
def json_well_formed(facts: Facts) -> Finding:
    if facts.data_report_problem:
        return facts.data_report_problem
    return _level(facts, "3.5", f"{facts.data_report.rows.read} lines, each one JSON object")


@evidence
def required_fields(facts: Facts) -> Finding:
    return _level(facts, "3.6", "0 missing, unknown or wrong fields")


@evidence
def labels_legal(facts: Facts) -> Finding:
    return _level(facts, "3.7", "0 unknown labels or entity types")


@evidence
def class_distribution(facts: Facts) -> Finding:
    if facts.data_report_problem:
        return facts.data_report_problem
    classes = facts.data_report.classes
    if not classes:
        return done(f"not needed: {facts.task.task_type} has no classes; lengths are in data_report.md")
    counts = ", ".join(f"{name} {count.rows}" for name, count in list(classes.items())[:6])
    return done(f"{counts}{' …' if len(classes) > 6 else ''} (table in data_report.md)")


@evidence
def rows_per_class(facts: Facts) -> Finding:
    if facts.data_report_problem:
        return facts.data_report_problem
    least = facts.task.data.min_rows_per_class
    totals = {name: counts.rows for name, counts in facts.data_report.classes.items()}
    totals = totals or {"all rows": facts.data_report.rows.accepted}
    name = min(totals, key=lambda key: totals[key])
    text = f"fewest: {name} {totals[name]}, at least {least} (data.min_rows_per_class)"
    return done(text) if totals[name] >= least else failed(text)


@evidence
def imbalance(facts: Facts) -> Finding:
    if facts.data_report_problem:
        return facts.data_report_problem
    imbalance = facts.data_report.imbalance
    if imbalance is None:
        return done(f"not needed: {facts.task.task_type} has no labels to balance")
    limit = facts.task.data.max_imbalance
    text = f"largest to smallest class {imbalance.ratio:.2f}:1, limit {limit:g}:1 (data_report.json)"
    return done(text) if imbalance.ratio <= limit else failed(text)


@evidence
def balance(facts: Facts) -> Finding:
    if facts.data_report_problem:
        return facts.data_report_problem
    imbalance, policy = facts.data_report.imbalance, facts.task.data.balance
    needed = imbalance is not None and imbalance.ratio > facts.task.data.max_imbalance
    if not needed and policy == "none":
        return done("not needed: the classes are within data.max_imbalance")
    if policy == "none":
        return not_yet("the classes are out of balance: set data.balance to oversample or weights, or add rows")
    if facts.data_problem:
        return facts.data_problem
    applied = facts.data.balance
    if applied.policy != policy:
        return not_yet(f"data.balance {policy} is not in the training split: run scripts/02_convert_format.py")
    copies = f": {sum((applied.copies or {}).values())} copies in the training split" if policy == "oversample" else ""
    return done(f"data.balance {policy}{copies}")


@evidence
def converted(facts: Facts) -> Finding:
    if facts.data_problem:
        return facts.data_problem
    rows = facts.data.rows
    counts = ", ".join(f"{split} {rows[split]}" for split in SPLITS)
    return done(f"{counts} rows, from today's data/raw (manifest.json)")


class _Message(msgspec.Struct, forbid_unknown_fields=True):
    role: str
    content: str


class _Row(msgspec.Struct):
    id: str
    messages: list[_Message]


def _misshapen(path: Path, roles: tuple[str, ...], system: str) -> Iterator[int]:
    """Lines whose messages are not exactly `roles` in this order, with the task's system prompt and no empty text."""
    decode = msgspec.json.Decoder(_Row).decode
    with open(path, "rb") as stream:
        for line, raw in enumerate(stream, 1):
            try:
                messages = decode(raw).messages
            except msgspec.DecodeError:
                yield line
                continue
            shape = tuple(message.role for message in messages)
            if shape != roles or messages[0].content != system or not all(m.content.strip() for m in messages):
                yield line


@evidence
def chat_format(facts: Facts) -> Finding:
    if facts.data_problem:
        return facts.data_problem
    system, prompt = system_text(facts.task), ("system", "user")
    answered, paths = (*prompt, "assistant"), facts.paths
    for path, roles in ((paths.train, answered), (paths.valid, answered), (paths.test, prompt)):
        wrong = next(_misshapen(path, roles, system), None)
        if wrong is not None:
            return failed(f"{facts.name(path)}:{wrong} is not {', '.join(roles)} with the task's system prompt")
    return done("every row: system, user and one assistant turn (test: reference apart), today's system prompt")


@evidence
def system_prompt(facts: Facts) -> Finding:
    if refusal := facts.refused("task_definition.yaml", "system_prompt", "output"):
        return refusal
    text = system_text(facts.task)
    names = facts.task.label_names or facts.task.entity_type_names
    absent = [name for name in names if name not in text]
    if absent:
        return failed(f"the system prompt does not name {', '.join(absent[:5])}")
    return done(f"{len(text)} characters" + (f", names all {len(names)} labels or types" if names else ""))


@evidence
def splits(facts: Facts) -> Finding:
    if facts.data_problem:
        return facts.data_problem
    rows, wanted = facts.data.rows, facts.benchmark.splits
    total = sum(rows.values())
    parts = ", ".join(f"{split} {rows[split] / max(total, 1):.0%}" for split in SPLITS)
    if off := far_off(rows, wanted):
        if facts.data_report_problem:
            return facts.data_report_problem
        if grouped := facts.data_report.groups.rows:
            return done(f"{parts} by stable hash, {grouped} rows in groups that stay whole (manifest.json)")
        listed = ", ".join(f"{split} {share:.1%} instead of {target:.1%}" for split, share, target in off)
        return failed(f"{listed}: rows of one input stay together, choose another splits.salt")
    return done(f"{parts} by stable hash (manifest.json)")


def _file(facts: Facts, path: Path) -> Finding:
    if facts.data_problem:
        return facts.data_problem
    return done(f"{facts.name(path)} sha256 {(facts.sha256(path) or '')[:12]} as in manifest.json")


@evidence
def train_file(facts: Facts) -> Finding:
    return _file(facts, facts.paths.train)


@evidence
def valid_file(facts: Facts) -> Finding:
    return _file(facts, facts.paths.valid)


@evidence
def test_file(facts: Facts) -> Finding:
    return _file(facts, facts.paths.test)


@evidence
def no_overlap(facts: Facts) -> Finding:
    if facts.data_problem:
        return facts.data_problem
    problems = Problems()
    check_overlap({"train": facts.paths.train, "valid": facts.paths.valid, "test": facts.paths.test}, {}, problems)
    if problems.error_count:
        return failed(f"{problems.error_count} rows lie in two splits, the first: {problems.errors[0]}")
    if facts.data_report_problem:
        return facts.data_report_problem
    if leaks := _errors(facts, {"E133", "E134"}):
        return failed(f"{len(leaks)} overlaps in data_report.json, the first: {leaks[0].message}")
    near = facts.data_report.duplicates.near
    if not isinstance(near, NearDuplicates):
        return not_yet(f"near-duplicates were not looked for: {near.reason if near else 'an older report'}")
    apart = f"{near.rows} near-duplicates of {near.threshold:g} or more left out"
    return done(f"0 normalised inputs of test.jsonl lie in train.jsonl or valid.jsonl; groups stay whole; {apart}")
