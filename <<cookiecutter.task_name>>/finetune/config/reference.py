"""docs/reference.md: every key of the three configurations, from their JSON Schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

Schema = dict[str, Any]

_INTRODUCTION = """# Reference of the configurations

Every key, what it may be and what it is when left out. Written from the schemas by `python -m finetune.config.schemas`;
the same schemas are in `finetune/config/schemas/`, and the first line of each file names its own, so that editors with
YAML support (`yaml-language-server`) complete and check while you type. `python scripts/01_validate_data.py` checks
everything, also what spans keys and files.

A task definition needs no more than this; step 1 says what follows from it:

```yaml
task_name: ticket-router
task_type: classification          # or extraction (output.entity_types), or generation (neither)
description: Route a customer's message to the team that answers it
language: en
output:
  labels:
    - {name: billing, description: charges and refunds}
    - {name: shipping, description: where a parcel is}
hub:
  namespace: your-namespace
```
"""


def reference(schemas: Mapping[str, Schema]) -> str:
    """The page, in English, as the descriptions in the code are."""
    parts = [_INTRODUCTION]
    for name, schema in schemas.items():
        parts.append(f"## {name}\n")
        parts += _tables(schema, "")
    return "\n".join(parts)


def _tables(schema: Schema, prefix: str, needed: bool = False) -> Iterator[str]:
    """One table for a section's own keys, then one for each section in it."""
    properties, required = schema["properties"], schema.get("required", ())
    inner = {key: _section(value) for key, value in properties.items()}
    own = {key: value for key, value in properties.items() if "properties" not in value}
    if prefix:
        yield f"### {prefix.rstrip('.')}\n"
        yield f"{schema.get('description', '').partition(' Default: ')[0]}{' Required.' if needed else ''}\n"
    if own:
        yield "| Key | Value | Default | Meaning |\n|---|---|---|---|"
        for key, value in own.items():
            meaning, _, rule = value.get("description", "").partition(" Default: ")
            default = "**required**" if key in required else rule.rstrip(".") or _value(value.get("default"))
            yield f"| `{key}` | {_cell(_kind(value))} | {_cell(default)} | {_cell(meaning)} |"
        yield ""
    for key, section in inner.items():
        if section:
            many = "[]" if "properties" not in properties[key] else ""
            yield from _tables(section, f"{prefix}{key}{many}.", key in required)


def _section(value: Schema) -> Schema | None:
    """The section a key holds, or the one each entry of its list is."""
    for candidate in (value, value.get("items", {})):
        if "properties" in candidate:
            return candidate
    return None


def _kind(value: Schema) -> str:
    """Type and range in words."""
    if "const" in value:
        return _value(value["const"])
    if "enum" in value:
        return ", ".join(map(_value, value["enum"]))
    if "anyOf" in value:
        return " or ".join(_kind(one) for one in value["anyOf"])
    kind = {
        "string": "text",
        "integer": "whole number",
        "number": "number",
        "boolean": "true or false",
        "null": "null",
        "object": "key: value pairs",
        "array": "list",
    }[value["type"]]
    if value["type"] == "array":
        entry, count = _kind(value["items"]), value.get("maxItems")
        kind = f"[{', '.join([entry] * count)}]" if count else f"list of {entry}"
    if value["type"] == "object" and isinstance(value.get("additionalProperties"), dict):
        kind = f"name: {_kind(value['additionalProperties'])}"
    return ", ".join([kind, *_range(value)])


def _range(value: Schema) -> Iterator[str]:
    words = {
        "minimum": "at least {}",
        "exclusiveMinimum": "above {}",
        "maximum": "at most {}",
        "exclusiveMaximum": "below {}",
        "maxLength": "at most {} characters",
        "pattern": "`{}`",
    }
    for key, word in words.items():
        if key in value:
            yield word.format(value[key] if key == "pattern" else f"{value[key]:,.12g}")


def _value(value: Any) -> str:
    """As it stands in YAML; whole numbers without a point, small ones as people write them."""
    if isinstance(value, float):
        return f"`{value:.12g}`".replace("e-0", "e-")
    if isinstance(value, list):
        return "`[" + ", ".join(_value(one).strip("`") for one in value) + "]`"
    return f"`{value}`" if isinstance(value, str) and value else f"`{json.dumps(value)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
