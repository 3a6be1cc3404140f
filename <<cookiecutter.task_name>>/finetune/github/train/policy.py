"""What an input would change about how it is judged: named in the comment, and of a fork not taken at all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from finetune.config.project import Project
from finetune.data.chat_format import completion_text
from finetune.data.raw_files import list_raw_files
from finetune.data.records import RecordReader
from finetune.data.splits import assign, split_key
from finetune.errors import Problems, printable
from finetune.github.train.candidate import TreeEntry
from finetune.github.train.checkout import Tracked
from finetune.github.train.frozen import PolicyChange
from finetune.inventory import (
    BENCHMARK,
    FORK_FIXED,
    PACKAGES,
    TASK,
    TRAINING,
    is_machinery,
    kind_of,
    policy_sections,
)

_JUDGED = (TASK, BENCHMARK, PACKAGES)
_LISTED = 20
_TEXT = 60


def check_fork_config(main: Project, frozen: Project, problems: Problems) -> None:
    """Add E623 for every section a fork changed beyond optimiser, adapter, batch, length, precision and seed."""
    for section in FORK_FIXED:
        ours, theirs = (p.training.model_dump(mode="json", include={section})[section] for p in (main, frozen))
        for key, old, new in _differences(ours, theirs, section):
            problems.add(
                TRAINING,
                "E623",
                f"{new} instead of main's {old}: not a fork's to change",
                "take main's value, or ask a maintainer to change it there first",
                key=key,
            )


def check_base(frozen: Project, problems: Problems) -> None:
    """Add E624 unless the base model is a pinned commit on the Hub: the runner has no other, and it must not move."""
    base, path = frozen.training.base_model, TRAINING
    if base.id.startswith("models/"):
        message = "a folder of this machine, the runner has none"
        problems.add(path, "E624", message, "write the model's Hub id and commit", key="base_model.id")
    elif not base.pinned:
        message = f"{printable(base.revision)} can move under an evaluated run"
        problems.add(path, "E624", message, "write the commit's 40 hex digits", key="base_model.revision")


def config_changes(main: Project, frozen: Project) -> list[PolicyChange]:
    """Values that decide how a result is measured and judged, or which model is loaded, where they differ."""
    pairs: list[tuple[str, str, BaseModel, BaseModel]] = [
        ("benchmark", BENCHMARK, main.benchmark, frozen.benchmark), ("task", TASK, main.task, frozen.task),
        ("training", TRAINING, main.training, frozen.training),
    ]  # fmt: skip
    changes = []
    for kind, path, ours, theirs in pairs:
        old, new = (part.model_dump(mode="json", include=policy_sections(path)) for part in (ours, theirs))
        changes += [_change(path, kind, f"{key}: {was} → {now}") for key, was, now in _differences(old, new)]
    return _listed(changes)


def code_changes(main: Mapping[str, Tracked], theirs: Mapping[str, Tracked]) -> list[PolicyChange]:
    """Code, tests, workflows, recipes in files of their own and packages of this repository's commit that differ."""
    changes = []
    for path in sorted({*main, *theirs}):
        old, new = main.get(path), theirs.get(path)
        if old == new or not is_machinery(path):
            continue
        how = "added" if old is None else "removed" if new is None else "changed"
        if path == PACKAGES:
            changes.append(_change(path, "packages", f"{how}; the runner installs main's"))
        else:
            changes.append(_change(path, "training" if kind_of(path) == "recipe" else "code", how))
    return _listed(changes)


def untaken_changes(main: Mapping[str, Tracked], tree: Iterable[TreeEntry]) -> list[PolicyChange]:
    """What else a fork has otherwise than main: all of it was left behind."""
    theirs = {entry.path: Tracked(entry.mode, entry.sha) for entry in tree if entry.type != "tree"}
    changes = [
        _change(path, "not-taken", "differs from main's, which was used")
        for path in _JUDGED
        if main.get(path) != theirs.get(path)
    ]
    paths = {path for path in (*main, *theirs) if is_machinery(path) and path != PACKAGES}
    if other := sum(main.get(path) != theirs.get(path) for path in paths):
        noun = "file differs" if other == 1 else "files differ"
        changes.append(_change("finetune/, scripts/", "not-taken", f"{other} {noun} from main's code, which was used"))
    return changes


def split_changes(main: Project, frozen: Project) -> list[PolicyChange]:
    """How many rows of main's test split are gone or answered otherwise; nothing while main has none."""
    ours, theirs = _test_rows(main), _test_rows(frozen)
    gone = sum(theirs.get(key) != answer for key, answer in ours.items())
    if not gone:
        return []
    return [_change("data/raw", "test-rows", f"{gone} of main's {len(ours)} test rows are removed or changed")]


def _test_rows(project: Project) -> dict[bytes, str]:
    """Answer by normalised input of the rows in the test split; rows with problems are left out."""
    problems = Problems()
    reader, rows = RecordReader(project.task, problems), {}
    for file in list_raw_files(project.paths, problems):
        for record in reader.read(file, file.name):
            if assign(split_key(record), project.benchmark.splits) == "test":
                rows[record.key] = completion_text(project.task, record.reference)
    return rows


def _differences(old: Any, new: Any, key: str = "") -> list[tuple[str, str, str]]:
    """(dotted key, old, new) of the leaves that differ, as short ASCII JSON."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = [*old, *(name for name in new if name not in old)]
        below = [(f"{key}.{name}" if key else name, old.get(name), new.get(name)) for name in names]
        return [row for name, was, now in below for row in _differences(was, now, name)]
    return [] if old == new else [(key, _short(old), _short(new))]


def _short(value: Any) -> str:
    text = "none" if value is None else json.dumps(value)
    return text if len(text) <= _TEXT else text[: _TEXT - 1] + "…"


def _change(path: str, kind: str, detail: str) -> PolicyChange:
    return PolicyChange(path=printable(path), kind=kind, detail=detail)


def _listed(changes: list[PolicyChange]) -> list[PolicyChange]:
    """At most _LISTED of them, and how many more there are."""
    if len(changes) <= _LISTED:
        return changes
    more = _change("...", changes[_LISTED].kind, f"{len(changes) - _LISTED} further changes of this kind")
    return [*changes[:_LISTED], more]
