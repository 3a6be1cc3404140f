"""Raw files cut at line ends into pieces that processes can read side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

CHUNK_BYTES = 512 * 1024
"""Shorter than the longest line allowed: a chunk above 1 MB holds a line that needs a closer look."""


class Chunk(msgspec.Struct, frozen=True):
    """Whole lines of one file."""

    number: int
    file: str
    name: str
    """How the file is called in problems."""
    offset: int
    size: int
    first_line: int
    """Number of its first line in the file, from 1."""

    def read(self) -> bytes:
        """The chunk's bytes."""
        with open(self.file, "rb") as stream:
            stream.seek(self.offset)
            return stream.read(self.size)


def cut(files: Sequence[tuple[Path, str]]) -> list[Chunk]:
    """The chunks of `files`, given as (path, name), in reading order; each ends at a line end or with its file."""
    chunks: list[Chunk] = []
    for file, name in files:
        offset, line = 0, 1
        with open(file, "rb") as stream:
            while block := stream.read(CHUNK_BYTES):
                if not block.endswith(b"\n"):
                    block += stream.readline()
                chunks.append(Chunk(len(chunks), str(file), name, offset, len(block), line))
                offset += len(block)
                line += block.count(b"\n")
    return chunks
