"""Conversations and instructions → (text, answer): ShareGPT, OpenAI messages, prompt and completion, alpaca."""

from __future__ import annotations

from typing import Any

from finetune.importing.sources import Refused, Value

_ROLES = {
    "human": "user",
    "user": "user",
    "prompter": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "system": "system",
    "developer": "system",
}
_ENDS = ("\n\n###\n\n", "\n\n###", " ->", "\n###\n")
"""Separators that the guide of OpenAI's old fine-tuning format asked for at the end of a prompt."""


def conversation(record: Value) -> tuple[str, str]:
    """What the user says and what the assistant answers; one turn each, a system prompt is the task's own."""
    if "prompt" in record and "completion" in record:
        prompt, completion = record["prompt"], record["completion"]
        if isinstance(prompt, str) and isinstance(completion, str):
            return _without_separator(prompt), completion.strip().removesuffix("###").removesuffix("END").strip()
        turns = [*_list(prompt), *_list(completion)]
    else:
        turns = _list(record.get("messages", record.get("conversations")))
    spoken = [_turn(turn) for turn in turns]
    spoken = [(role, text) for role, text in spoken if role != "system"]
    roles = [role for role, _ in spoken]
    if roles == ["user", "assistant"]:
        return spoken[0][1], spoken[1][1]
    if "assistant" not in roles:
        raise Refused("E186", "a conversation without an answer")
    if len(roles) > 2:
        raise Refused("E186", "a conversation of more than one turn", f"{len(roles)} messages")
    raise Refused("E186", "a conversation that does not go from user to assistant", " ".join(roles))


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Refused("E184", "messages that are no list")
    return value


def _turn(turn: Any) -> tuple[str, str]:
    if not isinstance(turn, dict):
        raise Refused("E184", "a message that is no object")
    role, text = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
    known = _ROLES.get(str(role).lower())
    if known is None:
        raise Refused("E126", "a message of an unknown role", str(role)[:40])
    if isinstance(text, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in text):
        text = "".join(str(part.get("text", "")) for part in text)
    if not isinstance(text, str):
        raise Refused("E129", "a message that is not text")
    return known, text


def _without_separator(prompt: str) -> str:
    for end in _ENDS:
        if prompt.endswith(end):
            return prompt.removesuffix(end)
    return prompt


def shared_instruction(sample: list[Value]) -> str | None:
    """The instruction that all records share: it is the task's system prompt then, and not part of the inputs."""
    said = {str(record.get("instruction")) for record in sample}
    every = all(str(record.get("input") or record.get("context") or "").strip() for record in sample)
    return said.pop() if len(said) == 1 and every and len(sample) > 1 else None


def alpaca(record: Value, shared: str | None) -> tuple[Any, Any]:
    """Instruction and input, joined by a blank line, and the output."""
    if record.get("history"):
        raise Refused("E186", "a conversation of more than one turn", "history")
    instruction, text = record["instruction"], record.get("input", record.get("context")) or ""
    if shared is not None:
        if str(instruction) != shared:
            raise Refused("E185", "another instruction than that of the first rows")
        return text, record["output"]
    if not isinstance(instruction, str) or not isinstance(text, str):
        raise Refused("E123", "an instruction or input that is not text")
    return (f"{instruction}\n\n{text}" if text.strip() else instruction), record["output"]
