"""The data report as people read it: the order of its sections, nothing skipped that looks passed, true pictures."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_reports import NO_TOKENIZER, counts, pair, problem, report, report_values
from finetune.data import stage
from finetune.data.report.building import data_report_of
from finetune.data.report.facts import checks, nothing_wrong, sparkline
from finetune.data.report.markdown import render_markdown
from finetune.data.report.page import TEMPLATES, render_html
from finetune.data.report.schema import DataReport, Histogram
from finetune.github.data_pr.schema import Changes
from finetune.github.data_pr.sections import check_table, problems, verdict
from finetune.html_page import SHARED
from finetune.provenance import sha256

SECTIONS = [
    "What is wrong",
    "Distribution",
    "Lengths in characters",
    "Duplicates and groups",
    "Languages",
    "Checks",
    "Files",
]


class Page(HTMLParser):
    """Tags in order, and the text outside of style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if not self.tags or self.tags[-1][0] != "style":
            self.text += data


# Markdown and page.


def test_the_sections_stand_in_the_order_of_a_readers_questions():
    assert re.findall("^## (.*)$", render_markdown(report()), re.MULTILINE) == SECTIONS
    headings = re.findall("<h2>(.*?)</h2>", render_html(report()))
    assert headings == [
        "What is wrong",
        "Class distribution per split",
        "Lengths in characters",
        "Duplicates and near-duplicates",
        "Languages",
        "Checks",
        "Files",
    ]


def test_the_verdict_counts_errors_warnings_and_what_was_not_done():
    checked = {"control_tokens": {"status": "skipped", "reason": NO_TOKENIZER}}
    bad = report(valid=False, problems={"errors": 2, "problems": [problem("E135")]}, row_checks=checked)
    assert "**Errors: training will not start.** 2 errors, 1 warning in 640 rows." in render_markdown(bad)
    assert "**1 check not done**, see Checks." in render_markdown(bad)
    assert '<body class="bad">' in render_html(bad) and "1 check not done" in render_html(bad)
    assert '<body class="limited">' in render_html(report())
    clean = report(problems={"warnings": 0, "problems": []})
    assert '<body class="good">' in render_html(clean) and nothing_wrong(clean) == "Nothing."


@pytest.mark.parametrize("check", ["control_tokens", "template_proof", "personal_data", "token_lengths", "near"])
@pytest.mark.parametrize("how", ["skipped", "absent"])
def test_a_skipped_check_is_never_shown_as_passed(check: str, how: str):
    values = report_values()
    place = values["duplicates"] if check == "near" else values["row_checks"]
    if how == "skipped":
        place[check] = {"status": "skipped", "reason": NO_TOKENIZER}
    else:
        place.pop(check)
    values["problems"] = {"errors": 0, "warnings": 0, "problems": []}
    shown = msgspec.convert(values, DataReport)
    (missed,) = [row for row in checks(shown) if not row.done]
    reason = NO_TOKENIZER if how == "skipped" else "the report holds no result of it"
    assert f"| {missed.name} | **NOT CHECKED** | {reason} |" in render_markdown(shown)
    page = render_html(shown)
    assert re.search(rf'{missed.name}</td><td class="open">NOT CHECKED</td><td class="wide soft">{reason}', page)
    assert '<body class="limited">' in page and "Nothing, as far as it was checked: 1 check not done." in page
    assert f"| {missed.name} | **NOT CHECKED** | `{reason}` |" in check_table(shown)
    assert "**1 check not done**" in verdict(shown, Changes(converted=True))


def test_languages_and_shares_that_were_not_looked_at_are_no_success_either():
    shown = report(languages=None, stratification=None)
    assert [row.name for row in checks(shown) if not row.done] == [
        "language and script",
        "share of every class per split",
    ]
    without = msgspec.structs.replace(shown, classes={})
    assert [row.name for row in checks(without) if not row.done] == ["language and script"]


def test_problems_are_cut_at_fifty_and_counted():
    listed = [problem("E135", line=n) for n in range(60)]
    shown = report(problems={"errors": 1500, "warnings": 0, "problems": listed})
    for text in (render_markdown(shown), render_html(shown)):
        assert text.count("data/raw/a.jsonl:") >= 50
        assert "data/raw/a.jsonl:49: E135" in text and "data/raw/a.jsonl:50: E135" not in text
        assert "… and 1,450 more" in text


def test_a_frequent_problem_hides_no_rare_one():
    listed = [*(problem("W134", line=n) for n in range(200)), problem("W149", "data/raw", None, "out of balance")]
    shown = report(problems={"errors": 0, "warnings": 201, "problems": listed})
    for text in (render_markdown(shown), render_html(shown), problems(shown.problems)):
        assert "data/raw: W149 out of balance" in text and text.count(": W134 ") == 49
        assert "data/raw/a.jsonl:48: W134" in text and "… and 151 more" in text


def test_near_duplicates_are_pairs_of_places_with_their_similarity():
    near = {"rows": 40, "examples": [pair(n) for n in range(20)]}
    shown = report(duplicates={"near": near})
    assert "| data/raw/a.jsonl:19 | train | data/raw/b.jsonl:1019 | test | 0.90 |" in render_markdown(shown)
    page = render_html(shown)
    assert "different splits, 20 of 40</h3>" in page and "<summary>12 more</summary>" in page
    assert "<code>data/raw/a.jsonl:19</code>" in page and "<code>data/raw/b.jsonl:1019</code>" in page
    assert "Step 02 leaves out 3 rows of train and 1 of valid" in page
    assert "In 2 pairs across splits the answers differ." in page


def test_rows_with_a_near_duplicate_and_shares_that_are_off_are_counted():
    shown = report(duplicates={"near": {"rows": 31}})
    found = {row.name: row.found for row in checks(shown)}
    assert found["near-duplicates"] == "similarity from 0.65: 31 rows"
    assert found["share of every class per split"] == "1 share off by more than chance explains"
    assert "1 share off by more than chance explains" in render_html(shown) and "1 of 31" in render_html(shown)
    assert "1 share off by more than chance explains" in render_markdown(shown)


def test_rows_that_are_left_out_have_a_column_only_where_there_are_any():
    assert "| class | rows | train | valid | test | left out of train | left out of valid |  |" in render_markdown(
        report()
    )
    none = report(rows={"left_out": 0}, classes={"billing": counts(400), "shipping": counts(160)})
    assert "| class | rows | train | valid | test |  |" in render_markdown(none)
    assert 'class="bar out"' not in render_html(none) and 'class="bar out"' in render_html(report())


def test_simplified_characters_are_told_and_so_is_what_is_declared():
    for text in (render_markdown(report()), Page(render_html(report())).text):
        assert "zh-TW" in text
        assert "9 rows of 640 mix scripts. 2 rows with characters of Simplified Chinese only." in text


def test_a_report_of_nothing_can_be_drawn():
    empty = {"input": None, "output": None}
    nothing = report_values(characters=empty, length_histogram=empty, imbalance=None, languages=None)
    nothing |= {"files": {}, "classes": {"a": dict.fromkeys(("rows", "train", "valid", "test"), 0)}, "row_checks": {}}
    nothing["rows"] = dict.fromkeys(nothing["rows"], 0)
    for values in (nothing, nothing | {"classes": {}, "length_histogram": None}):
        shown = msgspec.convert(values, DataReport)
        assert "No rows." in render_html(shown) and "Lengths" not in render_markdown(shown)


def test_the_distance_of_the_limit_is_told():
    for text in (render_markdown(report()), Page(render_html(report())).text):
        assert "limit is 2,000, 16.8 times the longest" in text


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=40))
def test_a_sparkline_has_a_sign_a_bin_and_only_empty_bins_look_empty(rows: list[int]):
    line = sparkline(Histogram(None, [(n, n + 1, count) for n, count in enumerate(rows)]))
    if any(rows):
        assert [sign == "·" for sign in line] == [not count for count in rows]
        assert line[rows.index(max(rows))] == "█"
    else:
        assert line == ""


def test_the_page_is_one_file_without_script_or_address():
    text = render_html(report())
    page = Page(text)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "a", "form", "base"}
    attributes = {name for _, attrs in page.tags for name in attrs}
    assert not {name for name in attributes if name.startswith("on") or name in ("src", "href", "action", "srcset")}
    assert "url(" not in text and "@import" not in text and "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text and "max-width: 640px" in text


@pytest.mark.parametrize("file", [*TEMPLATES.glob("*"), *SHARED.glob("*")], ids=lambda file: file.name)
def test_the_templates_survive_baking(file: Path):
    assert not any(mark in file.read_text(encoding="utf-8") for mark in ("<<", "<%", "<#"))


# From step 01, and to the evaluation report.


@pytest.mark.parametrize("task_type", ["classification", "extraction", "generation"])
def test_step_01_writes_all_three_of_the_same_run(make_project: Callable[..., Any], task_type: str):
    paths = make_project(task_type).paths
    stage.validate(make_project(task_type))
    shown = msgspec.json.decode(paths.data_report_json.read_bytes(), type=DataReport)
    assert paths.data_report_md.read_text(encoding="utf-8") == render_markdown(shown)
    assert paths.data_report_html.read_text(encoding="utf-8") == render_html(shown)
    histogram = shown.length_histogram
    assert histogram and histogram.input and sum(rows for _, _, rows in histogram.input.bins) == 60
    page = paths.data_report_html.read_text(encoding="utf-8")
    assert ("<h3>output</h3>" in page) == (task_type != "classification")
    assert ("every type that occurs in it" in page) == (task_type == "extraction")


@pytest.fixture
def converted(make_project: Callable[..., Any]) -> Any:
    project = make_project()
    stage.convert(project)
    return project


def test_a_report_is_read_only_beside_its_own_test_set(converted: Any):
    paths = converted.paths
    mine = sha256(paths.test)
    good = data_report_of(paths, mine)
    assert good and good.rows.accepted == 60
    assert data_report_of(paths, "0" * 64) is None
    values = json.loads(paths.data_report_json.read_text(encoding="utf-8"))
    for damaged in ({**values, "inputs": {}}, {**values, "report_version": 1}, {**values, "rows": "x"}, []):
        paths.data_report_json.write_text(json.dumps(damaged), encoding="utf-8")
        assert data_report_of(paths, mine) is None
    for text in (b"{", b"\xff", b"[" * 100_000):
        paths.data_report_json.write_bytes(text)
        assert data_report_of(paths, mine) is None
    paths.data_report_json.unlink()
    assert data_report_of(paths, mine) is None
