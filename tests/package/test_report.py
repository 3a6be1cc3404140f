"""The report: complete for machines, safe and self-contained for people, honest in its verdict."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import escape

from finetune.data.chat_format import EvaluationRecord
from finetune.data.stage import convert
from finetune.evaluation import charts
from finetune.evaluation.baselines import majority
from finetune.evaluation.gate import FAILED, LIMITED, PASSED
from finetune.evaluation.markdown import render_markdown
from finetune.evaluation.metrics import Prediction, score
from finetune.evaluation.page import TEMPLATES
from finetune.evaluation.predictions import ArtefactScore, read_test
from finetune.evaluation.report import build_report, keep_artefacts, read_report, write_report
from finetune.evaluation.report_parts import Training
from finetune.evaluation.report_schema import EvaluationReport
from finetune.html_page import SHARED
from finetune.markdown import CHARACTERS, fenced, plain
from finetune.numbers import format_signed, format_size
from finetune.provenance import MANIFEST, sha256, write_manifest
from reports import changed, rewrite, row

NASTY = "</script><script>alert(1)</script> ```\n# x @everyone [a](http://evil.example) | <img src=x onerror=y> \u202e"
LOG = [{"step": s, "epoch": s / 10, "loss": 2 / s} for s in range(1, 21)] + [
    {"step": 10, "epoch": 1.0, "eval_loss": 0.4},
    {"step": 20, "epoch": 2.0, "eval_loss": 0.7},
]


Answer = Callable[[int, Any], tuple[str, Any]]


def answered(project: Any, records: list[EvaluationRecord], answer: Answer) -> ArtefactScore:
    rows = [
        Prediction(r.id, r.reference, *answer(i, r.reference), tokens=3, seconds=0.01, confidence=0.5)
        for i, r in enumerate(records)
    ]
    return ArtefactScore("adapter", "d" * 64, score(project.task, rows), rows, False)


def trained(project: Any) -> Any:
    """Converted data and an adapter folder with log and manifest, as step 03 leaves them."""
    convert(project)
    folder = project.paths.adapter
    folder.mkdir(parents=True)
    (folder / "training_log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in LOG), encoding="utf-8")
    facts = {
        "base": {"id": "acme/base", "revision": "r1", "source": "hub", "fingerprint": "b" * 64},
        "data": {"train_sha256": sha256(project.paths.train), "valid_sha256": sha256(project.paths.valid)},
        "result": {
            "steps": 20, "seconds": 9.0, "recovered": [{"from_per_device": 4, "to_per_device": 2, "message": "full"}],
        },
    }  # fmt: skip
    write_manifest(folder / MANIFEST, step="03_train", inputs={}, outputs=[], facts=facts)
    return project


@pytest.fixture
def project(make_project: Callable[..., Any]) -> Any:
    return trained(make_project())


def build(project: Any, answer: Answer | None = None, **options: Any) -> EvaluationReport:
    records = read_test(project)
    tuned = answered(project, records, answer or (lambda i, want: (want, want)))
    before = answered(project, records, lambda i, want: (NASTY, None))
    return build_report(project, tuned, records, zero_shot=before, majority=majority(project, records), **options)


def half_wrong(i: int, want: Any) -> tuple[str, Any]:
    return (want, want) if i % 2 else (NASTY, None)


def test_it_round_trips_through_yaml(project: Any) -> None:
    report = build(project, half_wrong)
    write_report(project, report)
    assert read_report(project) == report
    assert report.data.test_sha256 == sha256(project.paths.test)
    assert report.training.best_eval_step == 10 and report.training.steps == 20


def test_it_says_whether_the_code_was_as_shipped(project: Any) -> None:
    report = build(project)
    machinery = report.provenance.machinery
    told = str(machinery)
    assert told.startswith("code ") and machinery and machinery.compared > 100
    write_report(project, report)
    assert plain(told) in project.paths.report_md.read_text(encoding="utf-8")
    assert f"<dd>{escape(told)}</dd>" in project.paths.report_html.read_text(encoding="utf-8")
    # of code that knew no seal
    write_report(project, changed(report, lambda values: values["provenance"].pop("machinery")))
    assert "as shipped" not in project.paths.report_md.read_text(encoding="utf-8")


def test_a_perfect_adapter_passes(project: Any) -> None:
    report = build(project)
    assert report.verdict == PASSED and report.primary.value == 1.0 and report.primary.ci == [1.0, 1.0]
    assert report.baselines.zero_shot.difference.difference == 1.0
    assert report.errors.worst == []


def test_a_bad_one_fails_and_is_told_what_to_do(project: Any) -> None:
    report = build(project, half_wrong)
    assert report.verdict == FAILED
    assert {item.id for item in report.advice} >= {"8.1", "8.3", "8.4", "8.5"}


@pytest.mark.parametrize("task_type", ["extraction", "generation"])
def test_other_task_types_have_their_report(make_project: Callable[..., Any], task_type: str) -> None:
    project = trained(make_project(task_type))
    report = build(project, lambda i, want: (NASTY, None) if i == 0 else ("ok", want))
    write_report(project, report)
    page = project.paths.report_html.read_text(encoding="utf-8")
    assert ("Per entity type" in page) == (task_type == "extraction")
    assert "Confusion matrix" not in page and "Training" in page


def test_a_limited_run_is_stamped(project: Any) -> None:
    report = build(project, limited=True)
    write_report(project, report)
    assert read_report(project).verdict == LIMITED
    for file in (project.paths.report_html, project.paths.report_md):
        assert "limited run, not comparable" in file.read_text(encoding="utf-8").lower()


def test_an_artefact_out_of_tolerance_turns_the_verdict(project: Any) -> None:
    report = build(project)
    lost = row("Q4_K_M", bytes=2_500_000_000, value=0.7, difference=-0.3, tolerance=0.02, status="failed", passed=False)
    write_report(project, changed(report, lambda values: values.update(artefacts=[lost])))
    assert read_report(project).verdict == FAILED
    page, comment = (f.read_text(encoding="utf-8") for f in (project.paths.report_html, project.paths.report_md))
    assert "2.50 GB" in page and "-0.300" in page and "2.50 GB" in comment
    rewrite(project, lambda values: values["artefacts"][0].update(passed=True, status="passed"))
    assert read_report(project).verdict == PASSED


def test_an_artefact_that_was_not_run_is_listed_as_open(project: Any) -> None:
    report = build(project)
    unserved = row("ollama", file=None, status="open", passed=None)
    write_report(project, changed(report, lambda values: values.update(artefacts=[unserved])))
    assert read_report(project).verdict == PASSED
    assert "| open | ollama |" in project.paths.report_md.read_text(encoding="utf-8")
    other = row("f16", status="failed", passed=False, reason="writes <b>other</b> text")
    write_report(project, changed(report, lambda values: values.update(artefacts=[other])))
    assert read_report(project).verdict == FAILED
    assert "writes &lt;b&gt;other&lt;/b&gt; text" in project.paths.report_html.read_text(encoding="utf-8")


def test_artefact_rows_stay_only_with_their_adapter_and_test_set(project: Any) -> None:
    fresh = build(project)
    previous = changed(fresh, lambda values: values.update(artefacts=[row("f16")]))
    assert keep_artefacts(fresh, previous).artefacts == previous.artefacts != []
    assert keep_artefacts(fresh, None) == keep_artefacts(fresh, fresh) == fresh
    for part, key in (("provenance", "adapter"), ("data", "test_sha256")):
        other = changed(fresh, lambda values, part=part, key=key: values[part].update({key: "0" * 64}))
        assert keep_artefacts(other, previous).artefacts == []
    assert keep_artefacts(build(project, limited=True), previous).artefacts == []


def test_the_adapter_must_have_seen_the_training_split_that_lies_here(project: Any) -> None:
    lines = project.paths.train.read_text(encoding="utf-8").splitlines(keepends=True)
    project.paths.train.write_text("".join(lines[1:]), encoding="utf-8")
    report = build(project)
    assert report.verdict == FAILED and report.advice[0].id == "5.3"


@pytest.mark.parametrize("value", ["nan", ".nan", ".inf", "1.5", "text"])
def test_a_report_with_a_value_that_is_no_share_is_no_report(project: Any, value: str) -> None:
    write_report(project, build(project))
    text = project.paths.report_yaml.read_text(encoding="utf-8")
    project.paths.report_yaml.write_text(re.sub(r"accuracy: [0-9.]+", f"accuracy: {value}", text, count=1))
    assert read_report(project) is None


@pytest.mark.parametrize("damaged", [b"", b"\xff", b"[1]", b"[" * 5000, b"a: &a [*a]"])
def test_a_damaged_report_is_no_report(project: Any, damaged: bytes) -> None:
    project.paths.report_yaml.parent.mkdir(parents=True, exist_ok=True)
    project.paths.report_yaml.write_bytes(damaged)
    assert read_report(project) is None


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_is_self_contained_and_inert(project: Any) -> None:
    write_report(project, build(project, half_wrong))
    text = project.paths.report_html.read_text(encoding="utf-8")
    page = Page(text)
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "img", "iframe", "object", "a", "form", "base"}
    attributes = {name for _, attrs in page.tags for name in attrs}
    assert not {name for name in attributes if name.startswith("on") or name in ("src", "href", "action", "srcset")}
    assert "url(" not in text and "@import" not in text and "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text and "Noto Sans TC" in text
    assert {"svg", "table", "details"} <= names
    assert "&lt;/script&gt;" in text


def test_the_page_shows_the_data_behind_it_where_its_report_is_there(project: Any) -> None:
    write_report(project, report := build(project))
    page = project.paths.report_html.read_text(encoding="utf-8")
    data = page.partition("<h2>Data</h2>")[2].partition("</section>")[0]
    assert "<title>billing: 20 rows (train " in data and "Length of the input in characters" in data
    assert ".bar.train" in page and "different inputs" in data
    values = json.loads(project.paths.data_report_json.read_text(encoding="utf-8"))
    project.paths.data_report_json.write_text(json.dumps({**values, "inputs": {}}), encoding="utf-8")
    write_report(project, report)
    page = project.paths.report_html.read_text(encoding="utf-8")
    assert "<h2>Data</h2>" not in page and ".bar.train" not in page


def test_the_comment_shows_data_only_inside_a_fence(project: Any) -> None:
    write_report(project, build(project, half_wrong))
    text = project.paths.report_md.read_text(encoding="utf-8")
    assert text.startswith("## ❌ Failed: macro_f1")
    fence = re.search(r"^(`{4,})text$", text, re.MULTILINE)
    assert fence, "the answers contain three backticks"
    before, inside, after = text.split(fence[1])
    assert "alert(1)" in inside and "alert(1)" not in before + after
    assert "\u202e" not in text and "onerror" not in before + after


def test_many_classes_stay_below_githubs_limit(make_project: Callable[..., Any]) -> None:
    report = build(trained(make_project()), half_wrong)
    name = "@a|`b`<i>" * 7

    def grow(values: dict[str, Any]) -> None:
        values["per_class"] = [{**values["per_class"][0], "name": f"{name}{i}"} for i in range(500)]
        worst = values["errors"]["worst"][0] | {"input": "漢" * 400, "answer": "`" * 399, "expected": "x" * 400}
        values["errors"]["worst"] = [worst] * 20
        values["advice"] *= 30

    text = render_markdown(changed(report, grow))
    assert len(text) < CHARACTERS + 500 < 65_536
    assert "further sections are in evaluation_report.html" in text
    assert text.startswith("## ❌ Failed")


def test_a_damaged_or_foreign_report_reads_as_none(project: Any) -> None:
    assert read_report(project) is None
    project.paths.report_yaml.parent.mkdir(parents=True, exist_ok=True)
    for text in ("{", "[1]", "report_version: 99"):
        project.paths.report_yaml.write_text(text, encoding="utf-8")
        assert read_report(project) is None


def test_the_template_survives_baking() -> None:
    text = (TEMPLATES / "report.html.j2").read_text(encoding="utf-8")
    assert not any(mark in text for mark in ("<<", "<%", "<#"))


@given(st.text())
def test_a_fence_cannot_be_closed_from_inside(text: str) -> None:
    first, *lines, last = fenced(text).split("\n")
    assert first == f"{last}text" and set(last) == {"`"} and last not in "\n".join(lines)


@given(st.text(alphabet="@#<>&|`*_[]()!~\\:/.whtp\nabc"))
def test_plain_text_leaves_nothing_to_act_on(text: str) -> None:
    escaped = plain(text)
    assert not re.search(r"[@<>|`*\[\]\\~!\n]|\b_|_\b|://|www\.|#(?!\d+;)|&(?!#\d+;)", escaped)


def test_numbers_read_well() -> None:
    assert (format_signed(-0.0001), format_signed(0.25), format_signed(None)) == ("0.000", "+0.250", "–")
    assert (format_size(2_500_000_000), format_size(81_000_000), format_size(None)) == ("2.50 GB", "81.0 MB", "–")


def test_the_heat_map_of_many_classes_shows_the_most_confused() -> None:
    labels = [f"c{i}" for i in range(50)]
    counts = [[9 if i == j else 0 for j in range(51)] for i in range(50)]
    counts[47][48] = 5
    drawing = charts.heat_map(labels, [*labels, "(unparseable)"], counts)
    assert "c47 → c48: 5 (36%)" in drawing and drawing.count("<g>") == charts.LARGEST_MATRIX**2


def test_labels_in_charts_are_escaped_and_fitted() -> None:
    drawing = charts.heat_map(["<b>x</b>", "漢" * 60], ["<b>x</b>", "漢" * 60, "(unparseable)"], [[1, 0, 1], [0, 1, 0]])
    assert "<b>" not in drawing and "&lt;b&gt;" in drawing and "漢…</text>" in drawing and "(unparseable)" in drawing


def test_a_curve_of_one_point_or_equal_values_can_be_drawn() -> None:
    for loss in ([[1, 0.5]], [[1, 0.0], [2, 0.0]]):
        numbers = dict.fromkeys(name for name in Training.model_fields if name not in ("loss", "eval_loss", "findings"))
        drawing = charts.loss_curve(Training(loss=loss, eval_loss=[], findings=[], **numbers))
        assert "polyline" in drawing and "nan" not in drawing


def test_no_style_of_this_page_reaches_the_datas_pictures() -> None:
    """`.input { width: 44% }` once halved the bar of class `input`: what a bar is called, only its own style names."""
    text = (TEMPLATES / "report.html.j2").read_text(encoding="utf-8") + (SHARED / "page.css.j2").read_text("utf-8")
    style = re.sub(r"\{[^{}]*\}", " ", text.partition("<main>")[0])
    bars = {"plain", "copy", "wrong", "over-limit", "valid", "test", "out", "sum", "pic", "splits", "bar"}
    assert not bars & set(re.findall(r"\.([\w-]+)", style))
