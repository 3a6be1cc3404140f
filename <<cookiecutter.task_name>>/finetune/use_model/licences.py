"""What the licence of a base model means for `license:` of the published one. Reading it remains the owner's task.

A merged model contains the base's weights and a quantised one too, so the base's terms hold for all that is published.
The adapter alone contains none of them; most model licences call it a derivative all the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from finetune.errors import Problems

FREE = (
    "apache-2.0",
    "mit",
    "bsd",
    "isc",
    "cc0-1.0",
    "unlicense",
    "cc-by-4.0",
    "cc-by-3.0",
    "cc-by-2.0",
    "zlib",
    "odc-by",
)
"""Beginnings of licences that allow another licence for the derived model, as long as notices stay."""
SAME = ("gpl", "agpl", "lgpl", "cc-by-sa", "mpl", "osl", "eupl")
"""Beginnings of licences that the derived model has to keep."""
_LLAMA = (
    "the published model's name has to begin with Llama, its card has to say 'Built with Llama', and both the licence "
    "and its use policy go along"
)
TERMS = {
    "llama2": "the licence and its use policy go along, and nobody may train another model on its answers",
    "llama3": _LLAMA,
    "llama4": _LLAMA,
    "gemma": "whoever gets the model has to be given Gemma's terms, and is bound by its prohibited uses",
    "openrail": "its use restrictions have to stand in the terms of the published model",
    "bigscience": "its use restrictions have to stand in the terms of the published model",
    "creativeml": "its use restrictions have to stand in the terms of the published model",
}
"""What the best known licences of their own ask for, by beginning."""


def named_licence(card: Mapping[str, object]) -> str | None:
    """The licence that a model card's metadata names: `license`, or `license_name` where that only says `other`."""
    values = [card.get(key) for key in ("license", "license_name")]
    licence, own = (value[0] if isinstance(value, list) and value else value for value in values)
    if isinstance(licence, str) and licence.lower() == "other" and isinstance(own, str):
        licence = own
    text = licence.strip().lower() if isinstance(licence, str) else ""
    return text if text and len(text) <= 100 and text.isprintable() else None


def judge_licence(licence: str | None, task_licence: str, problems: Problems, shown: str) -> None:
    """Add W290 where `task_licence`, that of the published model, promises what the base model's does not allow.

    Adds W291 where the card names none. `shown` is the model in messages. No court has read this table.
    """
    key, ours = "license in task_definition.yaml", task_licence.strip().lower()
    if licence is None:
        message = "its card names no licence: without one, nothing may be published that contains the model"
        fix = "read the model's page, write what it says as base_model.license and decide whether you may publish"
        problems.add(shown, "W291", message, fix)
        return
    if licence == ours or licence.startswith(FREE):
        return
    if _non_commercial(licence):
        message = f"{licence} allows no commercial use, {key} says {task_licence}"
        problems.add(shown, "W290", message, f"publish under {licence}, or choose another base model")
    elif licence.startswith(SAME):
        message = f"{licence} asks derived works to keep it, {key} says {task_licence}"
        problems.add(shown, "W290", message, f"write license: {licence}")
    else:
        terms = next((text for start, text in TERMS.items() if licence.startswith(start)), "read what they ask for")
        message = f"{licence} has terms of its own, {key} says {task_licence}: {terms}"
        problems.add(shown, "W290", message, f"write license: {licence}, and do what the terms ask")


def _non_commercial(licence: str) -> bool:
    words = licence.replace("_", "-").replace(" ", "-").split("-")
    return "nc" in words or any(word in licence for word in ("non-commercial", "noncommercial", "research"))
