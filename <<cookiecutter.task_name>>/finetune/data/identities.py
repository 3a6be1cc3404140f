"""Which row is which: ids of rows, and rows whose input came before."""

from __future__ import annotations

import zlib

import msgspec

from finetune.data.chat_format import Reference


class Identity(msgspec.Struct, frozen=True, gc=False):
    """What `Identities.add` finds out about a row."""

    id: str | None
    """Its id; None where it names an id that another row has."""
    first: int | None = None
    """The place of the first row with the same input, if there is one before."""
    same_answer: bool = False


class Identities:
    """Takes rows in reading order. A row without an id of its own gets one from its input alone.

    Of each input about 100 bytes are kept. Two of a million different inputs share the 8 bytes of sha256 by which they
    are told apart with probability 3e-8.
    """

    def __init__(self) -> None:
        self._own: set[str] = set()
        self._first: dict[int, int] = {}
        self._repeats: dict[int, int] = {}

    def add(self, short: int, own: str | None, answer: int, place: int) -> Identity:
        """`short`: first 8 bytes of the key; `answer`: 32 bits of a hash; `place`: a number for the row."""
        entry = place << 32 | answer
        known = self._first.setdefault(short, entry)
        first = None if known == entry else known >> 32
        same = first is not None and known & 0xFFFFFFFF == answer
        if own is None:
            return Identity(self._default(short, first is not None), first, same)
        if own in self._own or self._is_default_of_another(own, entry):
            return Identity(None, first, same)
        self._own.add(own)
        return Identity(own, first, same)

    def _is_default_of_another(self, own: str, entry: int) -> bool:
        """An id copied from the converted files may return as a row's own id; it must not name a second row."""
        short = default_of(own)
        return short is not None and self._first.get(short, entry) != entry

    def _default(self, short: int, repeated: bool) -> str:
        identifier = default_id(short)
        if repeated:
            self._repeats[short] = self._repeats.get(short, 1) + 1
            identifier = f"{identifier}-{self._repeats[short]}"
        while identifier in self._own:
            identifier += "-x"
        return identifier


def default_id(short: int) -> str:
    """The id of the first row with an input: 16 hex digits; repeated inputs get -2, -3 … in reading order."""
    return f"{short:016x}"


def default_of(own: str) -> int | None:
    """The `short` whose default id `own` looks like, or None."""
    if len(own) != 16 or own.strip("0123456789abcdef"):
        return None
    return int(own, 16)


def answer_hash(reference: Reference) -> int:
    """32 bits that tell answers to one input apart; the order of entities does not count."""
    if not isinstance(reference, str):
        reference = repr(sorted((entity["type"], entity["text"]) for entity in reference))
    return zlib.crc32(reference.encode("utf-8", "surrogatepass"))
