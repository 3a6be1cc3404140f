"""Chat records → token rows: prompt and answer tokenised exactly as at inference, the answer alone in the loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from finetune.config.project import Project
from finetune.console import progress
from finetune.data import chat_format
from finetune.data.tokens.lengths import FIX, too_long
from finetune.errors import FinetuneError, Problems

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class EncodedRow:
    """One training row: `ids` = prompt tokens followed by answer tokens, EOS included."""

    id: str
    ids: tuple[int, ...]
    prompt_length: int
    weight: float = 1.0


class _Record(msgspec.Struct):
    """A written chat record, its messages as a chat template takes them."""

    id: str
    messages: list[chat_format.Message]


def load_rows(
    path: Path, project: Project, tokenizer: PreTrainedTokenizerBase, weights: dict[str, float] | None = None
) -> list[EncodedRow]:
    """Encode every chat record of `path`.

    `weights` gives the loss weight of a row by its answer (class weights). Raises BadInput with every row longer than
    max_length (E138, E139 where not even the prompt fits): a row is never cut, a cut answer teaches the model not to
    stop. Step 01 says the same of the raw rows, where it has the tokenizer.
    """
    if not path.is_file():
        shown = project.paths.relative(path)
        raise FinetuneError(f"no {shown}", "run scripts/02_convert_format.py first", code="E414")
    options = chat_format.template_options(project.training)
    shown, problems = project.paths.relative(path), Problems()
    rows: list[EncodedRow] = []
    decoder = msgspec.json.Decoder(_Record)
    with open(path, "rb") as file:
        records = [decoder.decode(line) for line in file]
    suffix = None
    for number, record in enumerate(progress(records, f"tokenise {path.stem}"), 1):
        *prompt, answer = record.messages
        suffix = suffix if suffix is not None else chat_format.completion_suffix(tokenizer, prompt, options)
        head = chat_format.encode_prompt(tokenizer, prompt, options)
        tail = chat_format.encode_completion(tokenizer, answer["content"], suffix)
        if found := too_long(len(head), len(tail), project.training.max_length):
            problems.add(shown, *found, FIX, line=number)
        weight = (weights or {}).get(answer["content"], 1.0)
        rows.append(EncodedRow(record.id, (*head, *tail), len(head), weight))
    problems.raise_if_errors()
    if not rows:
        raise FinetuneError(f"{shown} holds no rows", "run scripts/02_convert_format.py again", code="E414")
    return rows


def check_stop_token(rows: Sequence[EncodedRow], stop_ids: set[int], shown: str) -> None:
    """Every answer must end in a token that stops generation, or the model never learns to stop.

    Raises FinetuneError (E253) otherwise, and when a row has no answer token at all.
    """
    for row in rows:
        if row.prompt_length >= len(row.ids) or row.ids[-1] not in stop_ids:
            raise FinetuneError(
                f"row {row.id} of {shown} does not end in a stop token",
                "the chat template and generation_config of the base model disagree; choose another base model",
                code="E253",
            )


def shared_prefix_length(rows: Sequence[EncodedRow]) -> int:
    """Number of leading tokens that all rows share, at most one less than the shortest prompt.

    The last prompt token stays with its row: it predicts the first answer token, which differs between rows.
    """
    limit = min(row.prompt_length for row in rows) - 1
    # Rows sorted by their ids differ most between first and last: comparing these two is enough.
    first, last = min(row.ids for row in rows), max(row.ids for row in rows)
    length = 0
    while length < limit and first[length] == last[length]:
        length += 1
    return max(length, 0)
