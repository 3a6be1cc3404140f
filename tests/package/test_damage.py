"""Traces of a wrong conversion are counted, with places, in one line a kind; text that is right is left in peace."""

from __future__ import annotations

import pytest

from bad_inputs import RAW, judge, row
from finetune.data.damage import ENTITIES, ESCAPES, EXCEL, LOST, MOJIBAKE, Kind, damage

RIGHT = [
    "arrivé\xa0»", "à\xa0«", "CAFÉ…", "AMANHÃ…", "AMANHÃ”", "«AMANHÃ»", "Â direita, Ângela", "Hôm nay Ăn", "română",
    "C:\\new\\table", "path\\to", "\\alpha", "\\d+", "R&D and Q&A; ok", "a & b;", "5 × 3", "Größe ÄÖÜß", "ÐÑ", "наш",
    "Ø Ødegård", "x_y_z", "file_x12_", "ÉTÉ – ÂGE", "我要退貨", "返品を", "ที่นี่",
]  # fmt: skip
WRONG: list[tuple[str, Kind]] = [
    *((text.encode().decode("cp1252", "ignore"), MOJIBAKE) for text in ("it’s", "café", "Größe", "£5", "10°", "😀 ok")),
    *(
        (text.encode().decode("latin-1"), MOJIBAKE)
        for text in ("привет", "你好嗎", "ありがとう", "สวัสดี", "नमस्ते", "שלום", "مرحبا")
    ),
    ("锟斤拷", MOJIBAKE),
    ("a &amp; b", ENTITIES),
    ("it&#39;s", ENTITIES),
    ("a&nbsp;b", ENTITIES),
    ("a_x000D_b", EXCEL),
    ("line one\\nLine two", ESCAPES),
    ("caf\\u00e9", ESCAPES),
    ("a\ufffdb", LOST),
    ("a\ue000b", LOST),
]


@pytest.mark.parametrize("text", RIGHT)
def test_right_text_is_left_in_peace(text: str) -> None:
    assert list(damage(text)) == []


@pytest.mark.parametrize(("text", "kind"), WRONG)
def test_each_kind_is_found(text: str, kind: Kind) -> None:
    assert kind in set(damage(text))


def test_one_line_a_kind_with_count_and_places(make_project, capsys) -> None:
    """Rows that are read together are searched too."""
    project = make_project()
    lines = [row(f"case {n} of the cafÃ© &amp; bar") for n in range(9)] + [row(f"lost {n} \ufffd") for n in range(2)]
    (project.paths.raw / "more.jsonl").write_bytes(b"".join(lines))
    code, problems, _ = judge(project.paths.root, capsys)
    assert code == 0 and {problem["path"] for problem in problems} == {RAW}
    said = {problem["message"].split(" (")[0]: problem["message"] for problem in problems}
    assert [problem["code"] for problem in problems] == ["W119", "W120", "W120"]
    assert "in 9 rows (data/raw/more.jsonl:1, " in said["HTML entities"] and said["HTML entities"].endswith(", …)")
    assert said["signs that stand for something lost"].endswith(
        "in 2 rows (data/raw/more.jsonl:10, data/raw/more.jsonl:11)"
    )
