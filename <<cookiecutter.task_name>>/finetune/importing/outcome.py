"""What became of the records of one source: those that are written, and those that are not, counted by reason."""

from __future__ import annotations

import difflib
import shlex
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from finetune.config.project import Project
from finetune.console import say, table
from finetune.data.raw_files import list_raw_files
from finetune.data.text_rules import shown
from finetune.errors import FinetuneError, Problems
from finetune.importing.drafts import Read
from finetune.importing.rows import Judge, RowMaker
from finetune.importing.sources import Entry, Refused

_PLACES, _KINDS, _LABELS, _ROWS = 5, 20, 20, 5
_LONG = 160


class Outcome:
    """Filled record by record: `add` makes rows, `flush` judges and writes them."""

    def __init__(self, project: Project, maker: RowMaker, judge: Judge, ids: set[str]) -> None:
        self.taken = self.refused = self.id_clashes = 0
        self.waiting: list[tuple[str, str | None, bytes]] = []
        self._project, self._maker, self._judge = project, maker, judge
        self._elsewhere, self._ids = ids, set[int]()
        self._kinds: Counter[tuple[str, str]] = Counter()
        self._places: dict[tuple[str, str], list[str]] = {}
        self._first: list[str] = []

    def add(self, entry: Entry, read: Read, encode: Callable[[Any], bytes]) -> None:
        """Make the row of a record, or count why there is none."""
        try:
            if isinstance(entry.value, Refused):
                raise entry.value
            row = self._maker.make(read(entry.value))
            identifier = row.get(self._project.task.data.id_field)
            if identifier is not None:
                if identifier in self._elsewhere or hash(identifier) in self._ids:
                    self.id_clashes += 1
                    raise Refused("E150", "an id that is used already", identifier[:40])
                self._ids.add(hash(identifier))
            self.waiting.append((entry.place, identifier, encode(row) + b"\n"))
        except Refused as refused:
            self._count(entry.place, refused)
        except UnicodeEncodeError:
            self._count(entry.place, Refused("E115", "half of a surrogate pair, not a character"))

    def flush(self, file: BinaryIO) -> None:
        """Write the rows that step 01 would accept."""
        if not self.waiting:
            return
        lines = [line for _, _, line in self.waiting]
        for (place, _, line), fault in zip(self.waiting, self._judge.errors(lines), strict=True):
            if fault:
                self._count(place, fault)
                continue
            file.write(line)
            self.taken += 1
            if len(self._first) < _ROWS:
                self._first.append(line.decode("utf-8").rstrip("\n"))
        self.waiting.clear()

    def _count(self, place: str, refused: Refused) -> None:
        self.refused += 1
        key = (refused.code, refused.kind)
        self._kinds[key] += 1
        places = self._places.setdefault(key, [])
        if len(places) < _PLACES:
            detail = f" ({refused.detail})" if refused.detail and refused.detail != refused.kind else ""
            places.append(f"{place}{detail}")

    def tell(self, name: str, command: str) -> None:
        """The first rows, what was corrected, what was not taken and how to take it."""
        if self._first:
            say(f"  the first {len(self._first)} rows as they are written:")
            for row in self._first:
                say(f"    {row if len(row) <= _LONG else row[: _LONG - 1] + '…'}")
        for note, number in self._maker.notes.items():
            say(f"  corrected: {number} {note}")
        total = self.taken + self.refused
        if not self.refused:
            say(f"{name}: all {total} records can be taken")
            return
        say(f"{name}: {self.refused} of {total} records are NOT taken")
        for (code, kind), number in self._kinds.most_common(_KINDS):
            places = self._places[code, kind]
            more = f", and {number - len(places)} more" if number > len(places) else ""
            say(f"  {code} {kind}: {number}")
            say(f"    {'; '.join(places)}{more}")
        if len(self._kinds) > _KINDS:
            say(f"  … and {len(self._kinds) - _KINDS} more reasons")
        if self._maker.unknown:
            self._tell_labels(command)

    def _tell_labels(self, command: str) -> None:
        task = self._project.task
        known = task.label_names or task.entity_type_names
        unknown = self._maker.unknown.most_common(_LABELS)
        nearest = {label: self._nearest(label, known) for label, _ in unknown}
        rows = [(shown(label), number, nearest[label] or "-") for label, number in unknown]
        hidden = len(self._maker.unknown) - len(rows)
        table(
            "not in task_definition.yaml" + (f" ({hidden} more)" if hidden else ""),
            ("as written", "times", "nearest"),
            rows,
        )
        pairs = [_word(f"{label}={near or '?'}") for label, near in nearest.items()]
        listed = " ".join(f"--map-label {pair}" for pair in pairs)
        say(f"  add them to task_definition.yaml, or say what they are (OLD= leaves such rows out): {command} {listed}")

    def _nearest(self, label: str, known: tuple[str, ...]) -> str:
        folded = {name.casefold(): name for name in known}
        near = difflib.get_close_matches(label.casefold()[:80], list(folded), 1, 0.5)
        return folded[near[0]] if near else ""

    def raise_if_too_few(self, name: str, *, strict: bool, partial: bool) -> None:
        """Raise FinetuneError (E171) where nothing or less than half could be taken; with `strict`, not everything."""
        total = self.taken + self.refused
        if not self.taken:
            raise FinetuneError(
                f"{name}: nothing of it could be taken", "see the reasons above; nothing was written", "E171"
            )
        if strict and self.refused:
            raise FinetuneError(
                f"{name}: {self.refused} of {total} records cannot be taken",
                "correct them, or leave --strict out",
                "E171",
            )
        if 2 * self.taken < total and not partial:
            what = f"{name}: only {self.taken} of {total} records can be taken; nothing was written"
            raise FinetuneError(what, "see the reasons above, or take what there is with --partial", "E171")


def _word(text: str) -> str:
    """`text` as one word of a command; signs that nobody sees as bash spells them."""
    if text.isprintable():
        return shlex.quote(text)
    signs = {"\\": "\\\\", "'": "\\'"}
    return "$'" + "".join(signs.get(c, c) if c.isprintable() else f"\\U{ord(c):08x}" for c in text) + "'"


def ids_of(project: Project, target: Path) -> set[str]:
    """The ids that the other files of data/raw use."""
    found: set[str] = set()
    line_type = msgspec.defstruct("IdOnly", [("id", str | int | None, None)], rename={"id": project.task.data.id_field})
    decode = msgspec.json.Decoder(line_type).decode
    for file in list_raw_files(project.paths, Problems(keep=0)) if project.paths.raw.is_dir() else ():
        if file == target:
            continue
        with open(file, "rb") as stream:
            for line in stream:
                try:
                    identifier = decode(line).id  # type: ignore[attr-defined]
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    continue
                if isinstance(identifier, str):
                    found.add(identifier)
    return found
