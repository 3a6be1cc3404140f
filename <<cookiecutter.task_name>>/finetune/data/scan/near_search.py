"""Rows of training and validation with a near-duplicate in a later split: found by bands, decided by comparison."""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import compress, groupby
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

import msgspec

from finetune.data.scan.near_duplicates import BANDS, THRESHOLD, similarity
from finetune.data.splits import SPLITS

_COMPARED = 16
"""Rows of a bucket that one row is compared with. A larger bucket is boilerplate, which the other bands tell apart."""
_TRIED = 64
"""Rows that one row is compared with in all: what boilerplate alone has in common must not take for ever."""
_KEPT_SETS = 20_000
_KEPT_PAIRS = 1_000_000


class Near(msgspec.Struct, frozen=True, gc=False):
    """A row, and the near-duplicate of it in a later split that was found first. Places count accepted rows."""

    row: int
    other: int
    score: float


class Spool:
    """Band hashes of all rows, in a nameless file of 80 bytes a row: no kill leaves it behind."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (lives as long as the spool)
        self._blocks: list[tuple[int, list[int]]] = []
        self._end = 0

    def add(self, splits: bytes, bands: bytes) -> None:
        """The splits of some rows, and BANDS hashes a row as `band_hashes` orders them, the rows `in_split_order`."""
        if splits:
            self._file.write(bands)
            self._blocks.append((self._end, [splits.count(code) for code in range(len(SPLITS))]))
            self._end += len(bands)

    def bands(self) -> Iterator[Band]:
        """The bands one after another, each to be searched by any process that was forked from this one."""
        self._file.flush()
        for number in range(BANDS):
            yield Band(self._file.fileno(), number, self._blocks)

    def close(self) -> None:
        self._file.close()


def in_split_order(splits: Sequence[int]) -> list[int]:
    """The places of rows by their split codes: all of the first split, then of the second …, each in reading order."""
    return sorted(range(len(splits)), key=splits.__getitem__)


class Band(msgspec.Struct, frozen=True):
    """Where the hashes of one band lie in the spool's file."""

    descriptor: int
    number: int
    blocks: list[tuple[int, list[int]]]

    def read(self) -> list[array[int]]:
        """The hashes of each split's rows, in reading order."""
        found = [array("I") for _ in SPLITS]
        for start, counts in self.blocks:
            rows = sum(counts)
            hashes = memoryview(_read_at(self.descriptor, 4 * rows, start + 4 * rows * self.number))
            begin = 0
            for of_split, count in zip(found, counts, strict=True):
                of_split.frombytes(hashes[begin : begin + 4 * count])
                begin += 4 * count
        return found

    def shared(self) -> bytes:
        """Rows that share their hash with a row of another split, as pairs of (hash, place) of 32 bits each.

        Places count the rows `in_split_order`.
        """
        read = self.read()
        known: set[int] = set()
        hits: set[int] = set()
        for hashes in reversed(read):  # the small splits are remembered, the training rows looked up
            hits |= known.intersection(hashes)
            if hashes is not read[0]:
                known.update(hashes)
        found, place = array("I"), 0
        for hashes in read if hits else ():
            for number in compress(range(len(hashes)), map(hits.__contains__, hashes)):
                found.extend((hashes[number], place + number))
            place += len(hashes)
        return found.tobytes()


def _read_at(descriptor: int, size: int, start: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(descriptor, size, start)
    os.lseek(descriptor, start, os.SEEK_SET)  # Windows, where one process does everything
    return os.read(descriptor, size)


def search_band(_: object, band: Band) -> bytes:
    """`Band.shared`, for a worker process."""
    return band.shared()


class NearSearch:
    """Compares the candidates of one band after another; a row that has found its near-duplicate is done.

    `split_of` holds a split code a row. `pair_set` gives the set to compare of a row, `key_of` the identity of its
    input: equal inputs are exact duplicates, which are no matter of this search.
    """

    def __init__(
        self, split_of: Sequence[int], pair_set: Callable[[int], frozenset[str]], key_of: Callable[[int], int]
    ) -> None:
        self._split_of, self._key_of = split_of, key_of
        self._rows = array("I", in_split_order(split_of))
        self._pair_set = lru_cache(maxsize=_KEPT_SETS)(pair_set)
        self._found: dict[int, Near] = {}
        self._apart: set[int] = set()
        self._tried = bytearray(len(split_of))

    def add(self, shared: bytes) -> None:
        """What `Band.shared` found in one band."""
        cells = array("I", shared)
        entries = sorted((hash_, self._rows[place]) for hash_, place in zip(cells[::2], cells[1::2], strict=True))
        for _, bucket in groupby(entries, key=itemgetter(0)):
            self._compare([row for _, row in bucket])

    def _compare(self, bucket: list[int]) -> None:
        by_split: list[list[int]] = [[] for _ in SPLITS]
        if len(bucket) > _COMPARED:
            bucket.sort(key=self._key_of)  # so that the result does not depend on the order of the rows
        for row in bucket:
            by_split[self._split_of[row]].append(row)
        later: list[int] = []
        for rows in reversed(by_split):
            for row in rows:
                if row not in self._found and later:
                    self._look(row, later)
            later = (later + rows)[:_COMPARED]

    def _look(self, row: int, others: Iterable[int]) -> None:
        for other in others:
            pair = row << 32 | other
            if pair in self._apart or self._key_of(row) == self._key_of(other):
                continue
            if self._tried[row] == _TRIED:
                return
            score = similarity(self._pair_set(row), self._pair_set(other))
            if score >= THRESHOLD:
                self._found[row] = Near(row, other, score)
                return
            self._tried[row] += 1
            if len(self._apart) == _KEPT_PAIRS:
                self._apart.clear()
            self._apart.add(pair)

    def rows(self) -> list[Near]:
        """Every row with a near-duplicate in a later split, in reading order."""
        return sorted(self._found.values(), key=lambda near: near.row)
