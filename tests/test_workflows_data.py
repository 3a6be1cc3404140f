"""data.yml under the real act, on a baked repository with a little of its sample data: what a pull request sees."""

from __future__ import annotations

import re

import pytest

from workflows.act import Annotation
from workflows.forge import DEPENDABOT, Forge
from workflows.small import row, set_value

GOOD = row("The parcel has been in Rotterdam since Monday, is it lost?", "shipping")
BAD = GOOD + row("My code for signing in never arrives", "acount") + '{"input": "no end"\n'
MARKER = "<!-- llm-ft-template:data-report -->"


def errors(annotations: list[Annotation]) -> set[tuple[str | None, int | None]]:
    return {(found.file, found.line) for found in annotations if found.kind == "error"}


@pytest.mark.case("a")
def test_good_data_gets_a_report_and_a_training_run(forge: Forge) -> None:
    number = forge.open_pull({"data/raw/more.jsonl": GOOD})
    run = forge.pull_request(number)
    assert run.jobs == dict.fromkeys(("validate", "request-training", "comment", "gate"), "success"), run.log
    assert forge.github.refused == []
    (comment,) = forge.github.comments_by_bot(number)
    assert comment.body.startswith(MARKER)
    assert "1 added, 0 removed, 0 changed" in comment.body and "70 → 71 rows" in comment.body
    (dispatch,) = forge.github.dispatches
    assert (dispatch.workflow, dispatch.ref) == ("train.yml", "main")
    assert dispatch.inputs == {"sha": forge.head(number), "pr": str(number)}
    assert f"actions/runs/{dispatch.run_id}" in comment.body
    assert "1 added, 0 removed, 0 changed" in run.summary

    newer = forge.push_to_pull(number, {"data/raw/more.jsonl": GOOD * 2})
    forge.github.add_comment(number, "mallory", f"{MARKER}\nnothing to see here")
    again = forge.pull_request(number, action="synchronize")
    assert again.code == 0, again.log
    (updated,) = forge.github.comments_by_bot(number)
    assert updated.id == comment.id and newer[:7] in updated.body and "1 warning" in updated.body
    assert [dispatch.inputs["sha"] for dispatch in forge.github.dispatches][1:] == [newer]


@pytest.mark.case("b")
def test_bad_rows_fail_the_check_at_their_lines_and_ask_for_nothing(forge: Forge) -> None:
    number = forge.open_pull({"data/raw/more.jsonl": BAD})
    run = forge.pull_request(number)
    assert run.jobs == {"validate": "failure", "request-training": "skipped", "comment": "success", "gate": "failure"}
    assert "Check every record" in run.failed_steps
    assert errors(run.annotations) == {("data/raw/more.jsonl", 2), ("data/raw/more.jsonl", 3)}
    assert forge.github.dispatches == []
    (comment,) = forge.github.comments_by_bot(number)
    assert "❌" in comment.body and "more.jsonl:2" in comment.body and "more.jsonl:3" in comment.body


@pytest.mark.case("b")
def test_a_broken_configuration_fails_the_check_at_its_line(forge: Forge) -> None:
    text = forge.repository.read("task_definition.yaml")
    number = forge.open_pull({"task_definition.yaml": set_value(text, "task_type", "clasification")})
    run = forge.pull_request(number)
    assert run.jobs == {"validate": "failure", "request-training": "skipped", "comment": "success", "gate": "failure"}
    assert forge.github.dispatches == []
    (comment,) = forge.github.comments_by_bot(number)
    assert "❌" in comment.body and "task_type" in comment.body
    (place,) = errors(run.annotations)
    assert place == ("task_definition.yaml", text.splitlines().index("task_type: classification") + 1)


@pytest.mark.case("d")
@pytest.mark.parametrize(("fork", "login"), [(True, "mallory"), (False, DEPENDABOT)])
def test_a_stranger_gets_a_summary_and_nothing_of_ours(forge: Forge, fork: bool, login: str) -> None:
    number = forge.open_pull({"data/raw/more.jsonl": GOOD}, fork=fork, login=login)
    forge.release_secrets = {"HF_TOKEN": "hf_never_here"}
    run = forge.pull_request(number)
    assert run.jobs == {
        "validate": "success",
        "request-training": "skipped",
        "comment": "skipped",
        "gate": "success",
    }
    assert forge.github.requests == []
    assert "hf_never_here" not in run.log
    (command,) = re.findall(r"^gh (workflow run .*)$", run.summary, re.MULTILINE)
    assert forge.gh(*command.split()).returncode == 0
    (dispatch,) = forge.github.dispatches
    assert dispatch.inputs == {"pr": str(number), "sha": forge.head(number)}


def test_the_merge_queue_gets_the_check_and_nothing_more(forge: Forge) -> None:
    run = forge.merge_queue(forge.open_pull({"data/raw/more.jsonl": GOOD}))
    assert run.jobs == {
        "validate": "success",
        "request-training": "skipped",
        "comment": "skipped",
        "gate": "success",
    }
    assert "1 added, 0 removed, 0 changed" in run.summary and forge.github.requests == []


def test_main_asks_for_training_of_its_own_commit(forge: Forge) -> None:
    number = forge.open_pull({"data/raw/more.jsonl": GOOD})
    before, after = forge.merge_pull(number)
    run = forge.push(before, after)
    assert run.jobs == {
        "validate": "success",
        "request-training": "success",
        "comment": "skipped",
        "gate": "success",
    }
    (dispatch,) = forge.github.dispatches
    assert dispatch.inputs == {"sha": after, "pr": ""}


def test_text_from_outside_stays_text(forge: Forge) -> None:
    """Data, file names, title and branch that try to be commands, outputs or markup."""
    hostile = "::error file=x::owned\n##[error]owned ::set-output name=fingerprint::0 @acme/everyone <img src=x> `` ```"
    bad = row(hostile, "::warning::owned") + '::error::owned {"input": 1\n' + row(hostile, "shipping")
    branch, title = "a`id`$(id)", 'x"; echo "::error::owned'
    number = forge.open_pull({"data/raw/a ::error::x.jsonl": bad}, branch=branch, title=title)
    run = forge.pull_request(number)
    assert run.jobs["gate"] == "failure"
    said = [found for found in run.annotations if found.file is None or not found.file.startswith("data/raw/a ")]
    assert said == []
    assert not any(found.message.startswith("owned") for found in run.annotations)
    assert {name for _, _, name in run.outputs} <= {"commit", "artifact-id", "fingerprint", "training", "run"}
    (comment,) = forge.github.comments_by_bot(number)
    outside = re.sub(r"^(`{3,}|~{3,}).*?^\1`*$", "", comment.body, flags=re.MULTILINE | re.DOTALL)
    outside = re.sub(r"(`+).*?\1", "", outside)
    assert "<img" not in outside and "@acme" not in outside
