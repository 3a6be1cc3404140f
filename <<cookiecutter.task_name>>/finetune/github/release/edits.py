"""Edits of files that people own: only the bytes that change are touched, and what cannot be edited so is refused."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import yaml

from finetune.config.loading import build
from finetune.config.strict_yaml import read_yaml
from finetune.config.task import TaskDefinition
from finetune.errors import FinetuneError, Problems

RESULTS = re.compile(r"(<!--\s*results:(?:start|begin)\s*-->)(.*?)(<!--\s*results:end\s*-->)", re.DOTALL)


def mark_released(text: str, version: str) -> str:
    """task_definition.yaml with `status: released` and this version; every other byte stays, comments included.

    Raises FinetuneError (E647) when the result would not read as the same task.
    """
    before = _parse(text)
    wanted = before and before.model_copy(update={"status": "released", "released_version": version})
    if before == wanted and before:
        return text
    edited = _set_value(_set_value(text, "status", "released"), "released_version", f'"{version}"')
    if not wanted or _parse(edited) != wanted:
        fix = "write status and released_version each on a line of its own, as the generated file does"
        raise FinetuneError("status and released_version of task_definition.yaml cannot be edited", fix, "E647")
    return edited


def _set_value(text: str, key: str, value: str) -> str:
    """`text` with the top-level scalar of `key` replaced; a missing key becomes a line of its own at the end."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return text
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    for name, node in pairs:
        if name.value == key and isinstance(node, yaml.ScalarNode):
            start, end = node.start_mark.index, node.end_mark.index
            gap = " " if text[start - 1] == ":" else ""  # an empty value begins right behind its colon
            return text[:start] + gap + value + text[end:]
    newline = "\r\n" if "\r\n" in text else "\n"
    return text + ("" if text.endswith("\n") else newline) + f"{key}: {value}{newline}"


def _parse(text: str) -> TaskDefinition | None:
    """The task as the strict reader of the pipeline sees it."""
    problems = Problems()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "task_definition.yaml"
        file.write_bytes(text.encode("utf-8"))
        located = read_yaml(file, file.name, problems)
    task = build(TaskDefinition, located, problems) if located else None
    return None if problems.error_count else task


def results_of(text: str) -> str | None:
    """What stands between README's first pair of results markers."""
    match = RESULTS.search(text)
    return match[2] if match else None


def replace_results(text: str, block: str) -> str | None:
    """README with `block` between its first pair of results markers; None where it has none."""
    newline = "\r\n" if "\r\n" in text else "\n"
    inner = newline + newline.join(block.strip().splitlines()) + newline
    changed, count = RESULTS.subn(lambda match: match[1] + inner + match[3], text, count=1)
    return changed if count else None
