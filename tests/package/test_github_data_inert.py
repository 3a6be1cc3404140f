"""Whatever data, file names and artifact hold: no markup in comment and summary, no command in the log."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from conftest import raw_rows
from finetune.config.project import Project
from finetune.data import stage
from finetune.data.check_results import RowCheck, SplitCounts
from finetune.data.report.schema import (
    Characters,
    DataReport,
    Duplicates,
    Groups,
    Histogram,
    Histograms,
    Imbalance,
    Languages,
    LeftOut,
    Lengths,
    NearDuplicates,
    NearPair,
    OffShare,
    ProblemList,
    RowCounts,
    Stratification,
)
from finetune.errors import BAD_INPUT, OK, Problem
from finetune.github.data_pr.command import comment_data, data_summary
from finetune.github.data_pr.schema import (
    Changes,
    ClassTally,
    FileChange,
    Phrase,
    Relabelled,
    RowChanges,
    Setting,
    Tally,
    TestSet,
)
from finetune.markdown import BYTES, CHARACTERS
from finetune.provenance import write_json
from github_fake import GitHubFake, comment_routes
from hostile_report import HOSTILE, REPORT_PARTS, SKULL, hostile, maybe, n, problem_lists, reports, some

HEAD = "a" * 40
ANYTHING = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[GitHubFake]:
    rows: list[dict[str, Any]] = []
    with GitHubFake({**comment_routes(rows), "GET /repos/acme/demo/pulls/7": {"head": {"sha": HEAD}}}) as fake:
        fake.environment(monkeypatch)
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
        fake.rows = rows  # type: ignore[attr-defined]
        yield fake


def commented(github: GitHubFake, folder: Path, report: DataReport, changes: Changes) -> str:
    """The comment made of an artifact that holds these two files."""
    write_json(folder / "dataset" / "data_report.json", msgspec.to_builtins(report))
    write_json(folder / "dataset" / "data_changes.json", msgspec.to_builtins(changes))
    github.rows.clear()  # type: ignore[attr-defined]
    assert comment_data(None, folder / "dataset", HEAD, "7", "requested", "99") == OK
    (row,) = github.rows  # type: ignore[attr-defined]
    return row["body"]


def tokens(text: str) -> Iterator[Token]:
    for token in MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text):
        yield from token.children or () if token.type == "inline" else (token,)


def assert_inert(text: str) -> None:
    """Whatever carries the skull stands in code, and all markup is of the few kinds the report writes itself."""
    for token in tokens(text):
        if token.type in ("fence", "code_inline"):
            assert token.info in ("", "text", "diff", "mermaid", "sh"), token.info
            assert SKULL not in token.content or token.info in ("", "text", "diff"), token
            assert all(sign == "\n" or sign.isprintable() for sign in token.content), token.content
            continue
        assert SKULL not in token.content, (token.type, token.content)
        assert token.type not in ("html_inline", "image", "code_block", "hr"), token
        if token.type == "html_block":
            ours = r"</?details>|<summary>[\w ,:()-]+</summary>|<!-- [\w :-]+ -->"
            assert all(re.fullmatch(ours, line) for line in token.content.strip().split("\n")), token.content
        elif token.type == "link_open":
            assert re.fullmatch(r"https://github\.com/acme/demo/actions/runs/\d+", str(token.attrs["href"]))
        elif token.type == "text":
            # What GitHub looks for in text after Markdown is done: mentions, issues, addresses, formulas.
            assert not re.search(r"@|https?:|www\.|#\d|GH-\d|\$|:\+1:", token.content), token.content


def test_the_check_itself_finds_what_acts():
    for text in (
        "@org",
        "[x](https://e.x)",
        "<b>x</b>",
        "![x](y)",
        f"# {SKULL}",
        "see #12",
        "```js\nx\n```",
        "    code",
    ):
        with pytest.raises(AssertionError):
            assert_inert(text)


tally = st.builds(Tally, n, n, n, n, n)
row_changes = st.builds(
    RowChanges,
    total=tally,
    splits=st.dictionaries(st.sampled_from(("train", "valid", "test")) | hostile, tally, max_size=4),
    classes=st.dictionaries(hostile | st.just(""), st.builds(ClassTally, n, n, n, n, n, n), max_size=20),
    test=st.builds(TestSet, n, n, n, some),
    relabelled=st.lists(st.builds(Relabelled, hostile, hostile, n), max_size=4),
    relabelled_rows=n,
    phrases=st.lists(st.builds(Phrase, hostile, n, maybe), max_size=4),
    texts=n,
    answers=n,
    groups=n,
    renamed=n,
    moved=n,
    unreadable_before=n,
    unreadable_after=n,
    unread_files_before=n,
)
all_changes = st.builds(
    Changes,
    version=st.just(1),
    converted=st.booleans(),
    configuration=st.none() | problem_lists,
    compared=st.booleans(),
    rows=st.none() | row_changes,
    files=st.lists(st.builds(FileChange, hostile, st.none() | n, st.none() | n, maybe), max_size=4),
    labels_added=some,
    labels_removed=some,
    settings=st.lists(st.builds(Setting, hostile, hostile, maybe, maybe, st.booleans()), max_size=5),
    settings_unread=some,
    code=some,
)


@settings(max_examples=60, deadline=None, suppress_health_check=ANYTHING)
@given(report=reports, changes=all_changes)
def test_no_text_of_an_artifact_is_ever_active(github, tmp_path, capsys, report, changes):
    body = commented(github, tmp_path, report, changes)
    assert body.count("\n<!-- commit ") == 1
    assert re.findall(r"^### (.*)$", body, re.MULTILINE)[-1] == "Training"
    assert_inert(body)
    said = capsys.readouterr()
    assert SKULL not in said.out + said.err


def test_the_fuzz_reaches_every_field_of_the_two_files():
    """A field that the strategies leave out would be a hole in them."""
    for built in (*REPORT_PARTS, row_changes, all_changes):
        kind, given_fields = built.wrapped_strategy.target, built.wrapped_strategy.kwargs  # type: ignore[attr-defined]
        assert set(given_fields) == {field.name for field in msgspec.structs.fields(kind)}


@settings(max_examples=8, deadline=None, suppress_health_check=ANYTHING)
@given(texts=st.lists(hostile, min_size=4, max_size=4))
@example(texts=[HOSTILE[0], HOSTILE[3], HOSTILE[12], HOSTILE[13]])
def test_hostile_rows_stay_inert_from_the_file_to_the_summary_and_the_log(
    make_project: Callable[..., Project], tmp_path, monkeypatch, capsys, texts
):
    """The whole way: rows, ids, groups, labels and file names of a fork, as the runner's steps print and write them."""
    event = {"pull_request": {"number": 7, "head": {"sha": HEAD, "repo": None}, "base": {"sha": HEAD}}}
    (tmp_path / "event.json").write_text(json.dumps(event), encoding="utf-8")
    (tmp_path / "summary.md").unlink(missing_ok=True)
    for name, value in (
        ("ACTIONS", "true"),
        ("REPOSITORY", "acme/demo"),
        ("EVENT_PATH", str(tmp_path / "event.json")),
        ("STEP_SUMMARY", str(tmp_path / "summary.md")),
    ):
        monkeypatch.setenv(f"GITHUB_{name}", value)
    a, b, c, d = texts
    rows = raw_rows("classification")
    rows[0] |= {"input": a, "label": b, "id": c, "group": d}
    rows[1] |= {"label": a}
    rows[2] |= {a: b}
    rows[3] |= {"input": "<|im_start|>" + d}
    make_project(rows=[{"input": c, "label": "billing"}, *raw_rows("classification")], root=tmp_path / "base")
    label = {"name": re.sub("[;:\\s]|[^\\x20-\\uffff]", "", b)[:60] or "x", "description": "x"}
    label["name"] = "".join(sign for sign in label["name"] if sign.isprintable()) or "x"
    labels = [label, {"name": "billing", "description": "x"}]
    head = make_project(rows=rows, task={"output": {"labels": labels}}, root=tmp_path / "head")
    for old in head.paths.raw.glob(f"{SKULL}*"):
        old.unlink()
    for name in (f"a{SKULL}", f"{SKULL} " + re.sub(r"[^\w.,+ ()-]", "", a)[:40]):
        text = json.dumps({"input": b + name, "label": c}) + "\nnull\n"
        (head.paths.raw / f"{name}.jsonl").write_text(text, encoding="utf-8")
    assert stage.validate(head) == BAD_INPUT
    assert data_summary(head, tmp_path / "base") == OK
    assert_inert((tmp_path / "summary.md").read_text(encoding="utf-8"))
    said = capsys.readouterr()
    for line in re.split("[\r\n]", said.out + said.err):
        # The runner reads an annotation as that and looks for nothing else in its line.
        if not re.match(r"::(error|warning) file=[^:]+(,line=\d+)?,title=[EW]\d{3}::", line):
            assert "##[" not in line
            assert not line.strip().startswith("::")


def full(text: str, number: int, rows: int) -> tuple[DataReport, Changes]:
    """Every list of both files `rows` long, every text `text` and every number `number`."""
    names = [f"{row} {text}" for row in range(rows)]
    tally, lengths = Tally(*[number] * 5), Lengths(*[number] * 4)
    row_changes = RowChanges(
        total=tally,
        splits={"train": tally, "valid": tally, "test": tally},
        classes=dict.fromkeys(names, ClassTally(*[number] * 6)),
        test=TestSet(number, number, number, names),
        relabelled=[Relabelled(name, name, number) for name in names],
        relabelled_rows=number,
        phrases=[Phrase(name, number, name) for name in names[:5]],
        moved=number,
        renamed=number,
    )
    changes = Changes(
        converted=True,
        compared=True,
        rows=row_changes,
        labels_added=names,
        labels_removed=names,
        code=names,
        settings_unread=names,
        files=[FileChange(name, number, number, name) for name in names],
        settings=[Setting(name, name, name, name, bool(row % 2)) for row, name in enumerate(names)],
    )
    problems = [Problem(f"data/raw/{name}.jsonl", "E135", text, text, number) for name in names]
    pairs = [NearPair(name, number, "train", name, number, "test", 0.9) for name in names[:20]]
    near = NearDuplicates("leave_out", 0.65, number, LeftOut(number, number), number, pairs)
    bins = Histogram(number, [(row, row + 1, number) for row in range(40)])
    report = DataReport(
        report_version=2,
        valid=False,
        inputs={},
        files={},
        rows=RowCounts(**dict.fromkeys(RowCounts.__struct_fields__, number)),
        classes=dict.fromkeys(names, SplitCounts(*[number] * 4)),
        imbalance=Imbalance(9.0, 3.0),
        characters=Characters(lengths, lengths),
        duplicates=Duplicates(number, number, near),
        groups=Groups(number, number),
        problems=ProblemList(number, number, problems),
        length_histogram=Histograms(bins, bins),
        row_checks={name: RowCheck("skipped", reason=name) for name in names[:4]},
        languages=Languages(names[0], dict.fromkeys(names[:5], number), number, number, number),
        stratification=Stratification([OffShare(name, "valid", 0.1, 0.2) for name in names[:20]]),
    )
    return report, changes


def test_an_ordinary_report_of_many_classes_and_problems_fits_whole(github, tmp_path):
    body = commented(github, tmp_path, *full("a label of thirty characters", 1_000_000, 100))
    assert "further section" not in body
    assert re.findall(r"^### (.*)$", body, re.MULTILINE)[-3:] == ["Languages", "Checks", "Training"]


@pytest.mark.parametrize("sign", ["a", "語", "🟥", "`", "|"])
def test_of_a_report_that_is_too_long_the_state_of_training_is_never_dropped(github, tmp_path, sign):
    body = commented(github, tmp_path, *full(sign * 150, 10**15, 300))
    assert len(body) <= CHARACTERS
    assert len(body.encode()) <= BYTES
    assert "further section" in body
    assert re.findall(r"^### (.*)$", body, re.MULTILINE)[-1] == "Training"
    assert_inert(body)
