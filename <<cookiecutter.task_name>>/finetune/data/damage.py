"""Traces of a wrong conversion in texts: signs that were lost, another encoding, markup and escapes of other formats.

Each is a warning with a count and some places, once for all data: nobody wants a line for each of ten thousand rows.
The patterns are strict rather than complete: French, Portuguese, Vietnamese and code use the same signs rightly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.entities import html5

import msgspec

from finetune import characters

_NEXT = (
    "\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013\u2014\u2018-\u201e\u2020-\u2022\u2026"
    "\u2030\u2039\u203a\u20ac\u2122"
)
"""What the bytes 80 to BF of UTF-8 become in Latin-1 and windows-1252."""
_SECOND = "\u00a1-\u00aa\u00ac-\u00ba\u00bc-\u00bf"
"""Those that no quotation mark, dash or space looks like: Portuguese writes AMANHÃ before them."""
_MOJIBAKE = re.compile(
    f"\u00c3[{_SECOND}\u0153\u0178\u201e\u2030\u0160]|\u00c2[{_SECOND}]"  # é, ü, ß; £, °
    f"|\u00e2(?:\u20ac|\u0080)[{_NEXT}]|\u00f0(?:\u0178|\u009f)[{_NEXT}]"  # quotation marks, dashes; emoji
    f"|(?:[\u00d0\u00d1][{_NEXT}]){{2}}|(?:[\u00ce\u00cf][{_NEXT}]){{2}}"  # Cyrillic, Greek
    f"|(?:[\u00d8\u00d9][{_NEXT}]){{2}}|(?:\u00d7[{_NEXT}]){{2}}"  # Arabic, Hebrew
    f"|(?:[\u00e0\u00e3-\u00e9][{_NEXT}]{{2}}){{2}}"  # kana, Han, Thai, Indic
    "|\u00ef\u00bb\u00bf|\u951f\u65a4\u62f7"
)
_ENTITY = re.compile(r"&(?:#\d{2,7}|#[xX][0-9a-fA-F]{2,6}|[a-zA-Z]{2,8}[1-4]{0,2});")
_EXCEL = re.compile(r"_x[0-9a-fA-F]{4}_")
_ESCAPE = re.compile(r"(?<![\w:\\.])\\[nrt](?![\w\\])|(?<=\w)\\[nr](?=[A-Z\s]|$)(?<![A-Z]:\\[nr])|\\u[0-9a-fA-F]{4}")
MAY_BE = re.compile("[&\\\\\u00c2\u00c3\u00ce-\u00d1\u00d7-\u00d9\u00e0\u00e2-\u00e9\u00ef\u00f0\u951f]|_x")
"""Every damaged text has one of these; or a lost sign, which is odd anyway."""
_PLACES = 5
Kind = tuple[str, str, str]
"""Code, what it is, what to do."""
LOST: Kind = (
    "W119",
    "signs that stand for something lost (U+FFFD, private use, noncharacters)",
    "restore them from the source",
)
MOJIBAKE: Kind = (
    "W120",
    "text of another encoding (like Ã© for é)",
    "import the source file anew: scripts/import_data.py finds its encoding",
)
ENTITIES: Kind = (
    "W120",
    "HTML entities (like &amp;)",
    "write the signs themselves, unless users write them so",
)
EXCEL: Kind = ("W120", "escapes of Excel (like _x000D_)", "import the workbook itself, or remove them")
ESCAPES: Kind = (
    "W120",
    "escapes written out (like \\n or \\u00e9)",
    "write the signs themselves, unless the text is about code",
)


class Seen(msgspec.Struct):
    """How many rows hold one kind, and the first places."""

    rows: int = 0
    places: list[str] = []

    def add(self, other: Seen) -> None:
        self.rows += other.rows
        self.places += other.places[: _PLACES - len(self.places)]

    def __str__(self) -> str:
        more = ", …" if self.rows > len(self.places) else ""
        return f"{self.rows:,} row{'s' * (self.rows != 1)} ({', '.join(self.places)}{more})"


def damage(text: str) -> Iterator[Kind]:
    """The kinds that the text holds."""
    if not text.isascii() and characters.lost(text):
        yield LOST
    if not MAY_BE.search(text):
        return
    if _MOJIBAKE.search(text):
        yield MOJIBAKE
    if any(found[0].startswith("&#") or found[0][1:] in html5 for found in _ENTITY.finditer(text)):
        yield ENTITIES
    if _EXCEL.search(text):
        yield EXCEL
    if _ESCAPE.search(text):
        yield ESCAPES
