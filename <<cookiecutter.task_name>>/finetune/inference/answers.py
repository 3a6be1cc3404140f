"""A completion as the task reads it: a label, entities or a text, and how sure the model was."""

from __future__ import annotations

from typing import Any

import msgspec

from finetune.config.task import TaskDefinition
from finetune.data.chat_format import Reference, parse_completion
from finetune.evaluation.completions import Completion

FIELD = "prediction"
"""The field of an output row that holds the answer; every other field is the input's."""
_DIGITS = 4


class Answer(msgspec.Struct, frozen=True):
    """What stands in the field `prediction` of an output row."""

    line: int
    """of the input, from 1"""
    answer: Reference | None
    """the label, the entities, or the text; null where the model wrote something else"""
    valid: bool
    """whether `answer` could be read"""
    text: str
    """what the model wrote, without special tokens"""
    finished: bool
    """it came to an end before output.max_new_tokens"""
    tokens: int
    confidence: float | None
    """probability the model gives to the whole text, 0..1; null where the runtime does not say"""


def answer_of(task: TaskDefinition, completion: Completion, line: int = 1) -> Answer:
    """Read a completion by the task's type. No field depends on the clock: equal runs write equal bytes."""
    parsed = parse_completion(task, completion.text)
    confidence = completion.confidence
    if confidence is not None:
        confidence = float(f"{confidence:.{_DIGITS}g}")
    return Answer(line, parsed, parsed is not None, completion.text, completion.finished, completion.tokens, confidence)


def output_line(raw: bytes, answer: Answer) -> bytes:
    """The input's JSON object, byte for byte as it was written, with the answer as its last field."""
    return raw[: raw.rindex(b"}")].rstrip() + b',"' + FIELD.encode() + b'":' + msgspec.json.encode(answer) + b"}\n"


def in_words(task: TaskDefinition, answer: Answer) -> list[str]:
    """The answer for people, one line or more."""
    if not answer.valid or task.task_type != "extraction":
        text = str(answer.answer) if answer.valid else answer.text.strip()
        return text.splitlines() or ["(an empty answer)"]
    entities: Any = answer.answer
    return [f"{entity['type']}: {entity['text']}" for entity in entities] or ["(no entity)"]


def certainty(task: TaskDefinition, answer: Answer) -> str:
    """What is odd about the answer, and its confidence, in one line; may be empty."""
    unread = {"classification": "none of the labels", "extraction": "not the JSON that was asked for"}
    parts = [] if answer.valid else [unread.get(task.task_type, "not readable")]
    if answer.confidence is not None:
        parts.append(f"confidence {answer.confidence:.2f}")
    if not answer.finished:
        parts.append("cut at output.max_new_tokens")
    return ", ".join(parts)
