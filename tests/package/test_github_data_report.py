"""The data report as a reviewer meets it: verdict first, what changed, what is wrong, whatever is missing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import raw_rows
from finetune.config.project import Project
from finetune.data import stage
from finetune.errors import OK, BadInput, FinetuneError
from finetune.github.data_pr.command import data_summary, folder_summary

Make = Callable[..., Project]
HEAD, BASE = "a" * 40, "b" * 40
OWN, FORK = {"full_name": "acme/demo"}, {"full_name": "mallory/demo"}
HEADINGS = [
    "What changed",
    "What is wrong",
    "Distribution",
    "Lengths in characters",
    "Duplicates",
    "Languages",
    "Checks",
]


@pytest.fixture(autouse=True)
def step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of the runner, outside a pull request."""
    monkeypatch.delenv("GITHUB_EVENT_PATH", raising=False)
    for name, value in (("REPOSITORY", "acme/demo"), ("RUN_ID", "55"), ("SERVER_URL", "https://github.com")):
        monkeypatch.setenv(f"GITHUB_{name}", value)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))


@pytest.fixture
def pull_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def made(repo: dict[str, str] | None, login: str = "mallory") -> None:
        pull = {"number": 7, "head": {"sha": HEAD, "repo": repo}, "base": {"sha": BASE}, "user": {"login": login}}
        payload = {"pull_request": pull}
        (tmp_path / "event.json").write_text(json.dumps(payload), encoding="utf-8")
        monkeypatch.setenv("GITHUB_EVENT_PATH", str(tmp_path / "event.json"))

    return made


@pytest.fixture
def repositories(make_project: Make, tmp_path: Path) -> Callable[..., Project]:
    """Base and head with these rows; the head after the steps 01 and 02."""

    def made(old: list[dict[str, Any]], new: list[dict[str, Any]], **sections: Any) -> Project:
        make_project(rows=old, root=tmp_path / "base")
        head = make_project(rows=new, root=tmp_path / "head", **sections)
        if stage.validate(head) == OK:
            stage.convert(head)
        return head

    return made


def summary(tmp_path: Path) -> str:
    return (tmp_path / "summary.md").read_text(encoding="utf-8")


def headings(text: str) -> list[str]:
    return re.findall(r"^### (.*)$", text, re.MULTILINE)


def first(text: str) -> str:
    return text.partition("\n")[0]


# What the reviewer reads.


def test_good_data_is_told_in_the_order_of_a_reviewers_questions(repositories, pull_request, tmp_path):
    pull_request(OWN)
    rows = raw_rows("classification")
    head = repositories(rows, [*rows[1:], {"input": "one more", "label": "billing"}])
    assert data_summary(head, tmp_path / "base") == OK
    text = summary(tmp_path)
    assert first(text) == "## ✅ Data report: 60 rows, 0 errors, 0 warnings"
    assert headings(text) == HEADINGS
    assert "**1 added, 1 removed, 0 changed**; 60 → 60 rows." in text
    assert f"Commit `{HEAD[:7]}` against `{BASE[:7]}`." in text
    assert "| `billing` | 20 | 20 | 0 | 1 | 1 |" in text
    assert text.strip() == (head.paths.results / "data_comment.md").read_text(encoding="utf-8").strip()


def test_errors_are_the_verdict_all_counted_and_the_first_fifty_shown(repositories, tmp_path):
    rows = raw_rows("classification", 200)
    bad = [{**row, "label": "bil`ling"} if number < 70 else row for number, row in enumerate(rows)]
    assert data_summary(repositories(rows, bad), tmp_path / "base") == OK
    text = summary(tmp_path)
    assert first(text) == "## ❌ Data report: 200 rows, 70 errors, 0 warnings"
    assert "Training does not start before this is corrected." in text
    assert "70 errors, 0 warnings; 70 × `E135`." in text
    wrong = text.partition("### What is wrong")[2].partition("### ")[0]
    assert wrong.count("data/raw/rows.jsonl:") == 50
    assert "… and 20 more" in wrong
    assert text.index("### What changed") < text.index("### What is wrong")


def test_more_errors_than_are_kept_are_counted_all_the_same(repositories, tmp_path):
    rows = [{"input": f"text {number}", "label": "no label"} for number in range(1500)]
    data_summary(repositories([], rows), tmp_path / "base")
    assert "1,503 errors" in first(summary(tmp_path))
    assert "of the first 1,000 1,000 × `E135`" in summary(tmp_path)


def test_a_test_set_that_changes_is_warned_about_before_the_tables(repositories, tmp_path):
    head = repositories(raw_rows("classification", 90), raw_rows("classification"))
    data_summary(head, tmp_path / "base")
    text = summary(tmp_path)
    changed, _, rest = text.partition("| split |")
    assert "> [!WARNING]\n> **The test set changes.** Of its 1" in changed
    assert re.search(r"data/raw/rows\.jsonl:\d+ before the change: removed", changed)
    assert "[!WARNING]" not in rest


def test_a_lowered_threshold_is_a_policy_change_and_a_new_prompt_is_shown(repositories, tmp_path):
    task = {"metrics": {"threshold": 0.2}, "system_prompt": "Sort.\n{labels}"}
    rows = raw_rows("classification")
    data_summary(repositories(rows, rows, task=task), tmp_path / "base")
    text = summary(tmp_path)
    assert "No row changed." in text
    assert "> **Policy changes:** 1 setting of what is demanded." in text
    assert "- metrics.threshold: 0.8\n+ metrics.threshold: 0.2" in text
    assert text.index("metrics.threshold") < text.index("system_prompt")


def test_relabelled_rows_and_files_are_listed(repositories, tmp_path):
    rows = [{"id": str(number), **row} for number, row in enumerate(raw_rows("classification"))]
    after = [
        {**row, "label": "account"} if row["label"] == "billing" and number < 30 else row
        for number, row in enumerate(rows)
    ]
    data_summary(repositories(rows, after), tmp_path / "base")
    text = summary(tmp_path)
    assert "| `billing` | `account` | 10 |" in text
    assert "| `account` | 20 | 30 | +10 |" in text
    assert "| `rows.jsonl` | 60 | 60 | changed |" in text


def test_many_classes_get_a_chart_by_number_and_a_folded_table(repositories, tmp_path):
    labels = [{"name": f"intent {number}]", "description": "x"} for number in range(20)]
    rows = [{"input": f"row {n} of many", "label": f"intent {n % 20}]"} for n in range(400)]
    task = {"output": {"labels": labels}}
    data_summary(repositories(rows[:300], rows, task=task), tmp_path / "base")
    text = summary(tmp_path)
    chart = text.partition("```mermaid\n")[2].partition("\n```")[0]
    assert f"x-axis {list(range(1, 21))}" in chart
    assert f"bar {[20] * 20}" in chart
    assert "intent" not in chart
    assert "<summary>Rows per class and split, fewest first (20)</summary>" in text
    data_summary(repositories(rows[:3], raw_rows("classification")), tmp_path / "base")
    assert summary(tmp_path).count("```mermaid") == 1


@pytest.mark.parametrize("task_type", ["extraction", "generation"])
def test_other_task_types_have_their_report(make_project, tmp_path, task_type):
    make_project(task_type, rows=raw_rows(task_type)[:40], root=tmp_path / "base")
    head = make_project(task_type, root=tmp_path / "head")
    stage.validate(head)
    stage.convert(head)
    data_summary(head, tmp_path / "base")
    text = summary(tmp_path)
    assert "**20 added, 0 removed, 0 changed**" in text
    assert headings(text) == HEADINGS
    assert ("`quantity`" in text) == (task_type == "extraction")


def test_a_push_has_nothing_to_compare_with(repositories, tmp_path):
    head = repositories([], raw_rows("classification"))
    assert data_summary(head, tmp_path / "no such folder") == OK
    assert headings(summary(tmp_path)) == HEADINGS[1:]


# When something is missing.


def test_without_a_report_the_comparison_is_still_made(make_project, tmp_path):
    make_project(root=tmp_path / "base")
    head = make_project(rows=raw_rows("classification")[5:], root=tmp_path / "head")
    assert data_summary(head, tmp_path / "base") == OK
    text = summary(tmp_path)
    assert first(text) == "## ❌ Data report: the data was not checked"
    assert "The report of step 01 was not written" in text
    assert "**0 added, 5 removed, 0 changed**" in text


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "cannot be read"), (b"[]", "cannot be read"), (b"{", "cannot be read"), (b"\xff", "cannot be read"),
        (b'{"report_version": 1}', "cannot be read"), (b"[" * 100_000, "cannot be read"), (None, "was not written"),
        (b" " * (9 << 20), "is larger than 8 MiB"),
    ],
)  # fmt: skip
def test_a_damaged_report_is_said_and_no_crash(repositories, tmp_path, content, why):
    head = repositories(raw_rows("classification"), raw_rows("classification"))
    head.paths.data_report_json.unlink()
    if content is None:
        head.paths.data_report_json.symlink_to("/etc/passwd")
    else:
        head.paths.data_report_json.write_bytes(content)
    assert data_summary(head, tmp_path / "base") == OK
    assert first(summary(tmp_path)) == "## ❌ Data report: the data was not checked"
    assert f"The report of step 01 {why}" in summary(tmp_path)


def test_a_report_of_other_data_is_none(repositories, tmp_path):
    head = repositories(raw_rows("classification"), raw_rows("classification"))
    with open(head.paths.raw / "rows.jsonl", "a", encoding="utf-8") as file:
        file.write('{"input": "later", "label": "billing"}\n')
    data_summary(head, tmp_path / "base")
    assert "tells of other data" in summary(tmp_path)


def test_data_without_its_conversion_is_no_success(repositories, tmp_path):
    head = repositories(raw_rows("classification"), raw_rows("classification"))
    head.paths.data_manifest.unlink()
    data_summary(head, tmp_path / "base")
    assert first(summary(tmp_path)) == "## ❌ Data report: 60 rows, 0 errors, 0 warnings; step 02 did not finish"


def test_a_conversion_of_other_data_is_no_success(repositories, tmp_path):
    head = repositories(raw_rows("classification"), raw_rows("classification"))
    with open(head.paths.raw / "rows.jsonl", "a", encoding="utf-8") as file:
        file.write('{"input": "later", "label": "billing"}\n')
    assert stage.validate(head) == OK
    data_summary(head, tmp_path / "base")
    assert first(summary(tmp_path)) == "## ❌ Data report: 61 rows, 0 errors, 0 warnings; step 02 did not finish"


def test_a_broken_configuration_is_the_verdict(repositories, tmp_path, pull_request):
    pull_request(OWN)
    head = repositories([], raw_rows("classification"))
    file = head.paths.task_definition
    file.write_text(file.read_text(encoding="utf-8").replace("threshold:", "treshold:"), encoding="utf-8")
    with pytest.raises(BadInput):
        folder_summary(head.paths.root, tmp_path / "base")
    text = summary(tmp_path)
    assert first(text) == "## ❌ Data report: 1 error in the configuration"
    assert headings(text) == ["What is wrong"]
    assert "metrics.treshold: E206 unknown key. Fix: did you mean threshold?" in text


def test_a_sound_configuration_gets_the_whole_report(repositories, tmp_path):
    head = repositories([], raw_rows("classification"))
    assert folder_summary(head.paths.root, tmp_path / "base") == OK
    assert headings(summary(tmp_path)) == HEADINGS


# Forks.


@pytest.mark.parametrize(("repo", "login"), [(FORK, "mallory"), (None, "ghost"), (OWN, "dependabot[bot]")])
def test_a_run_that_may_start_nothing_gets_the_maintainers_exact_command(
    repositories, pull_request, tmp_path, repo, login
):
    pull_request(repo, login)
    data_summary(repositories([], raw_rows("classification")), tmp_path / "base")
    text = summary(tmp_path)
    assert headings(text)[-1] == "Training"
    assert f"```sh\ngh workflow run train.yml -R acme/demo -f pr=7 -f sha={HEAD}\n```" in text


def test_a_malformed_head_of_a_fork_reaches_no_command(repositories, pull_request, tmp_path, monkeypatch):
    monkeypatch.setattr("test_github_data_report.HEAD", "a" * 39 + "; rm -rf /")
    pull_request(FORK)
    with pytest.raises(FinetuneError, match="full commit SHA"):
        data_summary(repositories([], raw_rows("classification")), tmp_path / "base")
    assert not (tmp_path / "summary.md").exists()
