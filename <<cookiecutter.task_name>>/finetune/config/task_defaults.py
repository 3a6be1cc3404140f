"""What a task definition may leave out because the rest of it says so: one rule for each such key.

A file that spells a default out and one that leaves it out are the same task, with the same digests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from finetune.config.base import is_hub_name
from finetune.config.presets import MEMORY_GB

METRICS: dict[str, tuple[str, ...]] = {
    "classification": ("macro_f1", "accuracy"),
    "extraction": (
        "entity_f1",
        "entity_f1_partial",
        "entity_precision",
        "entity_recall",
        "json_validity",
        "exact_match",
    ),
    "generation": ("rouge_l", "chrf", "token_f1", "exact_match"),
}
"""Metrics that fit each task type; the first one is the default primary metric."""

DEFAULT_FIELD = {"classification": "label", "extraction": "entities", "generation": "output"}
PLACEHOLDER = {"classification": "{labels}", "extraction": "{entity_types}"}
SUGGESTED_THRESHOLD = 0.80
OVERLAP_THRESHOLD = 0.30
"""Where overlap with one reference of many good ones is measured, 0.30 is a sound start."""
NO_LICENCE = "LicenseRef-Proprietary"
"""Who names no licence has granted none: all rights reserved."""

_CHINESE = ("zh", "yue")
WIDE = (*_CHINESE, "ja", "ko")
"""Languages that cost about a token a character."""
_NO_TASK_TYPE = "classification"
_INPUT = {"en": "one message, exactly as its sender wrote it", "zh": "一則訊息，照寄件人寫的原文"}
_INPUT_EXAMPLE = {"en": "Hello, how do I go about this?", "zh": "您好，請問這件事該怎麼處理？"}
_OUTPUT = {
    "classification": {"en": "exactly one of the labels", "zh": "恰好一個標籤"},
    "extraction": {
        "en": "one line of compact JSON with every entity in order of appearance",
        "zh": "精簡的一行 JSON，依出現順序列出所有實體",
    },
    "generation": {"en": "an answer that can be used as it is", "zh": "一則可以直接使用的回答"},
}
_WRITTEN_ANSWER = {"en": "An answer as the model shall write it.", "zh": "照您希望模型寫出的樣子，寫一則回答。"}
_PROMPT = {
    "classification": {
        "en": "Decide which label fits the message. Answer with exactly one label from this list and nothing else.\n"
        "{labels}",
        "zh": "判斷這則訊息屬於哪一類。只回答下列其中一個標籤，不要有其他文字。\n{labels}",
    },
    "extraction": {
        "en": "Find every entity in the message. Answer with one line of compact JSON and nothing else:\n"
        '{"entities":[{"type":"…","text":"…"}]}\n'
        "Copy each text verbatim from the message, in order of appearance; the list is empty if there is none. Types:\n"
        "{entity_types}",
        "zh": "找出訊息中的所有實體，只回答一行精簡的 JSON，不要有其他文字：\n"
        '{"entities":[{"type":"…","text":"…"}]}\n'
        "text 一字不差照抄原文，依出現順序排列；沒有實體就用空的清單。類型：\n"
        "{entity_types}",
    },
    "generation": {
        "en": "{description}. Write the answer and nothing else.",
        "zh": "{description}。只寫回答本身，不要有其他文字。",
    },
}
_TOKENS = {"classification": (16, 24), "extraction": (256, 384), "generation": (160, 320)}
"""Cap on an answer in tokens: narrow scripts, wide scripts."""


@dataclass(frozen=True)
class _RawDefinition:
    """What the rules read; of a value that is missing or wrong, a stand-in: its own problem is reported elsewhere."""

    values: dict[str, Any]

    def text(self, key: str, otherwise: str = "") -> str:
        section, _, name = key.rpartition(".")
        inside = self.values.get(section) if section else self.values
        value = inside.get(name) if isinstance(inside, dict) else None
        return value.strip() if isinstance(value, str) and value.strip() else otherwise

    @property
    def task_type(self) -> str:
        named = self.text("task_type")
        return named if named in METRICS else _NO_TASK_TYPE

    @property
    def _language(self) -> str:
        return self.text("language", "en").split("-")[0].lower()

    @property
    def language(self) -> str:
        """The language of our own texts that suits the task best: zh or en."""
        return "zh" if self._language in _CHINESE else "en"

    @property
    def wide(self) -> bool:
        return self._language in WIDE

    @property
    def labels(self) -> list[str]:
        output = self.values.get("output")
        listed = output.get("labels") if isinstance(output, dict) else None
        names = [item.get("name") for item in listed or () if isinstance(item, dict)] if _is_list(listed) else []
        return [name for name in names if isinstance(name, str) and name]

    @property
    def primary(self) -> str:
        return self.text("metrics.primary", METRICS[self.task_type][0])

    @property
    def licence(self) -> str:
        return self.text("license", NO_LICENCE)

    def repository(self, suffix: str) -> str:
        namespace, name = self.text("hub.namespace"), self.text("task_name")
        owner, own = namespace if is_hub_name(namespace) else "namespace", name if is_hub_name(name) else "task"
        return f"{owner}/{own}{suffix}"


def _is_list(value: object) -> bool:
    return isinstance(value, (list, tuple))


def _answer_tokens(given: _RawDefinition) -> int:
    tokens = _TOKENS[given.task_type][given.wide]
    # A token is at least a byte of the label; one more ends the answer.
    longest = max((len(name.encode("utf-8", "replace")) + 1 for name in given.labels), default=0)
    return max(tokens, min(longest, 512)) if given.task_type == "classification" else tokens


def _answer_example(given: _RawDefinition) -> str:
    if given.task_type == "classification":
        return next(iter(given.labels), "label")
    return '{"entities":[]}' if given.task_type == "extraction" else _WRITTEN_ANSWER[given.language]


def _prompt(given: _RawDefinition) -> str:
    text = _PROMPT[given.task_type][given.language]
    return text.replace("{description}", given.text("description", "Answer").rstrip(".。"))


RULES: dict[str, Callable[[_RawDefinition], Any]] = {
    "license": lambda given: NO_LICENCE,
    "input.description": lambda given: _INPUT[given.language],
    "input.example": lambda given: _INPUT_EXAMPLE[given.language],
    "output.field": lambda given: DEFAULT_FIELD[given.task_type],
    "output.description": lambda given: _OUTPUT[given.task_type][given.language],
    "output.max_new_tokens": _answer_tokens,
    "output.example": _answer_example,
    "system_prompt": _prompt,
    "metrics.primary": lambda given: given.primary,
    "metrics.threshold": lambda given: OVERLAP_THRESHOLD if given.task_type == "generation" else SUGGESTED_THRESHOLD,
    "metrics.secondary": lambda given: [name for name in METRICS[given.task_type] if name != given.primary],
    "resources.preset": lambda given: next(iter(MEMORY_GB)),
    "resources.gpu_memory_gb": lambda given: MEMORY_GB.get(given.text("resources.preset", next(iter(MEMORY_GB)))),
    "hub.adapter": lambda given: given.repository("-lora"),
    "hub.gguf": lambda given: given.repository("-gguf"),
    "hub.merged": lambda given: given.repository(""),
    "hub.private": lambda given: given.licence.casefold() in ("proprietary", NO_LICENCE.casefold()),
}
"""By dotted key, in the order of the file. None: it follows from nothing, so the key is required after all."""


def derive(values: dict[str, Any]) -> dict[str, Any]:
    """{dotted key: value} of every key that `values` (of task_definition.yaml) leaves to its rule."""
    given, found = _RawDefinition(values), {}
    for key, rule in RULES.items():
        section, _, name = key.rpartition(".")
        inside = values.get(section, {}) if section else values
        if isinstance(inside, dict) and name not in inside and (value := rule(given)) is not None:
            found[key] = value
    return found


def complete(values: dict[str, Any]) -> dict[str, Any]:
    """A copy of `values` with every derived key in it; what is given stays as it is, right or wrong."""
    completed = dict(values)
    for key, value in derive(values).items():
        section, _, name = key.rpartition(".")
        if section:
            completed[section] = {**completed.get(section, {}), name: value}
        else:
            completed[name] = value
    return completed
