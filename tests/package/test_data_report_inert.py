"""Whatever stands in data, file names and messages: no markup in data_report.md, no element in data_report.html."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from data_reports import counts, pair, problem, report
from finetune.data.report.markdown import render_markdown
from finetune.data.report.page import render_html
from finetune.data.report.schema import DataReport
from finetune.markdown import one_line, plain
from hostile_report import HOSTILE, SKULL, hostile, reports

SECTIONS = {
    "What is wrong",
    "Distribution",
    "Lengths in characters",
    "Duplicates and groups",
    "Languages",
    "Checks",
    "Files",
}
MARKUP = {"heading", "paragraph", "table", "thead", "tbody", "tr", "th", "td", "strong"}
ELEMENTS = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "main",
    "header",
    "section",
    "h1",
    "h2",
    "h3",
    "p",
    "div",
    "b",
    "i",
    "span",
    "code",
    "pre",
    "table",
    "tr",
    "th",
    "td",
    "details",
    "summary",
    "svg",
    "g",
    "rect",
    "line",
    "text",
}
SHAPES = {
    "class",
    "x",
    "y",
    "x1",
    "x2",
    "y1",
    "y2",
    "width",
    "height",
    "font-size",
    "text-anchor",
    "viewbox",
    "role",
    "aria-label",
    "lang",
    "charset",
    "name",
    "content",
    "http-equiv",
}


def tokens(text: str) -> Iterator[Token]:
    parser = MarkdownIt("commonmark", {"html": True, "linkify": False}).enable(["table", "strikethrough"])
    for token in parser.parse(text):
        yield from token.children or () if token.type == "inline" else (token,)


def assert_inert_markdown(text: str) -> None:
    """Only headings, paragraphs, tables and code; the text of others is text in which GitHub finds nothing to link."""
    for token in tokens(text):
        if token.type in ("fence", "code_inline"):
            assert token.type == "fence" or SKULL not in token.content, token
            assert token.info in ("", "text")
            assert all(sign == "\n" or sign.isprintable() for sign in token.content), token.content
            continue
        kind = re.sub("_(open|close)$", "", token.type)
        assert kind in MARKUP | {"text", "text_special", "softbreak"}, token
        if token.type == "text":
            # Stricter than GitHub in one thing: markdown-it has joined entities and escapes already.
            assert not re.search(r"@\w|https?://|www\.\w|#\d|GH-\d|:\+1:", token.content, re.IGNORECASE), token.content
    titles = re.findall("^## (.*)$", re.sub(r"(?ms)^(`{3,})text$.*?^\1$", "", text), re.MULTILINE)
    assert set(titles) <= SECTIONS and len(titles) == len(set(titles))


class Page(HTMLParser):
    """Fails at whatever the template does not write itself."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ELEMENTS, tag
        assert {name for name, _ in attrs} <= SHAPES, attrs
        assert all(SKULL not in (value or "") or name == "lang" for name, value in attrs), attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def handle_data(self, data: str) -> None:
        assert not self.open or self.open[-1] != "style" or SKULL not in data
        assert all(sign == "\n" or sign.isprintable() for sign in data), data


def assert_inert(shown: DataReport) -> None:
    assert_inert_markdown(render_markdown(shown))
    page = Page(render_html(shown))
    assert not page.open


def test_the_check_itself_finds_what_acts():
    for text in ("@org", "https://e.x", "[x](y)", "<b>x</b>", f"`{SKULL}`", "## Other", "- x", "> x", "*x*", "~~x~~"):
        with pytest.raises(AssertionError):
            assert_inert_markdown(text)
    for text in ("<script>", "<p onclick=x>", "<a>", "<!-- x -->", "<p></b>", f"<p class='{SKULL}'>", "<p>\u202e"):
        with pytest.raises(AssertionError):
            Page(text)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(reports)
def test_no_text_of_a_report_is_ever_active(shown: DataReport):
    assert_inert(shown)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_in_every_place_at_once_is_inert(text: str):
    """Labels, file names, messages, reasons, scripts: each of the texts that want most, where people see them."""
    skipped = {"status": "skipped", "reason": text}
    shown = report(
        task=text,
        classes={text: counts(400), text + "2": counts(3)},
        files={text: {"sha256": text, "rows": 1}},
        problems={"problems": [problem("E135", path=text, message=text), problem(text)], "errors": 2},
        row_checks={"control_tokens": skipped, text: skipped},
        languages={"declared": text, "scripts": {text: 7}},
        duplicates={"near": {"examples": [pair(1, text)]}},
        stratification={"off": [{"class": text, "split": "valid", "share": 0.1, "target": 0.2}]},
    )
    assert_inert(shown)
    assert render_html(shown).count(SKULL) > 10


@given(hostile)
def test_a_name_in_a_table_reads_as_it_is(text: str):
    """Escaped, yet whole: what a reader sees is the name, with what cannot be printed spelled out."""
    rows = [t for t in MarkdownIt("commonmark").enable("table").parse(f"| a |\n| --- |\n| x{plain(text)}x |\n")]
    (seen,) = [t for t in rows if t.type == "inline"][1:]
    read = "".join(part.content for part in seen.children or ()).replace("\u200b", "")
    assert read == f"x{one_line(text).strip()}x".replace("\u200b", "")


@given(st.text(alphabet="@#<>&|`*_[]()!~\\:/.whtp$+ab"))
def test_signs_of_markup_leave_nothing_to_act_on(text: str):
    assert_inert_markdown(f"| a |\n| --- |\n| {plain(text)} |\n")
