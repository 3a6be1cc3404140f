"""What a change does to the rows of data/raw: two checkouts read one after the other and compared by hashes.

A row is the same row when its id is: its own `id`, or without one the hash of its normalised input, as step 02 names
it. Nothing of a text is kept. The first checkout costs about 400 bytes a row while the second one streams by; rows are
read by the rules of step 01, and those that break them are counted and left out, on both sides alike.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from finetune import provenance
from finetune.config.project import Project, load_project
from finetune.config.task import TaskDefinition
from finetune.data.splits import SPLITS
from finetune.errors import BadInput
from finetune.github.data_pr.config_changes import code_changes, setting_changes
from finetune.github.data_pr.packed_rows import CONTENT_BYTES, TEXT_BYTES, Checkout, PackedRow, unpack
from finetune.github.data_pr.phrases import Phrases
from finetune.github.data_pr.schema import (
    Changes,
    ClassTally,
    FileChange,
    Phrase,
    Relabelled,
    RowChanges,
    Tally,
    TestSet,
)
from finetune.paths import Paths

_PLACES = 20
_PAIRS = 20
_TEST = SPLITS.index("test")


def compare(project: Project, base: Path) -> Changes:
    """Everything that differs between the checkout at `base` and the project, `base` being before.

    Never fails because of what lies at `base`: rows it cannot read are counted, a configuration that cannot be loaded
    is named, and its rows are then read by the project's own. Raises OSError.
    """
    root = project.paths.root
    task, splits = project.task, project.benchmark.splits
    settings, unread = setting_changes(base, root)
    try:
        old_task, old_splits = (old := load_project(base)).task, old.benchmark.splits
    except BadInput:
        old_task, old_splits = task, splits
    names = [_class_names(old_task), _class_names(task)]
    classes = {name: number for number, name in enumerate(dict.fromkeys(["", *names[1], *names[0]]))}
    before = Checkout(Paths(base.resolve()), old_task, old_splits, classes)
    after = Checkout(project.paths, task, splits, classes)
    rows = compare_rows(before, after)
    return Changes(
        compared=True,
        rows=rows,
        files=_file_changes(before, after),
        labels_added=[name for name in names[1] if name not in names[0]],
        labels_removed=[name for name in names[0] if name not in names[1]],
        settings=settings,
        settings_unread=unread,
        code=code_changes(base, root),
    )


def _class_names(task: TaskDefinition) -> tuple[str, ...]:
    return task.label_names if task.task_type == "classification" else task.entity_type_names


def compare_rows(before: Checkout, after: Checkout) -> RowChanges:
    """Match the rows of both sides by identity; a row left over on each side that differs only by its id is renamed."""
    count = _Counts(before, after)
    waiting: dict[bytes, bytes] = {}
    for identity, row, text in before.rows():
        waiting[identity] = row
        count.count_before(unpack(row), text)
    fresh: list[bytes] = []
    for identity, row, text in after.rows():
        old = waiting.pop(identity, None)
        count.count_after(unpack(row), text if old is None or old[:TEXT_BYTES] != row[:TEXT_BYTES] else None)
        if old is None:
            fresh.append(row)
        elif old[:CONTENT_BYTES] != row[:CONTENT_BYTES] or old[CONTENT_BYTES] != row[CONTENT_BYTES]:
            count.kept(unpack(old), unpack(row))
    alike: dict[bytes, list[bytes]] = {}
    if fresh:
        for identity, row in waiting.items():
            alike.setdefault(row[:CONTENT_BYTES], []).append(identity)
    for row in fresh:
        if same := alike.get(row[:CONTENT_BYTES]):
            count.renamed(unpack(waiting.pop(same.pop(0))), unpack(row))
        else:
            count.added(unpack(row))
    for row in waiting.values():
        count.removed(unpack(row))
    return count.result()


class _Counts:
    """Adds up what happens to each row."""

    def __init__(self, before: Checkout, after: Checkout) -> None:
        self._before, self._after = before, after
        self._names = list(after.classes)
        self._total = Tally()
        self._splits = [Tally() for _ in SPLITS]
        self._classes = [ClassTally() for _ in self._names]
        self._test = TestSet(places=[])
        self._phrases = Phrases()
        self._pairs: Counter[tuple[int, int]] = Counter()
        self._labels = before.task.task_type == after.task.task_type == "classification"
        self._texts = self._answers = self._groups = self._renamed = self._moves = 0

    def _tallies(self, row: PackedRow) -> list[Tally | ClassTally]:
        """Everything that a row counts towards."""
        return [self._total, self._splits[row.split], *(self._classes[number] for number in row.classes)]

    def count_before(self, row: PackedRow, text: str) -> None:
        """A row of the first checkout."""
        self._phrases.old(text)
        for tally in self._tallies(row):
            tally.before += 1

    def count_after(self, row: PackedRow, text: str | None) -> None:
        """A row of the second checkout; its text, if it is new or another than before."""
        if text is not None:
            self._phrases.new(text, min(row.classes) if self._labels else None)
        for tally in self._tallies(row):
            tally.after += 1

    def added(self, row: PackedRow) -> None:
        for tally in self._tallies(row):
            tally.added += 1

    def removed(self, row: PackedRow) -> None:
        for tally in self._tallies(row):
            tally.removed += 1
        if row.split == _TEST:
            self._test.removed += 1
            self._place(f"{self._name(self._before, row)} before the change", "removed")

    def renamed(self, old: PackedRow, row: PackedRow) -> None:
        self._renamed += 1
        if old.split != row.split:
            self._moved(old, row)

    def kept(self, old: PackedRow, row: PackedRow) -> None:
        """The same row with another text, answer, group or split."""
        texts, answers, groups = old.text != row.text, old.answer != row.answer, old.group != row.group
        self._texts += texts
        self._answers += answers
        self._groups += groups
        if texts or answers or groups:
            self._total.changed += 1
            self._splits[row.split].changed += 1
        for number in row.classes - old.classes:
            self._classes[number].gained += 1
        for number in old.classes - row.classes:
            self._classes[number].lost += 1
        if self._labels and old.classes != row.classes:
            self._pairs[min(old.classes), min(row.classes)] += 1
        if old.split != row.split:
            self._moved(old, row)
        elif old.split == _TEST and (texts or answers):
            self._test.changed += 1
            self._place(self._name(self._after, row), "changed")

    def _moved(self, old: PackedRow, row: PackedRow) -> None:
        self._moves += 1
        if old.split == _TEST:
            self._test.moved += 1
            self._place(self._name(self._after, row), f"now in {SPLITS[row.split]}")

    def _place(self, where: str, what: str) -> None:
        if len(self._test.places) < _PLACES:
            self._test.places.append(f"{where}: {what}")

    def _name(self, side: Checkout, row: PackedRow) -> str:
        return f"data/raw/{_text(side.files[row.file].name)}:{row.line}"

    def result(self) -> RowChanges:
        pairs = [Relabelled(self._names[a], self._names[b], rows) for (a, b), rows in self._pairs.most_common(_PAIRS)]
        phrases = [
            Phrase(found.text, found.rows, None if found.label is None else self._names[found.label])
            for found in self._phrases.found()
        ]
        return RowChanges(
            total=self._total,
            splits=dict(zip(SPLITS, self._splits, strict=True)),
            classes={
                name: tally
                for name, tally in zip(self._names, self._classes, strict=True)
                if name or tally.before or tally.after
            },
            test=self._test,
            relabelled=pairs,
            relabelled_rows=self._pairs.total(),
            phrases=phrases,
            texts=self._texts,
            answers=self._answers,
            groups=self._groups,
            renamed=self._renamed,
            moved=self._moves,
            unreadable_before=self._before.unreadable,
            unreadable_after=self._after.unreadable,
            unread_files_before=self._before.unread_files,
        )


def _file_changes(before: Checkout, after: Checkout) -> list[FileChange]:
    """Files that are not the same, sorted by name; one that is the same under another name is renamed."""
    old, new = ({path.name: provenance.sha256(path) for path in side.files} for side in (before, after))
    gone = {digest: name for name, digest in old.items() if name not in new}
    found = []
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) == new.get(name):
            continue
        previous = gone.pop(new[name], None) if name not in old else None
        rows = before.rows_of.get(previous or name), after.rows_of.get(name)
        found.append((name, FileChange(_text(name), *rows, previous and _text(previous)), previous))
    moved = {previous for _, _, previous in found}
    return [change for name, change, _ in found if name not in moved]


def _text(name: str) -> str:
    """A file name as text, also where its bytes are not UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
