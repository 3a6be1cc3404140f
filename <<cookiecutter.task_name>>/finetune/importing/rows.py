"""Drafts → rows of the task: its field names, its labels, texts without what their files did to them; and the verdict.

A row is judged by the very checks of step 01, so that what is written passes them.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from finetune.characters import UNSEEN
from finetune.config.project import Project
from finetune.data.records import LineReader
from finetune.data.row_checks import RowChecks
from finetune.data.scan.screens import Screen
from finetune.errors import Problem, Problems
from finetune.importing.annotation_tools import Choice
from finetune.importing.drafts import Draft
from finetune.importing.sources import Refused
from finetune.importing.spans import entities_of

_ESCAPED = re.compile(r"_x000[dD]_\r?\n?|_x000[aA]_")
_SEPARATORS = re.compile(r"\s*[,;|、，；/]\s*")
_QUOTED = re.compile(r'field "[^"]*"(?:\[\d+\])?[.\w]*: |(?<![+\w])\d+\b|"(?:[^"\\]|\\.)*"')
_OUTER = re.compile(rf"^[\s{UNSEEN}]+|[\s{UNSEEN}]+$")
Row = dict[str, Any]


class RowMaker:
    """Makes rows; counts what it corrected and the labels that the task does not know."""

    def __init__(self, project: Project, mapping: Mapping[str, str], offsets: str | None) -> None:
        self.notes: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self._task, self._mapping, self._offsets = project.task, mapping, offsets
        self._known = frozenset(project.task.label_names or project.task.entity_type_names)

    def make(self, draft: Draft) -> Row:
        """The row of a draft. Raises Refused."""
        data = self._task.data
        text = _scalar(draft.text, "text")
        row: Row = {}
        if (identifier := _name(draft.id)) is not None:
            row[data.id_field] = identifier
        row[self._task.input.field] = self._clean(text)
        row[self._task.output.field] = self._answer(draft.answer, text)
        if (group := _name(draft.group)) is not None:
            row[data.group_field] = group
        return row

    def _answer(self, answer: Any, text: str) -> Any:
        if self._task.task_type == "classification":
            return self._label(answer)
        if self._task.task_type == "generation":
            if isinstance(answer, list) and len(answer) == 1:
                answer = answer[0]
            return self._clean(_scalar(answer, "answer"))
        if isinstance(answer, str):
            if not answer.strip():
                raise Refused("E124", "no entities given; write [] for none")
            answer = _from_json(answer)
        found = entities_of(answer, text, self._offsets, self.notes)
        return [{"type": self._named(e["type"], "entity type"), "text": self._clean(e["text"])} for e in found]

    def _label(self, answer: Any) -> str:
        if isinstance(answer, str) and answer not in self._known and answer.lstrip()[:1] in ("[", "{"):
            answer = _from_json(answer)
        if isinstance(answer, dict):
            answer = next((answer[key] for key in ("choices", "labels", "label") if key in answer), answer)
        if isinstance(answer, list):
            if any(not isinstance(item, str | int) for item in answer):
                raise Refused("E170", "spans or objects where a label is wanted")
            if len(answer) > 1:
                raise Refused("E181", "more than one label", ", ".join(map(str, answer))[:80])
            answer = answer[0] if answer else None
        if isinstance(answer, Choice) and answer not in self._known and str(answer) not in self._mapping:
            answer = answer.text
        return self._named(_scalar(answer, "label"), "label")

    def _named(self, name: str, kind: str) -> str:
        """`name` as the task has it: mapped where told, without outer spaces."""
        plain = unicodedata.normalize("NFC", name.strip())
        if plain not in self._known and (visible := _OUTER.sub("", plain)) in self._known:
            plain = visible  # a label of its own may end in such a sign, as flags of regions do
        if plain != name:
            self.notes[f"{kind}s with outer spaces or not in NFC"] += 1
        mapped = self._mapping.get(plain)
        if mapped == "":
            raise Refused("E189", "left out as told by --map-label", plain)
        plain = mapped if mapped is not None else plain
        if plain not in self._known and unicodedata.normalize("NFC", plain) in self._known:
            plain = unicodedata.normalize("NFC", plain)
        if plain in self._known:
            return plain
        parts = _SEPARATORS.split(plain)
        if len(parts) > 1 and self._known.issuperset(parts):
            raise Refused("E181", "more than one label", plain[:80])
        self.unknown[plain] += 1
        article = "an" if kind[0] in "aeiou" else "a"
        raise Refused("E135", f"{article} {kind} that is not in the task", plain[:80])

    def _clean(self, text: str) -> str:
        """`text` without byte order mark, with LF as line end, in NFC: the signs that files and programs left in it."""
        if text.isascii() and "\r" not in text and "_x000" not in text:
            return text
        plain = text.removeprefix("\ufeff")
        if "_x000" in plain:
            plain, number = _ESCAPED.subn("\n", plain)
            if number:
                self.notes["texts with _x000D_ of a spreadsheet, now a line end"] += 1
        if "\r" in plain:
            plain = plain.replace("\r\n", "\n").replace("\r", "\n")
            self.notes["texts with CR or CRLF line ends, now LF"] += 1
        composed = unicodedata.normalize("NFC", plain)
        if composed != plain:
            self.notes["texts not in Unicode normal form NFC"] += 1
        return composed


def _scalar(value: Any, what: str) -> str:
    """A cell as text; numbers and truth values as JSON writes them, 3.0 as 3."""
    if isinstance(value, str):
        if not value.strip("\ufeff \t\r\n\u3000"):
            raise Refused("E124", f"no {what}")
        return value
    if value is None or value != value:  # NaN is how pandas writes an empty cell
        raise Refused("E124", f"no {what}")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, int | float):
        return str(value)
    raise Refused("E123", f"a {what} that is not text")


def _name(value: Any) -> str | None:
    """An id or a group; an empty cell is none."""
    try:
        return unicodedata.normalize("NFC", _scalar(value, "name").strip())
    except Refused as refused:
        if refused.code == "E124":
            return None
        raise Refused("E123", "an id or group that is not text") from None


def _from_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Refused("E184", "an answer that is no JSON list", text[:40]) from None


class Judge:
    """The checks of step 01 on single rows: a thousand at once, the odd ones one by one."""

    def __init__(self, project: Project) -> None:
        self._problems = Problems()
        self._lines = LineReader(project.task, self._problems)
        self._checks = RowChecks(project, self._problems)
        self._screen = Screen(project.task, self._checks)

    def errors(self, lines: Sequence[bytes]) -> list[Refused | None]:
        """For each line, which ends in LF, what step 01 would refuse it for."""
        plain = self._screen.rows(b"".join(lines), len(lines))
        return [None if row is not None else self._look(line) for row, line in zip(plain, lines, strict=True)]

    def _look(self, line: bytes) -> Refused | None:
        problems = self._lines.problems = self._checks.problems = Problems()
        row = self._lines.read(line.removesuffix(b"\n"), "", 1, 0)
        if row:
            self._checks.add(row, "", 1)
            self._checks.flush()
        return _refused(problems.errors[0]) if problems.errors else None


def _refused(problem: Problem) -> Refused:
    kind = _QUOTED.sub(lambda found: "N" if found[0].isdigit() else "", problem.message).strip()
    return Refused(problem.code, kind if kind != problem.message else problem.message, problem.message)
