"""Checks of the rows against the task: labels, entities, lengths, duplicates, classes per split, imbalance."""

from __future__ import annotations

import difflib
from array import array
from collections import Counter
from collections.abc import Sequence

from finetune.config.benchmark import Splits
from finetune.config.task import TaskDefinition
from finetune.data.records import Record
from finetune.data.splits import SPLITS, assign, find_salt, split_key
from finetune.data.text_rules import shown
from finetune.errors import Problems

RAW = "data/raw"
_SALT_SEARCH_ROWS = 2000


class Checks:
    """Takes the records one by one, then judges the whole; its counts are the facts of the data report."""

    def __init__(self, task: TaskDefinition, splits: Splits, problems: Problems) -> None:
        self._task, self._splits, self._problems = task, splits, problems
        self.class_names = task.label_names if task.task_type == "classification" else task.entity_type_names
        self.classes = {split: Counter[str]() for split in SPLITS}
        """Rows per class (label, or entity type occurring in the row) in each split."""
        self.rows = Counter[str]()
        self.input_chars = array("I")
        self.output_chars = array("I")
        self.exact_duplicates = 0
        self.conflicts = 0
        self.group_of: dict[str, str] = {}
        """Group by row id, for rows that have one."""
        self._known = set(self.class_names)
        self._split_of_grouped: dict[bytes, str] = {}
        self._salt_keys: dict[bytes, set[str]] = {}

    def add(self, record: Record) -> str:
        """Check one record against the task and return its split."""
        key = split_key(record)
        split = assign(key, self._splits)
        names = self._names(record)
        self.rows[split] += 1
        self.classes[split].update(names)
        self.input_chars.append(len(record.input))
        self._check_length(record)
        if record.twin is not None:
            self._check_twin(record, split)  # before the next lines, which would put this row in its twin's place
        if record.group is not None:
            self.group_of[record.id] = record.group
            self._split_of_grouped.setdefault(record.key, split)
        if len(self._salt_keys) <= _SALT_SEARCH_ROWS:
            self._salt_keys.setdefault(key, set()).update(names)
        return split

    def _names(self, record: Record) -> set[str]:
        """The known classes of a record; unknown ones and foreign entity texts are reported."""
        if isinstance(record.reference, str):
            self.output_chars.append(len(record.reference))
            if self._task.task_type == "generation":
                return set()
            return {record.reference} if self._is_known(record.reference, "label", record) else set()
        self.output_chars.append(sum(len(entity["text"]) for entity in record.reference))
        for entity in record.reference:
            if entity["text"] not in record.input:
                self._report(
                    record, "E151", f"entity text {shown(entity['text'])} does not occur in the input",
                    "copy it from the input, character by character",
                )  # fmt: skip
        return {entity["type"] for entity in record.reference if self._is_known(entity["type"], "entity type", record)}

    def _is_known(self, name: str, kind: str, record: Record) -> bool:
        if name in self._known:
            return True
        self._report(record, "E135", f"{kind} {shown(name)} is not in the task definition", self._hint(name))
        return False

    def _hint(self, name: str) -> str:
        folded = {known.casefold(): known for known in self.class_names}
        near = difflib.get_close_matches(name.strip().casefold()[:80], list(folded), 1, 0.5)
        if near:
            return f"did you mean {shown(folded[near[0]])}?"
        listed = ", ".join(self.class_names[:10]) + (", …" if len(self.class_names) > 10 else "")
        return f"one of {listed}"

    def _check_length(self, record: Record) -> None:
        limit = self._task.input.max_chars
        if len(record.input) > limit:
            self._report(
                record, "E138", f"the input has {len(record.input)} characters, input.max_chars is {limit}",
                "shorten the text, or raise input.max_chars in task_definition.yaml",
            )  # fmt: skip

    def _check_twin(self, record: Record, split: str) -> None:
        twin = record.twin
        assert twin is not None
        place = f"{twin.path}:{twin.line}"
        if twin.same_reference:
            self.exact_duplicates += 1
            code = "E131" if self._task.data.duplicates == "error" else "W131"
            self._report(record, code, f"duplicate of {place} (same input after normalisation)", "remove one of them")
        else:
            self.conflicts += 1
            self._report(
                record, "E132", f"same input as {place}, other {self._task.output.field}", "decide which one is right"
            )
        other = self._split_of_grouped.get(record.key) or assign(b"input\0" + record.key, self._splits)
        if other != split:
            self._report(
                record, "E133", f"same input as {place}, which lies in {other} and this one in {split}",
                "give both rows the same group, or remove one",
            )  # fmt: skip

    def finish(self) -> None:
        """Judge the whole: enough rows, every class in every split, balance."""
        if not sum(self.rows.values()):
            return
        least = self._task.data.min_rows_per_class
        if not self.class_names and sum(self.rows.values()) < least:
            self._whole("E137", f"{sum(self.rows.values())} rows, data.min_rows_per_class is {least}", "add rows")
        totals = self.totals()
        for name, count in totals.items():
            if count == 0:
                self._whole("E136", f"class {shown(name)} has no rows", "add rows, or remove the class from the task")
            elif count < least:
                what = f"class {shown(name)} has {count} rows, data.min_rows_per_class is {least}"
                self._whole("E137", what, "add rows")
        self._check_splits([name for name, count in totals.items() if count >= least])
        ratio = self.imbalance()
        if ratio is not None and ratio > self._task.data.max_imbalance:
            code = "E149" if self._task.data.imbalance_policy == "error" else "W149"
            limit = f"data.max_imbalance is {self._task.data.max_imbalance:g}"
            what = f"the largest class has {ratio:.2f} times the rows of the smallest, {limit}"
            self._whole(code, what, "add rows to the small classes, or set data.balance")

    def _check_splits(self, names: Sequence[str]) -> None:
        missing = [f"class {shown(n)} has no row in {s}" for n in names for s in SPLITS if not self.classes[s][n]]
        missing = missing or [f"no row in {split}" for split in SPLITS if not self.rows[split]]
        if not missing:
            return
        fix = "add rows"
        if len(self._salt_keys) <= _SALT_SEARCH_ROWS:
            salt = find_salt(self._salt_keys, names, self._splits)
            if salt is not None:
                fix += f', or before the first release set splits.salt: "{salt}" in configs/benchmark_config.yaml'
        for message in missing:
            self._whole("E136", message, fix)

    def totals(self) -> dict[str, int]:
        """Rows per class over all splits, in the order of the task definition."""
        return {name: sum(self.classes[split][name] for split in SPLITS) for name in self.class_names}

    def imbalance(self) -> float | None:
        """Largest label divided by smallest; None for other task types, whose classes cannot be drawn separately."""
        counts = [count for count in self.totals().values() if count]
        return max(counts) / min(counts) if counts and self._task.task_type == "classification" else None

    def _report(self, record: Record, code: str, message: str, fix: str) -> None:
        self._problems.add(record.path, code, message, fix, line=record.line)

    def _whole(self, code: str, message: str, fix: str) -> None:
        self._problems.add(RAW, code, message, fix)
