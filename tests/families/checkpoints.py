"""Small random checkpoints of real architectures that speak the family's real tokenizer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from .tokenizers import FILES

SMALL = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
}
OWN: dict[str, dict[str, Any]] = {
    # A window shorter than the rows, one layer with and one without, as the large ones have them.
    "gemma3_text": {"sliding_window": 512, "layer_types": ["sliding_attention", "full_attention"]},
    "qwen2": {"head_dim": None},
}
"""What a kind of model has beside, or has not."""


def write_checkpoint(folder: Path, model_type: str, tokenizer: Path) -> Path:
    """Write a seeded random model of `model_type`, hidden size 64 and two layers, with the tokenizer's own bytes."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    folder.mkdir(parents=True)
    for name in FILES:
        shutil.copyfile(tokenizer / name, folder / name)
    loaded = AutoTokenizer.from_pretrained(folder)
    values = {key: value for key, value in {**SMALL, **OWN.get(model_type, {})}.items() if value is not None}
    config = AutoConfig.for_model(
        model_type,
        vocab_size=-(-len(loaded) // 64) * 64,
        bos_token_id=loaded.bos_token_id,
        eos_token_id=loaded.eos_token_id,
        pad_token_id=loaded.pad_token_id,
        **values,
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    held = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert held["model_type"] == model_type
    return folder
