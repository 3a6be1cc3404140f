"""The Chinese remedies: complete, in the words of Taiwan, shown where the task is Chinese and nowhere else."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from finetune import codes, console, remedies
from finetune.data.report.markdown import remedy_list
from finetune.errors import Problem, Problems, StorageFault
from taiwanese import faults

CATALOGUE = {meaning.code: meaning.chinese for section in codes.read_registry() for meaning in section.meanings}


@pytest.fixture
def chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINETUNE_LANG", "zh-TW")


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_sentence_is_one_short_line(code: str) -> None:
    sentence = CATALOGUE[code]
    assert isinstance(sentence, str) and sentence.endswith("。") and sentence.count("。") == 1
    assert sentence.isprintable() and 8 <= len(sentence) <= 90
    assert not re.search(r"[,;:](?=[\u4e00-\u9fff])", sentence), "half-width signs in Chinese"


def test_words_are_those_of_taiwan() -> None:
    assert faults("\n".join(CATALOGUE.values())) == []
    assert faults("默認的数字,好嗎") == ["Simplified 数", "默認: 預設", "half-width: 字,好"]


@pytest.mark.parametrize(
    ("language", "expected"),
    [("zh-TW", True), ("zh", True), ("zh-Hant", True), ("zh-Hant-HK", True), ("ZH-tw", True), ("yue-HK", True),
     ("zh-CN", False), ("zh-Hans", False), ("zh-SG", False), ("en", False), ("ja", False), ("zha", False)],
)  # fmt: skip
def test_who_reads_chinese(language: str, expected: bool) -> None:
    assert remedies.in_chinese(language) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("language: zh-TW\n", "zh-TW"), ("a: 1\nlanguage: 'zh-Hant' # x\r\n", "zh-Hant"), ("language:en", "en"),
     ("x:\n  language: zh-TW\n", "en"), ("language: zh-TW\nlabels: [\t{{{ broken", "zh-TW"), ("", "en"),
     ("language:\nlicense: mit\n", "en")],
)  # fmt: skip
def test_language_is_found_in_a_definition_that_does_not_load(
    text: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FINETUNE_LANG")
    remedies.use(tmp_path)
    assert remedies.language() == "en"
    (tmp_path / "task_definition.yaml").write_bytes(b"\xef" * (text == "") + text.encode())
    assert remedies.language() == expected
    monkeypatch.setenv("FINETUNE_LANG", "fr")
    assert remedies.language() == "fr"


def found() -> Problems:
    problems = Problems()
    for line in (1, 2):
        problems.add("data/raw/a.jsonl", "E135", "label 'W131 x' is not in the task", "did you mean y?", line=line)
    problems.add("data/raw/a.jsonl", "W103", "blank line", "remove it", line=3)
    return problems


def test_each_code_once_behind_the_problems(chinese: None, capsys: pytest.CaptureFixture[str]) -> None:
    console.report_problems(found())
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "修正" in line] == [
        f"E135 修正：{CATALOGUE['E135']}",
        f"W103 修正：{CATALOGUE['W103']}",
    ]
    assert lines[-3] == "2 errors, 1 warning"


def test_annotation_has_its_own_remedy(
    chinese: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    console.report_problems(found())
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition("%0A修正：")[2] for line in lines] == [CATALOGUE[code] for code in ("E135", "E135", "W103")]


def test_failure_and_coded_line(chinese: None, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> int:
        raise StorageFault("the Hub is gone", "wait", "E972")

    assert console.guarded(fail) == 74
    console.say("a line about E135")
    console.say("W971 out of memory: going on")
    assert capsys.readouterr().err.splitlines() == [
        "E972 the Hub is gone. Fix: wait",
        f"E972 修正：{CATALOGUE['E972']}",
        "a line about E135",
        "W971 out of memory: going on",
        f"W971 修正：{CATALOGUE['W971']}",
    ]


def test_machines_and_english_tasks_get_what_they_got(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    for language in ("en", "zh-TW"):
        monkeypatch.setenv("FINETUNE_LANG", language)
        console.report_problems(found(), as_json=True)
        seen.append(capsys.readouterr())
    assert seen[0] == seen[1] and json.loads(seen[0].out)["errors"] == 2
    monkeypatch.setenv("FINETUNE_LANG", "en")
    console.report_problems(found())
    assert capsys.readouterr().err == found().render() + "\n"


def test_remedies_of_a_report_are_bullets_and_inert(chinese: None) -> None:
    listed = remedy_list([Problem("a", "E102", ""), Problem("a", "E102", ""), Problem("a", "E0*`<", "")])
    assert listed.count("\n") == 0 and listed.startswith("- E102 修正：") and "&#42;.jsonl" in listed


@pytest.mark.parametrize("text", [None, "[any", "[any.E135]\n", "\xff"], ids=["gone", "no TOML", "half", "no UTF-8"])
def test_missing_or_damaged_registry_costs_no_message(
    chinese: None, tmp_path: Path, text: str | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = tmp_path / "codes.toml"
    if text is not None:
        registry.write_bytes(text.encode("latin-1"))
    monkeypatch.setattr(codes, "REGISTRY", registry)
    console.report_problems(found())
    assert capsys.readouterr().err == found().render() + "\n"


def test_comment_and_page_have_them(chinese: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from finetune.data.report.schema import ProblemList
    from finetune.github.data_pr.sections import problems

    listed = ProblemList(errors=2, warnings=1, problems=found().all)
    assert problems(listed).count("\n- E135 修正：") == 1
    monkeypatch.setenv("FINETUNE_LANG", "en")
    assert "修正" not in problems(listed) and problems(listed).endswith("```")
