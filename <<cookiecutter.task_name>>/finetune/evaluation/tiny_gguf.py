"""A GGUF file of one megabyte with random weights, on which llama.cpp shows whether its kernels work on this CPU.

It holds every type of weights that GGUF files of this repository are made of by default and that ggml repacks for AMX
(Q8_0; Q4_K and Q6_K, of which Q4_K_M consists; F16; the older Q4_0 and Q4_1), in sizes that its AMX kernels take: rows
that 32 divides, columns that 256 divides. A batch of tokens goes through tiles, a single one through vectors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

EMBEDDING, FEED_FORWARD, HEADS, VOCABULARY, CONTEXT = 256, 512, 4, 512, 128
_TYPES = {
    "token_embd": "Q8_0",
    "output": "Q8_0",
    "blk.0.attn_q": "Q4_0",
    "blk.0.attn_k": "Q4_1",
    "blk.0.attn_v": "Q6_K",
    "blk.0.attn_output": "F16",
    "blk.0.ffn_gate": "Q4_K",
    "blk.0.ffn_up": "Q8_0",
    "blk.0.ffn_down": "Q6_K",
}
_SHAPES = {
    "token_embd": (VOCABULARY, EMBEDDING), "output": (VOCABULARY, EMBEDDING),
    "blk.0.ffn_gate": (FEED_FORWARD, EMBEDDING), "blk.0.ffn_up": (FEED_FORWARD, EMBEDDING),
    "blk.0.ffn_down": (EMBEDDING, FEED_FORWARD),
}  # fmt: skip


def write_tiny_gguf(path: Path, seed: int = 0) -> Path:
    """Write a Llama of one layer with seeded weights; returns `path`."""
    import gguf
    import numpy as np

    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(EMBEDDING)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_block_count(1)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(EMBEDDING // HEADS)
    writer.add_vocab_size(VOCABULARY)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    _add_vocabulary(writer, gguf.TokenType)
    for name, kind in _TYPES.items():
        weights = _weights(random, _SHAPES.get(name, (EMBEDDING, EMBEDDING)), kind)
        writer.add_tensor(f"{name}.weight", weights, raw_dtype=gguf.GGMLQuantizationType[kind])
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(EMBEDDING, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_vocabulary(writer: Any, kinds: Any) -> None:
    """The smallest vocabulary that llama.cpp takes: three special tokens, all bytes, and words up to the size."""
    letters = [f"<0x{value:02X}>" for value in range(256)]
    words = [f"w{number}" for number in range(VOCABULARY - 3 - len(letters))]
    special = [kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(["<unk>", "<s>", "</s>", *letters, *words])
    writer.add_token_scores([0.0] * VOCABULARY)
    writer.add_token_types([*special, *[kinds.BYTE] * len(letters), *[kinds.NORMAL] * len(words)])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def _weights(random: Any, shape: tuple[int, int], kind: str) -> Any:
    """Random weights of about the size 1/sqrt(columns), encoded as `kind`."""
    import gguf
    import numpy as np

    rows, columns = shape
    scale = columns**-0.5
    if kind not in ("Q4_K", "Q6_K"):
        weights = random.standard_normal(shape, dtype=np.float32) * np.float32(scale)
        return (
            weights.astype(np.float16)
            if kind == "F16"
            else gguf.quants.quantize(weights, gguf.GGMLQuantizationType[kind])
        )
    # The gguf package does not encode K-quants. Random bits are random weights, once the block's factors are sensible.
    _, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    blocks = random.integers(0, 256, (rows, columns // 256, size), dtype=np.uint8)
    if kind == "Q4_K":  # factor and offset, two half floats, come first; scales to 63, values to 15
        factors, span = blocks[..., :4], np.array([scale / 250, scale / 32], np.float16)
    else:  # the factor comes last; scales to ±127, values to ±32
        factors, span = blocks[..., -2:], np.array([scale / 1500], np.float16)
    factors[...] = span.view(np.uint8)
    return blocks.reshape(rows, -1)
