"""Which scripts the rows are written in, held against the language that the task declares."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

import msgspec

SCRIPTS = ("Han", "Latin", "Kana", "Hangul", "other")
SIMPLIFIED_SHARE = 0.05
"""Rows of Traditional Chinese data that may hold a simplified character: quotations, names, a variant form."""
SCRIPT_SHARE = 0.5
"""Rows that have to hold the declared language's script."""
_HAN = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# Without the middle dot and the long vowel mark (U+30FB, U+30FC): Chinese texts write both.
_KANA = "\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fd-\u30ff\u31f0-\u31ff\uff66-\uff6f\uff71-\uff9d"
_HANGUL = "\u1100-\u11ff\u3131-\u318e\ua960-\ua97c\uac00-\ud7a3\ud7b0-\ud7fb\uffa1-\uffdc"
_LATIN = "A-Za-zªºÀ-ÖØ-öø-ʸ\u1e00-\u1eff\ua722-\ua787\uff21-\uff3a\uff41-\uff5a"
_FIND = {name: re.compile(f"[{letters}]") for name, letters in (("Han", _HAN), ("Kana", _KANA), ("Hangul", _HANGUL))}
_FIND["Latin"] = re.compile(f"[{_LATIN}]")
_FIND["other"] = re.compile(rf"[^\W\d_{_HAN}{_KANA}{_HANGUL}{_LATIN}]")
_WORD = re.compile(f"[{_LATIN}]{{2}}")
# Most Chinese rows hold nothing but this: one look instead of three.
_COMMON = re.compile(
    "[^\x00-\x7f\u2010-\u2027\u3000-\u3004\u3008-\u303f\u4e00-\u9fff\uff01-\uff20\uff3b-\uff40\uff5b-\uff64]"
)
_BY_LANGUAGE = {"zh": "Han", "yue": "Han", "ja": "Kana", "ko": "Hangul"}
_LATIN_LANGUAGES = frozenset(
    {
        "af",
        "ca",
        "cs",
        "cy",
        "da",
        "de",
        "en",
        "es",
        "et",
        "eu",
        "fi",
        "fil",
        "fr",
        "ga",
        "gl",
        "hr",
        "hu",
        "id",
        "is",
        "it",
        "lt",
        "lv",
        "ms",
        "mt",
        "nb",
        "nl",
        "nn",
        "no",
        "pl",
        "pt",
        "ro",
        "sk",
        "sl",
        "sq",
        "sv",
        "sw",
        "tl",
        "tr",
        "vi",
        "zu",
    }
)
_BY_SUBTAG = {"hans": "Han", "hant": "Han", "hani": "Han", "jpan": "Kana", "kore": "Hangul", "latn": "Latin"}
_TRADITIONAL_REGIONS = ("tw", "hk", "mo")


class LanguageCounts(msgspec.Struct):
    """Counts rows; those of several processes are merged. A row may hold more than one script, or none."""

    rows: int = 0
    mixed: int = 0
    """Rows with Han characters and a word in Latin letters."""
    simplified: int = 0
    """Rows with a character that only Simplified Chinese has."""
    scripts: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(SCRIPTS, 0))

    def add(self, text: str) -> None:
        """Count one row, by its text."""
        self.rows += 1
        if text.isascii():  # also a row of digits alone: it speaks against no language
            self.scripts["Latin"] += 1
            return
        han = _FIND["Han"].search(text) is not None
        latin = _FIND["Latin"].search(text) is not None
        self.scripts["Han"] += han
        self.scripts["Latin"] += latin
        self.mixed += han and latin and _WORD.search(text) is not None
        kana = False
        if _COMMON.search(text):
            kana = _FIND["Kana"].search(text) is not None
            self.scripts["Kana"] += kana
            for name in ("Hangul", "other"):
                self.scripts[name] += _FIND[name].search(text) is not None
        # Japanese shares a hundred of these forms.
        self.simplified += han and not kana and _simplified().search(text) is not None

    def add_all(self, texts: Sequence[str]) -> None:
        """Count one row a text."""
        wide = [text for text in texts if not text.isascii()]
        plain = len(texts) - len(wide)
        self.rows += plain
        self.scripts["Latin"] += plain
        for text in wide:
            self.add(text)

    def merge(self, other: LanguageCounts) -> None:
        """Add what another process counted."""
        self.rows, self.mixed = self.rows + other.rows, self.mixed + other.mixed
        self.simplified += other.simplified
        for name, count in other.scripts.items():
            self.scripts[name] += count

    def warnings(self, declared: str) -> list[tuple[str, str, str]]:
        """(code, message, fix) of what does not fit the declared language: W153 other script, W154 simplified."""
        found = []
        script = script_of(declared)
        if script and self.scripts[script] < SCRIPT_SHARE * self.rows:
            found.append(
                (
                    "W153",
                    f"{self.scripts[script]} of {self.rows} rows are written in {script}, which the declared "
                    f"language {declared} is",
                    "correct language in task_definition.yaml, or look at the other rows",
                )
            )
        if is_traditional(declared) and self.simplified > SIMPLIFIED_SHARE * self.rows:
            found.append(
                (
                    "W154",
                    f"{self.simplified} of {self.rows} rows hold characters of Simplified Chinese, the declared "
                    f"language is {declared}",
                    "convert them (OpenCC s2twp), or correct language",
                )
            )
        return found


def script_of(language: str) -> str | None:
    """The script of a BCP 47 tag; None where it has another one than those that are counted, or is not known."""
    primary, *subtags = language.lower().split("-")
    written = [subtag for subtag in subtags if len(subtag) == 4 and subtag.isalpha()]
    if written:
        return _BY_SUBTAG.get(written[0])
    return "Latin" if primary in _LATIN_LANGUAGES else _BY_LANGUAGE.get(primary)


def is_traditional(language: str) -> bool:
    """Whether the tag means Traditional Chinese: by its script, else by its region."""
    primary, *subtags = language.lower().split("-")
    if primary not in ("zh", "yue") or "hans" in subtags or "latn" in subtags:
        return False
    return "hant" in subtags or any(region in subtags for region in _TRADITIONAL_REGIONS)


@cache
def simplified_only() -> frozenset[str]:
    """Characters of GB 2312 that neither Big5-HKSCS nor code page 950 has.

    Forms that both standards know (台, 里, 么) are not among them, so nothing here is ordinary Traditional Chinese.
    """
    cells = bytes(byte for row in range(0xB0, 0xF8) for cell in range(0xA1, 0xFF) for byte in (row, cell))
    characters = cells.decode("gb2312", "ignore")
    kept = {codec: set(characters.encode(codec, "ignore").decode(codec)) for codec in ("big5hkscs", "cp950")}
    return frozenset(characters) - kept["big5hkscs"] - kept["cp950"]


@cache
def _simplified() -> re.Pattern[str]:
    return re.compile(f"[{''.join(sorted(simplified_only()))}]")
