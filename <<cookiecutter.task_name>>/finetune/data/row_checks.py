"""Checks of one accepted row at a time that need more than the task: tokens, languages, personal data."""

from __future__ import annotations

from typing import Any

import msgspec

from finetune.config.project import Project
from finetune.console import say
from finetune.data.base_tokenizer import BaseTokenizer, find_base_tokenizer
from finetune.data.chat_format import completion_text, template_options
from finetune.data.committed_tokenizer import REFRESH, committed_fault
from finetune.data.control_tokens import ControlTokens, TemplateProof, Unproved
from finetune.data.languages import Languages
from finetune.data.personal_data import find_personal_data
from finetune.data.records import Record
from finetune.data.text_rules import shown
from finetune.data.token_lengths import FIX, TokenLengths
from finetune.errors import Problems

_BATCH = 1000
_NAMES = {
    "control_tokens": "control tokens of the base model",
    "template_proof": "control tokens of templated rows, by count",
    "token_lengths": "length of rows in tokens",
    "personal_data": "personal data",
}


class RowChecks:
    """Takes the records one by one; `finish` gives the facts for the data report and says what could not be checked."""

    def __init__(self, project: Project, problems: Problems) -> None:
        self._task, self._problems = project.task, problems
        self._policy = project.task.data.personal_data
        self._languages = Languages(project.task.language)
        self._rows = self._personal = 0
        self._waiting: list[Record] = []
        self._tokens: ControlTokens | None = None
        self._proof: TemplateProof | None = None
        self._lengths: TokenLengths | None = None
        self._unproved = self._uncounted = f"no tokenizer.json of {project.training.base_model.id} on this machine"
        if (fault := committed_fault(project)) and not project.smoke:  # smoke runs train another model
            problems.add(project.paths.relative(project.paths.tokenizer), "W244", f"not used: {fault}", REFRESH)
        base = find_base_tokenizer(project)
        if base is not None:
            self._use(base, project)
            self._measure(base, project)

    def _use(self, base: BaseTokenizer, project: Project) -> None:
        try:
            self._names = len(base.control_tokens)
            if not self._names:
                raise Unproved("its tokenizer.json names no control tokens")
            self._tokens = ControlTokens(base.control_tokens)
            self._proof = TemplateProof(base, project.task, template_options(project.training))
        except Unproved as reason:
            self._unproved = str(reason)
        except (msgspec.MsgspecError, UnicodeError, KeyError) as failure:
            self._unproved = f"the tokenizer files in {project.paths.relative(base.folder)} are damaged ({failure})"
        else:
            self._check_system_prompt(self._proof)

    def _measure(self, base: BaseTokenizer, project: Project) -> None:
        try:
            self._lengths = TokenLengths(base, project.task, project.training)
        except Unproved as reason:
            self._uncounted = str(reason)
        except (msgspec.MsgspecError, UnicodeError, KeyError) as failure:
            self._uncounted = f"the tokenizer files in {project.paths.relative(base.folder)} are damaged ({failure})"

    def add(self, record: Record) -> None:
        """Check one record."""
        self._rows += 1
        # Answers are free text only here; labels and copied entities say nothing of their own about the language.
        generated = self._task.task_type == "generation"
        self._languages.add(f"{record.input}\n{record.reference}" if generated else record.input)
        clean = True
        for field, text in self._texts(record):
            if self._policy != "ignore" and (kinds := find_personal_data(text)):
                self._personal += 1
                self._report_personal(record, field, kinds)
            if self._tokens and (token := self._tokens.find(text)):
                clean = False
                self._report(
                    record, "E130", f'field "{field}": {shown(token)} is a control token of the base model',
                    "remove or rewrite it; a chat model obeys it",
                )  # fmt: skip
        if self._lengths and (
            found := self._lengths.check(record.input, completion_text(self._task, record.reference))
        ):
            self._report(record, *found, FIX)
        if self._proof and clean:  # the others are refused already
            self._waiting.append(record)
            if len(self._waiting) >= _BATCH:
                self._prove(self._proof)

    def finish(self) -> dict[str, Any]:
        """The facts of the checks; what was skipped says so, and why."""
        if self._proof:
            self._prove(self._proof)
            proof: dict[str, Any] = {"status": "done", "rows": self._rows, "template_tokens": self._proof.expected}
        else:
            proof = {"status": "skipped", "reason": self._unproved}
        tokens = {"status": "done", "names": self._names} if self._tokens else {**proof, "status": "skipped"}
        personal: dict[str, Any] = {"status": "done", "policy": self._policy, "texts": self._personal}
        if self._policy == "ignore":
            personal |= {"status": "skipped", "reason": "data.personal_data is ignore"}
        lengths = self._lengths.facts() if self._lengths else {"status": "skipped", "reason": self._uncounted}
        facts = {
            "control_tokens": tokens, "template_proof": proof, "token_lengths": lengths, "personal_data": personal,
        }  # fmt: skip
        for name, fact in facts.items():
            if fact["status"] == "skipped":
                say(f"  not checked: {_NAMES[name]} ({fact['reason']})")
        if self._lengths and self._lengths.over:
            say(
                f"  {self._lengths.over} rows have more tokens than max_length ({self._lengths.limit}), "
                f"the longest {self._lengths.longest}"
            )
        for code, message, fix in self._languages.warnings():
            self._problems.add("data/raw", code, message, fix)
        return {**facts, "languages": self._languages.facts()}

    def _texts(self, record: Record) -> list[tuple[str, str]]:
        """(field, text) of everything a person wrote; a label is one of the task's own."""
        texts = [(self._task.input.field, record.input)]
        name = self._task.output.field
        if self._task.task_type == "generation":
            texts.append((name, str(record.reference)))
        elif self._task.task_type == "extraction":
            texts += [(f"{name}[{n}].text", entity["text"]) for n, entity in enumerate(record.reference)]  # type: ignore[index]
        return texts

    def _report_personal(self, record: Record, field: str, kinds: list[str]) -> None:
        code = "E142" if self._policy == "error" else "W142"
        self._report(
            record, code, f'field "{field}": what looks like {" and ".join(kinds)}',
            "replace it by an invented one, or set data.personal_data in task_definition.yaml",
        )  # fmt: skip

    def _prove(self, proof: TemplateProof) -> None:
        for record, surplus in zip(self._waiting, proof.surplus(self._waiting), strict=True):
            if surplus:
                self._report(
                    record, "E130", f"the row holds {proof.expected + surplus} control tokens in the base model's "
                    f"template, the template itself {proof.expected}", "remove what reads as a control token",
                )  # fmt: skip
        self._waiting.clear()

    def _check_system_prompt(self, proof: TemplateProof) -> None:
        if proof.in_system_prompt:
            self._problems.add(
                "task_definition.yaml", "E130", "the system prompt, its labels included, holds a control token of the "
                "base model", "remove or rewrite it", key="system_prompt",
            )  # fmt: skip

    def _report(self, record: Record, code: str, message: str, fix: str) -> None:
        self._problems.add(record.path, code, message, fix, line=record.line)
