"""All raw files read once, in several processes: every row's split and id, what is counted, what is wrong."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from finetune.config.project import Project
from finetune.console import progress
from finetune.data import marks
from finetune.data.check_results import RowCheck
from finetune.data.identities import Identities, default_id, default_of
from finetune.data.raw_files import RAW
from finetune.data.records import MAX_LINE_BYTES, Layout, report_used_twice
from finetune.data.row_checks import RowChecks
from finetune.data.scan.chunks import Chunk, cut
from finetune.data.scan.near_duplicates import BANDS, pair_set
from finetune.data.scan.near_search import Near, NearSearch, Spool, search_band
from finetune.data.scan.scanning import SALT_ROWS, ChunkFacts, ChunkScanner, Counts, scan
from finetune.data.scan.workers import Map, workers
from finetune.errors import Problems

PARALLEL_FROM_BYTES = 4_000_000
PROGRESS_FROM_BYTES = 10_000_000


class DuplicateRow(msgspec.Struct, frozen=True, gc=False):
    """A row whose normalised input came before. Rows are counted over all files, from 0."""

    row: int
    first: int
    same_answer: bool


class _Block(msgspec.Struct, frozen=True):
    chunk: Chunk
    start: int
    offsets: array[int]
    numbers: array[int] | None


class Survey:
    """What was found; made by `survey`. About 20 bytes a row stay, and 100 while duplicates are looked for."""

    def __init__(self, project: Project, problems: Problems) -> None:
        self.project, self.problems = project, problems
        self.lines: dict[str, int] = {}
        """Lines with something on them, by file."""
        self.counts = Counts()
        self.splits = bytearray()
        self.shorts, self._answers = array("Q"), array("I")
        self.ids: dict[int, str] = {}
        """Ids of the rows whose id is not `default_id` of their input."""
        self.duplicates: list[DuplicateRow] = []
        self.near: list[Near] = []
        self.groups: dict[int, str] = {}
        self.salt_keys: dict[bytes, set[str]] = {}
        """Split keys with the classes of their rows; of more than SALT_ROWS lines only the first ones."""
        self.row_checks: dict[str, RowCheck] = {}
        self.system_prompt_is_clean = True
        self.long_labels: dict[str, int] = {}
        """Labels that cannot be generated whole, with their tokens."""
        self._own: dict[int, str] = {}
        self._blocks: list[_Block] = []
        self._starts: list[int] = []
        self._seen: set[int] = set()
        self._repeated: set[int] = set()
        self._layout: tuple[str, Layout] | None = None
        self._decode = msgspec.json.Decoder().decode

    def add(self, facts: ChunkFacts) -> None:
        """Take in the next chunk."""
        self._end_file(facts.chunk.name)
        assert self._layout is not None
        self._layout[1].extend(facts.layout)
        self.problems.extend(facts.problems)
        start = len(self.shorts)
        self._blocks.append(_Block(facts.chunk, start, facts.offsets, facts.numbers))
        self._starts.append(start)
        self.shorts += facts.shorts
        self._answers += facts.answers
        self.splits += facts.splits
        self.counts.add(facts.counts)
        self._own |= {start + number: own for number, own in facts.own.items()}
        self.groups |= {start + number: group for number, group in facts.groups.items()}
        self.row_checks, self.system_prompt_is_clean = facts.row_checks, facts.system_prompt_is_clean
        self.long_labels = facts.long_labels
        for key, names in facts.salt_keys.items() if len(self.salt_keys) <= SALT_ROWS else ():
            self.salt_keys.setdefault(key, set()).update(names)
        new = set(facts.shorts)
        if len(new) < len(facts.shorts):
            self._repeated |= {short for short, number in Counter(facts.shorts).items() if number > 1}
        if not self._seen.isdisjoint(new):
            self._repeated |= self._seen & new
        self._seen |= new

    def _end_file(self, next_name: str | None) -> None:
        if self._layout and self._layout[0] != next_name:
            name, layout = self._layout
            self.lines[name] = layout.values
            layout.report(name, self.problems)
            self._layout = None
        if next_name and not self._layout:
            self._layout = (next_name, Layout())

    def finish(self) -> None:
        """Ids and exact duplicates, once every chunk is in."""
        self._end_file(None)
        self._seen = set()
        identities = Identities()
        wanted = self._repeated | {short for own in self._own.values() if (short := default_of(own)) is not None}
        special = set(self._own)
        if wanted:
            special.update(row for row, short in enumerate(self.shorts) if short in wanted)
        for row in sorted(special):
            short, own = self.shorts[row], self._own.get(row)
            found = identities.add(short, own, self._answers[row], row)
            if found.id is None:
                report_used_twice(own or "", *self.place(row), self.problems)
            elif found.id != default_id(short):
                self.ids[row] = found.id
            if found.first is not None:
                self.duplicates.append(DuplicateRow(row, found.first, found.same_answer))
        self._own, self._repeated, self._answers = {}, set(), array("I")

    def search_near(self, spool: Spool, run: Map[Any, Any]) -> None:
        """Near-duplicates across splits, once the exact ones are known."""
        search = NearSearch(self.splits, lambda row: pair_set(self.input_of(row)), self.shorts.__getitem__)
        for shared in self._with_progress(run(search_band, spool.bands()), "near-duplicates", BANDS):
            search.add(shared)
        self.near = search.rows()

    def _with_progress(self, results: Any, label: str, total: int) -> Any:
        size = sum(block.chunk.size for block in self._blocks)
        return progress(results, label, total=total) if size >= PROGRESS_FROM_BYTES else results

    def _block(self, row: int) -> tuple[_Block, int]:
        block = self._blocks[bisect_right(self._starts, row) - 1]
        return block, row - block.start

    def place(self, row: int) -> tuple[str, int]:
        """File and line of a row, as problems name them."""
        block, number = self._block(row)
        return block.chunk.name, block.chunk.first_line + (block.numbers[number] if block.numbers else number)

    def value_of(self, row: int) -> dict[str, Any]:
        """The JSON object of a row, read again."""
        block, number = self._block(row)
        size = 4096
        with open(block.chunk.file, "rb") as stream:
            start = block.chunk.offset + block.offsets[number]
            stream.seek(start)
            line = stream.readline(size)
            if len(line) == size:
                line += stream.readline(MAX_LINE_BYTES)
        return self._decode(marks.strip(line.strip())[0])

    def groups_by_id(self) -> dict[str, str]:
        """Group by row id, for rows that have one."""
        return {self.ids.get(row) or default_id(self.shorts[row]): group for row, group in self.groups.items()}

    def input_of(self, row: int) -> str:
        """The input text of a row."""
        return self.value_of(row)[self.project.task.input.field]


def survey(project: Project, files: Sequence[tuple[Path, str]], problems: Problems) -> Survey:
    """Read and check `files`, given as (path, name), in their order."""
    found = Survey(project, problems)
    chunks = cut(files)
    size = sum(chunk.size for chunk in chunks)
    spool = Spool(project.paths.results)
    try:
        with workers(lambda: ChunkScanner(project), size >= PARALLEL_FROM_BYTES) as run:
            results = run(scan, chunks)
            for facts in progress(results, RAW, total=len(chunks)) if size >= PROGRESS_FROM_BYTES else results:
                spool.add(facts.splits, facts.bands)
                facts.bands = b""
                found.add(facts)
            found.finish()
            if project.task.data.near_duplicates != "ignore":
                found.search_near(spool, run)
    finally:
        spool.close()
    if not chunks:
        found.row_checks = RowChecks(project, problems).facts()
    return found
