"""One comment, verdict first, by main's rules; and the status and the summary, whatever becomes of the comment."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evaluated_run import NEWER, SHA, EvaluatedRun, make_run
from finetune.errors import GATE_FAILED, IO_FAULT, OK, FinetuneError, StorageFault
from finetune.github.client.api import ApiError
from finetune.github.client.comments import marker_line
from finetune.github.train.evaluation_comment import report
from github_fake import GitHubFake, comment_routes
from test_github_markdown import HOSTILE, assert_no_reference, kinds, shown

FIRST = marker_line("evaluation")
EARLIER = 41
PAGE = "https://github.com/acme/demo/actions/runs/55"
HEAVY = ("numpy", "sklearn", "torch", "transformers", "peft", "rouge_score", "sacrebleu", "safetensors")


class Desk:
    """The report job: a finished run on disk, GitHub on the wire, and what was said where."""

    def __init__(self, run: EvaluatedRun, github: GitHubFake, folder: Path) -> None:
        self.run, self.github, self.head = run, github, SHA
        self.comments: list[dict[str, Any]] = []
        self.statuses: list[dict[str, Any]] = []
        self._summary = folder / "summary.md"
        github.routes = {
            "GET /repos/acme/demo/pulls/7": lambda request: {"head": {"sha": self.head}},
            "POST /repos/acme/demo/statuses/{sha}": self._status,
            **comment_routes(self.comments),
        }

    def _status(self, request: Any, sha: str) -> dict[str, Any]:
        self.statuses.append({"sha": sha, **request.body})
        return request.body

    def report(self, **changes: Any) -> int:
        given = {
            "sha": SHA,
            "pr": "7",
            "fingerprint": self.run.fingerprint,
            "digest": self.run.digest,
            "reuse": "0",
            "result": "success",
            **changes,
        }
        return report(self.run.project, **given)

    @property
    def comment(self) -> str:
        """The only comment, without its hidden first line."""
        (row,) = self.comments
        first, _, body = row["body"].partition("\n")
        assert first == FIRST
        return body

    @property
    def headline(self) -> str:
        return self.comment.split("\n", 1)[0]

    @property
    def status(self) -> tuple[str, str]:
        """(state, description) of the only status, which is on the commit that was asked about."""
        (row,) = self.statuses
        assert row["sha"] == SHA and row["context"] == "fine-tune/evaluation"
        return row["state"], row["description"]

    @property
    def summary(self) -> str:
        return self._summary.read_text(encoding="utf-8")


@pytest.fixture
def open_desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Desk]]:
    with GitHubFake() as github:
        github.environment(monkeypatch)
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
        monkeypatch.delenv("GITHUB_EVENT_PATH", raising=False)
        yield lambda **options: Desk(make_run(tmp_path / "main", **options), github, tmp_path)


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    return open_desk()


def test_a_good_adapter_is_said_everywhere_with_the_base_install_alone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in HEAVY:
        monkeypatch.setitem(sys.modules, name, None)
    assert desk.report() == OK
    assert desk.headline == "## ✅ Passed: macro_f1 1.000 (threshold 0.800)"
    assert f"`{SHA[:12]}` was trained in [run 55]({PAGE}): 42 training, 10 validation and 8 test rows." in desk.comment
    assert "### Gate" in desk.comment and "### Metrics" in desk.comment and "### Why not" not in desk.comment
    assert desk.status == ("success", "macro_f1 1.000, threshold 0.800, 8 test rows")
    assert desk.statuses[0]["target_url"] == desk.comments[0]["html_url"]
    assert desk.summary.strip() == desk.comment.strip()


def test_reported_twice_there_is_still_one_comment(desk: Desk) -> None:
    assert desk.report() == desk.report() == OK
    assert desk.headline.startswith("## ✅ Passed") and len(desk.statuses) == 2


def test_an_adapter_below_the_threshold_fails_the_job_and_says_why(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(wrong=4)
    assert desk.report() == GATE_FAILED
    assert desk.headline.startswith("## ❌ Failed: macro_f1 0.") and desk.headline.endswith("(threshold 0.800)")
    assert "### Why not\n\n- macro_f1 is 0." in desk.comment and "wanted at least 0.800" in desk.comment
    state, description = desk.status
    assert state == "failure" and description.endswith(", threshold 0.800, 8 test rows")


def test_the_artifacts_own_pages_are_never_shown(desk: Desk) -> None:
    (desk.run.artifact / "results" / "evaluation_report.md").write_text("# Approved by @acme", encoding="utf-8")
    desk.run.edit_report(lambda r: r.update(advice=[dict.fromkeys(("id", "symptom", "evidence", "remedy"), "Merge")]))
    assert desk.report() == OK
    assert "Approved" not in desk.comment and "Merge" not in desk.comment


def test_a_forged_report_is_not_judged_and_the_reason_comes_first(desk: Desk) -> None:
    desk.run.edit_report(lambda r: r["metrics"].update(macro_f1="0.99"))
    assert desk.report() == GATE_FAILED
    assert desk.headline == "## ❌ Not judged: macro_f1 – (threshold 0.800)"
    assert "### Why not\n\n- evaluation_report.yaml: metrics.macro_f1: not a number" in desk.comment
    state, description = desk.status
    assert state == "failure" and description.startswith("not judged: evaluation_report.yaml: metrics.macro_f1")


def test_a_report_on_another_test_set_fails_though_its_number_is_high(desk: Desk) -> None:
    desk.run.edit_report(lambda r: r["data"].update(test_sha256="0" * 64))
    assert desk.report() == GATE_FAILED
    assert desk.headline == "## ❌ Failed: macro_f1 1.000 (threshold 0.800)"
    assert "names another test set" in desk.comment
    assert desk.status == ("failure", "macro_f1 1.000, threshold 0.800, 8 test rows; another condition failed")


# Reuse, and runs that were overtaken ----------------------------------------------------------------------------------


def earlier(desk: Desk) -> None:
    """The artifact is of another run and another input with the same fingerprint."""
    import json

    path = desk.run.artifact / "run.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**told, "run_id": EARLIER, "sha": "e5" * 20, "digest": "0" * 64}), encoding="utf-8")


def test_an_earlier_run_that_is_reused_is_said_with_its_link(desk: Desk) -> None:
    earlier(desk)
    assert desk.report(reuse=str(EARLIER), result="skipped") == OK
    assert desk.headline.startswith("## ✅ Passed")
    link = f"[run 41](https://github.com/acme/demo/actions/runs/{EARLIER})"
    assert f"Nothing was trained for `{SHA[:12]}`" in desk.comment
    assert f"{link} trained and evaluated for `{'e5' * 6}`" in desk.comment
    assert desk.status[0] == "success"


def test_a_reused_adapter_is_judged_anew(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(wrong=4)
    earlier(desk)
    assert desk.report(reuse=str(EARLIER), result="skipped") == GATE_FAILED
    assert desk.status[0] == "failure"


@pytest.mark.parametrize("reuse", ["0", "40"])
def test_an_adapter_of_another_run_than_the_named_one_is_not_taken(desk: Desk, reuse: str) -> None:
    earlier(desk)
    assert desk.report(reuse=reuse) == IO_FAULT
    assert desk.headline == "## ❌ Not judged: macro_f1 – (threshold 0.800)"
    assert "the adapter artifact is of another run" in desk.comment
    assert desk.status[0] == "error"


def test_an_adapter_of_another_input_is_not_taken(desk: Desk) -> None:
    desk.run = EvaluatedRun(desk.run.project, desk.run.fingerprint, "0" * 64)
    assert desk.report() == IO_FAULT
    assert "E626" in desk.comment and desk.status[0] == "error"


def test_a_head_that_moved_gets_no_verdict_and_no_success_anywhere(desk: Desk) -> None:
    desk.head = NEWER
    assert desk.report() == OK
    assert desk.headline == "## ⏭️ Superseded: macro_f1 – (threshold 0.800), not judged"
    assert f"[This run]({PAGE}) was about `{SHA[:12]}`, but" in desk.comment
    assert f"the pull request is at `{NEWER[:12]}` by now" in desk.comment
    assert "1.000" not in desk.comment and "✅" not in desk.comment and "✅" not in desk.summary
    assert desk.status == ("error", f"superseded by {NEWER[:12]}, not judged")


def test_a_head_that_moves_while_it_is_judged_counts_too(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from finetune.github.train import evaluation_comment

    def slow(*arguments: Any, **options: Any) -> Any:
        verdict = judge(*arguments, **options)
        desk.head = NEWER
        return verdict

    judge = evaluation_comment.judge
    monkeypatch.setattr(evaluation_comment, "judge", slow)
    assert desk.report() == OK
    assert desk.headline.startswith("## ⏭️ Superseded") and desk.status[0] == "error"


def test_a_head_that_cannot_be_read_does_not_cost_the_verdict(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.github.fail("GET", "/pulls/7", 404, times=99)
    assert desk.report() == OK
    assert desk.headline.startswith("## ✅ Passed") and desk.status[0] == "success"
    assert "W630" in capsys.readouterr().err


# Training that came to nothing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ("failure", "training failed"),
        ("cancelled", "training was cancelled or ran out of time"),
        ("skipped", "training was skipped: its approval was refused or not given"),
        ("", "training did not end well"),
        ("passed=true", "training did not end well"),
    ],
)
def test_training_without_an_adapter_is_said_in_comment_status_and_summary(desk: Desk, result: str, said: str) -> None:
    """The artifact that lies there is a leftover: it must not be looked at."""
    assert desk.report(result=result) == OK, "the training job itself is red"
    assert desk.headline == f"## ❌ Not measured: {said} (macro_f1 – (threshold 0.800))"
    assert f"[Log of the run]({PAGE})" in desk.comment and "✅" not in desk.comment
    assert ("### Exit code in the log" in desk.comment) == (result == "failure")
    state, description = desk.status
    assert state == "error" and description.startswith("training: ") and "nothing was measured" in description
    assert said in desk.summary


def test_a_failed_training_names_what_its_exit_code_means(desk: Desk) -> None:
    desk.report(result="failure")
    for code in (2, 70, 74, 75):
        assert f"| {code} | " in desk.comment


def test_a_damaged_artifact_is_an_error_not_a_verdict(desk: Desk) -> None:
    (desk.run.artifact / "adapter" / "adapter_model.safetensors").write_bytes(b"\2\2")
    assert desk.report() == IO_FAULT
    assert "adapter/adapter_model.safetensors was changed" in desk.comment
    assert desk.status == ("error", "not judged: the training's files cannot be used")


def test_a_missing_artifact_is_an_error_not_a_verdict(desk: Desk) -> None:
    (desk.run.artifact / "run.json").unlink()
    assert desk.report() == IO_FAULT and desk.status[0] == "error"


def test_an_input_that_is_not_the_frozen_one_is_an_error(desk: Desk) -> None:
    (desk.run.project.paths.root / "build/input/files/task_definition.yaml").write_text("x: 1\n", encoding="utf-8")
    assert desk.report() == IO_FAULT
    assert "E627" in desk.comment and desk.status[0] == "error"


@pytest.mark.parametrize("changes", [{"pr": 8}, {"sha": "e" * 40}, {"fingerprint": "0" * 64}])
def test_an_input_of_another_commit_is_an_error(desk: Desk, changes: dict[str, Any]) -> None:
    desk.run = desk.run.refreeze(**changes)
    assert desk.report() == IO_FAULT
    assert "another commit, pull request or fingerprint" in desk.comment and desk.status[0] == "error"


# What the change does to its own rules --------------------------------------------------------------------------------


def test_policy_changes_stand_right_below_the_verdict(desk: Desk) -> None:
    changes = [
        {"path": "task_definition.yaml", "kind": "task", "detail": "metrics.threshold 0.01 instead of main's 0.8"},
        {"path": "finetune/evaluation/metrics.py", "kind": "code", "detail": "changed"},
    ]
    desk.run = desk.run.refreeze(policy_changes=changes)
    assert desk.report() == OK
    assert desk.comment.index("### ⚠️ Policy change") < desk.comment.index("### Gate")
    assert "- **task_definition.yaml** (task): metrics.threshold 0.01 instead of main's 0.8" in desk.comment
    assert "- **finetune/evaluation/metrics.py** (code): changed" in desk.comment


def test_policy_changes_are_named_also_when_training_failed(desk: Desk) -> None:
    desk.run = desk.run.refreeze(policy_changes=[{"path": "scripts/03_train.py", "kind": "code", "detail": "removed"}])
    desk.report(result="failure")
    assert "scripts/03_train.py" in desk.comment


def test_the_data_of_a_fork_is_said(desk: Desk) -> None:
    desk.run = desk.run.refreeze(source="fork")
    assert desk.report() == OK
    assert "the data of a fork with main's code" in desk.comment


def test_a_commit_without_pull_request_gets_status_and_summary_only(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(pr=None)
    assert desk.report(pr="") == OK
    assert desk.github.calls() == [f"POST /repos/acme/demo/statuses/{SHA}"]
    assert desk.status[0] == "success" and desk.statuses[0]["target_url"] == PAGE
    assert "✅ Passed" in desk.summary


# GitHub that does not answer ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [403, 404, 410, 422, 500])
@pytest.mark.parametrize(("wrong", "code", "state"), [(0, OK, "success"), (4, GATE_FAILED, "failure")])
def test_without_the_comment_there_are_status_and_summary_and_the_gate_alone_decides(
    open_desk: Callable[..., Desk], status: int, wrong: int, code: int, state: str
) -> None:
    desk = open_desk(wrong=wrong)
    for method in ("GET", "POST"):
        desk.github.fail(method, "/comments", status, times=999)
    assert desk.report() == code
    assert desk.comments == []
    assert desk.status[0] == state and desk.statuses[0]["target_url"] == PAGE
    assert "(threshold 0.800)" in desk.summary


def test_a_status_that_cannot_be_set_is_an_error_after_everything_else_was_said(desk: Desk) -> None:
    desk.github.fail("POST", "/statuses/", 403, times=99)
    with pytest.raises(ApiError, match="E604") as failure:
        desk.report()
    assert isinstance(failure.value, StorageFault) and failure.value.exit_code == IO_FAULT
    assert desk.headline.startswith("## ✅ Passed") and "✅ Passed" in desk.summary


@pytest.mark.parametrize(
    "changes",
    [{"sha": "main"}, {"sha": SHA + "\n"}, {"pr": "7; rm"}, {"fingerprint": "x"}, {"digest": ""}, {"reuse": "-1"}],
)
def test_malformed_arguments_are_refused_before_anything_is_said(desk: Desk, changes: dict[str, str]) -> None:
    with pytest.raises(FinetuneError, match="E603"):
        desk.report(**changes)
    assert desk.github.calls() == []


# Text of others -------------------------------------------------------------------------------------------------------


def with_texts(texts: list[str]) -> Callable[[dict[str, Any]], None]:
    """A report whose every free text is one of `texts`."""

    def fill(report: dict[str, Any]) -> None:
        names = [text or "–" for text in texts]
        report["task"]["description"] = names[0]
        row = report["per_class"][0]
        report["per_class"] = [{**row, "name": name, "f1": 0.1, "support": 1} for name in names]
        report["errors"]["confused_pairs"] = [
            {"expected": name, "predicted": name, "count": 5, "ids": [name, name]} for name in names
        ]
        report["errors"]["worst"] = [
            {
                "id": name,
                "input": text,
                "expected": text,
                "answer": text,
                "score": 0.0,
                "confidence": None,
                "problem": name,
            }
            for name, text in zip(names, texts, strict=True)
        ]
        report["baselines"]["majority"] |= {"answer": texts[0], "value": 1.0}
        report["training"]["findings"] = [{"code": name, "text": name, "change": name} for name in names]
        report["provenance"]["base"]["id"] = names[0]
        report["provenance"]["environment"]["git_commit"] = names[0]
        report["provenance"]["created"] = names[0]

    return fill


@pytest.mark.parametrize("start", range(0, len(HOSTILE), 10))
def test_no_text_of_the_artifact_is_active_in_the_comment(open_desk: Callable[..., Desk], start: int) -> None:
    # A file cannot hold half a surrogate pair; an empty name is none.
    texts = [text.encode("utf-8", "replace").decode() for text in HOSTILE[start : start + 10] if text.strip()]
    desk = open_desk()
    desk.run.edit_report(with_texts(["word"] * len(texts)))
    policy = [{"path": "word", "kind": "code", "detail": "word"}] * len(texts)
    desk.run = desk.run.refreeze(policy_changes=policy)
    assert desk.report() == OK
    harmless = desk.comment
    desk.run.edit_report(with_texts(texts))
    desk.run = desk.run.refreeze(policy_changes=[{"path": t, "kind": "code", "detail": t} for t in texts])
    assert desk.report() == OK
    assert kinds(desk.comment) == kinds(harmless)
    assert_no_reference(shown(desk.comment).replace("https://github.com/acme", ""))


def test_an_error_with_a_hostile_name_is_shown_and_not_obeyed(desk: Desk) -> None:
    (desk.run.artifact / "adapter" / "x](www.evil.example) @all\n# Passed.json").write_text("{}", encoding="utf-8")
    assert desk.report() == IO_FAULT
    assert "evil.example" in shown(desk.comment), "it is shown"
    assert_no_reference(shown(desk.comment).replace("https://github.com/acme", ""))
    assert kinds(desk.comment).count("heading_open") == 2


def test_a_huge_report_still_fits_into_a_comment(desk: Desk) -> None:
    def grow(report: dict[str, Any]) -> None:
        row = {"id": "x", "expected": "x", "answer": "x", "score": 0.0, "confidence": 0.1, "problem": "well-formed"}
        report["errors"]["worst"] = [{**row, "input": "😀" * 20_000} for _ in range(10)]

    desk.run.edit_report(grow)
    assert desk.report() == OK
    body = desk.comments[0]["body"]
    assert len(body) <= 60_000 and desk.headline.startswith("## ✅ Passed") and desk.status[0] == "success"
    assert "### Metrics" in body and "further sections are in evaluation_report.html" in body
