"""Personal data in a text: which kinds stand there, never which values."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from finetune.characters import DROPPED

# Every kind of number has eight digits close to each other; \d knows full-width ones, gaps may be invisible signs.
MAY_HOLD = re.compile(r"[@＠﹫]|\d(?:\D{0,4}\d){7}")
_EMAIL = re.compile(r"(?<![\w.%+-])[A-Za-z0-9._%+-]{1,64}@((?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24})(?![\w-])", re.ASCII)
_RESERVED_DOMAIN = re.compile(r"(?:^|\.)(?:example(?:\.(?:com|org|net))?|test|invalid|localhost)$", re.IGNORECASE)
_TAIWAN_PHONE = re.compile(
    r"(?<![0-9A-Za-z-])(?:\+?886[ -]?|0)9[0-9]{2}[ -]?[0-9]{3}[ -]?[0-9]{3}(?![0-9])"  # mobile
    r"|(?<![0-9A-Za-z-])(?:\(0[2-8][0-9]{0,2}\) ?|(?:\+?886[ -]?|0)[2-8][0-9]{0,2}[ -])[0-9]{3,4}[ -]?[0-9]{4}(?![0-9])"
)
_FOREIGN_PHONE = re.compile(r"(?<![0-9A-Za-z])\+[1-9][0-9]{0,2}(?:[ .()-]{0,2}[0-9]{1,4}){2,7}(?![0-9])")
_DIGITS = re.compile(r"(?<![0-9A-Za-z])[0-9](?:[ -]?[0-9]){12,}(?![0-9A-Za-z])")
_CARD = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})"  # Visa
    r"|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"  # Mastercard
    r"|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|35[0-9]{14}|6(?:011|5[0-9]{2})[0-9]{12}|62[0-9]{14,17}"
)
_IBAN = re.compile(r"(?<![0-9A-Za-z])[A-Z]{2}[0-9]{2}(?: ?[0-9A-Z]){11,30}")
_IBAN_COUNTRIES = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 "
    "ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 "
    "LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 "
    "PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 "
    "YE30"
)
"""Country and length, of the IBAN registry (ISO 13616), release 101."""
_IBAN_LENGTH = {country[:2]: int(country[2:]) for country in _IBAN_COUNTRIES.split()}
_TAIWAN_ID = re.compile(r"(?<![0-9A-Za-z])[A-Za-z][1289A-Da-d][0-9]{8}(?![0-9A-Za-z])")
_AREA = "ABCDEFGHJKLMNPQRSTUVXYWZIO"
"""Letters of a Taiwan national ID in the order of their numbers, 10 to 35."""


def find_personal_data(text: str) -> list[str]:
    """The kinds of personal data in `text`, each once, in a fixed order; [] for almost every text.

    Full-width signs are read as their plain forms and invisible characters are left out. A match counts only where its
    checksum is right, for kinds that have one.
    """
    if not MAY_HOLD.search(text):
        return []
    plain = text if text.isascii() else DROPPED.sub("", unicodedata.normalize("NFKC", text))
    return [kind for kind, holds in _KINDS if holds(plain)]


def _email(text: str) -> bool:
    return any(not _RESERVED_DOMAIN.search(found[1]) for found in _EMAIL.finditer(text))


def _phone(text: str) -> bool:
    if _TAIWAN_PHONE.search(text):
        return True
    return any(8 <= sum(c.isdigit() for c in found[0]) <= 15 for found in _FOREIGN_PHONE.finditer(text))


def _card(text: str) -> bool:
    for run in _DIGITS.finditer(text):
        groups = re.split("[ -]", run[0])
        for first in range(len(groups)):
            number = ""
            for group in groups[first : first + 19]:
                number += group
                if len(number) > 19:
                    break
                if _CARD.fullmatch(number) and _luhn(number):
                    return True
    return False


def _luhn(number: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    digits = [int(digit) for digit in reversed(number)]
    return sum(digits[::2] + [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]) % 10 == 0


def _iban(text: str) -> bool:
    for found in _IBAN.finditer(text):
        compact = found[0].replace(" ", "")
        number = compact[: _IBAN_LENGTH.get(compact[:2], 0)]
        # ISO 13616: the first four signs go to the end, letters count from 10, the remainder by 97 is 1.
        if number and len(number) == _IBAN_LENGTH[compact[:2]]:
            value = int("".join(str(int(sign, 36)) for sign in number[4:] + number[:4]))
            if value % 97 == 1:
                return True
    return False


def _taiwan_id(text: str) -> bool:
    return any(_is_taiwan_id(found[0].upper()) for found in _TAIWAN_ID.finditer(text))


def _is_taiwan_id(number: str) -> bool:
    """The check digit of national IDs and resident certificates, the old form with two letters included."""
    tens, ones = divmod(_AREA.index(number[0]) + 10, 10)
    second = int(number[1]) if number[1].isdigit() else _AREA.index(number[1]) % 10
    digits = [second, *map(int, number[2:])]
    weighted = sum(digit * weight for digit, weight in zip(digits, (8, 7, 6, 5, 4, 3, 2, 1, 1), strict=True))
    return (tens + 9 * ones + weighted) % 10 == 0


_KINDS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("an e-mail address", _email),
    ("a phone number", _phone),
    ("a payment card number", _card),
    ("a bank account number (IBAN)", _iban),
    ("a Taiwan national ID", _taiwan_id),
)
