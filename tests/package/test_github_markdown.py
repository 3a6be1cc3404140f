"""Anybody's text in a comment: after Markdown has been parsed, nothing of it is active. And the caps of a comment."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from finetune.markdown import code, fenced, limited, plain, split_sections, table

LINK = "https://github.com/acme/demo/actions/runs/55"
PARSER = MarkdownIt("gfm-like", {"linkify": False, "html": True})
HOSTILE = [
    "@octocat",
    "@org/team",
    "&#64;org/team",
    "&commat;octocat",
    "&#x40;octocat",
    "@\u200boctocat",
    "a@b.example",
    "#1",
    "&#35;1",
    "GH-1",
    "gh-12",
    "acme/demo#1",
    "acme/demo@0123456",
    "https://evil.example",
    "HTTP://evil.example",
    "http&#58;//evil.example",
    "www.evil.example",
    "WWW.evil.example",
    "mailto:a@b.example",
    "<https://evil.example>",
    "[x](https://evil.example)",
    "[x](javascript:alert(1))",
    "![x](https://evil.example/x.png)",
    "[x]: https://e.example",
    "<img src=x onerror=alert(1)>",
    "<!-- llm-ft-template:evaluation -->",
    "<!--",
    "-->",
    "<script>",
    "</details>",
    "<details><summary>",
    "</summary>",
    "<a href=//evil.example>",
    "<![CDATA[",
    "<?php",
    "&lt;img&gt;",
    "&amp;#64;x",
    "# heading",
    "## ✅ Passed",
    "heading\n===",
    "heading\n---",
    "===",
    "---",
    "***",
    "___",
    "> quote",
    "> [!WARNING]",
    "- item",
    "* item",
    "+ item",
    "1. item",
    "12) item",
    "- [x] done",
    "    code",
    "\tcode",
    "| a | b |",
    "|---|---|",
    "`",
    "``",
    "```",
    "````",
    "~~~",
    "```\n@octocat\n```",
    "`` ` ``",
    "\\`",
    "\\",
    "\\\\",
    "*b*",
    "**b**",
    "_i_",
    "__b__",
    ":-",
    "--",
    "-- -",
    "~~s~~",
    "$x$",
    "$$\\huge{✅}$$",
    "[^1]",
    "[^1]: note",
    ":tada:",
    "a  \nb",
    "a\\\nb",
    "\r\n# x",
    "\r# x",
    "\u2028# x",
    "\u202eabc",
    "\u2066x\u2069",
    "\u200b",
    "\ufeff",
    "\x00",
    "\x1b[31m",
    "\ud800",
    "𝓍",
    "😀",
    "",
    " ",
    "\n\n",
    "passed=true",
    "::error::x",
    "##[error]x",
]
PARAGRAPH = ["paragraph_open", "paragraph_close"]
texts = st.lists(
    st.one_of(
        st.sampled_from(HOSTILE), st.text(max_size=6), st.sampled_from([" ", "\n", "x", "1", "/", "-", ".", ":"])
    ),
    max_size=6,
).map("".join)


def flat(markdown: str) -> list[Token]:
    """Every token in order, the inline ones in place of their parent."""
    return [inner for token in PARSER.parse(markdown) for inner in (token.children or [token])]


def kinds(markdown: str) -> list[str]:
    """Types of the active tokens: everything that is not text."""
    return [token.type for token in flat(markdown) if token.type not in ("text", "text_special", "inline")]


def shown(markdown: str) -> str:
    """What stands in the page as text, outside code, with the entities decoded: where GitHub looks for mentions."""
    return "".join(token.content for token in flat(markdown) if token.type in ("text", "text_special"))


def assert_no_reference(text: str) -> None:
    """No mention, issue, commit of another repository or address that GitHub would link."""
    assert not re.search(r"@[A-Za-z0-9]", text)
    assert not re.search(r"#[0-9]|\bGH-[0-9]", text, re.I)
    assert not re.search(r"(https?|ftp)://|www\.", text, re.I)


def assert_readable(text: str) -> None:
    """Controls, direction marks and zero-width signs are spelled out; U+200B is our own."""
    assert all(sign.isprintable() or sign in "\n\u200b" for sign in text)
    text.encode()


def test_the_parser_sees_what_we_guard_against() -> None:
    """Every guard below fails on raw text, so none of them is empty."""
    assert "html_inline" in kinds("x <img src=x>") and "html_block" in kinds("<!-- x")
    assert "link_open" in kinds("[x](https://evil.example)") and "image" in kinds("![x](y)")
    assert "heading_open" in kinds("# x") and "code_inline" in kinds("`x`") and "s_open" in kinds("~~x~~")
    assert (
        "bullet_list_open" in kinds("- x")
        and "ordered_list_open" in kinds("1. x")
        and "table_open" in kinds("a|b\n-|-")
    )
    for text in ("&#64;org", "&commat;octocat", "&#35;1", "http&#58;//evil.example", "www&#46;evil.example"):
        with pytest.raises(AssertionError):
            assert_no_reference(shown(text))


@settings(max_examples=400, deadline=None)
@given(texts)
def test_a_plain_text_is_one_inert_paragraph(text: str) -> None:
    inert = plain(text)
    assert "\n" not in inert
    assert kinds(inert) in ([], PARAGRAPH)
    assert_no_reference(shown(inert))
    assert_readable(shown(inert))


@pytest.mark.parametrize("text", HOSTILE)
def test_each_hostile_text_is_inert_everywhere(text: str) -> None:
    """Alone, beneath a line of ours (an underline or a table would begin there), after one, and in code."""
    for markdown in (plain(text), f"line\n{plain(text)}", f"line {plain(text)}\nline"):
        assert kinds(markdown) in ([], PARAGRAPH, ["paragraph_open", "softbreak", "paragraph_close"])
        assert_no_reference(shown(markdown))
    assert kinds(f"x {code(text)} y") == ["paragraph_open", "code_inline", "paragraph_close"]
    assert kinds(fenced(text)) == ["fence"]


@settings(max_examples=200, deadline=None)
@given(texts, texts)
def test_a_heading_a_list_and_a_fold_hold_their_text_and_nothing_else(first: str, second: str) -> None:
    markdown = f"### Row {plain(first)}\n\n- **{plain(second)}**: x\n\n<summary>{plain(first)}</summary>"
    bold = ["strong_open", "strong_close"] if plain(second) else None
    expected = [
        "heading_open",
        "heading_close",
        "bullet_list_open",
        "list_item_open",
        "paragraph_open",
        *(bold or []),
        "paragraph_close",
        "list_item_close",
        "bullet_list_close",
        "html_block",
    ]
    if plain(second) and re.fullmatch(r"[\w].*[\w]|\w", second.strip(), re.S):
        assert kinds(markdown) == expected
    else:  # emphasis around punctuation may stay two asterisks
        assert [kind for kind in kinds(markdown) if "strong" not in kind] == [k for k in expected if "strong" not in k]
    assert_no_reference(shown(markdown))
    raw = [token.content for token in flat(markdown) if token.type == "html_block"]
    assert re.fullmatch(r"<summary>[^<>]*</summary>", raw[0])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=4))
def test_a_table_has_its_cells_and_nothing_else(rows: list[tuple[str, str]]) -> None:
    markdown = "\n".join(table(("file", "branch"), [(code(a), plain(b)) for a, b in rows]))
    found = [token.type for token in PARSER.parse(markdown)]
    assert found.count("tr_open") == len(rows) + 1 and found.count("td_open") == 2 * len(rows)
    assert found[0] == "table_open" and found[-1] == "table_close"
    inside = [kind for kind in kinds(markdown) if not re.fullmatch(r"(table|thead|tbody|tr|th|td)_(open|close)", kind)]
    assert inside == ["code_inline"] * len(rows)
    assert_no_reference(shown(markdown))
    assert_readable(markdown)


@settings(max_examples=200, deadline=None)
@given(texts, texts)
def test_inline_code_is_one_token_that_shows_the_text(text: str, around: str) -> None:
    markdown = f"Branch {code(text)} of {plain(around)}."
    assert kinds(markdown) == ["paragraph_open", "code_inline", "paragraph_close"]
    if "|" not in text and re.fullmatch(r"[ -~]*[!-~][ -~]*", text):
        (held,) = (token.content for token in flat(markdown) if token.type == "code_inline")
        assert held.strip() == " ".join(text.split())


@settings(max_examples=200, deadline=None)
@given(texts, st.sampled_from(["", "<details>\n<summary>Rows</summary>\n\n{}\n\n</details>"]))
def test_a_fence_holds_any_text(text: str, around: str) -> None:
    markdown = f"### Errors\n\n{around.format(fenced(text)) if around else fenced(text)}\n\n### Next"
    folds = ["html_block", "html_block"] if around else []
    expected = ["heading_open", "heading_close", *folds[:1], "fence", *folds[:1], "heading_open", "heading_close"]
    assert kinds(markdown) == expected
    assert shown(markdown) == "ErrorsNext"
    assert_readable(markdown)


def test_ordinary_text_stays_as_it_is() -> None:
    """Names, numbers and sentences must not pay for the hostile ones."""
    names = ("macro_f1", "data/raw/tickets-2.jsonl", "feature/new-labels", "0.93", "-0.5", "+1.2", "v1.2.3")
    for text in (*names, "The 12 rows (3 %), é 中文 😀; a: b."):
        assert plain(text) == text
        assert code(text) == f"`{text}`"
        assert shown(plain(text)) == text


# --- caps -----------------------------------------------------------------------------------------------------------


def assert_fits(text: str, characters: int = 60_000, size: int = 200_000) -> None:
    assert len(text) <= characters and len(text.encode()) <= size


def test_what_fits_is_not_touched() -> None:
    assert limited(["## A\n\ntext", "### B"], link=LINK) == "## A\n\ntext\n\n### B"
    assert limited([], link=LINK) == ""
    whole = "x" * 60_000
    assert limited([whole], link=LINK) == whole
    assert limited(["x", "", "  \n", "y"], link=LINK) == "x\n\ny"


def test_sections_are_dropped_whole_from_the_end() -> None:
    sections = ["## Passed", *(f"### Part {number}\n\n" + "row\n" * 4000 for number in range(9)), "### Small"]
    text = limited(sections, link=LINK)
    assert_fits(text)
    assert text.startswith("\n\n".join(sections[:4]))
    assert text.endswith(f"_7 further sections left out. All of it: [step summary]({LINK})._")
    assert "Part 3" not in text and "Small" not in text, "what follows a dropped section is dropped too"
    assert "_1 further section left out." in limited(["## A", "x" * 60_001], link=LINK)


def test_a_report_of_ten_megabytes() -> None:
    sections = ["## ❌ Failed", *("### Part\n\n" + "a row of text\n" * 7500 for _ in range(100))]
    assert sum(map(len, sections)) > 10_000_000
    text = limited(sections, link=LINK)
    assert_fits(text)
    assert text == f"## ❌ Failed\n\n_100 further sections left out. All of it: [step summary]({LINK})._"


def test_a_report_of_emoji_is_limited_by_its_bytes() -> None:
    text = limited(["## 😀", *("😀" * 9_000 for _ in range(10))], link=LINK)
    assert_fits(text)
    assert len(text.encode()) > 150_000 and len(text) < 60_000
    alone = limited(["😀😀😀😀😀😀😀😀😀\n" * 20_000], link=LINK)
    assert_fits(alone)
    assert len(alone.encode()) > 150_000 and "_This section is cut. All of it: " in alone


def test_a_first_section_alone_too_long_is_cut_at_a_line_and_closed() -> None:
    rows = "".join(f"<img src={number}> ``` @octocat\n" for number in range(10_000))
    first = f"## Failed\n\n<details>\n<summary>Rows</summary>\n\n{fenced(rows)}\n\n</details>"
    text = limited([first, "### Never"], link=LINK)
    assert_fits(text)
    assert kinds(text) == [
        "heading_open",
        "heading_close",
        "html_block",
        "fence",
        "html_block",
        "paragraph_open",
        "em_open",
        "link_open",
        "link_close",
        "em_close",
        "paragraph_close",
    ]
    assert "_This section is cut. 1 further section left out. All of it: " in text


@pytest.mark.parametrize("sign", ["x", "😀", "`", "<img src=x>", "\u202e", "\ud800", "&#64;a", "~"])
def test_one_endless_line_is_shown_as_it_is_written(sign: str) -> None:
    text = limited([sign * 200_000, "more"], link=LINK)
    assert_fits(text)
    assert kinds(text)[0] == "fence" and kinds(text).count("fence") == 1 and len(text) > 1000
    assert not [kind for kind in kinds(text) if "html" in kind or kind == "image"]
    assert "_This section is cut. 1 further section" in text


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(texts, st.integers(0, 60)), max_size=6), st.integers(300, 1500), st.integers(300, 1500))
def test_the_caps_hold_for_any_sections(parts: list[tuple[str, int]], characters: int, size: int) -> None:
    sections = [f"### Part\n\n{fenced(text * times)}" for text, times in parts]
    text = limited(sections, characters=characters, size=size, link=LINK)
    assert_fits(text, characters, size)
    allowed = {
        "heading_open",
        "heading_close",
        "fence",
        "paragraph_open",
        "paragraph_close",
        "em_open",
        "em_close",
        "link_open",
        "link_close",
    }
    assert set(kinds(text)) <= allowed
    assert_no_reference(shown(text))


def test_text_is_cut_into_sections_at_headings_outside_code_and_folds() -> None:
    one = "## One\n\n```text\n# not a heading\n~~~\n```"
    two = "### Two\n\n<details>\n<summary>x</summary>\n\n### Inside\n\n```\n</details>\n```\n\n</details>"
    three = "# Three\n\n#hashtag"
    assert split_sections(f"{one}\n\n{two}\n\n{three}\n") == [one, two, three]
    assert split_sections("no heading") == ["no heading"]
    assert split_sections("") == []
