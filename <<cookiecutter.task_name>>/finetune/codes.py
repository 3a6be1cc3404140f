"""What every code of a message means and what to do about it: codes.toml, and docs/errors.md made of it.

    python -m finetune.codes      writes docs/errors.md

One file has all that is said of a code, in both languages, so that a code is added in one place. TOML, because its
parser is in the standard library and refuses a key that is written twice.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from finetune.errors import BAD_INPUT, GATE_FAILED, INTERRUPTED, IO_FAULT, MODEL_FAULT, OK

REGISTRY = Path(__file__).with_name("codes.toml")
PAGE = Path(__file__).parents[1] / "docs" / "errors.md"
CODE = re.compile(r"[EW][0-9]{3}\b")

_INTRODUCTION = """# What the messages mean

A problem reads `PATH:LINE: CODE what is wrong. Fix: what to do`. E is an error, W a warning that stops nothing.
A code has one meaning; the message adds the place and the value. `docs/errors.md#E135` is the address of E135. Written
from `finetune/codes.toml` by `python -m finetune.codes`.
"""
_EXIT_CODES = {
    OK: "done",
    BAD_INPUT: "the input is wrong: files, configuration or options",
    MODEL_FAULT: "a model or the program went wrong: NaN, out of memory, an artefact that answers garbage",
    IO_FAULT: "disk, network or a remote service failed: run it again",
    INTERRUPTED: "stopped from outside; the same command goes on or starts over, as the message says",
    GATE_FAILED: "a measured value is outside its threshold or tolerance, or a check asked for does not hold",
}
_LAUNCHERS = """
`accelerate launch` and `torchrun` end with 1 whatever the script in them ended with: its own code stands in their last
lines (`returned non-zero exit status 75`, `exitcode : 75`).
"""


@dataclass(frozen=True)
class Meaning:
    """One code: sentences of one line, in Markdown's code spans at most."""

    code: str
    cause: str
    remedy: str
    chinese: str
    """Cause and remedy, in Traditional Chinese."""


@dataclass(frozen=True)
class Section:
    """The codes of one step or room."""

    title: str
    meanings: tuple[Meaning, ...]


def read_registry(path: Path = REGISTRY) -> list[Section]:
    """The whole of codes.toml; OSError, ValueError or KeyError where it is not there or damaged."""
    return [_section(table) for table in tomllib.loads(path.read_text(encoding="utf-8")).values()]


def _section(table: Mapping[str, str | dict[str, str]]) -> Section:
    codes = {code: entry for code, entry in table.items() if isinstance(entry, dict)}
    made = (Meaning(code, entry["cause"], entry["remedy"], entry["zh-TW"]) for code, entry in codes.items())
    return Section(str(table["title"]), tuple(made))


def page() -> str:
    """docs/errors.md."""
    return "\n".join(_lines(read_registry()))


def _lines(sections: list[Section]) -> Iterator[str]:
    yield _INTRODUCTION
    for section in sections:
        yield f"## {section.title}\n"
        yield "| Code | What is wrong | What to do | 中文 |\n|---|---|---|---|"
        for one in section.meanings:
            cells = (f'<a id="{one.code}"></a>{one.code}', one.cause, one.remedy, one.chinese)
            yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
        yield ""
    yield "## Exit codes\n"
    yield "| Exit code | Meaning |\n|---|---|"
    yield from (f"| {code} | {meaning} |" for code, meaning in _EXIT_CODES.items())
    yield _LAUNCHERS


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
