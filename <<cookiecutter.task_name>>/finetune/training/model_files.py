"""A model folder before anything loads it: every weight file whole, every JSON file readable.

What a broken download, a full disk or a clone without Git LFS leaves makes every loader fail with words of its own, or
late. A safetensors file begins with the length of its header, and the header says where its last byte is.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from finetune.provenance import what_it_is

INDEX = "model.safetensors.index.json"
_JSON = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", INDEX)
_LENGTH_BYTES = 8
_LONGEST_HEADER = 100_000_000
"""The limit of the safetensors library."""


def faults(folder: Path) -> list[str]:
    """What is wrong with the files of a transformers checkpoint, one phrase a file; empty when it can be loaded."""
    if not (folder / "config.json").exists():
        return ["config.json is missing"]
    found = []
    index: dict[str, Any] = {}
    for name in _JSON:
        if os.path.lexists(folder / name):
            fault, content = read_json(folder / name)
            found += [f"{name} {fault}"] if fault else []
            index = content if name == INDEX else index
    shards = index.get("weight_map")
    wanted = set(shards.values()) if isinstance(shards, dict) else set()
    present = {path.name for path in folder.glob("*.safetensors")}
    if not wanted | present and not any(folder.glob("*.bin")):
        found.append("no weights (model.safetensors)")
    for name in sorted(wanted | present):
        if fault := safetensors_fault(folder / name):
            found.append(f"{name} {fault}")
    return found


def safetensors_fault(path: Path) -> str:
    """Why this is no whole safetensors file; empty when it is one. Reads its header only."""
    if not path.is_file():
        return "is a broken link" if path.is_symlink() else "is missing"
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(_LENGTH_BYTES)
        length = int.from_bytes(head, "little")
        if special := what_it_is(path):
            return special
        if len(head) < _LENGTH_BYTES or not 0 < length <= _LONGEST_HEADER:
            return "is no safetensors file"
        if _LENGTH_BYTES + length > size:
            return f"is cut off after {size:,} bytes"
        try:
            tensors = json.loads(file.read(length))
            ends = [tensor["data_offsets"][1] for name, tensor in tensors.items() if name != "__metadata__"]
            whole = _LENGTH_BYTES + length + max(ends, default=0)
        except (ValueError, AttributeError, KeyError, TypeError, IndexError, RecursionError):
            return "is no safetensors file"
    return "" if size == whole else f"has {size:,} of {whole:,} bytes"


def read_json(path: Path) -> tuple[str, dict[str, Any]]:
    """Why this is no JSON object, or the object; the other of the two is empty."""
    if not path.is_file():
        return ("is a broken link" if path.is_symlink() else "is no file"), {}
    if special := what_it_is(path):
        return special, {}
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return "is not JSON", {}
    return ("", content) if isinstance(content, dict) else ("is not a JSON object", {})
