"""What a code means and what to do about it, in the language of the task, beside the English message.

Messages have one home and one wording, English, so that a code and its words can be searched and quoted everywhere. A
team whose task is in Chinese gets one more sentence a code from codes.toml, `E135 修正：…`: on terminals, in
annotations, in the data report and in the pull request's comment. What machines read (`--json`, the reports' JSON, exit
codes) is the same in every language. FINETUNE_LANG=en or zh-TW decides instead of task_definition.yaml.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from finetune import codes

VARIABLE = "FINETUNE_LANG"
_LANGUAGE = re.compile(rb"^language:[ \t]*[\"']?([A-Za-z0-9-]+)", re.MULTILINE)
_READ = 256 * 1024
_SIMPLIFIED = {"hans", "latn", "cn", "sg", "my"}
_root = Path(".")


def use(root: Path) -> None:
    """From now on the task_definition.yaml below `root` says which language people read."""
    global _root
    _root = Path(root)


def in_chinese(language: str) -> bool:
    """Whether people who work on texts of this BCP 47 tag read Traditional Chinese, as far as it says."""
    primary, *subtags = language.lower().split("-")
    return primary in ("zh", "yue") and not _SIMPLIFIED.intersection(subtags)


def language() -> str:
    """FINETUNE_LANG, else the task's; looked for in the bare text, because the file may be what is wrong."""
    if chosen := os.environ.get(VARIABLE):
        return chosen
    try:
        with (_root / "task_definition.yaml").open("rb") as file:
            found = _LANGUAGE.search(file.read(_READ))
    except OSError:
        return "en"
    return found[1].decode("ascii") if found else "en"


def remedies(asked: Iterable[str]) -> dict[str, str]:
    """Sentences by code, each code once and in its order; empty where people read English."""
    known = _catalogue() if in_chinese(language()) else {}
    return {code: known[code] for code in asked if code in known}


def remedy_lines(asked: Iterable[str]) -> list[str]:
    """A line for each code that has one: `E135 修正：…`."""
    return [f"{code} 修正：{sentence}" for code, sentence in remedies(asked).items()]


def _catalogue() -> dict[str, str]:
    """Never the reason why a message does not arrive: without its file there are no remedies."""
    try:
        sections = _registry(codes.REGISTRY)
    except (OSError, ValueError, KeyError):
        return {}
    return {meaning.code: meaning.chinese for section in sections for meaning in section.meanings}


@cache
def _registry(path: Path) -> list[codes.Section]:
    return codes.read_registry(path)
