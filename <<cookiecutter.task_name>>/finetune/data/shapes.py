"""Records as other tools write them: which tool it was, by the fields. Step 01 names it, the import reads it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from finetune.config.task import TaskDefinition

Record = dict[str, Any]


@dataclass(frozen=True)
class Shape:
    """A tool's records; `input` and `answer` say where the two stand in them."""

    name: str
    input: str
    answer: str
    fits: Callable[[Record], bool]


def _list_of(value: Any, *keys: str) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(i, dict) and i.keys() >= {*keys} for i in value)


def _label_studio(record: Record) -> bool:
    done = record.get("annotations", record.get("completions"))
    return isinstance(record.get("data"), dict) and isinstance(done, list)


def _label_studio_min(record: Record) -> bool:
    return len(record.keys() & {"annotator", "annotation_id", "lead_time", "created_at", "updated_at"}) >= 3


def _prodigy(record: Record) -> bool:
    if "_input_hash" in record or "_task_hash" in record:
        return True
    marked = "accept" in record or "spans" in record or "label" in record
    return "text" in record and record.get("answer") in ("accept", "reject", "ignore") and marked


def _argilla(record: Record) -> bool:
    if isinstance(record.get("fields"), dict) and ("responses" in record or "suggestions" in record):
        return True
    if any(key.endswith(".responses") for key in record):
        return True
    return "annotation" in record and "prediction" in record and ("text" in record or "inputs" in record)


def _doccano(record: Record) -> bool:
    if "text" not in record and "data" not in record:
        return False
    if isinstance(record.get("entities"), list) and "relations" in record:
        return True
    marks = record.get("label", record.get("labels"))
    if not isinstance(marks, list):
        return False
    return all(isinstance(mark, str) or is_span(mark) for mark in marks)


def is_span(mark: Any) -> bool:
    """Whether `mark` is doccano's and spaCy's [start, end, type]."""
    return isinstance(mark, list) and len(mark) == 3 and type(mark[0]) is type(mark[1]) is int and type(mark[2]) is str


def _tokens(record: Record) -> bool:
    words = record.get("tokens")
    return isinstance(words, list) and any(isinstance(record.get(key), list) for key in TAG_FIELDS)


TAG_FIELDS = ("ner_tags", "tags", "labels", "ner")
SHAPES = (
    Shape("Label Studio", "data.TEXT", "annotations[].result[].value", _label_studio),
    Shape("Label Studio JSON-MIN", "TEXT", "the field of the annotation", _label_studio_min),
    Shape("Prodigy", "text", "accept, label or spans", _prodigy),
    Shape("Argilla", "fields.TEXT", "responses[].value", _argilla),
    Shape("ShareGPT", "conversations: human", "conversations: gpt",
          lambda record: _list_of(record.get("conversations"), "from", "value")),
    Shape("OpenAI messages", "messages: user", "messages: assistant",
          lambda record: _list_of(record.get("messages", record.get("conversations")), "role", "content")),
    Shape("alpaca", "instruction and input", "output", lambda record: record.keys() >= {"instruction", "output"}),
    Shape("prompt and completion", "prompt", "completion", lambda record: record.keys() >= {"prompt", "completion"}),
    Shape("tokens and tags", "tokens", "tags", _tokens),
    Shape("doccano", "text", "label", _doccano),
)  # fmt: skip


def shape_of(records: Sequence[Record]) -> Shape | None:
    """The first shape that fits nine in ten of `records`; None for a plain table, or for none at all."""
    for shape in SHAPES if records else ():
        if sum(map(shape.fits, records)) * 10 >= 9 * len(records):
            return shape
    return None


def is_own(record: Any, task: TaskDefinition) -> bool:
    """Whether `record` has the fields of the task's own records, and no other one."""
    fields = {task.input.field, task.output.field}
    known = fields | {task.data.id_field, task.data.group_field}
    if not isinstance(record, dict) or not fields <= record.keys() <= known:
        return False
    answer = record[task.output.field]
    if task.task_type != "extraction":
        return not isinstance(answer, list | dict)
    return not isinstance(answer, list) or all(not is_span(mark) for mark in answer)
