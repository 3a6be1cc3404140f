"""JSON Schemas of the three configurations, for editors; made from the models, so that both say the same.

    python -m finetune.config.schemas      writes finetune/config/schemas/*.json and docs/reference.md

What JSON Schema cannot say (sums, names that differ, what fits another file) only the pipeline checks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from finetune.config.benchmark import BenchmarkConfig
from finetune.config.task import TaskDefinition
from finetune.config.task_defaults import METRICS, PLACEHOLDER
from finetune.config.training import TrainingConfig

Schema = dict[str, Any]
FOLDER = Path(__file__).parent / "schemas"
REFERENCE = Path(__file__).parents[2] / "docs" / "reference.md"
CONFIGURATIONS: dict[str, type[BaseModel]] = {
    "task_definition.yaml": TaskDefinition,
    "configs/training_config.yaml": TrainingConfig,
    "configs/benchmark_config.yaml": BenchmarkConfig,
}
_DRAFT = "http://json-schema.org/draft-07/schema#"
"""The newest one that editors' YAML support knows by heart."""


def json_schema(name: str) -> Schema:
    """The schema of one configuration: whole in itself, a description at every key, nothing unknown allowed."""
    made = CONFIGURATIONS[name].model_json_schema(mode="validation")
    definitions = made.pop("$defs", {})
    schema = _plain(made, definitions)
    if name == "task_definition.yaml":
        schema["allOf"] = list(_by_task_type())
    return {"$schema": _DRAFT, "title": name, **schema}


def _plain(value: Any, definitions: Schema) -> Any:
    """`value` without references, generated titles and what draft 7 does not know."""
    if isinstance(value, list):
        return [_plain(item, definitions) for item in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        # A section's own sentence stays: a key that holds one has no docstring beneath it.
        value = {**definitions[value["$ref"].rpartition("/")[2]], **{k: v for k, v in value.items() if k != "$ref"}}
    found = {key: _plain(inner, definitions) for key, inner in value.items() if not _is_title(key, inner)}
    if "prefixItems" in found:  # pairs of the same kind
        found["items"] = found.pop("prefixItems")[0]
    if "required" in found:
        found["required"] = [key for key in found["required"] if "derived" not in value["properties"][key]]
    if "derived" in found:
        found["description"] = f"{found.get('description', '')} Default: {found.pop('derived')}.".strip()
    return found


def _is_title(key: str, value: Any) -> bool:
    return key == "title" and isinstance(value, str)


def _by_task_type() -> Iterator[Schema]:
    """What depends on task_type: the metrics, the closed set, the prompt's placeholder."""
    for task_type, metrics in METRICS.items():
        known = {"enum": list(metrics)}
        then: Schema = {"properties": {"metrics": {"properties": {"primary": known, "secondary": {"items": known}}}}}
        if placeholder := PLACEHOLDER.get(task_type):
            kind, least = placeholder.strip("{}"), 2 if task_type == "classification" else 1
            output = {"required": [kind], "properties": {kind: {"minItems": least}}}
            then["properties"].update({"output": output, "system_prompt": {"pattern": placeholder.replace("{", "\\{")}})
            then["required"] = ["output"]
        yield {"if": {"properties": {"task_type": {"const": task_type}}, "required": ["task_type"]}, "then": then}


def files() -> dict[Path, str]:
    """Everything that is written from the models, by path."""
    from finetune.config.reference import reference

    schemas = {name: json_schema(name) for name in CONFIGURATIONS}
    texts = {
        FOLDER / f"{Path(name).stem}.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for name, schema in schemas.items()
    }
    return {**texts, REFERENCE: reference(schemas)}


def main() -> None:
    from finetune.provenance import write_text

    for path, text in files().items():
        write_text(path, text)


if __name__ == "__main__":
    main()
