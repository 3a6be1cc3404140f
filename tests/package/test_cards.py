"""Model cards: true numbers, metadata the Hub can read, snippets that are Python, and text that stays text."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt

from finetune.config.project import Project
from finetune.data.chat_format import system_text
from finetune.errors import Problems
from finetune.evaluation.report import read_report
from finetune.hub.cards import headings, render_card
from finetune.hub.checks import check_release
from finetune.hub.filters import fence
from finetune.hub.plan import KINDS, artefact_files
from finetune.markdown import code
from release_tree import QUANTISATIONS, make_release
from reports import changed

HOSTILE = "<script>a()</script> ![x](http://evil.test/x.png) [y](http://evil.test) {{ 7*7 }} **b** @all\n---\n# Head"


def cards(project: Project) -> dict[str, str]:
    report, problems = read_report(project), Problems()
    measured = check_release(project, report, problems)
    assert not problems.errors, problems.render()
    assert report
    return {
        kind: render_card(project, kind, "v1.2.3", report, measured, list(artefact_files(project, kind)))
        for kind in KINDS
    }


def front(card: str) -> dict[str, Any]:
    return yaml.safe_load(card.split("---\n")[1])


def body(card: str) -> list[Any]:
    return MarkdownIt("commonmark").enable("table").parse(card.split("---\n", 2)[2])


def flat(tokens: list[Any]) -> list[Any]:
    return [inner for token in tokens for inner in (token, *flat(token.children or []))]


def python_blocks(card: str) -> list[str]:
    return [token.content for token in body(card) if token.type == "fence" and token.info == "python"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_release(tmp_path_factory.mktemp("release"))


def test_front_matter_names_the_base_and_the_relation_of_each_repository(project: Project) -> None:
    found = {kind: front(card) for kind, card in cards(project).items()}
    relations = {kind: (f["base_model"], f["base_model_relation"], f["library_name"]) for kind, f in found.items()}
    assert relations == {
        "adapter": (["HuggingFaceTB/SmolLM2-135M-Instruct"], "adapter", "peft"),
        "gguf": (["acme/small"], "quantized", "gguf"),
        "merged": (["HuggingFaceTB/SmolLM2-135M-Instruct"], "merge", "transformers"),
    }
    assert {f["license"] for f in found.values()} == {"apache-2.0"}


def test_model_index_holds_the_values_measured_on_that_very_artefact(project: Project) -> None:
    report = read_report(project)
    assert report
    reported = {row.name: row.value for row in report.artefacts if row.status != "open"}
    indexed = {}
    for card in cards(project).values():
        for model in front(card)["model-index"]:
            (result,) = model["results"]
            assert result["dataset"]["revision"] == report.data.test_sha256
            values = {metric["name"]: metric["value"] for metric in result["metrics"]}
            indexed[model["name"].removeprefix("small-task-")] = values["macro_f1"]
    assert indexed == pytest.approx(reported, abs=1e-6)
    assert indexed["Q8_0"] < indexed["adapter"]


def test_the_client_library_reads_the_metadata(project: Project) -> None:
    repocard = pytest.importorskip("huggingface_hub", reason="the hub extra is not installed")
    card = repocard.ModelCard(cards(project)["adapter"], ignore_metadata_errors=False)
    assert card.data.base_model_relation == "adapter"
    assert {result.metric_name for result in card.data.eval_results} == {"macro_f1", "accuracy"}


def table(card: str, heading: str) -> dict[str, list[str]]:
    """Cells of the table whose first column is headed `heading`, by the first cell of their row."""
    lines = card.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {name.strip("`"): cells for name, *cells in rows}


def test_what_was_not_measured_is_a_dash_and_what_was_not_run_is_left_out(project: Project) -> None:
    for card in cards(project).values():
        rows = table(card, "form")
        assert list(rows) == ["adapter", "merged", *QUANTISATIONS]  # vLLM is open in the report
        assert rows["adapter"] == ["1.000", "–", "–", "–", "–"]
        assert rows["f16"][:4] == ["1.000", "0.000", "0.020", "yes"] and rows["f16"][4].endswith("bytes")


def test_the_adapter_row_of_step_07_shows_its_size(project: Project) -> None:
    report, problems = read_report(project), Problems()
    assert report
    report = changed(report, lambda values: values["artefacts"][0].update(difference=0.0, bytes=1_500_000))
    assert report.artefacts[0].name == "adapter"
    measured = check_release(project, report, problems)
    card = render_card(project, "gguf", "v1.2.3", report, measured, list(artefact_files(project, "gguf")))
    assert table(card, "form")["adapter"] == ["1.000", "0.000", "–", "–", "1.5 MB"]


def test_python_snippets_compile_and_carry_the_exact_system_prompt(project: Project) -> None:
    seen = 0
    for card in cards(project).values():
        for block in python_blocks(card):
            tree = ast.parse(block)
            assigned = {
                node.targets[0].id: ast.literal_eval(node.value)
                for node in tree.body
                if isinstance(node, ast.Assign) and node.targets[0].id == "SYSTEM"
            }
            assert assigned == {"SYSTEM": system_text(project.task)}
            seen += 1
    assert seen == 4


def test_usage_names_repository_tag_and_settings(project: Project) -> None:
    found = cards(project)
    assert "ollama run hf.co/acme/small-gguf:Q8_0" in found["gguf"]
    assert "vllm serve acme/small --revision v1.2.3 --max-model-len 768" in found["merged"]
    assert f"revision={'a' * 40!r}" in found["adapter"]
    assert all("do_sample=False" in found[kind] and "max_new_tokens=8" in found[kind] for kind in ("adapter", "merged"))


def test_every_shipped_file_is_listed_with_its_hash(project: Project) -> None:
    for kind, card in cards(project).items():
        for file in artefact_files(project, kind):
            assert file.path in card and file.sha256 in card


def test_cards_hold_nothing_that_a_second_measurement_changes(project: Project, tmp_path: Path) -> None:
    again = make_release(tmp_path)
    report = read_report(again)
    assert report

    def elsewhere(values: dict[str, Any]) -> None:
        for row in values["artefacts"]:
            row["tokens_per_s"] = 99.0
        values["speed"]["tokens_per_s"] = 99.0
        values["provenance"]["created"] = "another day"

    report = changed(report, elsewhere)
    problems = Problems()
    measured = check_release(again, report, problems)
    merged = render_card(again, "merged", "v1.2.3", report, measured, list(artefact_files(again, "merged")))
    assert merged == cards(project)["merged"]


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    label = "a|b`<i>x</i>{{7*7}}[y](z)"
    evil = {
        "description": HOSTILE,
        "license": "My License\nbase_model: evil/model",
        "system_prompt": "Sort.\n````\n# out of the fence\n{labels}\n'''\"\"\"",
        "input": {"description": HOSTILE, "example": 'it\'s "so"\n```\n# x'},
        "output": {"labels": [{"name": name, "description": "a | b"} for name in (label, "shipping", "account")]},
    }
    plain = [token for token in flat(body(cards(make_release(tmp_path / "plain"))["gguf"]))]
    project = make_release(tmp_path / "evil", task=evil)
    for kind, card in cards(project).items():
        tokens = flat(body(card))
        assert not [t for t in tokens if t.type in ("html_block", "html_inline", "image")], kind
        links = {t.attrs["href"] for t in tokens if t.type == "link_open"}
        assert all(str(link).startswith("https://huggingface.co/acme/") for link in links), kind
        cells = [t.content for t in tokens if t.type == "inline" and t.content.startswith("a&#124;b")]
        assert len(cells) == 1, kind
        values = front(card)
        assert values["license_name"] == "my-license-base-model-evil-model" and values["license"] == "other"
        assert "49" not in str(values["tags"]) and "{{ 7\\*7" not in card
        for block in python_blocks(card):
            ast.parse(block)
    headed = [t.content for t in flat(body(cards(project)["gguf"])) if t.type == "inline" and t.level == 1]
    usual = [t.content for t in plain if t.type == "inline" and t.level == 1]
    assert len(headed) == len(usual)


def test_no_template_syntax_is_left_and_none_clashes_with_the_bake(project: Project) -> None:
    for card in cards(project).values():
        assert not any(sign in card for sign in ("{{", "{%", "{#", "None |"))
    folder = Path(headings.__code__.co_filename).parent / "templates"
    templates = list(folder.iterdir())
    assert len(templates) >= 6
    for template in templates:
        assert not any(sign in template.read_text(encoding="utf-8") for sign in ("<<", "<%", "<#")), template


def test_traditional_chinese_task_has_chinese_headings(tmp_path: Path) -> None:
    card = cards(make_release(tmp_path, task={"language": "zh-TW", "description": "客服訊息分類"}))["gguf"]
    assert "## 評估結果" in card and "## 限制" in card and "## Results" not in card
    assert (front(card)["language"], front(card)["language_bcp47"]) == (["zh"], ["zh-TW"])


def test_both_languages_have_the_same_headings() -> None:
    assert headings("en").keys() == headings("zh-TW").keys()
    assert headings("de") is headings("en")


def test_limits_name_the_number_of_test_rows(project: Project) -> None:
    assert all("Measured on 30 test rows" in card.partition("## Limits")[2] for card in cards(project).values())


@pytest.mark.parametrize("inner", ["a ` b", "```", "`", "````x"])
def test_code_is_longer_fenced_than_its_backticks(inner: str) -> None:
    tokens = flat(MarkdownIt().parse(code(inner)))
    assert [t.content for t in tokens if t.type == "code_inline"] == [inner]
    tokens = MarkdownIt().parse(fence(f"x\n{inner}\ny"))
    assert [(t.type, t.content) for t in tokens] == [("fence", f"x\n{inner}\ny\n")]


def test_each_quantisation_has_its_own_column(project: Project) -> None:
    gguf = cards(project)["gguf"]
    assert all(f"F1 `{name}`" in gguf for name in QUANTISATIONS)
