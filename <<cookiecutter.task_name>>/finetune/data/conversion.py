"""Checked rows become chat records: chunk by chunk, in the splits and with the ids that the plan gives them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from finetune.config.project import Project
from finetune.console import progress
from finetune.data.chat_format import completion_text, parse_completion, system_text
from finetune.data.identities import default_id
from finetune.data.plan import FilePlan, Plan
from finetune.data.records import Layout, LineReader
from finetune.data.scan import survey
from finetune.data.scan.chunks import Chunk, cut
from finetune.data.scan.screens import TypedLines
from finetune.data.scan.workers import workers
from finetune.data.spans import in_text_order
from finetune.data.splits import SPLITS, Assignment, key_of_split
from finetune.data.text_rules import input_digest, normalise_all
from finetune.errors import FinetuneError, Problems

_TEST = SPLITS.index("test")


class Piece(msgspec.Struct, frozen=True):
    """A chunk and what the plan says about its lines."""

    chunk: Chunk
    plan: FilePlan


class Converter:
    """Built once a process."""

    def __init__(self, project: Project) -> None:
        self._task = task = project.task
        self._typed = TypedLines(task)
        self._lines = LineReader(task, Problems())
        self._assign = Assignment(project.benchmark.splits)
        self._encode = encode = msgspec.json.Encoder().encode
        self._middle = b',"messages":[{"role":"system","content":' + encode(system_text(task))
        self._middle += b'},{"role":"user","content":'
        self._completion = lru_cache(maxsize=4096)(lambda label: encode(completion_text(task, label)))

    def convert(self, piece: Piece) -> tuple[bytes, ...]:
        """The chat records of a chunk, one text a split, in the order of SPLITS."""
        numbers, rows = self._rows(piece.chunk)
        keys = list(map(input_digest, normalise_all([row.input for row in rows])))
        left_out, ids = set(piece.plan.left_out), piece.plan.ids
        written: tuple[list[bytes], ...] = tuple([] for _ in SPLITS)
        for number, row, key in zip(numbers, rows, keys, strict=True):
            if number in left_out:
                continue
            if row.group is None:
                split = self._assign.of_input(key)
            else:
                split = self._assign.of_key(key_of_split(key, row.group))
            identifier = ids.get(number) or default_id(int.from_bytes(key[:8]))
            written[split].append(self._record(identifier, row, split == _TEST))
        return tuple(map(b"".join, written))

    def _rows(self, chunk: Chunk) -> tuple[Sequence[int], list[Any]]:
        data = chunk.read()
        lines = data.count(b"\n") + (not data.endswith(b"\n"))
        rows = self._typed.decode(data, lines)
        first = chunk.first_line
        if rows is not None:
            return range(first, first + lines), rows
        layout, read = Layout(), []
        for number, line in enumerate(data.split(b"\n"), first):
            stripped = layout.strip(line + b"\n", number)
            row = stripped and self._lines.read(stripped, chunk.name, number, chunk.offset)
            if row:
                read.append((number, row))
        return [number for number, _ in read], [row for _, row in read]

    def _record(self, identifier: str, row: Any, test: bool) -> bytes:
        start = b'{"id":' + self._encode(identifier) + self._middle + self._encode(row.input)
        wanted = row.reference
        if not isinstance(wanted, str):  # in one order, so that the model has one to learn
            wanted = in_text_order(row.input, wanted)
        if test:
            # The reference goes through the same text as in training, so that a perfect answer is always scored so.
            reference = parse_completion(self._task, completion_text(self._task, wanted))
            return start + b'}],"reference":' + self._encode(reference) + b"}\n"
        if isinstance(wanted, str):
            answer = self._completion(wanted)
        else:
            answer = self._encode(completion_text(self._task, wanted))
        return start + b'},{"role":"assistant","content":' + answer + b"}]}\n"


def convert_piece(converter: Converter, piece: Piece) -> tuple[bytes, ...]:
    """`Converter.convert`, for a worker process."""
    return converter.convert(piece)


def write_splits(
    project: Project, files: Sequence[tuple[Path, str]], plan: Plan, outputs: Mapping[str, BinaryIO]
) -> None:
    """Convert `files`, given as (path, name), into one open file a split.

    Raises FinetuneError when other rows come out than the plan counted: the files changed meanwhile.
    """
    chunks = cut(files)
    size = sum(chunk.size for chunk in chunks)
    written = dict.fromkeys(SPLITS, 0)
    with workers(lambda: Converter(project), size >= survey.PARALLEL_FROM_BYTES) as run:
        results = run(convert_piece, _pieces(chunks, plan))
        shown = size >= survey.PROGRESS_FROM_BYTES
        for texts in progress(results, "chat records", total=len(chunks)) if shown else results:
            for split, text in zip(SPLITS, texts, strict=True):
                outputs[split].write(text)
                written[split] += text.count(b"\n")
    if written != plan.rows:
        raise FinetuneError("data/raw changed while it was converted", "run the same command again", "E155")


def _pieces(chunks: Sequence[Chunk], plan: Plan) -> Iterator[Piece]:
    """Each chunk with the part of its file's plan that lies in its lines; both are in the order of lines."""
    ends = {
        chunk.number: next_chunk.first_line for chunk, next_chunk in pairwise(chunks) if next_chunk.name == chunk.name
    }
    waiting = {
        name: (sorted(file.ids.items(), reverse=True), sorted(file.left_out, reverse=True))
        for name, file in plan.files.items()
    }
    for chunk in chunks:
        ids, left_out = waiting[chunk.name]
        end = ends.get(chunk.number)
        mine = FilePlan({}, [])
        while ids and (end is None or ids[-1][0] < end):
            number, identifier = ids.pop()
            mine.ids[number] = identifier
        while left_out and (end is None or left_out[-1] < end):
            mine.left_out.append(left_out.pop())
        yield Piece(chunk, mine)
