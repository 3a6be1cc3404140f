"""What is done with each code point of Unicode 16: one table with reasons, for checks, comparing, metrics and names.

A code point that no row holds is kept as it is: letters, marks, digits, punctuation, symbols, emoji. Rows name
blocks and ranges of Unicode 16 instead of asking Python, whose own tables differ by version; what is unassigned is
kept, since a newer Unicode may have it. Composing (NFC) is no property of a single code point: rows not in NFC are
W118.
"""

from __future__ import annotations

import re
import unicodedata
from enum import Enum
from functools import lru_cache


class Treatment(Enum):
    """What becomes of a code point where it stands without the company it belongs to."""

    KEEP = "part of the text"
    REFUSE = "no text: E116"
    HIDE = "hides something from people, never needed in a row: E117"
    INVISIBLE = "seen by nobody, ignored when texts are compared: W117, many in a row E117"
    JOINER = "joins or parts letters of some scripts, and emoji; elsewhere as INVISIBLE"
    SELECTOR = "chooses a picture of the sign before it, one at a time; elsewhere E117"
    LOST = "stands for something that was lost, or means nothing outside one program: W119"


_K, _R, _H, _I = Treatment.KEEP, Treatment.REFUSE, Treatment.HIDE, Treatment.INVISIBLE
_J, _S, _L = Treatment.JOINER, Treatment.SELECTOR, Treatment.LOST
TABLE: tuple[tuple[int, int, Treatment, str], ...] = (
    (0x0000, 0x0008, _R, "control characters"),
    (0x0009, 0x000D, _K, "tab, line and page breaks of real documents"),
    (0x000E, 0x001B, _R, "control characters, escape among them"),
    (0x001C, 0x001E, _K, "separators that Python takes for line ends"),
    (0x001F, 0x001F, _R, "a control character"),
    (0x007F, 0x0084, _R, "delete and C1 controls: mostly windows-1252 read as Latin-1"),
    (0x0085, 0x0085, _K, "next line, of mainframes"),
    (0x0086, 0x009F, _R, "C1 controls"),
    (0x00AD, 0x00AD, _I, "soft hyphen, of web pages"),
    (0x034F, 0x034F, _J, "combining grapheme joiner, for Hebrew points"),
    (0x061C, 0x061C, _I, "Arabic letter mark"),
    (0x115F, 0x1160, _J, "Hangul fillers, for old syllables"),
    (0x17B4, 0x17B5, _I, "Khmer vowels that Unicode discourages"),
    (0x180B, 0x180D, _S, "Mongolian variation selectors"),
    (0x180E, 0x180E, _I, "Mongolian vowel separator"),
    (0x180F, 0x180F, _S, "Mongolian variation selector"),
    (0x200B, 0x200D, _J, "zero width space, non-joiner, joiner"),
    (0x200E, 0x200F, _I, "marks of direction"),
    (0x202A, 0x202E, _H, "embeddings and overrides of direction: the order that people see is not the text's"),
    (0x2060, 0x2065, _I, "word joiner and invisible operators"),
    (0x2066, 0x2069, _H, "isolates of direction"),
    (0x206A, 0x206F, _H, "deprecated format characters"),
    (0x3164, 0x3164, _I, "Hangul filler"),
    (0xE000, 0xF8FF, _L, "private use"),
    (0xFDD0, 0xFDEF, _L, "noncharacters"),
    (0xFE00, 0xFE0F, _S, "variation selectors"),
    (0xFEFF, 0xFEFF, _I, "byte order mark inside a text"),
    (0xFFA0, 0xFFA0, _I, "half-width Hangul filler"),
    (0xFFF0, 0xFFF8, _H, "unassigned and never shown"),
    (0xFFF9, 0xFFFB, _H, "interlinear annotation"),
    (0xFFFC, 0xFFFC, _L, "an embedded object that is gone"),
    (0xFFFD, 0xFFFD, _L, "replacement character: a byte that could not be decoded"),
    (0xFFFE, 0xFFFF, _L, "noncharacters"),
    (0x1BCA0, 0x1BCA3, _I, "format controls of shorthand"),
    (0x1D173, 0x1D17A, _I, "format controls of music"),
    *((plane | 0xFFFE, plane | 0xFFFF, _L, "noncharacters") for plane in range(0x10000, 0xE0000, 0x10000)),
    (0xE0000, 0xE00FF, _H, "tags, outside of flags of regions"),
    (0xE0100, 0xE01EF, _S, "variation selectors of Han characters"),
    (0xE01F0, 0xE0FFF, _H, "unassigned and never shown"),
    (0xEFFFE, 0xEFFFF, _L, "noncharacters"),
    (0xF0000, 0x10FFFF, _L, "private use, and noncharacters"),
)
"""First and last code point, what is done, and why. In order, without overlap."""
_BLANK = "\u2800\U00013441\U00013442\U00016fe4\U0001d159"
"""Braille blank, blanks of hieroglyphs, filler of Khitan, null note head: shown, as nothing."""


def ranges(*wanted: Treatment) -> str:
    """The code points with one of these treatments, as the inside of a character class."""
    return "".join(
        re.escape(chr(first)) + ("-" + re.escape(chr(last)) if last > first else "")
        for first, last, treatment, _ in TABLE
        if treatment in wanted
    )


def treatment(character: str) -> tuple[Treatment, str]:
    """What is done with one character, and why."""
    point = ord(character)
    return next(((found, why) for first, last, found, why in TABLE if first <= point <= last), (_K, "part of the text"))


_PICTURED = (
    "#*0-9\u00a9\u00ae\u203c\u2049\u2100-\u214f\u2190-\u23ff\u24c2\u25a0-\u27bf\u2900-\u297f\u2b00-\u2bff\u3030\u303d"
    "\u3297\u3299\U0001f000-\U0001faff"
)
_VARIED = "0\u1000-\u109f\u2200-\u22ff\u2a00-\u2aff\u3000-\u9fff\ua840-\ua87f\uf900-\uffef\U00013000-\U000143fa"
_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_SELECTED = re.compile(
    f"([{_PICTURED}])[\ufe0e\ufe0f]|([{_VARIED}{_HAN}])[\ufe00-\ufe06]|([{_HAN}])[\U000e0100-\U000e01ef]"
    "|([\u1800-\u18af])[\u180b-\u180d\u180f]"
    "|(\U0001f3f4)[\U000e0030-\U000e007a]{2,7}\U000e007f"
)
"""A sign and the selector that belongs to it: emoji, standardised variants, variants of Han; flags of regions."""
_PLAIN = "\\s!-~\u3000-\u9fff\uac00-\ud7a3"
_LOOSE = re.compile(
    f"[{ranges(_I)}]"
    f"|(?:^|(?<=[{_PLAIN}]))[\u200c\u200d]+(?=[{_PLAIN}]|$)"  # Arabic, Indic scripts and emoji join with them
    "|(?<![\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff])\u200b(?![\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff])"
    "|(?<![\u0590-\u05ff])\u034f|\u115f(?![\u1160-\u11ff])|(?<![\u1100-\u115f])\u1160"
)
_RUN = re.compile(f"[{ranges(_I, _J)}]{{4,}}")
_HIDDEN = re.compile(f"[{ranges(_H)}]")
_SELECTORS = re.compile(f"[{ranges(_S)}]")
_CONTROLS = re.compile(f"[{ranges(_R)}]")
_LOST = re.compile(f"[{ranges(_L)}]")
IGNORED = re.compile(f"[{ranges(_H, _I, _S)}\u200b\u034f\u115f\u1160]")
"""What two texts may differ in and still be the same to people; the joiners, which change letters and emoji, count."""
DROPPED = re.compile(f"[{ranges(_H, _I, _J)}]")
"""What somebody may write between the letters of a forbidden word."""
_NOTHING = re.compile(f"[{ranges(_R, _H, _I, _J, _S)}{_BLANK}\\s]+")
ODD = ranges(_R, _H, _I, _J, _S, _L)
"""Everything that is not kept wherever it stands, as the inside of a character class."""
UNSEEN = ranges(_H, _I, _J)
"""Signs without a picture of their own, as the inside of a character class."""


def is_blank(text: str) -> bool:
    """True when a reader sees nothing: white space, invisible signs, signs whose picture is empty."""
    return not text.strip() or (not text.isascii() and _NOTHING.fullmatch(text) is not None)


_UNLIKE = ("<super>", "<sub>", "<fraction>", "<circle>")


@lru_cache(maxsize=1)
def _grown() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Any sign whose plain form is smaller, larger or encircled; where one would grow together with a digit."""
    signs = "".join(sign for sign in map(chr, range(0x20000)) if unicodedata.decomposition(sign).startswith(_UNLIKE))
    return re.compile(f"[{signs}]"), re.compile(rf"[\d{signs}](?=[{signs}])|[{signs}](?=\d)")


def compatible(text: str) -> str:
    """NFKC without what nobody sees. A superscript, fraction or encircled number stays apart from the digit beside it.

    So ＡＢ１ is AB1 and CO₂ is CO2, but 10² is no 102.
    """
    text = IGNORED.sub("", text)
    any_sign, beside_digit = _grown()
    if any_sign.search(text):
        text = beside_digit.sub(r"\g<0> ", text)
    return unicodedata.normalize("NFKC", text)


def control(text: str) -> re.Match[str] | None:
    """The first control character (E116)."""
    return _CONTROLS.search(text)


def hidden(text: str) -> list[tuple[str, str, str]]:
    """(code, sign, what it is) of what people do not see: the first of each kind, E117 before W117."""
    plain = _SELECTED.sub(lambda found: found[found.lastindex or 0], text)
    kinds = (
        (_HIDDEN, "E117", "a character that hides something"),
        (_SELECTORS, "E117", "variation selector that belongs to no sign before it"),
        (_RUN, "E117", "a run of invisible characters"),
        (_LOOSE, "W117", "invisible character"),
    )
    found = [(code, match[0][0], what) for pattern, code, what in kinds if (match := pattern.search(plain))]
    return found if not any(code == "E117" for code, *_ in found) else [one for one in found if one[0] == "E117"]


def lost(text: str) -> str | None:
    """The first sign that stands for something lost (W119)."""
    match = _LOST.search(text)
    return match[0] if match else None


_LOOKS = str.maketrans(
    # Cyrillic, Greek, Armenian letters with the picture of a Latin one; not 0 and O or 1 and l, which people mean
    "аеорсухіјѕһԁԛԝАВЕКМНОРСТУХІЈЅΑΒΕΖΗΙΚΜΝΟΡΤΥΧοναιօսՕ",
    "aeopcyxijshdqwABEKMHOPCTYXIJSABEZHIKMNOPTYXovaiouO",
)


def skeleton(text: str) -> str:
    """What two names have in common that look alike: other forms of letters, their case, white space, the unseen."""
    return " ".join(compatible(text.translate(_LOOKS)).casefold().split())


def difference(text: str, other: str) -> str:
    """The first place where two names that look alike differ, by code points."""
    pairs = zip(text, other, strict=False)
    at = next((place for place, (mine, theirs) in enumerate(pairs) if mine != theirs), min(len(text), len(other)))
    mine, theirs = (f"U+{ord(one[at]):04X}" if at < len(one) else "nothing" for one in (text, other))
    return f"{mine} where the other has {theirs}, at character {at + 1}"
