"""What a version is: semver.org without the build metadata that the Hub's tags do not carry, and a tag with its v.

Tags, iterations, receipts, the checklist and the search for an adapter all read versions here, so that a pre-release
that one of them takes is a version for the others too. Python's own rule (PEP 440, package `packaging`) is another one:
it reads 1.2.3.4 and knows no 1.2.3-alpha.beta.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NUMBER = r"(?:0|[1-9][0-9]{0,5})"
_WORD = r"(?:0|[1-9][0-9]{0,17}|[0-9]{0,17}[A-Za-z-][0-9A-Za-z-]{0,31})"
VERSION = rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-{_WORD}(?:\.{_WORD}){{0,7}})?"
"""As a regular expression without groups."""
_VERSION = re.compile(VERSION)


@dataclass(frozen=True)
class Version:
    """1.2.3 or 1.2.3-rc.1; made by `parse_version` and `parse_tag` alone."""

    text: str

    @property
    def tag(self) -> str:
        return f"v{self.text}"

    @property
    def prerelease(self) -> bool:
        return "-" in self.text

    @property
    def order(self) -> tuple[object, ...]:
        """Sorts by the precedence of semver.org: 1.2.3-rc.9, 1.2.3-rc.10, 1.2.3, 1.10.0."""
        numbers, _, words = self.text.partition("-")
        given = words.split(".") if words else []
        ranked = tuple((0, int(word), "") if word.isdigit() else (1, 0, word) for word in given)
        return (*map(int, numbers.split(".")), not words, ranked)


def parse_version(text: str) -> Version | None:
    """The version written in `text`, without a v; None when it is none."""
    return Version(text) if _VERSION.fullmatch(text) else None


def parse_tag(name: str) -> Version | None:
    """The version of a tag's name, which has a v before it; None when it is none."""
    return parse_version(name[1:]) if name.startswith("v") else None
