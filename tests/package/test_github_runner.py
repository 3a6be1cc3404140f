"""What a step takes from the runner and gives it; outputs are read back as the runner itself reads them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finetune.errors import FinetuneError
from finetune.github.client import actions
from repository import ROOT

SHA = "0123456789abcdef0123456789abcdef01234567"
HOSTILE = [
    "a\npassed=true",
    "a\r\npassed=true",
    "a\rpassed=true",
    "a\u2028passed=true",
    "a\u0085passed=true",
    "x<<EOF",
    "EOF",
    "EOF\npassed=true",
    "",
    " ",
    "a b",
    "a=b",
    "=",
    "<<",
    "${{ github.token }}",
    "$(id)",
    "`id`",
    "a\x00b",
    "a\n",
    "::set-output name=passed::true",
    "##[set-output]",
    "true\n",
    "é",
    "１２３",
    "1\u0660",
    "V1.2.3",
    "v1.2",
    "v1.2.3\n",
    "v1.2.3-rc_1",
    "../x",
    "a/b",
    "A",
    "-",
    "-a",
    "1e9",
    "0x10",
    "1.5",
    "9" * 200,
    "a" * 65,
    "f" * 65,
]


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "output"
    monkeypatch.setenv("GITHUB_OUTPUT", str(path))
    return path


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "summary.md"
    for name, value in (
        ("GITHUB_STEP_SUMMARY", str(path)),
        ("GITHUB_REPOSITORY", "acme/demo"),
        ("GITHUB_RUN_ID", "55"),
        ("GITHUB_SERVER_URL", "https://github.com"),
    ):
        monkeypatch.setenv(name, value)
    return path


def parsed(text: str) -> list[tuple[str, str]]:
    """Model of the runner's reader of GITHUB_OUTPUT (actions/runner, FileCommandManager.cs, EnvFileKeyValuePairs)."""
    lines, pairs = text.split("\n"), []
    if lines[-1] == "":
        lines.pop()
    rest = iter(lines)
    for line in rest:
        if not line:
            continue
        equals, heredoc = line.find("="), line.find("<<")
        if heredoc >= 0 and (equals < 0 or heredoc < equals):
            name, _, delimiter = line.partition("<<")
            assert name and delimiter, "Name must not be empty and delimiter must not be empty"
            held = []
            for inner in rest:
                if inner == delimiter:
                    break
                held.append(inner)
            else:
                raise AssertionError("Matching delimiter not found")
            pairs.append((name, "\n".join(held)))
        else:
            assert equals > 0, "Invalid format"
            pairs.append((line[:equals], line[equals + 1 :]))
    return pairs


def test_the_model_is_fooled_as_the_runner_is() -> None:
    """Both injections of the threat model work on a writer without our rules, so the model is worth something."""
    assert ("passed", "true") in parsed("value=bad\npassed=true\n")
    assert ("passed", "true") in parsed("value<<EOF\nbad\nEOF\npassed=true\nEOF=\n")


def test_outputs_are_read_back_as_written(output: Path) -> None:
    written = [
        ("fingerprint", "ab" * 32), ("run", 123456789012), ("reuse", 0), ("training", "known"), ("source", "fork"),
        ("sha", SHA), ("tag", "v1.20.3"), ("two-words", "not-asked"),
    ]  # fmt: skip
    for name, value in written:
        actions.set_output(name, value)
    assert parsed(output.read_bytes().decode()) == [(name, str(value)) for name, value in written]


@pytest.mark.parametrize("value", HOSTILE)
def test_no_other_value_is_written(output: Path, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FinetuneError, match="E605"):
        actions.set_output("value", value)
    with pytest.raises(FinetuneError, match="E605"):
        actions.set_output(value or " ", 1) if value not in ("a" * 65, "f" * 65) else actions.set_output(value, 1)
    assert not output.exists() and not capsys.readouterr().err


@pytest.mark.parametrize("value", [True, None, 1.0, b"a", ["a"], Path("a")])
def test_no_other_type_is_written(output: Path, value: object) -> None:
    with pytest.raises(FinetuneError, match="E605"):
        actions.set_output("value", value)  # type: ignore[arg-type]
    assert not output.exists()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.one_of(st.sampled_from(["passed", "run", "EOF", "a<<EOF"]), st.text(max_size=8)),
            st.one_of(st.text(max_size=20), st.integers(), st.sampled_from(HOSTILE), st.from_regex(r"[a-z0-9-]+\n?")),
        ),
        max_size=6,
    ),
    st.sampled_from(["", "other=1\n", "other=1"]),
)
def test_keys_written_are_keys_parsed(output: Path, pairs: list[tuple[str, str | int]], before: str) -> None:
    """Whatever is given, the runner reads exactly what was accepted."""
    output.write_text(before, encoding="utf-8", newline="")
    accepted = [("other", "1")] if before else []
    for name, value in pairs:
        try:
            actions.set_output(name, value)
        except FinetuneError as refused:
            assert refused.code == "E605"
        else:
            accepted.append((name, str(value)))
    assert parsed(output.read_bytes().decode()) == accepted


def test_outputs_are_said_where_there_is_no_runner(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("GITHUB_OUTPUT", raising=False)
    actions.set_output("run", 7)
    assert capsys.readouterr().err == "  run=7\n"


def test_outputs_have_one_writer_and_no_step_changes_the_next_ones_environment() -> None:
    """Threat T15: every output passes set_output, and nothing is ever written to GITHUB_ENV or GITHUB_PATH."""
    root = ROOT
    writers = set()
    for path in [*root.glob("finetune/**/*.py"), *root.glob("scripts/*.py")]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"GITHUB_(ENV|PATH|STATE)\b|::set-(output|env)|::add-path|::save-state", text), path
        writers |= {path.name} if "GITHUB_OUTPUT" in text else set()
    assert writers == {"actions.py"}


# --- step summary ---------------------------------------------------------------------------------------------------


def test_summaries_of_a_step_follow_each_other(page: Path) -> None:
    actions.summary("## One\n\ntext")
    actions.summary(["## Two", "## Three"])
    assert page.read_text(encoding="utf-8") == "## One\n\ntext\n\n## Two\n\n## Three\n"


def test_a_summary_is_capped_in_whole_sections(page: Path) -> None:
    """GitHub refuses more than 1 MiB, and the step passes all the same."""
    section = "### Part 啊\n\n" + "| 啊 |\n" * 15_000
    actions.summary((section + "\n") * 50)
    text = page.read_text(encoding="utf-8")
    assert len(text.encode()) <= 900_000
    kept = text.count("### Part")
    dropped = 50 - kept
    assert text.startswith(f"{section}\n{section}") and text.count("| 啊 |") == 15_000 * kept and kept > 5
    end = f"_{dropped} further sections left out. All of it: [artifacts of this run]"
    assert text.splitlines()[-1] == f"{end}(https://github.com/acme/demo/actions/runs/55)._"


def test_many_summaries_of_one_step_stay_below_the_cap(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(30):
        actions.summary(f"## {number}\n\n" + "😀😀😀\n" * 15_000)
    assert 600_000 < page.stat().st_size <= 900_000
    assert "W602 the step summary is full" in capsys.readouterr().err


def test_one_section_above_the_cap_is_clipped(page: Path) -> None:
    actions.summary("## Report\n\n" + "line of text\n" * 400_000)
    text = page.read_text(encoding="utf-8")
    assert 800_000 < len(text.encode()) <= 900_000
    assert text.startswith("## Report\n\nline of text\n") and "_This section is cut. All of it: [artifacts" in text


def test_a_summary_never_stops_a_step(
    page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "no" / "such" / "folder"))
    actions.summary("## x")
    assert "W602 the step summary could not be written: No such file" in capsys.readouterr().err
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    actions.summary("## x")
    assert "W602" in capsys.readouterr().err
    monkeypatch.delenv("GITHUB_STEP_SUMMARY")
    actions.summary("## x")
    assert capsys.readouterr().err == ""


# --- what the runner gives ------------------------------------------------------------------------------------------


def test_missing_variables_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_REPOSITORY", "")
    monkeypatch.delenv("GITHUB_RUN_ID", raising=False)
    for call in (actions.repository, actions.run_id):
        with pytest.raises(FinetuneError, match=r"E602 GITHUB_\w+ is not set"):
            call()


@pytest.mark.parametrize("name", ["acme", "acme/demo/x", "acme/demo\n", "acme/de mo", "../demo?x"])
def test_a_repository_is_owner_and_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("GITHUB_REPOSITORY", name)
    with pytest.raises(FinetuneError, match="E602"):
        actions.repository()


def test_run_pages(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert actions.run_url() == "https://github.com/acme/demo/actions/runs/55"
    assert actions.run_url(7) == "https://github.com/acme/demo/actions/runs/7"
    monkeypatch.setenv("GITHUB_RUN_ID", "55\n")
    with pytest.raises(FinetuneError, match="E602"):
        actions.run_url()


def test_the_event_and_its_default_branch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_EVENT_PATH", raising=False)
    assert actions.default_branch() == "main"
    path = tmp_path / "event.json"
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(path))
    for content in (None, b"{", b"[]", b"\xff"):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(FinetuneError, match="E602"):
            actions.event()
    for told, branch in (({"default_branch": "trunk"}, "trunk"), ({"default_branch": 7}, "main"), (None, "main")):
        path.write_text(json.dumps({"repository": told}), encoding="utf-8")
        assert actions.default_branch() == branch


def test_values_that_arrive_by_env_are_checked() -> None:
    assert actions.sha40(SHA) == SHA
    assert actions.hex64("ab" * 32) == "ab" * 32
    assert [actions.parse_number(text) for text in ("", "0", "123456789012")] == [None, 0, 123456789012]
    for check, good in ((actions.sha40, SHA), (actions.hex64, "ab" * 32), (actions.parse_number, "7")):
        for bad in (
            f"{good}\n",
            f" {good}",
            good + "g",
            "-" + good,
            "::error::x",
            "１",
            "9" * 99,
            SHA.upper(),
            "x\x1b",
        ):
            with pytest.raises(FinetuneError, match="E603") as refused:
                check(bad)
            assert not re.search(r"[^ -~]", str(refused.value))
    for check in (actions.sha40, actions.hex64):
        for bad in ("", None, 7):
            with pytest.raises(FinetuneError, match="E603"):
                check(bad)  # type: ignore[arg-type]
