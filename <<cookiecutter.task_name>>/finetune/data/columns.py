"""Which column of a table is what: by the task's own names, by names people give, and by the values in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # importing.native needs none of it
    from finetune.config.task import TaskDefinition

Values = Mapping[str, Sequence[Any]]
"""The first values of each column."""

_INPUTS = {
    "input",
    "text",
    "texts",
    "sentence",
    "review",
    "reviews",
    "content",
    "comment",
    "comments",
    "message",
    "body",
    "utterance",
    "document",
    "description",
    "question",
    "query",
    "prompt",
    "instruction",
    "tweet",
    "post",
    "email",
    "title",
    "subject",
    "feedback",
    "內容",
    "内容",
    "評論",
    "评论",
    "文字",
    "文本",
    "留言",
    "訊息",
    "消息",
    "句子",
    "原文",
    "輸入",
    "输入",
    "問題",
    "问题",
    "提問",
    "意見",
    "意见",
    "回饋",
    "反饋",
    "反馈",
    "描述",
    "敘述",
    "說明",
    "主旨",
    "標題",
    "标题",
    "客戶訊息",
    "評價內容",
}
_LABELS = {
    "label",
    "labels",
    "category",
    "categories",
    "class",
    "target",
    "intent",
    "sentiment",
    "tag",
    "tags",
    "topic",
    "type",
    "y",
    "label_text",
    "label_name",
    "gold",
    "annotation",
    "標籤",
    "标签",
    "標記",
    "标记",
    "類別",
    "类别",
    "分類",
    "分类",
    "類型",
    "类型",
    "意圖",
    "意图",
    "情緒",
    "情感",
    "主題",
    "主题",
}
_ENTITIES = {"entities", "spans", "ner", "label", "labels", "annotations", "實體", "实体", "標註", "标注"}
_OUTPUTS = {
    "output",
    "response",
    "answer",
    "completion",
    "reply",
    "target",
    "summary",
    "translation",
    "chosen",
    "label",
    "回覆",
    "回复",
    "回答",
    "答案",
    "輸出",
    "输出",
    "回應",
    "回应",
    "答覆",
    "摘要",
    "翻譯",
    "翻译",
}
_BY_TYPE = {"classification": _LABELS, "extraction": _ENTITIES, "generation": _OUTPUTS}
ADMINISTRATIVE = {
    "annotator",
    "annotation_id",
    "created_at",
    "updated_at",
    "lead_time",
    "meta",
    "metadata",
    "_input_hash",
    "_task_hash",
    "_view_id",
    "_session_id",
    "_timestamp",
    "answer_id",
    "comments_count",
    "index",
    "unnamed: 0",
    "predictions",
    "agreement",
}
"""What labelling tools write beside the data."""


@dataclass
class Guess:
    """What the columns are taken for, and why; where a role stays open, what speaks against a choice."""

    input: str = ""
    answer: str = ""
    reasons: dict[str, str] = field(default_factory=dict)
    """By role, "input" or "answer"."""
    open: dict[str, list[str]] = field(default_factory=dict)
    """By role that could not be filled: the columns that it may be."""


def guess_columns(columns: Values, task: TaskDefinition, *, input: str = "", answer: str = "") -> Guess:
    """Roles of `columns`; those that are told are kept. Everything shown as a guess, nothing chosen between equals."""
    guess = Guess(input, answer)
    free = [name for name in columns if name and name.strip().casefold() not in ADMINISTRATIVE]
    taken = {task.data.id_field, task.data.group_field}
    if not guess.answer:
        rest = [name for name in free if name != guess.input and name not in taken]
        texts = [guess.input] if guess.input else _named(rest, task.input.field, _INPUTS)
        found, reason = _answer(columns, [name for name in rest if name not in texts] or rest, task)
        _settle(guess, "answer", found, reason, rest)
    if not guess.input:
        rest = [name for name in free if name != guess.answer and name not in taken]
        _settle(guess, "input", *_input(columns, rest, task), rest)
    return guess


def _settle(guess: Guess, role: str, found: list[str], reason: str, rest: list[str]) -> None:
    if len(found) == 1:
        setattr(guess, role, found[0])
        guess.reasons[role] = reason
    else:
        guess.open[role] = found or rest


def _answer(columns: Values, names: list[str], task: TaskDefinition) -> tuple[list[str], str]:
    if task.output.field in names:
        return [task.output.field], "the task's own name"
    if task.task_type == "classification":
        known = {name.casefold() for name in task.label_names}
        fits = [name for name in names if _share(columns[name], known) >= 0.9]
        if fits:
            return fits, "its values are the task's labels"
    return _named(names, task.output.field, _BY_TYPE[task.task_type]), "by its name"


def _input(columns: Values, names: list[str], task: TaskDefinition) -> tuple[list[str], str]:
    if task.input.field in names:
        return [task.input.field], "the task's own name"
    texts = [name for name in names if any(isinstance(value, str) and value.strip() for value in columns[name])]
    named = _named(texts, task.input.field, _INPUTS)
    if len(texts) == 1 and not named:
        return texts, "the only other column with texts"
    return named, "by its name"


def _named(names: list[str], own: str, known: set[str]) -> list[str]:
    """Those of `names` whose last part is one of `known`; the task's own name beats them."""
    if own in names:
        return [own]
    return [name for name in names if name.strip().casefold() in known or name.split(".")[-1].casefold() in known]


def _share(values: Sequence[Any], known: set[str]) -> float:
    """Share of the values that are there which stand in `known`."""
    there = [str(value).strip().casefold() for value in values if value not in (None, "")]
    return sum(value in known for value in there) / len(there) if there else 0.0


def is_column_name(name: str) -> bool:
    """Whether people call columns so."""
    known = _INPUTS | _LABELS | _ENTITIES | _OUTPUTS | ADMINISTRATIVE | {"id", "group", "編號", "序號", "编号"}
    return name.strip().casefold() in known


def names_row(rows: Sequence[Sequence[Any]]) -> int:
    """Which row names the columns: one of two usual names among the first ten, else the first of two filled cells.

    A report has its title and its date above the table.
    """
    usual = (n for n, row in enumerate(rows[:10]) if sum(isinstance(c, str) and is_column_name(c) for c in row) > 1)
    several = (n for n, row in enumerate(rows) if sum(cell not in ("", None) for cell in row) > 1)
    return next(usual, next(several, 0))


def guess_text(names: Sequence[str]) -> list[str]:
    """Those of `names` that people give to the column with the text."""
    return [name for name in names if name.strip().casefold() in _INPUTS]
