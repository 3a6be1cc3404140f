"""A model that may become the base: its small files, and what its folder or its page says about it. No weights."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

SMALL_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
)
"""All that is read of a model before it is chosen."""
_FRONT = re.compile(r"\A---\r?\n(.*?)\r?\n---\s*$", re.DOTALL | re.MULTILINE)
_HEADER = 100_000_000
"""Largest header of a safetensors file, in bytes, as its format defines it."""


@dataclass(frozen=True)
class Candidate:
    """What is known of the model before anything is written."""

    id: str
    """As configs/training_config.yaml will name it."""
    revision: str
    """The commit; of a folder the first 40 digits of the digest over its files."""
    folder: Path
    """Where the small files lie."""
    source: str
    """hub, cache, package or local."""
    card: Mapping[str, Any] = field(default_factory=dict)
    """Metadata of its model card."""
    gated: str = ""
    """auto or manual: how access is granted; empty where none has to be asked for."""
    private: bool = False
    files: Mapping[str, int] = field(default_factory=dict)
    """Size in bytes by name of all files of the repository or folder."""
    parameters: int | None = None
    link: Path | None = None
    """A folder elsewhere on this disk, to be linked as `id`."""

    def read_json(self, name: str) -> dict[str, Any]:
        """A small JSON file; empty where it is missing or no object."""
        try:
            values = json.loads((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return values if isinstance(values, dict) else {}

    @property
    def parents(self) -> list[str]:
        """The models that the card says this one was made from."""
        named = self.card.get("base_model")
        named = [named] if isinstance(named, str) else named if isinstance(named, list) else []
        return [name for name in named if isinstance(name, str) and name.isprintable()][:3]


def read_card(readme: Path) -> dict[str, Any]:
    """The metadata on top of a README.md; empty where there is none, or none that can be read."""
    try:
        front = _FRONT.match(readme.read_text(encoding="utf-8", errors="replace")[:200_000])
        values = yaml.safe_load(front[1]) if front else None
    except (OSError, yaml.YAMLError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def count_parameters(folder: Path) -> int | None:
    """Number of weights in the safetensors files of `folder`, from their headers; None where one cannot be read.

    The format: 8 bytes with the header's length, little-endian, then JSON with the shape of every tensor.
    https://huggingface.co/docs/safetensors
    """
    total = 0
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with open(path, "rb") as file:
                (length,) = struct.unpack("<Q", file.read(8))
                if length > _HEADER:
                    return None
                tensors = json.loads(file.read(length))
            for name, tensor in tensors.items():
                if name != "__metadata__":
                    size = 1
                    for side in tensor["shape"]:
                        size *= side
                    total += size
        except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error, RecursionError):
            return None
    return total or None
