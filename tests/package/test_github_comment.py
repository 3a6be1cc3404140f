"""One comment a report, ours and nobody else's, whatever the server does; a training never fails for a comment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from finetune.github.client import api
from finetune.github.client.comments import marker_line, upsert
from finetune.markdown import code, fenced, plain, table
from github_fake import TOKEN, Answer, GitHubFake, Request, comment, comment_routes

LINK = "https://github.com/acme/demo/actions/runs/55"
MARKER = "<!-- llm-ft-template:evaluation -->"
Capture = pytest.CaptureFixture[str]
Rows = list[dict[str, Any]]


@pytest.fixture
def rows() -> Rows:
    return []


@pytest.fixture
def github(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHubFake]:
    monkeypatch.setattr(api, "pause", lambda seconds: None)
    with GitHubFake(comment_routes(rows)) as fake:
        yield fake


def write(github: GitHubFake, *sections: str) -> str | None:
    return upsert(github.client(), 7, "evaluation", sections or ("## Passed",), LINK)


def bodies(rows: Rows) -> list[str]:
    return [row["body"] for row in rows]


def test_written_once_then_updated_in_place(github: GitHubFake, rows: Rows) -> None:
    first = write(github, "## One", "more")
    assert bodies(rows) == [f"{MARKER}\n## One\n\nmore"]
    assert write(github, "## Two") == first == rows[0]["html_url"]
    assert bodies(rows) == [f"{MARKER}\n## Two"]


def test_a_foreign_marker_on_page_one_and_ours_on_page_three(github: GitHubFake, rows: Rows) -> None:
    rows.append(comment(1, f"{MARKER}\nall good", "mallory"))
    rows.extend(comment(number, f"talk {number}", "alice") for number in range(2, 250))
    rows.append(comment(250, f"{MARKER}\nold"))
    before = bodies(rows)
    write(github, "## New")
    assert bodies(rows) == [*before[:-1], f"{MARKER}\n## New"]
    assert github.calls("POST") == [] and github.calls("PATCH") == ["PATCH /repos/acme/demo/issues/comments/250"]
    assert [request.query.get("page", "1") for request in github.requests][:-1] == ["1", "2", "3"]


def test_250_comments_of_others_leave_room_for_ours(github: GitHubFake, rows: Rows) -> None:
    rows.extend(comment(number, f"talk {number}", "alice") for number in range(1, 251))
    for _ in range(3):
        write(github)
    assert len(rows) == 251 and bodies(rows).count(f"{MARKER}\n## Passed") == 1


@pytest.mark.parametrize(
    "row",
    [
        comment(1, f"{MARKER}\nx", "alice"),
        comment(1, f"{MARKER}\nx", "github-actions"),
        comment(1, f"{MARKER}\nx", "GitHub-Actions[bot]"),
        comment(1, f"{MARKER}\nx", "renovate[bot]"),
        comment(1, f"{MARKER}\nx", app="other-app"),
        comment(1, f"{MARKER}\nx", app="github-actions") | {"user": None},
        comment(1, f"{MARKER}\nx") | {"performed_via_github_app": "github-actions"},
        comment(1, f"> quoted\n{MARKER}\nx"),
        comment(1, f" {MARKER}\nx"),
        comment(1, f"{MARKER} and more\nx"),
        comment(1, "<!-- llm-ft-template:data -->\nx"),
        comment(1, f"<!-- llm-ft-template:data -->\n{MARKER}"),
        comment(1, "") | {"body": None},
        comment(1, f"{MARKER}\nx") | {"id": "1"},
        comment(1, f"{MARKER}\nx") | {"user": "github-actions[bot]"},
    ],
    ids=range(15),
)
def test_what_is_not_ours_is_never_touched(github: GitHubFake, rows: Rows, row: dict[str, Any]) -> None:
    ids = [row["id"]] if isinstance(row["id"], int) else []
    github.routes["GET /repos/acme/demo/issues/7/comments"] = [row]
    rows.extend([row] if ids else [])
    before = dict(row)
    assert write(github)
    assert row == before and github.calls("PATCH") == [] and github.calls("DELETE") == []
    assert bodies(rows)[-1] == f"{MARKER}\n## Passed"


def test_the_newest_of_ours_wins_and_the_others_stay(github: GitHubFake, rows: Rows) -> None:
    rows.extend(
        [comment(3, f"{MARKER}\nc", app="github-actions"), comment(9, f"{MARKER}\r\ni"), comment(5, f"{MARKER}\ne")]
    )
    write(github)
    assert bodies(rows) == [f"{MARKER}\nc", f"{MARKER}\n## Passed", f"{MARKER}\ne"]


@pytest.mark.parametrize("name", ["", "a -->", "a\n", "A", "x" * 70, "llm-ft-template:a"])
def test_a_marker_is_a_word(name: str) -> None:
    with pytest.raises(ValueError, match="marker"):
        marker_line(name)


# --- servers that fail ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
@pytest.mark.parametrize("fault", [{"status": 502}, {"status": 503}, {"drop": "reply"}, {"drop": "body"}], ids=str)
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_one_comment_whatever_fails(
    github: GitHubFake, rows: Rows, method: str, fault: dict[str, Any], done: bool
) -> None:
    """Above all a POST whose answer is lost: the comment is there, and a second one must not follow."""
    if method == "PATCH":
        rows.append(comment(1, f"{MARKER}\nold"))
    github.fail(method, "comments", times=2, done=done, **fault)
    address = write(github)
    assert bodies(rows) == [f"{MARKER}\n## Passed"] and address == rows[0]["html_url"]


REFUSALS = [
    (403, "Resource not accessible by integration"), (403, "Unable to create comment because issue is locked"),
    (404, "Not Found"), (410, "Issues are disabled for this repo"), (422, "Validation Failed"),
    (401, "Bad credentials"), (451, "Repository access blocked"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "reason"), REFUSALS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_refusal_is_one_warning(
    github: GitHubFake, rows: Rows, status: int, reason: str, method: str, capsys: Capture
) -> None:
    github.fail(method, "comments", status, times=99, body={"message": reason})
    assert write(github) is None
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert said.err.startswith(f"W601 no comment on pull request 7: GitHub answered {status} ({reason}) to {method} ")
    assert len(github.calls(method)) == 1 and not rows


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
@pytest.mark.parametrize("fault", [{"status": 500}, {"drop": "reply"}], ids=str)
def test_a_server_that_stays_down_is_a_warning(
    github: GitHubFake, rows: Rows, method: str, fault: dict[str, Any], capsys: Capture
) -> None:
    if method == "PATCH":
        rows.append(comment(1, f"{MARKER}\nold"))
    github.fail(method, "comments", times=999, **fault)
    assert write(github) is None
    assert capsys.readouterr().err.splitlines()[-1].startswith("W601 no comment on pull request 7: GitHub ")


@pytest.mark.parametrize("answer", [None, [], "x", {"id": 5}, {"html_url": "x"}, b"<html>", [None, 7, {"user": []}]])
def test_nonsense_is_no_reason_to_stop(github: GitHubFake, answer: Any) -> None:
    github.routes["POST /repos/acme/demo/issues/7/comments"] = Answer(201, answer)
    github.routes["GET /repos/acme/demo/issues/7/comments"] = Answer(200, answer)
    assert write(github) in (None, "x")


def test_a_comment_deleted_meanwhile_is_written_anew(github: GitHubFake, rows: Rows) -> None:
    rows.append(comment(1, f"{MARKER}\nold"))
    github.fail("PATCH", "comments/1", 404)
    write(github)
    assert bodies(rows) == [f"{MARKER}\nold", f"{MARKER}\n## Passed"]


def test_a_rate_limit_is_waited_for(github: GitHubFake, rows: Rows) -> None:
    github.fail("POST", "comments", 403, headers={"Retry-After": "30"}, body={"message": "secondary rate limit"})
    assert write(github) and len(rows) == 1


# --- what is written ------------------------------------------------------------------------------------------------


def test_ten_megabytes_become_a_comment_github_takes(github: GitHubFake, rows: Rows) -> None:
    assert write(github, "## Failed", *("### Rows\n\n" + "a row\n" * 8000 for _ in range(220)))
    assert rows[0]["body"].startswith(f"{MARKER}\n## Failed\n\n### Rows") and len(rows[0]["body"]) <= 60_000
    assert f"further sections left out. All of it: [step summary]({LINK})." in rows[0]["body"]


def test_emoji_alone_become_a_comment_github_takes(github: GitHubFake, rows: Rows) -> None:
    assert write(github, "😀" * 1_000_000)
    assert len(rows[0]["body"].encode()) <= 200_000


NASTY = [
    "@org/team",
    "&#64;org/team",
    "#1",
    "https://evil.example",
    "[x](https://evil.example)",
    "<img src=x>",
    "## Passed",
    MARKER,
    f"\n{MARKER}\n",
    "-->",
    "</details>",
    "\u202e",
    "```",
    "`",
    "|",
    "\n# x",
    "\r",
    "\ud800",
    "::error::",
    "##[x]",
]
texts = st.lists(st.one_of(st.sampled_from(NASTY), st.text(max_size=5)), max_size=5).map("".join)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(title=texts, branch=texts, name=texts, row=texts)
def test_anybodys_text_in_a_whole_comment_is_inert(
    github: GitHubFake, rows: Rows, capsys: Capture, title: str, branch: str, name: str, row: str
) -> None:
    """Written, sent, stored and parsed: only our own tokens are active, and our comment is found again."""
    rows.clear()
    report = (
        f"## Failed: {plain(title)}\n\nBranch {code(branch)}",
        "\n".join(table(("file", "rows"), [(code(name), "1"), (plain(name), "2")])),
        f"<details>\n<summary>{plain(title)}</summary>\n\n{fenced(row)}\n\n</details>",
    )
    assert write(github, *report) == write(github, *report)
    assert len(rows) == 1
    parsed = MarkdownIt("gfm-like", {"linkify": False}).parse(rows[0]["body"])
    flat = [inner for token in parsed for inner in (token.children or [token])]
    assert [token.content.strip() for token in flat if token.type == "html_block"][::2] == [MARKER, "</details>"]
    kinds = [
        token.type for token in flat if not re.match(r"text|inline|t(able|head|body|[rhd])_|paragraph", token.type)
    ]
    assert kinds == [
        "html_block",
        "heading_open",
        "heading_close",
        "code_inline",
        "code_inline",
        "html_block",
        "fence",
        "html_block",
    ]
    shown = "".join(token.content for token in flat if token.type.startswith("text"))
    assert not re.search(r"@[A-Za-z]|#\d|https?://", shown)
    said = capsys.readouterr()
    assert said.out == said.err == ""


def test_hostile_answers_print_no_command_and_no_token(github: GitHubFake, capsys: Capture) -> None:
    hostile = f"\n::error::owned {TOKEN}\n  ::add-mask::x\r::x\n##[error]x\u202e"
    github.fail("POST", "comments", 502, times=2, body={"message": hostile})
    github.fail("POST", "comments", 422, body={"message": hostile, "errors": [{"message": hostile}]})
    assert write(github) is None
    said = capsys.readouterr()
    assert said.out == "" and "W601" in said.err and TOKEN not in said.err
    assert not re.search(r"^\s*::|##\[|\r|\u202e", said.err, re.M)


def test_the_fakes_own_limit_is_githubs(github: GitHubFake, rows: Rows) -> None:
    """Else the caps above would be tested against nothing."""
    client = github.client()
    for body in ("x" * 65_537, "😀" * 65_536 + "x", ""):
        with pytest.raises(api.ApiError, match="422"):
            client.post("/repos/{repo}/issues/7/comments", {"body": body})
    assert client.post("/repos/{repo}/issues/7/comments", {"body": "x" * 65_536})["id"]


def test_requests_are_seen_as_sent(github: GitHubFake) -> None:
    write(github)
    sent = github.requests[-1]
    assert isinstance(sent, Request) and sent.body == {"body": f"{MARKER}\n## Passed"}
