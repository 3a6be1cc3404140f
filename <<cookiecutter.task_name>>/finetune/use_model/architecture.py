"""Whether a model is of a kind that is adapted here: a dense decoder of text with 16-bit weights and known code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetune.errors import Problems
from finetune.use_model.candidate import Candidate

_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts", "num_experts_per_tok")
_PARTS = {
    "vision_config": "reads images",
    "audio_config": "reads sound",
    "vision_tower": "reads images",
    "mm_vision_tower": "reads images",
    "visual": "reads images",
}
_CONTEXT = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part that describes the language model."""
    part = config.get("text_config")
    return {**config, **part} if isinstance(part, dict) else config


def context_of(config: Mapping[str, Any]) -> int | None:
    """Positions the model was made for; None where config.json does not say."""
    text = text_config(config)
    return next((text[name] for name in _CONTEXT if type(text.get(name)) is int and text[name] > 0), None)


def architecture_of(config: Mapping[str, Any]) -> str:
    """The first class that config.json names; empty where it names none."""
    named = config.get("architectures")
    first = named[0] if isinstance(named, list) and named else ""
    return first if isinstance(first, str) and first.isprintable() else ""


def judge_files(candidate: Candidate, problems: Problems) -> bool:
    """Add E292 or E293 where the files are no model that is safe to load; whether config.json can be looked at."""
    names, weights = [*candidate.files], [name for name in candidate.files if name.endswith(".safetensors")]
    if "config.json" not in names or (not weights and any(name.endswith(".gguf") for name in names)):
        if "adapter_config.json" in names:
            what, fix = "an adapter, no model", "take the model that it was trained on" + _parents(candidate)
        elif any(name.endswith(".gguf") for name in names):
            what = "only GGUF files, which cannot be trained"
            fix = "take the model they were made from" + _parents(candidate)
        else:
            what, fix = "no config.json: no model that transformers loads", "check the name"
        problems.add(candidate.id, "E292", what, fix)
        return False
    if not weights:
        if any(name.endswith(_PICKLES) for name in names):
            message = "its weights are pickles, which may run code when they are loaded"
            problems.add(candidate.id, "E293", message, "take a revision or a model with *.safetensors")
        else:
            problems.add(candidate.id, "E292", "no *.safetensors: no weights", "take a model with its weights")
    return True


def judge_config(candidate: Candidate, config: Mapping[str, Any], problems: Problems) -> None:
    """Add E291 (another kind of model), E292 (quantised) or E294 (code that transformers does not bring)."""
    quantised = config.get("quantization_config")
    if isinstance(quantised, dict):
        how = quantised.get("quant_method")
        message = f"its weights are quantised ({how if isinstance(how, str) and how.isprintable() else 'unknown'})"
        problems.add(candidate.id, "E292", message, "take the 16-bit model it was made from" + _parents(candidate))
    name, model_type = architecture_of(config), config.get("model_type")
    if kind := _other_kind(config, name):
        problems.add(candidate.id, "E291", *kind)
    elif not _is_known(name, model_type):
        fix = "take a model whose architecture the pinned transformers has: docs/models.md"
        if "auto_map" in config:
            message = f"{name or model_type} needs code of its own repository, which is never run"
        else:
            message = f"transformers {_version()} does not know the architecture {name or model_type or '(none named)'}"
        problems.add(candidate.id, "E294", message, fix)


def _other_kind(config: Mapping[str, Any], name: str) -> tuple[str, str] | None:
    """(message, fix) for a model that is none for text alone, or no dense decoder."""
    for key, does in _PARTS.items():
        if config.get(key):
            return f"it {does}: only models for text alone are adapted", "take its text-only sibling"
    if config.get("is_encoder_decoder"):
        return "an encoder-decoder model: it continues no text", "take a decoder, a causal language model"
    if name and not name.endswith(("ForCausalLM", "LMHeadModel")):
        return f"{name} is no causal language model", "take an instruct model that answers with text"
    text = text_config(config)
    experts = [text[key] for key in _EXPERTS if type(text.get(key)) is int]
    if any(number > 1 for number in experts):
        message = "a mixture of experts: its experts are no linear layers, LoRA would leave them out"
        return message, "take a dense sibling"
    return None


def _is_known(name: str, model_type: object) -> bool:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as KNOWN

    found = KNOWN.get(model_type) if isinstance(model_type, str) else None
    classes = found if isinstance(found, (tuple, list)) else (found,)
    return found is not None and (not name or name in classes)


def _version() -> str:
    from importlib import metadata

    return metadata.version("transformers")


def _parents(candidate: Candidate) -> str:
    return f": its card names {', '.join(candidate.parents)}" if candidate.parents else ""
