"""How many tokens a tokenizer makes of a text at most: what decides which rows need not be tokenised at all.

Two facts carry it. Byte-level BPE and BPE with byte fallback begin with one symbol for each byte (or less) and only
ever join symbols. And added tokens cut a text before anything else happens, so the parts between two of them are
encoded apart. Everything here is a claim about a tokenizer.json; what is not recognised gets no bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

NFC_GROWTH = 3
"""UTF-8 text grows at most threefold by normal form C (Unicode FAQ "Normalization", maximum expansion factors)."""
_SPACE = "▁"
_SPLITTERS = {"ByteLevel", "Digits", "Metaspace", "Punctuation", "Split", "Whitespace", "WhitespaceSplit"}


@dataclass(frozen=True)
class TokenBound:
    """At most one token for a byte of a text without control tokens, and `extra` tokens more for each such text."""

    extra: int
    nfc: bool
    """Whether the tokenizer brings texts into normal form C first: the bytes that count are those afterwards."""
    cuts: frozenset[str]
    """Added tokens at which a text is cut wherever they stand, whatever stands beside them."""
    apart: bool
    """Whether what follows a cut is encoded as if it stood alone."""

    def last_cut(self, text: str) -> int:
        """Where the part of `text` begins that what follows it may still change."""
        return max((at + len(cut) for cut in self.cuts if (at := text.rfind(cut)) >= 0), default=0)

    def first_cut(self, text: str) -> int:
        """Where the part of `text` ends that what precedes it may still change."""
        return min((at for cut in self.cuts if (at := text.find(cut)) >= 0), default=len(text))


class _Added(msgspec.Struct, frozen=True):
    content: str
    special: bool = False
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = True


class _Model(msgspec.Struct, frozen=True):
    type: str = ""
    byte_fallback: bool = False
    vocab: Any = None


class _File(msgspec.Struct, frozen=True):
    model: _Model
    added_tokens: list[_Added] = []
    normalizer: dict[str, Any] | None = None
    pre_tokenizer: dict[str, Any] | None = None


def token_bound(folder: Path) -> TokenBound | None:
    """The bound of the tokenizer in `folder`; None where its kind promises none.

    Raises msgspec.MsgspecError, OSError or UnicodeError for a file that cannot be read.
    """
    file = msgspec.json.decode((folder / "tokenizer.json").read_bytes(), type=_File)
    steps, normalisers = _parts(file.pre_tokenizer, "pretokenizers"), _parts(file.normalizer, "normalizers")
    byte_level = [step for step in steps if step.get("type") == "ByteLevel"]
    if file.model.type != "BPE" or not all(step.get("type") in _SPLITTERS for step in steps):
        return None
    if not byte_level and not (file.model.byte_fallback and _SPACE in (file.model.vocab or ())):
        return None
    if not all(_keeps_bytes(one) for one in normalisers):
        return None
    prefixing = [step for step in steps if step.get("type") == "Metaspace" or step.get("add_prefix_space")]
    if any(step is not steps[0] or step.get("replacement", _SPACE) != _SPACE for step in prefixing):
        return None  # behind another step it would prefix each of that one's pieces
    extra = len(prefixing) + sum(one["type"] == "Prepend" for one in normalisers)
    if any(len(token.content.encode()) <= extra for token in file.added_tokens):
        return None  # such a token in a text begins a part with a prefix of its own, and pays for it with no byte
    return TokenBound(
        extra=extra,
        nfc=any(one["type"] == "NFC" for one in normalisers),
        cuts=_cuts(file.added_tokens),
        apart=not extra,
    )


def _parts(step: dict[str, Any] | None, inner: str) -> list[dict[str, Any]]:
    """The steps of a Sequence, or the one step, or none."""
    if step is None:
        return []
    return [part for one in step[inner] for part in _parts(one, inner)] if step.get("type") == "Sequence" else [step]


def _keeps_bytes(normaliser: dict[str, Any]) -> bool:
    """True for what makes no text longer, counted in symbols: NFC (bounded apart), and the space that is a letter."""
    kind = normaliser.get("type")
    if kind == "Prepend":
        return normaliser.get("prepend") == _SPACE
    if kind == "Replace":
        return normaliser.get("pattern") == {"String": " "} and normaliser.get("content") == _SPACE
    return kind == "NFC"


def _cuts(added: list[_Added]) -> frozenset[str]:
    """Only tokens that nothing beside them can hide: no word boundary to look for, no other token that overlaps."""
    texts = {token.content for token in added if token.content}
    plain = {
        token.content
        for token in added
        if token.special and token.content and not (token.single_word or token.normalized or token.rstrip)
    }
    return frozenset(cut for cut in plain if not any(_hides(other, cut) for other in texts - {cut}))


def _hides(other: str, cut: str) -> bool:
    """Whether `other` can be found in a text where `cut` stands, in its place: from before, or as the longer one."""
    return other.startswith(cut) or any(other.endswith(cut[:size]) for size in range(1, len(cut))) or cut in other
