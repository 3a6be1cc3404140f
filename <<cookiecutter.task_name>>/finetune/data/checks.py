"""Judges a survey: duplicates, leakage across splits, enough rows of every class in every split, balance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import product

from finetune.characters import difference
from finetune.data.account import FIX, Account, Loss, losses
from finetune.data.check_results import SplitCounts
from finetune.data.raw_files import RAW
from finetune.data.scan.near_search import Near
from finetune.data.scan.scanning import SALT_ROWS
from finetune.data.scan.survey import Survey
from finetune.data.splits import SPLITS, Split, far_off, find_salt
from finetune.data.text_rules import shown
from finetune.data.tokens.answers import raise_to
from finetune.data.tokens.committed_tokenizer import REFRESH, committed_fault

_NAMED = 3
"""Rows that are left out of which each is named; of more, the report has the list."""


class Checks:
    """The judgement; its counts are the facts of the data report, and tell what step 02 writes before balancing."""

    def __init__(self, survey: Survey) -> None:
        self._survey, self._problems = survey, survey.problems
        self._task, self._splits = survey.project.task, survey.project.benchmark.splits
        self.class_names = self._task.label_names or self._task.entity_type_names
        self.rows: Counter[str] = Counter(survey.counts.rows)
        """Rows of each split."""
        self.classes: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
        """Rows per class (label, or entity type occurring in the row) in each split."""
        for (split, name), number in survey.counts.classes.items():
            self.classes[split][name] = number
        self.accepted = sum(self.rows.values())
        self.exact_duplicates = sum(duplicate.same_answer for duplicate in survey.duplicates)
        self.conflicts = len(survey.duplicates) - self.exact_duplicates
        self._named: list[tuple[int, str, str]] = []
        self._losses: list[Loss] = []
        self.left_out: list[Near] = []
        """Rows that are in no split because a later one holds a near-duplicate."""
        self.account = Account()
        self.near_conflicts = 0
        """Rows with a near-duplicate of another answer in a later split."""

    def run(self) -> None:
        """Report every problem that is not a single row's."""
        if not self._survey.system_prompt_is_clean:
            self._problems.add(
                "task_definition.yaml",
                "E130",
                "the system prompt, its labels included, holds a control token of the base model",
                "remove or rewrite it",
                key="system_prompt",
            )
        project = self._survey.project
        if (fault := committed_fault(project)) and not project.smoke:  # smoke runs train another model
            place = project.paths.relative(project.paths.tokenizer)
            self._problems.add(place, "W244", f"not used: {fault}", REFRESH)
        self._check_tokens()
        for code, message, fix in self._survey.counts.languages.warnings(self._task.language):
            self._report_data(code, message, fix)
        for (code, what, fix), seen in sorted(self._survey.counts.damage.items()):
            self._report_data(code, f"{what} in {seen}", fix)
        for duplicate in self._survey.duplicates:
            self._check_duplicate(duplicate.row, duplicate.first, duplicate.same_answer)
        for near in self._survey.near:
            self._check_near(near)
        self._losses = losses(self.counts(), {name: self.counts(name) for name in self.class_names})
        for loss in self._losses:
            self._report_data("E190" if loss.refused else "W190", loss.message, FIX)
        self._report_left_out()
        if self.accepted:
            self._check_data()

    def _check_tokens(self) -> None:
        """How many rows are too long and by how much: one line that tells what the many lines of rows do not."""
        counts = self._survey.counts
        if counts.over:
            lengths = self._survey.row_checks["token_lengths"]
            rows = "row has" if counts.over == 1 else "rows have"
            self._report_data(
                "E138",
                f"{counts.over} {rows} more tokens than max_length ({lengths.limit}), the longest "
                f"{counts.longest}; chat template and system prompt alone have {lengths.template}",
                f"set max_length to {counts.longest} or more in configs/training_config.yaml, or shorten the rows",
            )

        if counts.cut > 1:
            limit = self._task.output.max_new_tokens
            what = f"{counts.cut} answers need more tokens than output.max_new_tokens ({limit}), the longest "
            self._report_data("E158", f"{what}{counts.answer}", raise_to(counts.answer))
        if labels := self._survey.long_labels:
            longest = max(labels, key=labels.__getitem__)
            others = f" and {len(labels) - 1} more" if len(labels) > 1 else ""
            what = f"label {shown(longest)} ({labels[longest]} tokens with its end){others} cannot be generated whole, "
            what += f"output.max_new_tokens is {self._task.output.max_new_tokens}"
            fix = raise_to(labels[longest])
            self._problems.add("task_definition.yaml", "E158", what, fix, key="output.max_new_tokens")

    def _check_duplicate(self, row: int, first: int, same_answer: bool) -> None:
        place = ":".join(map(str, self._survey.place(first)))
        if same_answer:
            code = "E131" if self._task.data.duplicates == "error" else "W131"
            self._report(row, code, f"duplicate of {place} (same input after normalisation)", "remove one of them")
        else:
            what = f"same input as {place}, other {self._task.output.field}"
            text, other = self._survey.input_of(row), self._survey.input_of(first)
            if text != other:  # by case, width, white space, composition or what nobody sees
                what += f"; as written it has {difference(text, other)}"
            self._report(row, "E132", what, "decide which one is right")
        here, there = self.split_of(row), self.split_of(first)
        if here != there:
            what = f"same input as {place}, which lies in {there} and this one in {here}"
            self._report(row, "E133", what, "give both rows the same group, or remove one")

    def _check_near(self, near: Near) -> None:
        here, there = self.split_of(near.row), self.split_of(near.other)
        what = f"near-duplicate ({near.score:.2f}) of {':'.join(map(str, self._survey.place(near.other)))}, "
        mine, other = (self._answer(row) for row in (near.row, near.other))
        if mine != other:
            self.near_conflicts += 1
        answer = "" if mine == other else f" with another {self._task.output.field}"
        what += f"which lies in {there}{answer}"
        if self._task.data.near_duplicates == "error":
            fix = "remove one, give both rows the same group, or set data.near_duplicates in task_definition.yaml"
            self._report(near.row, "E134", f"{what} and this one in {here}", fix)
            return
        self.left_out.append(near)
        self.rows[here] -= 1
        names = [name for name in mine if name in self.class_names]
        self.classes[here].subtract(names)
        self.account.leave_out(here, names)
        fix = "nothing to do; the test stays a fair one" if mine == other else "decide which answer is right"
        self._named.append((near.row, f"{what}: left out of {here}", fix))

    def _report_left_out(self) -> None:
        """A few rows by their places, many in one line at the first of them; the report has the list."""
        left, conflicts = len(self.left_out), self.near_conflicts
        if left <= _NAMED:
            for row, message, fix in self._named:
                self._report(row, "W134", message, fix)
            return
        row, message, _ = self._named[0]
        parts = ", ".join(f"{split} {self.account.rows[split]}" for split in SPLITS if self.account.rows[split])
        nothing = "" if self._losses else "nothing to do; "
        fix = f"{nothing}data_report.json lists the pairs"
        self._report(row, "W134", f"{message}, and {left - 1} more rows like it ({parts} in all)", fix)
        if conflicts and self.class_names and not any(loss.refused for loss in self._losses):
            what = f"{conflicts} rows nearly equal a row of a later split that has another {self._task.output.field}"
            self._report_data("W191", what, "decide which answers are right; data_report.json lists the pairs")

    def _answer(self, row: int) -> list[str]:
        """The label, the types of the entities, or the text: what must be the same in near-duplicates."""
        answer = self._survey.value_of(row)[self._task.output.field]
        return [answer] if isinstance(answer, str) else sorted({entity["type"] for entity in answer})

    def split_of(self, row: int) -> Split:
        return SPLITS[self._survey.splits[row]]

    def _check_data(self) -> None:
        """Enough rows, every class in every split, balance."""
        if any(loss.refused and loss.name is None for loss in self._losses):
            return  # whatever is missing is missing for that
        least, rows = self._task.data.min_rows_per_class, sum(self.rows.values())
        if not self.class_names and rows < least:
            self._report_data("E137", f"{rows} rows, data.min_rows_per_class is {least}", "add rows")
        refused = {loss.name for loss in self._losses if loss.refused}
        totals = {name: count for name, count in self.totals().items() if name not in refused}
        for name, count in totals.items():
            left = self.counts(name).left_out
            if count + left == 0:
                self._report_data(
                    "E136", f"class {shown(name)} has no rows", "add rows, or remove the class from the task"
                )
            elif count < least:
                without = f" without the {left} that are left out as near-duplicates" if left else ""
                what = f"class {shown(name)} has {count} rows{without}, data.min_rows_per_class is {least}"
                self._report_data("E137", what, f"add rows, or {FIX}" if count + left >= least else "add rows")
        self._check_splits([name for name, count in totals.items() if count >= least])
        ratio = self.imbalance()
        if ratio is not None and ratio > self._task.data.max_imbalance:
            code = "E149" if self._task.data.imbalance_policy == "error" else "W149"
            limit = f"data.max_imbalance is {self._task.data.max_imbalance:g}"
            what = f"the largest class has {ratio:.2f} times the rows of the smallest, {limit}"
            self._report_data(code, what, "add rows to the small classes, or set data.balance")

    def _check_splits(self, names: Sequence[str]) -> None:
        missing, left_out = [], []
        for name, split in product(names, SPLITS):
            if not self.classes[split][name]:
                message = f"class {shown(name)} has no row in {split}"
                if left := self.account.classes[split, name]:
                    left_out.append(f"{message}: its {left} are left out as near-duplicates")
                else:
                    missing.append(message)
        for message in left_out:
            self._report_data("E136", message, FIX)
        if not missing and not left_out:
            missing = [f"no row in {split}" for split in SPLITS if not self.rows[split]]
        # Groups stay whole, however large: their shares are no draw of single rows.
        uneven = [] if missing or self._survey.groups else list(self.uneven())
        if not missing and not uneven:
            return
        fix = "add rows"
        if sum(self._survey.lines.values()) <= SALT_ROWS:  # else a search would take long, and help little
            salt = find_salt(self._survey.salt_keys, names, self._splits)
            if salt not in (None, self._splits.salt):
                fix += f', or before the first release set splits.salt: "{salt}" in configs/benchmark_config.yaml'
        for message in missing:
            self._report_data("E136", message, fix)
        for name, split, share, target in uneven:
            what = f"class {shown(name)} has {share:.1%} of its rows in {split}, splits.{split} is {target:g}"
            self._report_data("W136", what, fix)

    def uneven(self) -> Iterator[tuple[str, Split, float, float]]:
        """(class, split, share, target) where a class's share lies further from the target than chance explains.

        As the rows were drawn: what is left out afterwards has an account of its own.
        """
        for name in self.class_names:
            drawn = {split: rows + self.account.classes[split, name] for split, rows in self._of_class(name).items()}
            yield from ((name, *off) for off in (far_off(drawn, self._splits) if sum(drawn.values()) else ()))

    def counts(self, name: str | None = None) -> SplitCounts:
        """The account of a class, or of all rows."""
        return self.account.counts(self.rows if name is None else self._of_class(name), name)

    def _of_class(self, name: str) -> dict[str, int]:
        return {split: self.classes[split][name] for split in SPLITS}

    def totals(self) -> dict[str, int]:
        """Rows per class over all splits, in the order of the task definition."""
        return {name: sum(self._of_class(name).values()) for name in self.class_names}

    def imbalance(self) -> float | None:
        """Largest label divided by smallest; None for other task types, whose classes cannot be drawn separately."""
        counts = [count for count in self.totals().values() if count]
        return max(counts) / min(counts) if counts and self._task.task_type == "classification" else None

    def _report(self, row: int, code: str, message: str, fix: str) -> None:
        name, line = self._survey.place(row)
        self._problems.add(name, code, message, fix, line=line)

    def _report_data(self, code: str, message: str, fix: str) -> None:
        self._problems.add(RAW, code, message, fix)
