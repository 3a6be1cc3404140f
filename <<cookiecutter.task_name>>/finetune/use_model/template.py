"""What a chat template does with the messages of this task, found by rendering it in the sandbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from finetune.config.project import Project
from finetune.data.chat_format import Message, completion_suffix, prompt_text, system_text
from finetune.data.tokens.base_tokenizer import BaseTokenizer
from finetune.data.tokens.plain_tokenizer import PlainTokenizer
from finetune.data.tokens.template_clock import clock
from finetune.errors import FinetuneError

THINKING = "enable_thinking"
_USER = "QUESTIONGOESHERE"
_OPENED = ("<think>", "<|begin_of_thought|>", "[THINK]")
"""With one of these at its end a prompt asks for thoughts, whatever is switched."""


@dataclass(frozen=True)
class TemplateFacts:
    """Answers about one template; the texts are empty where nothing stands in the way."""

    present: bool
    hybrid: bool = False
    """Has the switch enable_thinking."""
    refusal: str = ""
    """Why step 02 or 03 would refuse system message, question or answer."""
    always_thinks: bool = False
    clock: bool = False
    """It asks for the date, and is told one and the same."""
    ollama: str = ""
    """Why step 06 would refuse to derive Ollama's template, with its code."""


def look_at(base: BaseTokenizer, project: Project, thinking: bool | None) -> TemplateFacts:
    """The facts for the task's own system prompt, with thinking switched as `thinking` says where there is a switch.

    Raises what reading damaged tokenizer files raises.
    """
    if not base.template:
        return TemplateFacts(present=False)
    tokenizer, system = PlainTokenizer(base), system_text(project.task)
    asked: list[Message] = [{"role": "system", "content": system}, {"role": "user", "content": _USER}]
    on, off = (_rendered(tokenizer, asked, {THINKING: value}) for value in (True, False))
    hybrid = on != off
    options: dict[str, Any] = {THINKING: bool(thinking)} if hybrid else {}
    text = _rendered(tokenizer, asked, options)
    refusal = _refusal(tokenizer, asked, system, text, options)
    return TemplateFacts(
        present=True,
        hybrid=hybrid,
        refusal=refusal,
        clock=bool(clock(base.published_template)),
        always_thinks=bool(text) and not thinking and text.rstrip().endswith(_OPENED),
        ollama="" if refusal else _ollama(tokenizer, system, options),
    )


def _rendered(tokenizer: Any, messages: list[Message], options: dict[str, Any]) -> str:
    """The prompt; empty where the template refuses it."""
    try:
        return prompt_text(tokenizer, messages, options)
    except FinetuneError:
        return ""


def _refusal(tokenizer: Any, asked: list[Message], system: str, text: str, options: dict[str, Any]) -> str:
    try:
        prompt_text(tokenizer, asked, options)
        completion_suffix(tokenizer, asked, options)
    except FinetuneError as failure:
        if not _rendered(tokenizer, asked, options) and _rendered(tokenizer, asked[1:], options):
            return "it has no system role, and the task's instruction is a system message"
        return failure.message
    if system not in text and system.strip() not in text:
        return "it drops or changes the system message"
    return "" if text.count(_USER) == 1 else "it does not render the question exactly once"


def _ollama(tokenizer: Any, system: str, options: dict[str, Any]) -> str:
    """What step 06 does to make Ollama's template, done beforehand: only whether the runtime writes BOS is a guess."""
    from finetune.export.modelfile import quotable
    from finetune.export.ollama import derive, prove

    bos = tokenizer.named("bos_token")

    def render(messages: list[Message]) -> str:
        return prompt_text(tokenizer, messages, options).removeprefix(bos)

    default = None if quotable(system) else system
    try:
        prove(derive(render, default), render, system, default)
    except FinetuneError as failure:
        return f"{failure.code}: {failure.message}"
    return ""
