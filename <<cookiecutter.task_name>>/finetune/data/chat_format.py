"""The one prompt function: the same messages, text and token ids in training, evaluation, export and serving."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any

import msgspec

from finetune.config.task import Named, TaskDefinition
from finetune.config.training import TrainingConfig
from finetune.errors import FinetuneError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = dict[str, str]
Entity = dict[str, str]
"""type and text."""
Reference = str | list[Entity]
"""A label, a list of {"type", "text"}, or a free text."""


class ChatMessage(msgspec.Struct):
    """One turn of a written conversation."""

    role: str
    content: str


class ChatRecord(msgspec.Struct):
    """A line of train, valid or test.jsonl, its reference left out; for reading the written files back."""

    id: str
    messages: list[ChatMessage]


class EvaluationRecord(msgspec.Struct, frozen=True):
    """A line of test.jsonl: the prompt as a model takes it, and what it should answer."""

    id: str
    messages: list[Message]
    reference: Reference

    @property
    def input(self) -> str:
        """The text that is asked about."""
        return self.messages[-1]["content"]


_SENTINEL = "ANSWERGOESHERE"
_FENCE = re.compile(r"```(?:json|JSON)?[ \t]*\n(.*)\n[ \t]*```", re.DOTALL)
_last_system: tuple[TaskDefinition | None, str] = (None, "")


def system_text(task: TaskDefinition) -> str:
    """The system prompt with {labels} and {entity_types} replaced by one `- name: description` line each."""
    global _last_system
    known, text = _last_system
    if known is not task:  # asked for once per row: building it a million times costs more than everything else
        lists = {"{labels}": _listed(task.output.labels), "{entity_types}": _listed(task.output.entity_types)}
        # In one go: a description may hold a placeholder's name.
        text = re.sub("|".join(map(re.escape, lists)), lambda found: lists[found[0]], task.system_prompt).strip()
        _last_system = (task, text)
    return text


def _listed(items: tuple[Named, ...]) -> str:
    return "\n".join(f"- {item.name}: {item.description}" for item in items)


def prompt_messages(task: TaskDefinition, text: str) -> list[Message]:
    """System and user message for one input; the input is passed on exactly as it is."""
    return [{"role": "system", "content": system_text(task)}, {"role": "user", "content": text}]


def completion_text(task: TaskDefinition, reference: Reference) -> str:
    """What the model must write: the label, compact JSON of the entities in order, or the text without outer space."""
    if task.task_type == "extraction":
        entities = [{"type": entity["type"], "text": entity["text"]} for entity in reference]  # type: ignore[index]
        return msgspec.json.encode({"entities": entities}).decode("utf-8")
    return str(reference).strip()


def parse_completion(task: TaskDefinition, text: str) -> Reference | None:
    """Inverse of `completion_text`; None where the answer has not the form that was asked for.

    A label counts in any letter case and normal form if that is unambiguous; JSON may stand in one ``` fence; nothing
    else is forgiven.
    """
    text = text.strip()
    if task.task_type == "classification":
        return _parse_label(task, text)
    if task.task_type == "extraction":
        return _parse_entities(task, text)
    return text


def _parse_label(task: TaskDefinition, text: str) -> str | None:
    if text in task.label_names:
        return text
    wanted = _folded(text)
    folded = [name for name in task.label_names if _folded(name) == wanted]
    return folded[0] if len(folded) == 1 else None


def _folded(label: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", label).casefold())


class _Entity(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    text: str


class _Entities(msgspec.Struct, forbid_unknown_fields=True):
    entities: list[_Entity]


def _parse_entities(task: TaskDefinition, text: str) -> list[dict[str, str]] | None:
    fenced = _FENCE.fullmatch(text)
    try:
        answer = msgspec.json.decode((fenced[1] if fenced else text).encode("utf-8"), type=_Entities)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    if any(entity.type not in task.entity_type_names for entity in answer.entities):
        return None
    return [{"type": entity.type, "text": entity.text} for entity in answer.entities]


def template_options(training: TrainingConfig) -> dict[str, Any]:
    """Keyword arguments of the chat template; thinking is switched where the configuration says so."""
    thinking = training.base_model.enable_thinking
    return {} if thinking is None else {"enable_thinking": thinking}


def prompt_text(tokenizer: PreTrainedTokenizerBase, messages: list[Message], options: dict[str, Any]) -> str:
    """The rendered prompt, ending where the model's answer begins."""
    return _render(tokenizer, messages, add_generation_prompt=True, **options)


def encode_prompt(tokenizer: PreTrainedTokenizerBase, messages: list[Message], options: dict[str, Any]) -> list[int]:
    """Token ids of the rendered prompt; special tokens come from the template alone."""
    return list(tokenizer(prompt_text(tokenizer, messages, options), add_special_tokens=False)["input_ids"])


def completion_suffix(tokenizer: PreTrainedTokenizerBase, messages: list[Message], options: dict[str, Any]) -> str:
    """What the template writes after an answer, up to and including the end-of-sequence token.

    Found by rendering an answer that cannot occur elsewhere; where the template closes without EOS, EOS is appended,
    so that a trained model always learns to stop.
    """
    end = tokenizer.eos_token
    if not isinstance(end, str) or not end:
        raise FinetuneError(
            "the tokenizer of the base model has no end-of-sequence token", "choose an instruct model", "E253"
        )
    answered = [*messages, {"role": "assistant", "content": _SENTINEL}]
    rendered = _render(tokenizer, answered, add_generation_prompt=False, **options)
    before, found, after = rendered.rpartition(_SENTINEL)
    if not found or _SENTINEL in before:
        raise FinetuneError(
            "the chat template does not render the answer exactly once", "choose another base model", "E296"
        )
    closing, stop, _ = after.partition(end)
    return closing + stop if stop else after + end


def encode_completion(tokenizer: PreTrainedTokenizerBase, completion: str, suffix: str) -> list[int]:
    """Token ids of the answer and its suffix: exactly what is in the loss."""
    return list(tokenizer(completion + suffix, add_special_tokens=False)["input_ids"])


def _render(tokenizer: PreTrainedTokenizerBase, messages: list[Message], **options: Any) -> str:
    from jinja2.exceptions import TemplateError

    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, **options))
    except (TemplateError, ValueError) as refusal:  # ValueError: the tokenizer has no chat template at all
        reason = str(refusal).split("\n")[0][:200]
        message = f"the base model's chat template refuses the messages: {reason}"
        raise FinetuneError(message, "choose an instruct model that accepts a system message", "E296") from refusal
