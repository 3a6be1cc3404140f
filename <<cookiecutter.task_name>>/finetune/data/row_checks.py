"""Checks of one well-formed row at a time: against the task, against the base model's tokens, for personal data."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

import msgspec

from finetune.characters import difference, skeleton
from finetune.config.project import Project
from finetune.config.task import TaskDefinition
from finetune.data.chat_format import completion_text, template_options
from finetune.data.check_results import RowCheck
from finetune.data.damage import Kind, Seen, damage
from finetune.data.personal_data import find_personal_data
from finetune.data.records import Row
from finetune.data.spans import odd_spans
from finetune.data.text_rules import shown
from finetune.data.tokens.answers import AnswerLengths
from finetune.data.tokens.base_tokenizer import BaseTokenizer, find_base_tokenizer
from finetune.data.tokens.control_tokens import ControlTokens, TemplateProof, Unproved
from finetune.data.tokens.lengths import FIX, TokenLengths
from finetune.errors import Problems

_BATCH = 1000


class RowChecks:
    """Takes rows one by one; every objection goes into `problems`, which may be replaced between two rows.

    A check is an entry of `checks`. Most rows never come here: `scan/screens.py` searches them together, for each
    check by its name, and does not start for a check that it has no search for.
    """

    def __init__(self, project: Project, problems: Problems) -> None:
        self.problems = problems
        self.texts_with_personal_data = 0
        self._damage: dict[Kind, Seen] = {}
        self._task = project.task
        self._names_of_task = _Names(project.task)
        self._policy = project.task.data.personal_data
        self._waiting: list[tuple[Row, str, int]] = []
        self.tokens: ControlTokens | None = None
        self._proof: TemplateProof | None = None
        self.lengths: TokenLengths | None = None
        self._unproved = self._uncounted = f"no tokenizer.json of {project.training.base_model.id} on this machine"
        self.checks: dict[str, Callable[[Row, str, int], None]] = {
            "names": self._check_names,
            "spans": self._check_spans,
            "max_chars": self._check_max_chars,
            "texts": self._check_texts,
            "token_lengths": self._check_token_lengths,
            "answer_lengths": self._check_answer_length,
        }
        """Each is called with a row, its file and its line."""
        base = find_base_tokenizer(project)
        if base is not None:
            damage = f"the tokenizer files in {project.paths.relative(base.folder)} are damaged"
            self._use(base, project, damage)
            self._measure(base, project, damage)
        self._too_long = False
        self.answers = AnswerLengths(project.task, None if project.smoke else self.lengths)
        self.long_labels = self.answers.long_labels()
        """Labels that cannot be generated whole, with their tokens: said once, not of every row."""

    def _use(self, base: BaseTokenizer, project: Project, damage: str) -> None:
        try:
            self._names = len(base.control_tokens)
            if not self._names:
                raise Unproved("its tokenizer.json names no control tokens")
            self.tokens = ControlTokens(base.control_tokens)
            self._proof = TemplateProof(base, project.task, template_options(project.training))
        except Unproved as reason:
            self._unproved = str(reason)
        except (msgspec.MsgspecError, UnicodeError, KeyError) as failure:
            self._unproved = f"{damage} ({failure})"

    def _measure(self, base: BaseTokenizer, project: Project, damage: str) -> None:
        try:
            self.lengths = TokenLengths(base, project.task, project.training)
        except Unproved as reason:
            self._uncounted = str(reason)
        except (msgspec.MsgspecError, UnicodeError, KeyError) as failure:
            self._uncounted = f"{damage} ({failure})"

    def start(self) -> None:
        """Count from 0 again."""
        self.texts_with_personal_data = 0
        self._damage = {}
        if self.lengths:
            self.lengths.tokenised = self.lengths.over = self.lengths.longest = 0
        self.answers.cut = self.answers.longest = 0

    def count_into(self, counts: Any) -> None:
        """Put what was counted since `start` into the fields of the same meaning."""
        counts.damage = self._damage
        counts.personal = self.texts_with_personal_data
        counts.cut, counts.answer = self.answers.cut, self.answers.longest
        if self.lengths:
            counts.tokenised, counts.over = self.lengths.tokenised, self.lengths.over
            counts.longest = self.lengths.longest

    @property
    def every_row_counts(self) -> bool:
        """Whether control tokens must be counted also in rows that hold none of their signs."""
        return self._proof is not None and not self._proof.keeps_characters

    @property
    def system_prompt_is_clean(self) -> bool:
        """Whether the system prompt, its labels included, holds no control token of the base model."""
        return self._proof is None or not self._proof.in_system_prompt

    def add(self, row: Row, path: str, line: int) -> None:
        """Check one row. The proof by count comes later, at the latest with `flush`."""
        for check in self.checks.values():
            check(row, path, line)
        if len(self._waiting) >= _BATCH:
            self.flush()

    def _check_names(self, row: Row, path: str, line: int) -> None:
        self._names_of_task.check(row, lambda *problem: self._report(path, line, *problem))

    def _check_spans(self, row: Row, path: str, line: int) -> None:
        if not isinstance(row.reference, str):
            for problem in odd_spans(row.input, row.reference):
                self._report(path, line, *problem)

    def _check_max_chars(self, row: Row, path: str, line: int) -> None:
        limit = self._task.input.max_chars
        if len(row.input) > limit:
            what = f"the input has {len(row.input)} characters, input.max_chars is {limit}"
            self._report(path, line, "E156", what, "shorten the text, or raise input.max_chars in task_definition.yaml")

    def _check_texts(self, row: Row, path: str, line: int) -> None:
        """Personal data, control tokens, and traces of a wrong conversion, which are counted only."""
        clean = True
        for kind in {kind for _, text in self._texts(row) for kind in damage(text)}:
            self._damage.setdefault(kind, Seen(0, [])).add(Seen(1, [f"{path}:{line}"]))
        for field, text in self._texts(row):
            if self._policy != "ignore" and (kinds := find_personal_data(text)):
                self.texts_with_personal_data += 1
                self._report_personal(path, line, field, kinds)
            if self.tokens and (token := self.tokens.find(text)):
                clean = False
                what = f'field "{field}": {shown(token)} is a control token of the base model'
                self._report(path, line, "E130", what, "remove or rewrite it; a chat model obeys it")
        if self._proof and clean:  # the others are refused already
            self._waiting.append((row, path, line))

    def _check_token_lengths(self, row: Row, path: str, line: int) -> None:
        too_long = self.lengths and self.lengths.check(row.input, completion_text(self._task, row.reference))
        self._too_long = bool(too_long)
        if too_long:
            self._report(path, line, *too_long, FIX)

    def _check_answer_length(self, row: Row, path: str, line: int) -> None:
        if self._too_long or self._task.task_type == "classification":
            return  # refused for its length already; labels are judged once
        if problem := self.answers.check(completion_text(self._task, row.reference)):
            self._report(path, line, *problem)

    def flush(self) -> None:
        """Count the control tokens of the rows that wait for it."""
        if self._proof and self._waiting:
            expected = self._proof.expected
            for surplus, (_, path, line) in zip(
                self._proof.surplus([row for row, _, _ in self._waiting]), self._waiting, strict=True
            ):
                if surplus:
                    what = f"the row holds {expected + surplus} control tokens in the base model's template, "
                    what += f"the template itself {expected}"
                    self._report(path, line, "E130", what, "remove what reads as a control token")
        self._waiting.clear()

    def facts(self) -> dict[str, RowCheck]:
        """What was checked, and how, by the names of NAMES; a check that could not be made says so, and why."""
        unproved = RowCheck("skipped", reason=self._unproved)
        personal = RowCheck("done", policy=self._policy)
        if self._policy == "ignore":
            personal = RowCheck("skipped", policy=self._policy, reason="data.personal_data is ignore")
        lengths = RowCheck("skipped", reason=self._uncounted)
        if self.lengths:
            lengths = RowCheck("done", limit=self.lengths.limit, template=self.lengths.template)
        return {
            "control_tokens": RowCheck("done", names=self._names) if self.tokens else unproved,
            "template_proof": RowCheck("done", template_tokens=self._proof.expected) if self._proof else unproved,
            "token_lengths": lengths,
            "personal_data": personal,
        }

    def _texts(self, row: Row) -> list[tuple[str, str]]:
        """(field, text) of everything a person wrote; a label is one of the task's own."""
        texts = [(self._task.input.field, row.input)]
        name = self._task.output.field
        if self._task.task_type == "generation":
            texts.append((name, str(row.reference)))
        elif self._task.task_type == "extraction":
            texts += [(f"{name}[{n}].text", entity["text"]) for n, entity in enumerate(row.reference)]  # type: ignore[index]
        return texts

    def _report_personal(self, path: str, line: int, field: str, kinds: list[str]) -> None:
        code = "E142" if self._policy == "error" else "W142"
        what = f'field "{field}": what looks like {" and ".join(kinds)}'
        fix = "replace it by an invented one, or set data.personal_data in task_definition.yaml"
        self._report(path, line, code, what, fix)

    def _report(self, path: str, line: int, code: str, message: str, fix: str) -> None:
        self.problems.add(path, code, message, fix, line=line)


class _Names:
    """Labels and entity types against the closed sets of the task."""

    def __init__(self, task: TaskDefinition) -> None:
        self._extraction = task.task_type == "extraction"
        self._names = task.entity_type_names if self._extraction else task.label_names
        self._known = set(self._names)
        self._kind = "entity type" if self._extraction else "label"

    def check(self, row: Row, report: Any) -> None:
        """Call report(code, message, fix) for every unknown name and every entity text that is not in the input."""
        if isinstance(row.reference, str):
            if self._known:
                self._check_name(row.reference, report)
            return
        for entity in row.reference:
            if entity["text"] not in row.input:
                what = f"entity text {shown(entity['text'])} does not occur in the input"
                report("E151", what, "copy it from the input, character by character")
        for entity in row.reference:
            self._check_name(entity["type"], report)

    def _check_name(self, name: str, report: Any) -> None:
        if name not in self._known:
            report("E135", f"{self._kind} {shown(name)} is not in the task definition", self._hint(name))

    def _hint(self, name: str) -> str:
        alike = {skeleton(known): known for known in self._names}.get(skeleton(name))
        if alike is not None and alike.casefold() != name.strip().casefold():
            return f"it looks like {shown(alike)}, but has {difference(name, alike)}"
        folded = {known.casefold(): known for known in self._names}
        near = difflib.get_close_matches(name.strip().casefold()[:80], list(folded), 1, 0.5)
        if near:
            return f"did you mean {shown(folded[near[0]])}?"
        listed = ", ".join(self._names[:10]) + (", …" if len(self._names) > 10 else "")
        return f"one of {listed}"


NAMES = {
    "control_tokens": "control tokens of the base model",
    "template_proof": "control tokens of templated rows, by count",
    "token_lengths": "length of rows in tokens",
    "personal_data": "personal data",
}
"""The checks of `RowChecks.facts` as people call them."""
