"""Tells the rows to which no check of a row can object from the odd ones, a thousand rows at once.

Nearly every row of nearly every data set is plain. Plain rows are decoded by their types and searched together for the
few signs that a check needs before it can find anything; odd rows go through the checks one by one (records.py,
row_checks.py), which alone decide. A row that is called odd for nothing costs time, never a wrong answer.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache
from operator import attrgetter
from typing import Any

import msgspec

from finetune.characters import ODD, is_blank
from finetune.config.task import TaskDefinition
from finetune.data.chat_format import completion_text
from finetune.data.damage import MAY_BE
from finetune.data.personal_data import MAY_HOLD
from finetune.data.records import MAX_LINE_BYTES
from finetune.data.row_checks import RowChecks
from finetune.data.spans import odd_spans

# Too short for a secret, or of digits that make none (a UUID).
_PLAIN_ID = re.compile(r"[A-Za-z0-9.-]{1,19}|[0-9a-f-]{1,64}")
_ODD_ASCII = "<[@_&\\\x7f" + "".join(map(chr, range(32)))
_ALLOWED_SPACES = "\t\n\v\f\r\x1c\x1d\x1e"
_SECRET_STARTS = ("sk-", "AKIA", "PRIVATE KEY")
_ODD_WIDE = "<[@_" + ODD
_FEW_DIGITS = 7
"""No personal datum has fewer than eight digits."""


class TypedLines:
    """Lines that are rows of the task's own form, decoded together."""

    def __init__(self, task: TaskDefinition) -> None:
        answer: Any = list[dict[str, str]] if task.task_type == "extraction" else str
        fields = {"input": task.input.field, "reference": task.output.field}
        fields |= {"id": task.data.id_field, "group": task.data.group_field}
        line = msgspec.defstruct(
            "Line", [("input", str), ("reference", answer), ("id", str, None), ("group", str, None)], rename=fields,
            forbid_unknown_fields=True, frozen=True,
        )  # fmt: skip
        self._decode = msgspec.json.Decoder(line).decode_lines

    def decode(self, data: bytes, lines: int) -> list[Any] | None:
        """One object a line, with the fields of `records.Row`; None where that needs a closer look at the lines."""
        # What the decoder forgives: another line end, blank lines.
        if b"\r" in data or len(data) > MAX_LINE_BYTES:
            return None
        try:
            rows = self._decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return rows if len(rows) == lines else None


Search = Callable[[list[Any], list[str]], Iterator[int]]
"""Takes rows and their inputs, gives the numbers of those that a check may object to."""


class Screen:
    """Built once; `rows` is called for every chunk."""

    def __init__(self, task: TaskDefinition, checks: RowChecks) -> None:
        self._task = task
        self._limit = task.input.max_chars
        self._labels = set(task.label_names)
        self._types = set(task.entity_type_names)
        self._every_row = checks.every_row_counts or (checks.lengths is not None and checks.lengths.budget_bytes < 0)
        self._may_be_cut = checks.answers.may_be_cut
        self._budget = checks.lengths.budget_bytes if checks.lengths else None
        signs = checks.tokens.signs if checks.tokens else frozenset()
        odd = set(_ODD_ASCII) - set(_ALLOWED_SPACES) | {sign for sign in signs if sign.isascii()}
        kept = odd | set("0123456789\n")
        self._boring = bytes(code for code in range(128) if chr(code) not in kept)
        forms = "".join(map(re.escape, sorted(_forms(signs | set("<[@_")))))
        self._odd_wide = re.compile(f"[{_ODD_WIDE}{forms}]")
        self._typed = TypedLines(task)
        searches: dict[str, Search] = {
            "names": self._with_other_names,
            "spans": self._with_odd_spans,
            "max_chars": self._above_max_chars,
            "texts": self._with_signs,
            "token_lengths": self._long,
            "answer_lengths": self._with_long_answers,
        }
        # Texts and ids are searched for the line reader too. A check without a search ends here, with its name.
        self._searches = [self._with_other_ids, *(searches[name] for name in checks.checks)]

    def rows(self, data: bytes, lines: int) -> list[Any]:
        """One entry a line of `data`: the row where it is plain, None where it must be looked at.

        A plain row has the fields input, reference, id and group of `records.Row`.
        """
        # A quote hidden in an escape would spoil the count, which tells whether a key stands twice.
        rows = None if self._every_row or b"\\u0022" in data else self._typed.decode(data, lines)
        if rows is None or data.count(b'"') != self._quotes(rows):
            return [None] * lines
        inputs = [row.input for row in rows]
        for number in {number for search in self._searches for number in search(rows, inputs)}:
            rows[number] = None
        return rows

    def _quotes(self, rows: list[Any]) -> int:
        """How many quotes the lines of these rows have if every key stands there once."""
        names = [name for row in rows for name in (row.id, row.group) if name is not None]
        count = 4 * (2 * len(rows) + len(names))
        texts = [row.input for row in rows] + names
        if self._types:
            entities = [entity for row in rows for entity in row.reference]
            count += 8 * len(entities) - 2 * len(rows)
            texts += [text for entity in entities for text in entity.values()]
        else:
            texts += [row.reference for row in rows]
        return count + "".join(texts).count('"')

    def _with_other_ids(self, rows: list[Any], inputs: list[str]) -> Iterator[int]:
        for name in ("id", "group"):
            names = list(map(attrgetter(name), rows))
            if names.count(None) < len(names):
                yield from (n for n, name in enumerate(names) if name is not None and not _PLAIN_ID.fullmatch(name))

    def _with_other_names(self, rows: list[Any], inputs: list[str]) -> Iterator[int]:
        if self._types:
            yield from (number for number, row in enumerate(rows) if not self._plain_entities(row))
        elif self._labels and not self._labels.issuperset([row.reference for row in rows]):
            yield from (number for number, row in enumerate(rows) if row.reference not in self._labels)

    def _with_odd_spans(self, rows: list[Any], inputs: list[str]) -> Iterator[int]:
        if self._types:
            yield from (number for number, row in enumerate(rows) if any(odd_spans(row.input, row.reference)))

    def _above_max_chars(self, rows: list[Any], inputs: list[str]) -> Iterator[int]:
        if max(map(len, inputs)) > self._limit:
            yield from (number for number, text in enumerate(inputs) if len(text) > self._limit)

    def _long(self, rows: list[Any], inputs: list[str]) -> Iterator[int]:
        """Rows that may have more tokens than the model is trained with."""
        if self._budget is None:
            return
        if self._labels:  # as short as the longest label: an unknown one is odd anyway
            answers = [max(len(label.encode()) for label in self._labels)] * len(rows)
        else:
            answers = [len(completion_text(self._task, row.reference).encode()) for row in rows]
        if 4 * max(map(len, inputs)) + max(answers) > self._budget:
            for number, (text, answer) in enumerate(zip(inputs, answers, strict=True)):
                if len(text.encode()) + answer > self._budget:
                    yield number

    def _with_long_answers(self, rows: list[Any], inputs: list[str]) -> Iterator[int]:
        if not self._labels:
            for number, row in enumerate(rows):
                if self._may_be_cut(completion_text(self._task, row.reference)):
                    yield number

    def _plain_entities(self, row: Any) -> bool:
        for entity in row.reference:
            text = entity.get("text")
            if len(entity) != 2 or not text or text not in row.input or entity.get("type") not in self._types:
                return False
            # Part of the input, which is plain; alone it may begin with what belongs to the sign before it.
            if not text.isascii() and (self._odd_wide.search(text) or not unicodedata.is_normalized("NFC", text)):
                return False
            if not text.strip():
                return False
        return True

    def _with_signs(self, rows: list[Any], inputs: list[str]) -> Iterator[int]:
        # Entity texts lie in the input, and labels are the task's own.
        texts = inputs if self._labels or self._types else inputs + [row.reference for row in rows]
        odd: set[int] = set()
        wide = [number for number, text in enumerate(texts) if not text.isascii()]
        if wide:
            odd.update(number for number in wide if self._odd_text(texts[number]))
            texts = ["x" if not text.isascii() else text for text in texts]
        joined = "\n".join(texts)
        if joined.count("\n") != len(texts) - 1:
            texts = [text.replace("\n", " ") for text in texts]
            joined = "\n".join(texts)
        if not all(map(str.strip, texts)):
            odd.update(number for number, text in enumerate(texts) if not text.strip())
        left = joined.encode("ascii").translate(None, self._boring).split(b"\n")
        odd.update(n for n, rest in enumerate(left) if rest and (len(rest) > _FEW_DIGITS or not rest.isdigit()))
        for start in _SECRET_STARTS:
            if start in joined:
                odd.update(number for number, text in enumerate(texts) if start in text)
        yield from (number % len(rows) for number in odd)

    def _odd_text(self, text: str) -> bool:
        return bool(
            self._odd_wide.search(text)
            or MAY_HOLD.search(text)
            or MAY_BE.search(text)
            or is_blank(text)
            or not unicodedata.is_normalized("NFC", text)
            or any(start in text for start in _SECRET_STARTS)
        )


@lru_cache(maxsize=4)
def _forms(signs: frozenset[str]) -> frozenset[str]:
    """Every character whose compatibility form holds one of `signs`, themselves included."""
    found = set()
    for code in range(sys.maxunicode + 1 if any(not sign.isascii() for sign in signs) else 0x10000):
        form = unicodedata.normalize("NFKC", chr(code))
        if not signs.isdisjoint(form):
            found.add(chr(code))
    return frozenset(found)
