"""config.json of the merged model: as the base was published, so that whatever reads the base reads it too.

transformers writes the form of its own version alone: without the `rope_theta` and `rope_scaling` that it moved into
`rope_parameters`, older readers compute with their default of 10000 and say nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finetune import provenance
from finetune.export.safety import CODE_KEYS

_DROPPED = frozenset({*CODE_KEYS, "quantization_config"})
_DTYPE = ("dtype", "torch_dtype")
"""The names of newer and of older readers."""
_OF_THE_CLASS = ("architectures", "model_type")
"""What the weights were written as."""


def write_config(path: Path, base: Path) -> None:
    """Lay the published values of the checkpoint `base` over what transformers wrote at `path`, and add older names.

    What names code of a model repository or a folder of some machine is dropped; the number type is that of the merged
    weights.
    """
    written = _plain(json.loads(path.read_text(encoding="utf-8")))
    published = _plain(json.loads((base / "config.json").read_text(encoding="utf-8")))
    # Of a model for texts and pictures only the language model is merged and written.
    nested = published.get("text_config")
    if published.get("model_type") != written.get("model_type") and isinstance(nested, Mapping):
        published = dict(nested)
    config = written
    if published.get("model_type") == written.get("model_type"):
        config = _laid_over(written, {key: value for key, value in published.items() if key not in _OF_THE_CLASS})
    dtype = next((written[name] for name in _DTYPE if name in written), None)
    if dtype is not None:
        config |= dict.fromkeys(_DTYPE, dtype)
    provenance.write_json(path, dict(sorted(_with_older_rope(config).items())))


def _plain(value: Any) -> Any:
    """Without what is dropped, at any depth."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {key: _plain(one) for key, one in value.items() if key not in _DROPPED and not key.startswith("_")}


def _laid_over(written: Mapping[str, Any], published: Mapping[str, Any]) -> dict[str, Any]:
    config = dict(written)
    for key, value in published.items():
        old = config.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            config[key] = _laid_over(old, value)
        elif key not in _DTYPE:  # inner models are stored in the merged type, too
            config[key] = value
    return config


def _with_older_rope(config: dict[str, Any]) -> dict[str, Any]:
    """What a base that is published in the newer form alone says in the older one, where that can say it."""
    rope = config.get("rope_parameters")
    if not isinstance(rope, Mapping) or "rope_theta" not in rope or "rope_theta" in config:
        return config
    older: dict[str, Any] = {"rope_theta": rope["rope_theta"]}
    if "partial_rotary_factor" in rope:
        older["partial_rotary_factor"] = rope["partial_rotary_factor"]
    if rope.get("rope_type", "default") != "default":
        older["rope_scaling"] = {key: value for key, value in rope.items() if key not in older}
    return older | config
