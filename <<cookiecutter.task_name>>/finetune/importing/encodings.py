"""The encoding of a text file, and why: strict decodes of the whole file decide, then how common its characters are.

Big5 and GB 18030 read most of each other's bytes without an error, as rare characters. Real text is made of common
ones, so each candidate is scored by the share of its characters that are common; what none explains is refused.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from finetune.errors import FinetuneError

_BLOCK = 1024 * 1024
_SAMPLE_BYTES = 256 * 1024
_PLAUSIBLE = 0.8
"""Share of common characters below which a text is no text of that encoding; real Chinese has 0.97 or more."""
_CLEAR = 0.1
"""Difference of two scores below which the language of the task decides."""
_CLEAR_OF_FEW, _FEW = 0.35, 24
"""Where fewer bytes than _FEW lie above ASCII, a difference below this one makes the choice a guess, and is said."""
_SENTENCE, _EVERYDAY_SHARE = 8, 0.2
"""Of so many Han characters, so many are among the 300 of everyday; of 530 Chinese sentences the least had 0.25."""
_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_SHOWN = {
    "utf-8-sig": "UTF-8 with BOM",
    "cp950": "Big5 (CP950)",
    "big5hkscs": "Big5-HKSCS",
    "gb18030": "GB18030",
    "cp1252": "Windows-1252",
}
_HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_CHINESE_SIGNS = re.compile("[\u2014\u2018-\u201d\u2026\u3001-\u3011\u3105-\u3129\uff01-\uff5e]")
# Latin letters and the signs that stand beside them; Chinese bytes read as Windows-1252 are half of other signs.
_WESTERN = re.compile("[À-ÖØ-öø-ÿŒœŠšŽžŸ‘’“”–—…€«»°¿¡£§©®´·]")
_RUN = re.compile(rb"[\x80-\xff]+")
_EVERYDAY = (
    "的一是不了在人有我他這这個个們们中來来上大為为和國国地到以說说時时要就出會会可也你對对生能而子那得於于著着下自之年過过發发後后"
    "作里裡用道行所然家種种事成方多經经麼么去法學学如都同現现當当沒没動动面起看定天分還还進进好小部其些主樣样理心她本前開开但因只"
    "從从想實实日軍军者意無无力它與与長长把機机十民第公此已工使情明性知全三又關关點点正業业外將将兩两高間间由問问很最重並并物手應"
    "应戰战向頭头文體体政美相見见被利什二等產产或新己制身果加西斯月話话合回特代內内信表化老給给世位次度門门任常先海通教兒儿原東东"
    "聲声提立及比員员解水名真論论處处走義义各入幾几口認认條条平系氣气題题活爾尔更別别打女變变四神總总何電电數数安少報报才結结反"
    "受目太量再感建務务做接必場场件計计管期市直德資资命山金指克許许統统區区保至隊队形社便空決决治展馬马科司五基眼書书非則则聽听"
    "白卻却界達达光放強强即像難难且權权思王象完設设式色路記记南品住告類类求據据程北邊边死張张該该交規规萬万取拉格望覺觉術术領领"
    "共確确傳传師师觀观清今切院讓让識识候帶带導导爭争運运請请貨货買买賣卖退換换款訂订單单價价錢钱快慢差客服評评質质推薦荐失喜歡欢"
)


@dataclass(frozen=True)
class Encoding:
    """A codec, what people call it, and what speaks for it."""

    codec: str
    reason: str
    sure: bool = True

    @property
    def shown(self) -> str:
        return _SHOWN.get(self.codec, self.codec.upper())


def find_encoding(file: Path, name: str, language: str, asked: str | None = None) -> Encoding:
    """The encoding of `file`, shown as `name` in errors, of a task in `language`; or `asked`, if it fits.

    Raises FinetuneError (E163) where the bytes do not fit, or fit nothing well.
    """
    if asked is not None:
        return _explicit_encoding(file, name, asked)
    with open(file, "rb") as stream:
        head = stream.read(_BLOCK)
    for bom, codec in _BOMS.items():
        if head.startswith(bom):
            return _checked(file, name, Encoding(codec, "it begins with a byte order mark"))
    if unmarked := _without_mark(head):
        return _checked(file, name, Encoding(unmarked, "every other byte of its ASCII characters is zero"))
    if b"\0" in head:
        fix = "save it as CSV, XLSX, JSON or Parquet"
        raise FinetuneError(f"{name}: not text: it holds zero bytes", fix, "E162")
    broken = _broken_at(file, "utf-8")
    if broken is None:
        reason = "ASCII" if head.isascii() and file.stat().st_size <= _BLOCK else "the whole file is valid UTF-8"
        return Encoding("utf-8", reason)
    if _is_damaged_utf8(head):
        what = f"is UTF-8, but damaged at {broken}"
        raise FinetuneError(f"{name}: {what}", "save it as UTF-8 once more, or copy it again", "E163")
    return _legacy(file, name, language, broken)


def _explicit_encoding(file: Path, name: str, asked: str) -> Encoding:
    try:
        codec = codecs.lookup(asked).name
        "x".encode(codec)
    except (LookupError, TypeError, ValueError):
        known = "utf-8, utf-16, cp950, big5hkscs, gb18030, cp1252"
        raise FinetuneError(f"--encoding {asked[:40]!r} is not an encoding", f"one of {known}", "E172") from None
    codec = "utf-8-sig" if codec == "utf-8" else codec
    return _checked(file, name, Encoding(codec, "--encoding says so"))


def _checked(file: Path, name: str, encoding: Encoding) -> Encoding:
    if place := _broken_at(file, encoding.codec):
        what = f"does not read as {encoding.shown} ({encoding.reason}): {place}"
        raise FinetuneError(f"{name}: {what}", "save it as UTF-8, or say which with --encoding", "E163")
    return encoding


def _legacy(file: Path, name: str, language: str, broken: str) -> Encoding:
    sample = _sample(file)
    scores: list[tuple[float, str]] = []
    for codec in ("cp950", "big5hkscs", "gb18030", "cp1252"):
        if codec == "big5hkscs" and any(known == "cp950" for _, known in scores):
            continue  # the smaller set explains the file already
        if _broken_at(file, codec) is None:
            scores.append((_western(sample) if codec == "cp1252" else _chinese(sample, codec), codec))
    # A task in Traditional Chinese speaks for Big5, another Chinese one for GB 18030; only where the bytes do not.
    big5_first = "hant" in language.lower() or language.lower().endswith(("-tw", "-hk", "-mo"))
    order = ("cp950", "big5hkscs", "gb18030", "cp1252") if big5_first else ("gb18030", "cp950", "big5hkscs", "cp1252")
    scores.sort(key=lambda pair: (-pair[0], order.index(pair[1])))
    fix = "save it as UTF-8, or say which with --encoding (cp950, big5hkscs, gb18030, cp1252, shift_jis, euc-kr, …)"
    if not scores or scores[0][0] < _PLAUSIBLE:
        what = (
            f"{name}: its encoding cannot be told; not UTF-8: {broken}; as Big5, GB18030 or Windows-1252 it reads badly"
        )
        raise FinetuneError(what, fix, "E163")
    best, codec = scores[0]
    few = sum(byte > 0x7F for byte in sample) < _FEW
    near = [pair for pair in scores[1:] if best - pair[0] < (_CLEAR_OF_FEW if few else _CLEAR)]
    if not near:
        kind = "letters stand as in Western text" if codec == "cp1252" else "characters are common ones"
        return Encoding(codec, f"not UTF-8; so read, its {kind}")
    # The order puts Western text last: it is read from any bytes.
    codec = min((codec, *(other for score, other in near if best - score < _CLEAR)), key=order.index)
    others = " or ".join(_SHOWN[other] for _, other in (scores[0], *near) if other != codec)
    reason = f"a guess, {others} would also fit; the task's language is {language}; --encoding overrides"
    return Encoding(codec, reason, sure=False)


def _broken_at(file: Path, codec: str) -> str | None:
    """Where `file` stops being `codec`, as line and byte offset; None where all of it decodes."""
    decoder = codecs.getincrementaldecoder(codec)()
    done, lines = 0, 1
    with open(file, "rb") as stream:
        while True:
            block = stream.read(_BLOCK)
            pending = decoder.getstate()[0] if not codec.startswith("utf-16") else b""
            try:
                text = decoder.decode(block, not block)
            except UnicodeError as bad:
                start = getattr(bad, "start", 0)
                data = pending + block
                line = lines + data[:start].count(b"\n")
                byte = f"0x{data[start]:02x}" if start < len(data) else "the end"
                return f"{byte} on line {line}, offset {done - len(pending) + start}"
            lines += text.count("\n")
            done += len(block)
            if not block:
                return None


def _without_mark(head: bytes) -> str | None:
    """The byte order of UTF-16 without a mark: its ASCII characters have their zero always on the same side."""
    few, many = sorted((head[::2].count(0), head[1::2].count(0)))
    if many < 2 or few * 5 > many or many * 100 < len(head):
        return None
    return "utf-16-be" if head[::2].count(0) == many else "utf-16-le"


def _is_damaged_utf8(head: bytes) -> bool:
    """Whether nearly all that is not ASCII is valid UTF-8: no other encoding looks so."""
    text = head.decode("utf-8", "replace")
    bad = text.count("\ufffd")
    return sum(1 for sign in text if sign > "\x7f") - bad > 9 * bad


def _sample(file: Path) -> bytes:
    """The first lines that are not ASCII, whole ones."""
    kept, size = [], 0
    for line in _lines(file):
        if not line.isascii():
            kept.append(line)
            size += len(line)
            if size >= _SAMPLE_BYTES:
                break
    return b"\n".join(kept)


def _lines(file: Path) -> Iterator[bytes]:
    with open(file, "rb") as stream:
        while line := stream.readline(_SAMPLE_BYTES):
            yield line.rstrip(b"\r\n")


def _chinese(sample: bytes, codec: str) -> float:
    """Share of what is not ASCII that is common in Chinese, everyday characters counting most; 0 to about 1.2."""
    text = sample.decode(codec, "ignore")
    wide = [sign for sign in text if sign > "\x7f"]
    han = sum(1 for sign in wide if _HAN.match(sign))
    if not han:
        return 0.0
    common = sum(1 for sign in wide if sign in _common() or _CHINESE_SIGNS.match(sign))
    everyday = sum(1 for sign in wide if sign in _EVERYDAY) / han
    if han >= _SENTENCE and everyday < _EVERYDAY_SHARE:
        return 0.0  # Korean, say: EUC-KR reads as common characters of GB 2312, but as no sentence
    return common / len(wide) + 0.2 * everyday


def _western(sample: bytes) -> float:
    """Share of the bytes above 0x7f that are Western letters or signs in runs as short as Western words have them."""
    text = sample.decode("cp1252", "replace")
    wide = [sign for sign in text if sign > "\x7f"]
    short = sum(len(run) for run in _RUN.findall(sample) if len(run) <= 2)
    fits = sum(1 for sign in wide if _WESTERN.match(sign)) / len(wide)
    return min(fits, short / len(wide)) * 1.1


@cache
def _common() -> frozenset[str]:
    """The 5,401 characters of Big5 level 1 and the 3,755 of GB 2312 level 1: each standard's frequent ones."""
    big5 = bytes(b for lead in range(0xA4, 0xC7) for t in (*range(0x40, 0x7F), *range(0xA1, 0xFF)) for b in (lead, t))
    gb = bytes(byte for row in range(0xB0, 0xD8) for cell in range(0xA1, 0xFF) for byte in (row, cell))
    return frozenset(big5.decode("cp950", "ignore") + gb.decode("gb2312", "ignore"))
