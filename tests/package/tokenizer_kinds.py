"""Small tokenizers of the kinds that base models have, each readable by transformers and by the tokenizers package."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
NAMES = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def edit(folder: Path, file: str, **values: Any) -> None:
    content = json.loads((folder / file).read_text(encoding="utf-8"))
    (folder / file).write_text(json.dumps({**content, **values}), encoding="utf-8")


def qwen(tiny: Path, folder: Path) -> Path:
    """SmolLM2's vocabulary behind Qwen's normal form, splitter and class of transformers."""
    shutil.copytree(tiny, folder)
    split = {"type": "Split", "pattern": {"Regex": QWEN_SPLIT}, "behavior": "Isolated", "invert": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    steps = {"type": "Sequence", "pretokenizers": [split, level]}
    edit(folder, "tokenizer.json", normalizer={"type": "NFC"}, pre_tokenizer=steps, post_processor=level)
    edit(folder, "tokenizer_config.json", tokenizer_class="Qwen2Tokenizer")
    return folder


def byte_fallback(tiny: Path, folder: Path, *, prepend: bool) -> Path:
    """Pieces of characters like those of Llama 2: few letters, everything else falls back to its bytes."""
    shutil.copytree(tiny, folder)
    letters = ["▁", *"abcdehilmnorstuy\n"]
    merges = [("t", "h"), ("th", "e"), ("▁", "the"), ("▁", "a"), ("o", "r")]
    pieces = [*letters, *(left + right for left, right in merges)]
    vocab = {name: n for n, name in enumerate([*NAMES, *(f"<0x{byte:02X}>" for byte in range(256)), *pieces])}
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": "<|endoftext|>",
        "fuse_unk": True,
        "byte_fallback": True,
        "vocab": vocab,
        "merges": [list(pair) for pair in merges],
    }
    space = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    steps = [{"type": "Prepend", "prepend": "▁"}, space] if prepend else [space]
    added = [{"id": n, "content": name, **SPECIAL} for n, name in enumerate(NAMES)]
    edit(
        folder,
        "tokenizer.json",
        model=model,
        added_tokens=added,
        pre_tokenizer=None,
        post_processor=None,
        normalizer={"type": "Sequence", "normalizers": steps},
        decoder={"type": "ByteFallback"},
    )
    return folder


def unigram(tiny: Path, folder: Path) -> Path:
    """A kind that promises no bound."""
    shutil.copytree(tiny, folder)
    pieces = [[name, 0.0] for name in [*NAMES, "▁", *"abcdehilmnorstuy"]]
    added = [{"id": n, "content": name, **SPECIAL} for n, name in enumerate(NAMES)]
    edit(
        folder,
        "tokenizer.json",
        model={"type": "Unigram", "unk_id": 0, "vocab": pieces},
        added_tokens=added,
        pre_tokenizer={"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        post_processor=None,
        decoder=None,
    )
    return folder
