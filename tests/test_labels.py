"""Labels as people and public data sets have them: one rule for question and file, whole in every reader."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from pydantic import ValidationError

import init_project
from conftest import Bake, BakedProject
from finetune.config.task import Named
from finetune.data.chat_format import system_text
from finetune.errors import BadInput
from finetune.evidence.readme import NAMED, replace_task
from test_hooks import pre

ODD = [
    "reverted_card_payment?",
    "c",
    "C#",
    "C++",
    "a/b",
    "it's",
    'say "no"',
    "back\\slash",
    "`code`",
    "``two``",
    "a|b",
    "a\\|b",
    "<b>bold</b>",
    "{labels}",
    "{entity_types}",
    "{{ 1/0 }}",
    "{% raw %}",
    "${{ github.token }}",
    "#hash",
    "- dash",
    "null",
    "true",
    "1",
    "~",
    "*star*",
    "_under_",
    "[link](x)",
    "!important",
    "😀 happy",
    "👍🏽",
    "𠮷野家",
    "العربية",
    "@me",
    "%",
    "&amp",
    "##[error]x",
    "--flag",
    "=1+1",
    "$HOME",
    "日本",
    "ｆｕｌｌ",
    "x" * 64,
]
ONLY_IN_A_FILE = [
    "NUM:dist",
    "semi;colon",
    "&lt;",
    "::error::x",
    "<!-- results:start -->",
    "正面：好",
    "甲；乙",
    "<< cookiecutter >>",
    "<% raw",
    "<# x",
]
"""What separates in an answer, or is source code to cookiecutter where an answer is an argument."""


def definition(bake: Bake, tmp_path: Path, names: list[str]) -> Path:
    values = yaml.safe_load(bake(output=tmp_path / "source", sample_data=False).text("task_definition.yaml"))
    values["output"]["labels"] = [{"name": name, "description": f"about {name}: this; that"} for name in names]
    values["output"]["example"] = names[0]
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(values, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return file


def tables(markdown: str) -> list[list[str]]:
    """The cells' text of every table row, as a reader sees it."""
    rows: list[list[str]] = []
    inside = False
    for token in MarkdownIt("commonmark").enable("table").parse(markdown):
        if token.type in ("tr_open", "tr_close"):
            inside = token.type == "tr_open"
            rows += [[]] if inside else []
        elif inside and token.type == "inline" and token.children is not None:
            html = {"<code>", "</code>"}
            rows[-1].append("".join(child.content for child in token.children if child.content not in html))
    return rows


def test_any_label_of_a_file_goes_whole_through_readme_prompt_and_steps(bake: Bake, tmp_path: Path) -> None:
    names = [*ONLY_IN_A_FILE, *ODD]
    project = BakedProject(init_project.init(definition(bake, tmp_path, names), tmp_path / "out"))
    task = project.load().task
    assert list(task.label_names) == names
    readme = project.text("README.md")
    assert ["Labels", f"{', '.join(names[:NAMED])} … and {len(names) - NAMED} more"] in tables(readme)
    assert replace_task(readme, project.load()) == readme
    assert readme.count("<!-- results:start -->") == 1
    prompt = system_text(task)
    assert all(f"- {name}: about {name}: this; that\n" in prompt + "\n" for name in names)
    words = random.Random(0).choices([f"word{number}" for number in range(4000)], k=len(names) * 40 * 12)
    rows = [
        {"input": " ".join(words[12 * place : 12 * place + 12]), "label": names[place % len(names)]}
        for place in range(len(names) * 40)
    ]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (project.path / "data/raw/odd.jsonl").write_text(text, encoding="utf-8")
    for step in ("01_validate_data.py", "02_convert_format.py"):
        done = subprocess.run(
            [sys.executable, f"scripts/{step}"],
            cwd=project.path,
            capture_output=True,
            text=True,
            check=False,
            env={"PYTHONPATH": ".", "PATH": "/usr/bin:/bin", "MPLCONFIGDIR": str(tmp_path)},
        )
        assert done.returncode == 0, done.stderr
    converted = "".join(project.text(f"data/chat_format/{split}.jsonl") for split in ("train", "valid")).splitlines()
    assert {json.loads(line)["messages"][2]["content"] for line in converted} == set(names)
    shown = {row[0].replace("\u200b", "") for row in tables(project.text("benchmarks/results/data_report.md"))}
    assert set(names) <= shown
    page = project.text("benchmarks/results/data_report.html")
    assert "<b>bold" not in page and "&lt;b&gt;bold" in page


@pytest.mark.parametrize(
    "sign", [(": ", "; "), ("：", "；"), (":", "；"), ("： ", ";")], ids=["ascii", "full", "mixed", "other"]
)
def test_the_question_takes_them_with_signs_of_either_width(bake: Bake, sign: tuple[str, str]) -> None:
    named = [(name, f"about {name}") for name in ODD]
    typed = sign[1].join(f"{name}{sign[0]}{description}" for name, description in named)
    labels = bake(labels=typed, sample_data=False).load().task.output.labels
    assert [(label.name, label.description) for label in labels] == named


READINGS = [
    ("正面：好評，很滿意；負面：差評、不滿意", [("正面", "好評，很滿意"), ("負面", "差評、不滿意")]),
    ("正面：好；負面: 壞；", [("正面", "好"), ("負面", "壞")]),
    ("正面：好，負面：壞", [("正面", "好"), ("負面", "壞")]),
    ("正面：好、負面：壞、中立：無", [("正面", "好"), ("負面", "壞"), ("中立", "無")]),
    ("yes: they agree, no: they do not", [("yes", "they agree"), ("no", "they do not")]),
    ("帳務：費用：含退款；物流：包裹", [("帳務", "費用：含退款"), ("物流", "包裹")]),
    ("\u3000是\u3000：\u3000同意\u3000；否：不同意", [("是", "同意"), ("否", "不同意")]),
]


@pytest.mark.parametrize(("typed", "pairs"), READINGS)
def test_a_list_is_read_as_it_is_meant(bake: Bake, typed: str, pairs: list[tuple[str, str]]) -> None:
    assert pre.parse_labels(typed) == pairs
    labels = bake(labels=typed, sample_data=False).load().task.output.labels
    assert [(label.name, label.description) for label in labels] == pairs


@pytest.mark.parametrize(
    ("task_type", "typed", "rule"),
    [
        ("classification", "billing, shipping", "commas do not separate"),
        ("classification", "帳務，物流", "commas do not separate"),
        ("classification", "正面：好，很好", "at least 2"),
        ("classification", "a: one: two; b: three", "second colon"),
        ("extraction", "日期：日子，金額：多少", "second colon"),
        ("classification", "a: one; b: two；c", "'c' has no description"),
        ("classification", "a\u200bb: one; b: two", "invisible characters are not allowed (U+200B)"),
    ],
)
def test_what_cannot_be_meant_is_refused(questions: dict[str, Any], task_type: str, typed: str, rule: str) -> None:
    least = 2 if task_type == "classification" else 1
    assert rule in " ".join(pre.label_faults(typed, pre.parse_labels(typed, task_type), least))


def test_where_only_the_format_is_in_the_way_the_file_is_named() -> None:
    (fault,) = pre.label_faults("a: one: two; b: three", [("a", "one: two"), ("b", "three")], 2)
    assert "init_project.py" in fault


@settings(max_examples=400, deadline=None)
@given(name=st.text(max_size=70) | st.text("ab <>{}'\"`|\\#?/😀\u200b\u202e\n", max_size=6), text=st.text(max_size=20))
def test_question_and_schema_have_one_rule(name: str, text: str) -> None:
    name, text = name.strip(), text.strip()
    if set(name) & set(":;：；") or set(text) & set(":;：；"):
        return
    try:
        Named(name=name, description=text)
        by_file = True
    except ValidationError:
        by_file = False
    assert by_file == (not list(pre.label_faults(f"{name}: {text}", [(name, text)], 1)))


def test_a_file_still_may_not_hold_what_is_no_line(bake: Bake, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="E216"):
        init_project.init(definition(bake, tmp_path, ["a\nb", "c"]), tmp_path / "out")
