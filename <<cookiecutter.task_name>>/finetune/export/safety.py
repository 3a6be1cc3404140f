"""What a model folder may hold before any tool opens it, and whether the disk takes what is about to be written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from finetune.errors import FinetuneError, StorageFault

CODE_SUFFIXES = (".py", ".pyc", ".so", ".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")
"""Python, libraries, and weight formats that are pickles: loading one runs what its author put in."""

CODE_KEYS = ("auto_map", "custom_pipelines")
"""Keys by which a model repository names code of its own; several converter modules would import it."""

MARGIN = 1.2


def refuse_code(folder: Path, shown: str) -> None:
    """Refuse a model folder that carries code, pickles, links to elsewhere or keys that load code (E510).

    Raises FinetuneError naming every such file; `shown` is the folder in messages.
    """
    found = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
            found.append(f"{name} (a link out of the folder)")
        elif path.suffix.lower() in CODE_SUFFIXES:
            found.append(name)
        elif path.suffix.lower() == ".json" and path.is_file():
            found += [f"{name} ({key})" for key in _code_keys(path)]
    if found:
        listed = ", ".join(found[:10]) + (f" and {len(found) - 10} more" if len(found) > 10 else "")
        raise FinetuneError(
            f"{shown} holds what could run code: {listed}", "run scripts/05_merge_adapter.py --force", "E510"
        )


def _code_keys(path: Path) -> list[str]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return ["not JSON"]
    if path.name == "tokenizer.json":  # a vocabulary: its keys are tokens, and no loader imports from it
        return []
    present: set[str] = set()
    pending: list[Any] = [values]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            present.update(key for key in CODE_KEYS if key in value)
            pending += value.values()
        elif isinstance(value, list):
            pending += value
    return sorted(present)


def require_space(folder: Path, needed: int, what: str) -> None:
    """Refuse to start when `folder`'s disk has less than `needed` bytes and a fifth more free (E974)."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed * MARGIN:
        raise StorageFault(
            f"{what} needs about {needed * MARGIN / 1e9:.1f} GB, {free / 1e9:.1f} GB are free",
            "free space and run the same command again",
            "E974",
        )
