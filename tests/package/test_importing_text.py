"""Text files: encodings, delimiters and quoting are found, and what cannot be told is never guessed in silence."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finetune.errors import FinetuneError
from finetune.importing.encodings import find_encoding
from repository import SAMPLES
from test_importing import empty, importing, written  # noqa: F401

SIMPLIFIED = [
    "这个产品质量很好，物流也快",
    "退款什么时候到账",
    "屏幕碎了，能换货吗",
    "客服态度非常差，再也不会买了",
    "请问发票怎么开",
    "包裹显示已签收但我没收到",
    "衣服有点小，想换大一号",
    "电池续航只有两个小时，跟宣传不符",
    "手机发热严重",
]
WESTERN = [
    "Où est mon colis ? Il est en retard.",
    "Die Lieferung war zu spät, schöne Grüße",
    "È arrivato rotto, perché?",
    "¿Dónde está mi paquete? Aún no ha llegado",
    "The customer’s order – “lost”",
    "Não recebi o reembolso",
    "naïve café",
]


def traditional() -> list[str]:
    lines = (SAMPLES / "classification.zh-TW.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["input"] for line in lines]


def fits(text: str, codec: str) -> bool:
    try:
        return not text.encode(codec).isascii()
    except UnicodeEncodeError:
        return False


@pytest.mark.parametrize("language", ["zh-TW", "en", "zh-CN"])
@pytest.mark.parametrize(
    ("codec", "texts"),
    [("cp950", traditional()), ("gb18030", SIMPLIFIED), ("gb18030", traditional()), ("cp1252", WESTERN)],
    ids=["Big5", "GB18030, simplified", "GB18030, traditional", "Windows-1252"],
)
def test_a_single_sentence_is_enough_to_tell_its_encoding(
    tmp_path, codec: str, texts: list[str], language: str
) -> None:
    texts = [text for text in texts if fits(text, codec)]
    assert len(texts) >= 7
    for text in texts:
        (tmp_path / "a.txt").write_bytes(text.encode(codec))
        found = find_encoding(tmp_path / "a.txt", "a.txt", language)
        assert text.encode(codec).decode(found.codec) == text, found


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_unicode_in_every_form(tmp_path, codec: str) -> None:
    text = "text,label\n" + "".join(f"{line},帳務\n" for line in traditional()[:20])
    (tmp_path / "a.csv").write_bytes(text.encode(codec))
    found = find_encoding(tmp_path / "a.csv", "a.csv", "zh-TW")
    assert (tmp_path / "a.csv").read_text(encoding=found.codec).removeprefix("\ufeff") == text


@pytest.mark.parametrize(
    ("codec", "text"),
    [
        ("shift_jis", "注文した商品がまだ届きません"),
        ("cp1251", "Где моя посылка?"),
        ("euc_kr", "주문한 상품이 아직 오지 않았습니다"),
    ],
)
def test_an_encoding_that_is_not_known_is_refused_and_can_be_told(tmp_path, codec: str, text: str) -> None:
    (tmp_path / "a.csv").write_bytes(f"text,label\n{text},billing\n".encode(codec))
    with pytest.raises(FinetuneError) as failure:
        find_encoding(tmp_path / "a.csv", "a.csv", "zh-TW")
    assert failure.value.code == "E163" and "--encoding" in failure.value.fix
    assert find_encoding(tmp_path / "a.csv", "a.csv", "zh-TW", codec).codec == codec


def test_damaged_utf_8_is_no_other_encoding(tmp_path) -> None:
    (tmp_path / "a.csv").write_bytes("包裹到哪裡了,billing\n".encode() * 20 + b"\xff\n")
    with pytest.raises(FinetuneError) as failure:
        find_encoding(tmp_path / "a.csv", "a.csv", "zh-TW")
    assert failure.value.code == "E163" and "0xff on line 21" in failure.value.message


def test_two_characters_may_be_a_guess_and_then_say_so(tmp_path) -> None:
    (tmp_path / "a.csv").write_bytes("垃圾".encode("gb18030"))
    found = find_encoding(tmp_path / "a.csv", "a.csv", "zh-TW")
    assert not found.sure and "a guess" in found.reason and "--encoding" in found.reason


def test_a_big5_table_is_read_and_its_encoding_said(empty, tmp_path, capsys) -> None:  # noqa: F811
    table = "內容,類別\n包裹到哪裡了,shipping\n「發票」開錯；請更正,billing\n"
    (tmp_path / "a.csv").write_bytes(table.encode("cp950"))
    root = empty(language="zh-TW")
    assert importing(root, tmp_path / "a.csv") == 0
    assert [row["input"] for row in written(root, "a")] == ["包裹到哪裡了", "「發票」開錯；請更正"]
    said = capsys.readouterr().err
    assert "encoding=Big5 (CP950)" in said and "input=內容 (by its name)" in said
    assert "label=類別 (its values are the task's labels)" in said


CELL = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Cn", "Co", "Cf"), include_characters="\n,;\t\"'|"), max_size=30
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cells=st.lists(st.tuples(CELL, st.sampled_from(["billing", "shipping", "account"])), min_size=1, max_size=12),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    codec=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_any_csv_dialect_gives_its_cells_back(tmp_path, cells, delimiter, quoting, codec, end) -> None:
    from finetune.importing.delimited import entries, find_dialect

    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, quoting=quoting, lineterminator=end)
    writer.writerows([("text", "label"), *cells])
    file = tmp_path / "a.csv"
    file.write_bytes(out.getvalue().encode(codec))
    found = find_encoding(file, "a.csv", "en")
    dialect = find_dialect(file, "a.csv", found.codec, delimiter=None, header=None, labels=frozenset())
    read = [entry.value for entry in entries(file, "a.csv", found.codec, dialect)]
    assert dialect.delimiter == delimiter
    assert [(row["text"], row["label"]) for row in read] == cells


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=400) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_rows_or_a_coded_error(tmp_path, data: bytes) -> None:
    from conftest import task_values
    from finetune.config.task import TaskDefinition
    from finetune.importing.opening import open_source
    from finetune.importing.sources import Options

    task = TaskDefinition.model_validate_json(json.dumps(task_values("classification")))
    file = tmp_path / "any"
    file.write_bytes(data)
    if data.startswith((b"PK\x03\x04", b"PAR1", b"\xff\xff\xff\xff", b"ARROW1", b"\xd0\xcf")):
        return  # read by a child: test_importing_native.py
    try:
        for entry in open_source(file, task, Options()).entries():
            assert entry.place
    except FinetuneError as failure:
        assert failure.code in {"E140", "E144", "E161", "E162", "E163", "E164", "E178"} and failure.fix


@pytest.mark.parametrize(
    ("table", "refused"),
    [
        ("text,label\na a,billing\nb,b,billing\nc c,shipping\n", "a.csv:3 (3 cells, 2 columns)"),
        ('text,label\n"a\na",billing\n"b" b,billing\nc c,shipping\n', "a.csv:4"),
        ("text,label\na a,billing\n,shipping\nc c,shipping\n", "E124 no text: 1"),
        ("text,label\na a,billing\nb b,\nc c,shipping\n", "E124 no label: 1"),
        ("text,label\na a,billing\nb b,billing|shipping\nc c,shipping\n", "E181 more than one label: 1"),
        ("text,label\na a,billing\nuse <|im_start|> now,billing\nc c,shipping\n", "E130"),
        ("text,label\na a,billing\nb\x01b,billing\nc c,shipping\n", "E116"),
    ],
)
def test_a_row_that_cannot_be_taken_is_counted_with_its_place(empty, tmp_path, capsys, table, refused) -> None:  # noqa: F811
    (tmp_path / "a.csv").write_text(table, encoding="utf-8", newline="")
    root = empty()
    assert importing(root, tmp_path / "a.csv") == 0
    said = capsys.readouterr().err
    assert len(written(root, "a")) == 2 and "1 of 3 records are NOT taken" in said and refused in said
    assert importing(root, tmp_path / "a.csv", name="b", strict=True) == 2
    assert "E171" in capsys.readouterr().err and not (root / "data" / "raw" / "b.jsonl").exists()


@pytest.mark.parametrize("sign", [",", "|", "\t"])
def test_signs_in_the_texts_are_no_delimiter_that_the_first_row_lacks(empty, tmp_path, sign) -> None:  # noqa: F811
    rows = "".join(f"a{sign} b{sign} c {number};billing\n" for number in range(20))
    (tmp_path / "a.csv").write_text(f"text;label\n{rows}", encoding="utf-8")
    root = empty()
    assert importing(root, tmp_path / "a.csv") == 0
    assert written(root, "a")[3] == {"input": f"a{sign} b{sign} c 3", "label": "billing"}


@pytest.mark.parametrize("above", ["Report,,\nas of,2026-01-01,\n", "Report\n\n", "\n\n", "sep=,\nReport\n"])
def test_what_stands_above_the_names_of_a_table_is_passed_over(empty, tmp_path, above) -> None:  # noqa: F811
    table = "text,team,label\n" + "".join(f"a b {number},x,billing\n" for number in range(5))
    (tmp_path / "a.csv").write_text(above + table, encoding="utf-8")
    root = empty()
    assert importing(root, tmp_path / "a.csv", strict=True) == 0
    assert written(root, "a") == [{"input": f"a b {number}", "label": "billing"} for number in range(5)]


def test_a_sign_that_is_named_in_a_reason_keeps_its_number(empty, tmp_path, capsys) -> None:  # noqa: F811
    (tmp_path / "a.csv").write_text("text,label\na\x1bb,billing\nc d,billing\n", encoding="utf-8")
    assert importing(empty(), tmp_path / "a.csv") == 0
    assert "E116 control character U+001B at character N: 1" in capsys.readouterr().err
