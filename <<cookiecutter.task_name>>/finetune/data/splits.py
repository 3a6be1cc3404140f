"""Which split a row belongs to: a stable hash of its group or normalised input decides, and nothing else.

So neither new rows nor another order ever move an old row between splits, and rows that share a group or an input never
straddle two. The price is that small data sets miss their target shares by a few rows; stability has priority.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Literal

from finetune.config.benchmark import Splits
from finetune.data.records import Record

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
_SALTS_TRIED = 400


def split_key(record: Record) -> bytes:
    """What the split depends on: the group where there is one, else the normalised input."""
    return key_of_split(record.key, record.group)


def key_of_split(key: bytes, group: str | None) -> bytes:
    """`split_key` of a row with the input key `key` and the group `group`."""
    return b"input\0" + key if group is None else b"group\0" + group.encode("utf-8")


def assign(key: bytes, splits: Splits) -> str:
    """The split of a key: sha256(salt, key) as a number in [0, 1) against the configured shares.

    The test set takes the lowest numbers, so a change of the validation share alone leaves it as it is.
    """
    return SPLITS[_assignment(splits).of_key(key)]


class Assignment:
    """`assign` with everything that does not depend on the row done once; splits are places in SPLITS."""

    def __init__(self, splits: Splits) -> None:
        self._prefix = splits.salt.encode("utf-8") + b"\0"
        self._input_prefix = self._prefix + b"input\0"
        self._test, self._other = _first_digest(splits.test), _first_digest(splits.test + splits.valid)

    def of_input(self, key: bytes) -> int:
        """The split of a row without a group, by the key of its input."""
        digest = hashlib.sha256(self._input_prefix + key).digest()
        return 2 if digest < self._test else 1 if digest < self._other else 0

    def of_key(self, key: bytes) -> int:
        """The split of a row by its split key."""
        digest = hashlib.sha256(self._prefix + key).digest()
        return 2 if digest < self._test else 1 if digest < self._other else 0


@lru_cache(maxsize=4)
def _assignment(splits: Splits) -> Assignment:
    return Assignment(splits)


@lru_cache(maxsize=64)
def _first_digest(share: float) -> bytes:
    """Where the digests begin whose first 8 bytes, as a number in [0, 1), are not below `share`."""
    low, high = 0, 2**64
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if middle / 2**64 < share else (low, middle)
    return low.to_bytes(9, "big")[1:] if low < 2**64 else b"\xff" * 33


def allowance(target: float, rows: int) -> float:
    """How far a share of `rows` rows may lie from its target before it is no longer chance.

    A hash draws each row by itself: three and a half standard deviations of a binomial share, at least five points.
    """
    return max(0.05, 3.5 * (target * (1 - target) / max(rows, 1)) ** 0.5)


def far_off(rows: Mapping[str, int], splits: Splits) -> list[tuple[Split, float, float]]:
    """(split, share, target) of the shares of `rows` that lie further from their target than chance explains.

    Not for rows of groups: groups stay whole, however large, and their shares are no draw of single rows.
    """
    total = sum(rows.values())
    shares = [(split, rows[split] / max(total, 1), getattr(splits, split)) for split in SPLITS]
    return [(split, share, target) for split, share, target in shares if abs(share - target) > allowance(target, total)]


def find_salt(keys: Mapping[bytes, Iterable[str]], classes: Iterable[str], splits: Splits) -> str | None:
    """A salt under which every class lies in every split, or None when none was found.

    Of several the one nearest to the target shares, of all rows and of each class. `keys` maps split keys to the
    classes of their rows. For a person to adopt before the first release: another salt draws other splits.
    """
    wanted = {(name, split) for name in classes for split in SPLITS}
    totals = Counter(name for names in keys.values() for name in names)
    best: tuple[float, str] | None = None
    for number in range(1, _SALTS_TRIED + 1):
        assignment = Assignment(splits.model_copy(update={"salt": str(number)}))
        found = Counter[tuple[str, str]]()
        sizes = dict.fromkeys(SPLITS, 0)
        for key, names in keys.items():
            split = SPLITS[assignment.of_key(key)]
            sizes[split] += 1
            found.update((name, split) for name in names)
        if wanted <= found.keys():
            away = sum(abs(sizes[split] / len(keys) - getattr(splits, split)) for split in SPLITS)
            away += sum(abs(rows / totals[name] - getattr(splits, split)) for (name, split), rows in found.items())
            best = min(best or (away, str(number)), (away, str(number)))
    return best[1] if best else None
