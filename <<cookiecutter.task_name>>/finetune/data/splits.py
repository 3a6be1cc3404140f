"""Which split a row belongs to: a stable hash of its group or normalised input decides, and nothing else.

So neither new rows nor another order ever move an old row between splits, and rows that share a group or an input never
straddle two. The price is that small data sets miss their target shares by a few rows; stability has priority.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from finetune.config.benchmark import Splits
from finetune.data.chat_format import ChatRecord
from finetune.data.records import Record
from finetune.data.text_rules import input_key
from finetune.errors import Problems

SPLITS = ("train", "valid", "test")
_SALTS_TRIED = 400


def split_key(record: Record) -> bytes:
    """What the split depends on: the group where there is one, else the normalised input."""
    return b"input\0" + record.key if record.group is None else b"group\0" + record.group.encode("utf-8")


def assign(key: bytes, splits: Splits) -> str:
    """The split of a key: sha256(salt, key) as a number in [0, 1) against the configured shares.

    The test set takes the lowest numbers, so a change of the validation share alone leaves it as it is.
    """
    number = int.from_bytes(hashlib.sha256(splits.salt.encode("utf-8") + b"\0" + key).digest()[:8]) / 2**64
    if number < splits.test:
        return "test"
    return "valid" if number < splits.test + splits.valid else "train"


def find_salt(keys: Mapping[bytes, Iterable[str]], classes: Iterable[str], splits: Splits) -> str | None:
    """A salt under which every class lies in every split, nearest to the target shares; None when none was found.

    `keys` maps split keys to the classes of their rows. For a person to adopt before the first release: another salt
    draws other splits.
    """
    wanted = {(name, split) for name in classes for split in SPLITS}
    best: tuple[float, str] | None = None
    for number in range(1, _SALTS_TRIED + 1):
        candidate = splits.model_copy(update={"salt": str(number)})
        found: set[tuple[str, str]] = set()
        sizes = dict.fromkeys(SPLITS, 0)
        for key, names in keys.items():
            split = assign(key, candidate)
            sizes[split] += 1
            found.update((name, split) for name in names)
        if wanted <= found:
            away = sum(abs(sizes[split] / len(keys) - getattr(splits, split)) for split in SPLITS)
            best = min(best or (away, str(number)), (away, str(number)))
    return best[1] if best else None


def check_overlap(files: Mapping[str, Path], groups: Mapping[str, str], problems: Problems) -> None:
    """Read the written files again and report every input or group that lies in two of them (E133).

    Independent of the assignment above: it trusts only what is on disk. `files` maps split names to paths, `groups`
    maps ids of rows to their group.
    """
    owner: dict[bytes, str] = {}
    decode = msgspec.json.Decoder(ChatRecord).decode
    for split in reversed(SPLITS):  # the test set first: a row that it shares is reported where it must go, in training
        with open(files[split], "rb") as stream:
            for number, line in enumerate(stream, 1):
                row = decode(line)
                user = next(message.content for message in row.messages if message.role == "user")
                # 16 bytes of the key tell inputs apart; a group cannot collide with them by its length.
                keys = {"input": input_key(user)[:16]}
                group = groups.get(row.id) or groups.get(row.id.rpartition("#")[0])
                if group is not None:
                    keys["group"] = b"group\0" + hashlib.sha256(group.encode("utf-8")).digest()
                for what, key in keys.items():
                    # The training rows come last and are many: they are looked up, not remembered.
                    other = owner.get(key, split) if split == "train" else owner.setdefault(key, split)
                    if other != split:
                        problems.add(
                            f"{split}.jsonl", "E133", f"the {what} of row {row.id} also lies in {other}.jsonl",
                            "give rows with the same input the same group", line=number,
                        )  # fmt: skip
