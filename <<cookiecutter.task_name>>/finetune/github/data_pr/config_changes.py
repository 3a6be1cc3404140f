"""What differs beside the rows between two checkouts: configuration values, and the pipeline's own code."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from finetune.config.benchmark import BenchmarkConfig
from finetune.config.loading import build
from finetune.config.strict_yaml import Located, read_yaml
from finetune.config.task import TaskDefinition
from finetune.config.training import TrainingConfig
from finetune.data.text_rules import shown
from finetune.errors import Problems
from finetune.github.data_pr.schema import Setting
from finetune.inventory import BENCHMARK, SMOKE, TASK, TRAINING, is_policy, machinery

CONFIGS = (TASK, BENCHMARK, TRAINING, SMOKE)
_SCHEMAS: dict[str, type[BaseModel]] = {TASK: TaskDefinition, BENCHMARK: BenchmarkConfig, TRAINING: TrainingConfig}
_CHARACTERS = 60
_ABSENT = object()


def setting_changes(before: Path, after: Path) -> tuple[list[Setting], list[str]]:
    """Every configuration value that differs, policy first, and the files that one side has broken.

    What a file leaves out has the value that the pipeline reads for it: a default written out is no change.
    """
    found: list[Setting] = []
    unread: list[str] = []
    for name in CONFIGS:
        values = _both(before, after, name)
        if values[0] is None or values[1] is None:
            unread.append(name)
            continue
        old, new = dict(_flat(values[0])), dict(_flat(values[1]))
        for key in dict.fromkeys([*new, *old]):
            was, now = (side.get(key, _ABSENT) for side in (old, new))
            if was != now or type(was) is not type(now):
                found.append(Setting(name, key, _shown(was), _shown(now), is_policy(name, key)))
    return sorted(found, key=lambda setting: not setting.policy), unread


def _both(before: Path, after: Path, name: str) -> list[dict[str, Any] | None]:
    """The file's values on both sides, with their defaults where both are whole; see `_values`."""
    written = [_values(root, name) for root in (before, after)]
    read = [_read(values, _SCHEMAS[name]) if values and name in _SCHEMAS else None for values in written]
    return written if None in read else read


def _values(root: Path, name: str) -> dict[str, Any] | None:
    """The file's values; {} where there is no such file, None where it is broken."""
    if not os.path.lexists(root / name):
        return {}
    problems = Problems(keep=0)
    located = read_yaml(root / name, name, problems)
    return None if located is None or problems.error_count else located.values


def _read(values: dict[str, Any], schema: type[BaseModel]) -> dict[str, Any] | None:
    """The values as a step reads them; None where the schema refuses them."""
    model = build(schema, Located("", values), Problems(keep=0))
    return model.model_dump(mode="json") if model else None


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves by dotted key; an entry of a list of named things goes by its name, so that a new one moves no other."""
    if isinstance(value, dict) and value:
        for name, child in value.items():
            yield from _flat(child, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and value and all(map(_is_named, value)):
        for child in value:
            rest = {name: part for name, part in child.items() if name != "name"}
            yield from _flat(rest, f"{key}[{child['name'][:_CHARACTERS]}]")
    elif key:
        yield key, value


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("name"), str)


def _shown(value: Any) -> str | None:
    """A value as a short line; of a long text, its length and the start of its hash. None where there is none."""
    if value is _ABSENT:
        return None
    if isinstance(value, str) and (len(value) > _CHARACTERS or "\n" in value):
        digest = hashlib.sha256(value.encode("utf-8")).hexdigest()[:8]
        return f"a text of {len(value)} characters (sha256 {digest}…)"
    if isinstance(value, str):
        return shown(value, _CHARACTERS)
    if isinstance(value, list):
        return "[" + ", ".join(_shown(part) or "" for part in value[:10]) + (", …]" if len(value) > 10 else "]")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # as people write it
    return "null" if value is None else str(value).lower()


def code_changes(before: Path, after: Path) -> list[str]:
    """Files of code, tests, workflows, recipes and packages that are not the same on both sides, sorted."""
    old, new = _code(before), _code(after)
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    return [name.encode("utf-8", "backslashreplace").decode("utf-8") for name in names]


def _code(root: Path) -> dict[str, bytes]:
    """sha256 by name. Links are never followed: of one, where it points is what counts."""
    digests = {}
    for top in (name.rstrip("/") for name in machinery()):
        inside = (root / top).is_dir() and not (root / top).is_symlink()
        folders = os.walk(root / top) if inside else [(str(root), [], [top])]
        for folder, inner, names in folders:
            links = [name for name in inner if (Path(folder) / name).is_symlink()]
            inner[:] = [name for name in inner if name != "__pycache__" and name not in links]
            for name in [*names, *links]:
                path = Path(folder) / name
                if path.is_symlink():
                    content = b"link\0" + os.fsencode(os.readlink(path))
                elif path.is_file() and path.suffix != ".pyc":
                    content = path.read_bytes()
                else:
                    continue
                digests[path.relative_to(root).as_posix()] = hashlib.sha256(content).digest()
    return digests
