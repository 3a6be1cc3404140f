"""What becomes of single records: columns, labels, spans, turns, ids; what is written over, and what never is."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import exports
import exports_spans
from conftest import raw_rows
from finetune.config.project import load_project
from repository import ROOT
from test_importing import empty, importing, written  # noqa: F401


def lines(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path


def test_columns_that_cannot_be_told_are_asked_for_all_at_once_with_the_command(empty, tmp_path, capsys) -> None:  # noqa: F811
    (tmp_path / "a.csv").write_text("title,body,kind\na b,c d,x\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text("foo,bar\na b,c d\n", encoding="utf-8")
    root = empty()
    assert importing(root, tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "missing.csv") == 2
    said = capsys.readouterr().err
    assert said.count("E167") == 2 and "E160" in said and "3 errors" in said
    assert "the text may be title, body" in said
    assert f"python scripts/import_data.py {tmp_path}/a.csv --input title --label kind" in said
    assert importing(root, tmp_path / "a.csv", input="bodi", label="kind") == 2
    said = capsys.readouterr().err
    assert "E167 --input bodi: there is no such column" in said and "did you mean --input body?" in said
    assert not list((root / "data" / "raw").iterdir())


def test_columns_follow_the_tasks_own_names_and_ids_and_groups_are_kept(empty, tmp_path) -> None:  # noqa: F811
    task = {"input": {"field": "text"}, "output": {"field": "topic"}, "data": {"id_field": "key", "group_field": "who"}}
    root = empty(task=task)
    rows = "nr,body,kind,customer,extra\n7,a b,billing,c1,x\n8,c d,shipping,c1,y\n"
    (tmp_path / "a.csv").write_text(rows, encoding="utf-8")
    assert importing(root, tmp_path / "a.csv", id="nr", group="customer") == 0
    assert written(root, "a") == [
        {"key": "7", "text": "a b", "topic": "billing", "who": "c1"},
        {"key": "8", "text": "c d", "topic": "shipping", "who": "c1"},
    ]


def test_ids_that_clash_with_other_files_are_left_out_when_found_and_refused_when_told(empty, tmp_path, capsys) -> None:  # noqa: F811
    root = empty()
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text(
            f"id,text,label\n1,{name} one,billing\n2,{name} two,account\n", encoding="utf-8"
        )
    assert importing(root, tmp_path / "a.csv") == 0
    assert [row["id"] for row in written(root, "a")] == ["1", "2"]
    assert importing(root, tmp_path / "b.csv", id="id", partial=True) == 2
    assert "E150 an id that is used already: 2" in capsys.readouterr().err
    assert importing(root, tmp_path / "b.csv") == 0
    assert "id" not in written(root, "b")[0] and "id=left out" in capsys.readouterr().err


def test_unknown_labels_are_listed_with_the_nearest_and_a_command_that_works(empty, tmp_path, capsys) -> None:  # noqa: F811
    (tmp_path / "a.csv").write_text("text,label\na b,Billing\nc d,shiping\ne f,billing\ng h,???\n", encoding="utf-8")
    root = empty()
    assert importing(root, tmp_path / "a.csv") == 2
    said = capsys.readouterr().err
    assert "E171" in said and "only 1 of 4" in said
    assert "--map-label Billing=billing --map-label shiping=shipping --map-label '???=?'" in said
    pairs = ["Billing=billing", "shiping=shipping", "???="]
    assert importing(root, tmp_path / "a.csv", map_label=pairs) == 0
    assert [row["label"] for row in written(root, "a")] == ["billing", "shipping", "billing"]
    assert "left out as told by --map-label: 1" in capsys.readouterr().err
    assert importing(root, tmp_path / "a.csv", map_label=["x", "a=b", "c=billing", "c=account"]) == 2
    assert capsys.readouterr().err.count("E172") == 3


def test_signs_that_nobody_sees_are_no_part_of_a_label(empty, tmp_path, capsys) -> None:  # noqa: F811
    table = "text,label\na b,\ufeffbilling\u200b\nc d,shipping\u3000\u200f\nx y,billing\ne f,old's\u200b\ufe0f\u200b1\n"
    (tmp_path / "a.csv").write_text(table, encoding="utf-8")
    root = empty()
    assert importing(root, tmp_path / "a.csv") == 0
    assert [row["label"] for row in written(root, "a")] == ["billing", "shipping", "billing"]
    words = capsys.readouterr().err.split("--map-label ")[1].split("\n")[0]
    # As people copy it: the shell must give back the label itself.
    echoed = subprocess.run(["bash", "-c", f"printf %s {words}"], capture_output=True, text=True, check=True).stdout
    assert importing(root, tmp_path / "a.csv", name="b", map_label=[echoed.replace("=?", "=billing")], strict=True) == 0
    assert len(written(root, "b")) == 4


def test_files_are_named_to_make_as_to_a_shell_but_nothing_is_run(empty, tmp_path, monkeypatch) -> None:  # noqa: F811
    root = empty()
    odd = "a'b $(touch run).csv"
    for name in (odd, "c 1.csv", "c 2.csv"):
        (tmp_path / name).write_text("text,label\na b,billing\n", encoding="utf-8")
    shutil.copy(ROOT / "Makefile", root)
    (root / "scripts").symlink_to(ROOT / "scripts")
    monkeypatch.chdir(root)

    def make(files: str) -> subprocess.CompletedProcess[str]:
        command = ["make", "-f", "Makefile", "import", f"FILES={files}", f"PYTHON={os.path.normpath(sys.executable)}"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = make(f"{shlex.quote(f'{tmp_path}/{odd}')} '{tmp_path}'/c*.csv")
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in (root / "data/raw").glob("*.jsonl")) == [
        "a-b-touch-run.jsonl",
        "c-1.jsonl",
        "c-2.jsonl",
    ]
    for files in ("$(shell touch run)x", "x; touch run", "x `touch run` $(touch run)", "x' touch run"):
        done = make(files)
        assert done.returncode == 2 and ("E160" in done.stderr or "E172" in done.stderr)
    assert not list(root.rglob("run"))


def test_a_table_without_names_is_known_by_the_labels_in_it(empty, tmp_path) -> None:  # noqa: F811
    (tmp_path / "a.csv").write_text("where is it,shipping\nthe bill is wrong,billing\n", encoding="utf-8")
    root = empty()
    assert importing(root, tmp_path / "a.csv") == 0
    assert len(written(root, "a")) == 2


def test_nothing_is_ever_overwritten(empty, tmp_path, capsys) -> None:  # noqa: F811
    (tmp_path / "a.csv").write_text("text,label\na b,billing\n", encoding="utf-8")
    root = empty()
    target = root / "data" / "raw" / "a.jsonl"
    target.write_text("mine", encoding="utf-8")
    assert importing(root, tmp_path / "a.csv") == 2
    said = capsys.readouterr().err
    assert "E168" in said and "--name a-2" in said and target.read_text(encoding="utf-8") == "mine"
    assert importing(root, tmp_path / "a.csv", name="a-2") == 0
    target.unlink()
    target.symlink_to(tmp_path / "outside")
    assert importing(root, tmp_path / "a.csv") == 2 and not (tmp_path / "outside").exists()
    for name in ("../../x", "a/b", "", ".hidden", "A-2"):
        assert importing(root, tmp_path / "a.csv", name=name) == 2
    assert sorted(path.name for path in target.parent.iterdir()) == ["a-2.jsonl", "a.jsonl"]


def test_a_dry_run_writes_nothing(empty, tmp_path, capsys) -> None:  # noqa: F811
    (tmp_path / "a.csv").write_text("text,label\na b,billing\n", encoding="utf-8")
    root = empty()
    assert importing(root, tmp_path / "a.csv", dry_run=True) == 0
    assert "would write data/raw/a.jsonl: 1 rows" in capsys.readouterr().err and not list(
        (root / "data" / "raw").iterdir()
    )


def test_a_full_disk_leaves_nothing_behind(empty, tmp_path, capsys, monkeypatch) -> None:  # noqa: F811
    (tmp_path / "a.csv").write_text("text,label\na b,billing\n", encoding="utf-8")
    root = empty()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert importing(root, tmp_path / "a.csv") == 74
    assert "E974" in capsys.readouterr().err and not list((root / "data" / "raw").iterdir())


EMOJI = "😀 請寄兩盒 😀😀 濾掛咖啡 給我"


@pytest.mark.parametrize("utf16", [True, False])
def test_offsets_of_javascript_are_found_by_the_text_they_name(empty, tmp_path, capsys, utf16: bool) -> None:  # noqa: F811
    row = {"input": EMOJI, "entities": [{"type": "quantity", "text": "兩盒"}, {"type": "product", "text": "濾掛咖啡"}]}
    marks = [
        {"value": {"start": s, "end": e, "text": entity["text"], "labels": [t]}, "type": "labels"}
        for (s, e, t), entity in zip(exports_spans.spans_of(row, utf16), row["entities"], strict=True)
    ]
    record = {"id": 1, "data": {"text": EMOJI}, "annotations": [{"result": marks}]}
    (tmp_path / "a.json").write_text(json.dumps([record]), encoding="utf-8")
    root = empty("extraction")
    assert importing(root, tmp_path / "a.json") == 0
    assert written(root, "a")[0]["entities"] == row["entities"]
    assert ("counted UTF-16 units" in capsys.readouterr().err) == utf16


def test_offsets_without_texts_can_be_told(empty, tmp_path) -> None:  # noqa: F811
    row = {"input": EMOJI, "entities": [{"type": "quantity", "text": "兩盒"}]}
    lines(tmp_path / "a.jsonl", {"text": EMOJI, "label": exports_spans.spans_of(row, utf16=True)})
    root = empty("extraction")
    assert importing(root, tmp_path / "a.jsonl", offsets="utf-16") == 0
    assert written(root, "a")[0]["entities"] == row["entities"]


@pytest.mark.parametrize(
    ("marks", "refused"),
    [
        ([[0, 6, "product"], [3, 9, "quantity"]], "E183 overlapping spans"),
        ([[0, 99, "product"]], "E182 a span outside the text"),
        ([[6, 7, "product"]], "E182 a span of nothing but spaces"),
        ([[0, 6, "colour"]], "E135 an entity type that is not in the task"),
        ([{"start": 0, "end": 6, "text": "other", "label": "product"}], "E182 a span whose text is another one"),
        ([{"label": "product"}], "E184 an entity with neither offsets nor text"),
    ],
)
def test_spans_that_cannot_be_taken_are_counted(empty, tmp_path, capsys, marks, refused) -> None:  # noqa: F811
    good = {"text": "please send it", "entities": [[0, 6, "product"]]}
    lines(tmp_path / "a.jsonl", good, good, {"text": "please send it", "entities": marks})
    root = empty("extraction")
    assert importing(root, tmp_path / "a.jsonl") == 0
    assert len(written(root, "a")) == 2 and refused in capsys.readouterr().err


def test_outer_spaces_of_a_span_are_trimmed_and_told(empty, tmp_path, capsys) -> None:  # noqa: F811
    lines(tmp_path / "a.jsonl", {"text": "please send it", "entities": [[0, 7, "product"]]})
    root = empty("extraction")
    assert importing(root, tmp_path / "a.jsonl") == 0
    assert written(root, "a")[0]["entities"] == [{"type": "product", "text": "please"}]
    assert "corrected: 1 spans with outer spaces\n" in capsys.readouterr().err


def test_chinese_tokens_are_joined_without_spaces(empty, tmp_path) -> None:  # noqa: F811
    tokens = "請 O\n寄 O\n兩 B-quantity\n盒 I-quantity\nGolden B-product\nTips I-product\n茶 I-product\n"
    (tmp_path / "a.bio").write_text(tokens, encoding="utf-8")
    root = empty("extraction")
    assert importing(root, tmp_path / "a.bio") == 0
    entities = [{"type": "quantity", "text": "兩盒"}, {"type": "product", "text": "Golden Tips茶"}]
    assert written(root, "a") == [{"input": "請寄兩盒Golden Tips茶", "entities": entities}]


@pytest.mark.parametrize(
    ("good", "odd"),
    [
        ({"instruction": "Answer.", "input": "a b", "output": "billing"}, {"instruction": "Answer.", "input": "c d"}),
        ({"instruction": "Answer.", "input": "a b", "output": "billing"}, {"input": "c d", "output": "billing"}),
        ({"text": "a b", "accept": ["billing"], "answer": "accept", "options": [{"id": "billing", "text": "billing"}]},
         {"text": "c d", "accept": [["billing"]], "answer": "accept", "options": [{"id": ["x"], "text": "billing"}]}),
    ],
)  # fmt: skip
def test_a_record_unlike_its_tools_others_costs_itself_alone(empty, tmp_path, capsys, good, odd) -> None:  # noqa: F811
    rows = [{key: f"{value} {n}" if value == "a b" else value for key, value in good.items()} for n in range(12)]
    lines(tmp_path / "a.jsonl", *rows, odd)
    root = empty()
    assert importing(root, tmp_path / "a.jsonl") == 0
    said = capsys.readouterr().err
    assert len(written(root, "a")) == 12 and "E184 a record that is not made like" in said


def test_a_line_of_an_ideographic_space_parts_sentences(empty, tmp_path) -> None:  # noqa: F811
    tokens = "兩 B-quantity\n盒 I-quantity\n\u3000\n茶 B-product\n"
    (tmp_path / "a.bio").write_text(tokens, encoding="utf-8")
    root = empty("extraction")
    assert importing(root, tmp_path / "a.bio") == 0
    assert [row["input"] for row in written(root, "a")] == ["兩盒", "茶"]


@pytest.mark.parametrize("place", ["3", " ", "0 6 9", "0 6;", "0 " + "9" * 5000])
def test_a_place_that_brat_does_not_write_costs_its_document_alone(empty, tmp_path, capsys, place: str) -> None:  # noqa: F811
    folder = exports_spans.brat(tmp_path, raw_rows("extraction", 6))
    (folder / "doc003.ann").write_text(f"T1\tproduct {place}\tplease\n", encoding="utf-8")
    root = empty("extraction")
    assert importing(root, folder) == 0
    said = capsys.readouterr().err
    assert len(written(root, "brat")) == 5 and "E184 an .ann file with a line that is not brat's: 1" in said


def test_a_discontinuous_span_of_brat_is_not_taken(empty, tmp_path, capsys) -> None:  # noqa: F811
    folder = exports_spans.brat(tmp_path, raw_rows("extraction", 6))
    (folder / "doc003.ann").write_text("T1\tproduct 0 6;12 14\tplease of\n", encoding="utf-8")
    (folder / "doc004.ann").unlink()
    root = empty("extraction")
    assert importing(root, folder) == 0
    said = capsys.readouterr().err
    assert len(written(root, "brat")) == 4
    assert "E183 a discontinuous span: 1" in said and "E187 a document without annotations: 1" in said


@pytest.mark.parametrize("offsets", ["0 3 9", " 3", "0", "0 3;", "0 " + "9" * 5000])
def test_a_line_of_brat_with_other_offsets_is_counted(empty, tmp_path, capsys, offsets: str) -> None:  # noqa: F811
    folder = exports_spans.brat(tmp_path, raw_rows("extraction", 6))
    (folder / "doc003.ann").write_text(f"T1\tproduct {offsets}\tAda\n", encoding="utf-8")
    root = empty("extraction")
    assert importing(root, folder) == 0
    assert len(written(root, "brat")) == 5
    assert "E184 an .ann file with a line that is not brat's: 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("roles", "refused"),
    [
        (["user", "assistant", "user", "assistant"], "E186 a conversation of more than one turn"),
        (["user"], "E186 a conversation without an answer"), (["assistant", "user"], "E186"),
        (["user", "tool", "assistant"], "E126 a message of an unknown role"),
    ],
)  # fmt: skip
def test_a_conversation_of_another_form_is_counted(empty, tmp_path, capsys, roles, refused) -> None:  # noqa: F811
    def talk(*spoken: str) -> dict[str, Any]:
        return {"messages": [{"role": role, "content": "hello there"} for role in spoken]}

    lines(tmp_path / "a.jsonl", talk("user", "assistant"), talk("system", "user", "assistant"), talk(*roles))
    root = empty("generation")
    assert importing(root, tmp_path / "a.jsonl") == 0
    assert len(written(root, "a")) == 2 and refused in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({"annotations": []}, "E187 not annotated"),
        ({"annotations": [{"result": [], "was_cancelled": True}]}, "E187 not annotated"),
        ({"annotations": [
            {"result": [{"type": "choices", "value": {"choices": ["billing"]}}]},
            {"result": [{"type": "choices", "value": {"choices": ["account"]}}]},
        ]}, "E188 annotators disagree"),
        ({"annotations": [{"result": [{"type": "choices", "value": {"choices": ["billing", "account"]}}]}]}, "E181"),
        ({"annotations": [{"result": [{"value": {"start": 0, "end": 1, "text": "a", "labels": ["x"]}}]}]}, "E170"),
        ({"data": {"image": 7}}, "E124 no text"),
    ],
)  # fmt: skip
def test_label_studio_tasks_without_one_clear_answer_are_counted(empty, tmp_path, capsys, change, refused) -> None:  # noqa: F811
    records = json.loads(exports.label_studio(tmp_path, raw_rows("classification", 3)).read_text(encoding="utf-8"))
    records[2] |= change
    (tmp_path / "a.json").write_text(json.dumps(records), encoding="utf-8")
    root = empty()
    assert importing(root, tmp_path / "a.json") == 0
    assert len(written(root, "a")) == 2 and refused in capsys.readouterr().err


def test_rejected_and_ignored_tasks_of_prodigy_are_not_taken(empty, tmp_path, capsys) -> None:  # noqa: F811
    exports.prodigy(tmp_path, raw_rows("classification", 6))
    records = [json.loads(line) for line in (tmp_path / "annotations.jsonl").read_text(encoding="utf-8").splitlines()]
    records[0]["answer"], records[1]["answer"], records[2]["accept"] = "reject", "ignore", ["billing", "account"]
    lines(tmp_path / "a.jsonl", *records)
    root = empty()
    assert importing(root, tmp_path / "a.jsonl") == 0
    said = capsys.readouterr().err
    assert len(written(root, "a")) == 3
    assert "E187 rejected: 1" in said and "E187 not annotated: 1" in said and "E181 more than one label: 1" in said


def test_texts_are_corrected_mechanically_and_it_is_said(empty, tmp_path, capsys) -> None:  # noqa: F811
    lines(tmp_path / "a.jsonl", {"text": "a_x000D_\nb\r\ncafe\u0301", "label": " billing "})
    root = empty()
    assert importing(root, tmp_path / "a.jsonl") == 0
    assert written(root, "a") == [{"input": "a\nb\ncaf\u00e9", "label": "billing"}]
    assert capsys.readouterr().err.count("corrected: 1 ") == 4


def test_sample_of_the_template_beside_own_rows_is_said(empty, tmp_path, capsys) -> None:  # noqa: F811
    root = empty("classification")
    label = next(iter(load_project(root).task.label_names))
    for name in ("a", "b"):
        lines(tmp_path / f"{name}.jsonl", *({"text": f"{name} {number}", "label": label} for number in range(4)))
    assert importing(root, tmp_path / "a.jsonl") == 0
    assert "sample.jsonl" not in capsys.readouterr().err
    (root / "data" / "raw" / "sample.jsonl").touch()
    assert importing(root, tmp_path / "b.jsonl") == 0
    assert "data/raw/sample.jsonl is trained on as well" in capsys.readouterr().err
