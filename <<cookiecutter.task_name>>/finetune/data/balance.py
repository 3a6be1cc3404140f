"""Balancing of the training split: nothing, repeated rows, or class weights for the loss."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import msgspec

from finetune.data.chat_format import ChatRecord


def class_weights(counts: Mapping[str, int]) -> dict[str, float]:
    """Weight of each class, rows / (classes * rows of the class); their mean over rows is 1 (King and Zeng 2001)."""
    present = {name: count for name, count in counts.items() if count}
    total = sum(present.values())
    return {name: round(total / (len(present) * count), 6) for name, count in present.items()}


def oversample(train: Path) -> Counter[str]:
    """Append copies to a written training file until every answer is as frequent as the most frequent one.

    Whole rounds of copies first; what remains goes to the rows with the smallest ids, so the result depends on the rows
    alone. Copies carry the id of their row with #2, #3 … appended. Returns the number of copies per answer.
    """
    decode, encode = msgspec.json.Decoder(ChatRecord).decode, msgspec.json.Encoder().encode
    ids: dict[str, list[str]] = {}
    with open(train, "rb") as stream:
        for line in stream:
            row = decode(line)
            ids.setdefault(row.messages[-1].content, []).append(row.id)
    size = train.stat().st_size
    most = max(map(len, ids.values()), default=0)
    rounds = {answer: divmod(most - len(rows), len(rows)) for answer, rows in ids.items()}
    extra = {answer: set(heapq.nsmallest(rounds[answer][1], rows)) for answer, rows in ids.items()}
    copies = Counter[str]()
    with open(train, "rb") as stream, open(train, "ab") as out:
        while stream.tell() < size:
            row = decode(stream.readline())
            answer, base = row.messages[-1].content, row.id
            for number in range(rounds[answer][0] + (base in extra[answer])):
                row.id = f"{base}#{number + 2}"
                out.write(encode(row) + b"\n")
                copies[answer] += 1
    return copies
