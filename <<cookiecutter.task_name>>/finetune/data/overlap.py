"""A last look at the written files: no input and no group lies in two of them."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from finetune.console import progress
from finetune.data.chat_format import ChatRecord
from finetune.data.scan import survey
from finetune.data.scan.chunks import Chunk, cut
from finetune.data.scan.workers import workers
from finetune.data.splits import SPLITS
from finetune.data.text_rules import input_key, normalise_all
from finetune.errors import Problems

_decode_lines = msgspec.json.Decoder(ChatRecord).decode_lines


def check_overlap(files: Mapping[str, Path], groups: Mapping[str, str], problems: Problems) -> None:
    """Read the written files again and report every input or group that lies in two of them (E133).

    Independent of how the splits were made: it trusts only what is on disk. `files` maps split names to paths, `groups`
    maps ids of rows to their group. Raises msgspec.DecodeError for a file that no step of ours wrote.
    """
    if groups or not _are_apart(files):
        _report(files, groups, problems)


def _are_apart(files: Mapping[str, Path]) -> bool:
    """Whether no two files share an input, by a hash of 64 bits: a quick yes, or a no to look into."""
    chunks = cut([(files[split], split) for split in reversed(SPLITS)])  # the large one is looked up, not remembered
    known: set[int] = set()
    mine: set[int] = set()
    split = ""
    size = sum(chunk.size for chunk in chunks)
    with workers(lambda: None, size >= survey.PARALLEL_FROM_BYTES) as run:
        found = run(_input_keys, chunks)
        found = progress(found, "last look", total=len(chunks)) if size >= survey.PROGRESS_FROM_BYTES else found
        for chunk, keys in zip(chunks, found, strict=True):
            if chunk.name != split:
                known |= mine
                mine, split = set(), chunk.name
            if not known.isdisjoint(keys):
                return False
            if split != SPLITS[0]:
                mine.update(keys)
    return True


def _input_keys(_: None, chunk: Chunk) -> array[int]:
    rows = _decode_lines(chunk.read())
    second = [row.messages[1] for row in rows if len(row.messages) > 1]
    if len(second) == len(rows) and {message.role for message in second} <= {"user"}:  # as step 02 writes them
        texts = [message.content for message in second]
    else:
        texts = [_input(row) for row in rows]
    # Python's own hash is the same in every process that was forked from this one.
    return array("q", map(hash, normalise_all(texts)))


def _input(row: ChatRecord) -> str:
    return next(message.content for message in row.messages if message.role == "user")


def _report(files: Mapping[str, Path], groups: Mapping[str, str], problems: Problems) -> None:
    owner: dict[bytes, str] = {}
    for split in reversed(SPLITS):  # the test set first: a row that it shares is reported where it must go, in training
        for number, row in _rows(files[split]):
            # 16 bytes of the key tell inputs apart; a group cannot collide with them by its length.
            keys = {"input": input_key(_input(row))[:16]}
            group = groups.get(row.id) or groups.get(row.id.rpartition("#")[0])
            if group is not None:
                keys["group"] = b"group\0" + hashlib.sha256(group.encode("utf-8")).digest()
            for what, key in keys.items():
                # The training rows come last and are many: they are looked up, not remembered.
                other = owner.get(key, split) if split == "train" else owner.setdefault(key, split)
                if other != split:
                    problems.add(
                        f"{split}.jsonl",
                        "E133",
                        f"the {what} of row {row.id} also lies in {other}.jsonl",
                        "give rows with the same input the same group",
                        line=number,
                    )


def _rows(file: Path) -> Iterator[tuple[int, ChatRecord]]:
    decode = msgspec.json.Decoder(ChatRecord).decode
    with open(file, "rb") as stream:
        for number, line in enumerate(stream, 1):
            yield number, decode(line)
