"""Personal data: each kind is found by its shape and checksum, ordinary numbers are not, and no value is ever shown."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.personal_data import find_personal_data
from repository import SAMPLES

EMAIL, PHONE, CARD = "an e-mail address", "a phone number", "a payment card number"
IBAN, TAIWAN = "a bank account number (IBAN)", "a Taiwan national ID"


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("mail jo.b+x@acme.com.tw please", [EMAIL]),
        ("請寄到wang@mail.tw謝謝", [EMAIL]),
        ("ｊｏ＠ａｃｍｅ．ｔｗ", [EMAIL]),
        ("打0912-345-678找我", [PHONE]),
        ("０９１２３４５６７８", [PHONE]),
        ("call 0912 345 678", [PHONE]),
        ("+886 912 345 678", [PHONE]),
        ("+886-2-2345-6789", [PHONE]),
        ("(02) 2345-6789", [PHONE]),
        ("電話 037-123456, 049-2345678", [PHONE]),
        ("ring +44 20 7946 0958", [PHONE]),
        ("0912\u200b345678", [PHONE]),
        ("4111 1111 1111 1111", [CARD]),
        ("paid with 4111-1111-1111-1111 12/27", [CARD]),
        ("5500005555555559 and 378282246310005", [CARD]),
        ("DE89 3704 0044 0532 0130 00 thanks", [IBAN]),
        ("帳號GB82WEST12345698765432。", [IBAN]),
        ("MN12 1234 1234 5678 9123 and", [IBAN]),
        ("身分證A123456789號", [TAIWAN]),
        ("arc a800000014 or AC01234567", [TAIWAN]),
        ("jo@acme.tw 0912345678", [EMAIL, PHONE]),
    ],
)
def test_each_kind_is_found(text: str, kinds: list[str]) -> None:
    assert find_personal_data(text) == kinds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "jo@example.com",
        "jo@mail.example.org",
        "me@localhost",
        "@someone",
        "a @ b.co",
        "price 1,299.00 on 2024-01-01",
        "order A-20581, ORD 7741-B, TW5093F",
        "4111111111111112",
        "1234567890123456",
        "DE88370400440532013000",
        "A123456788",
        "A323456789",
        "12345678901234567890",
        "2024-01-01 10:00:00",
        "0800 12",
        "x4111111111111111",
        "09123456789",
        "+1 2",
        "ZZ89370400440532013000",
        "serial 5500-0000",
        "10.0.0.1 192.168.100.200",
    ],
)
def test_ordinary_numbers_are_not(text: str) -> None:
    assert find_personal_data(text) == []


def luhn_digit(body: str) -> str:
    """The check digit that makes body + digit right, by trying."""
    for digit in "0123456789":
        total = 0
        for place, sign in enumerate(reversed(body + digit)):
            value = int(sign) * (2 if place % 2 else 1)
            total += value - 9 if value > 9 else value
        if total % 10 == 0:
            return digit
    raise AssertionError


@given(st.text("0123456789", min_size=14, max_size=14), st.integers(1, 9))
def test_a_card_number_counts_only_with_its_check_digit(body: str, off: int) -> None:
    right = luhn_digit("4" + body)
    assert CARD in find_personal_data("pay " + "4" + body + right)
    wrong = str((int(right) + off) % 10)
    assert CARD not in find_personal_data("pay " + "4" + body + wrong)


@given(st.text())
def test_any_text_is_judged(text: str) -> None:
    assert set(find_personal_data(text)) <= {EMAIL, PHONE, CARD, IBAN, TAIWAN}


def test_our_own_samples_give_no_false_alarm() -> None:
    files = sorted(SAMPLES.glob("*.jsonl"))
    for file in files:
        for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), 1):
            for value in json.loads(line).values() if line else ():
                if isinstance(value, str):
                    assert find_personal_data(value) == [], f"{file.name}:{number}"
