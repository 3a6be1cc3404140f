"""A report from a machine not trusted: judged by main's thresholds; what is forged or missing fails (T9, T11)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from evaluated_run import TASK_TYPES, EvaluatedRun, make_run, train
from finetune.config.project import load_project
from finetune.data.stage import convert
from finetune.github.train.gate import Verdict, judge
from finetune.github.train.report_file import MAX_BYTES

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def run(tmp_path: Path) -> EvaluatedRun:
    return make_run(tmp_path / "main")


def verdict_on(run: EvaluatedRun, report: bytes | Path | None = None) -> Verdict:
    test = run.frozen["test"]
    return judge(
        run.project,
        run.report if report is None else report,
        test_rows=test["rows"],
        test_sha256=test["sha256"],
        predictions=run.predictions,
    )


def refused(verdict: Verdict, *reasons: str) -> None:
    """Not passed, for these reasons, and nothing that says otherwise anywhere."""
    assert not verdict.passed
    for reason in reasons:
        assert any(reason in given for given in verdict.reasons), verdict.reasons
    assert verdict.report is None or verdict.report.verdict != "passed"


@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_an_honest_report_of_every_task_type_is_read_and_passes(tmp_path: Path, task_type: str) -> None:
    verdict = verdict_on(make_run(tmp_path / "main", task_type))
    assert verdict.reasons == [] and verdict.passed
    assert verdict.report and verdict.report.verdict == "passed"
    assert verdict.rows and all(row.passed for row in verdict.rows)


def test_an_honest_report_below_the_threshold_does_not_pass(tmp_path: Path) -> None:
    verdict = verdict_on(make_run(tmp_path / "main", wrong=4))
    refused(verdict, "macro_f1 is 0.")
    assert [row.name for row in verdict.rows if not row.passed] == ["macro_f1"]
    assert verdict.report and verdict.report.primary.passed is False and verdict.report.advice


FORGED: dict[str, tuple[Change, str]] = {
    "not a number": (lambda r: r["metrics"].update(macro_f1=float("nan")), "metrics.macro_f1: not a finite number"),
    "infinite": (lambda r: r["primary"].update(value=float("inf")), "primary.value: not a finite number"),
    "the text of a number": (lambda r: r["metrics"].update(macro_f1="0.99"), "metrics.macro_f1: not a number"),
    "true": (lambda r: r["metrics"].update(macro_f1=True), "metrics.macro_f1: not a number"),
    "nothing": (lambda r: r["metrics"].update(macro_f1=None), "metrics.macro_f1: not a number"),
    "above one": (lambda r: r["metrics"].update(macro_f1=1.7), "metrics.macro_f1: input should be less than"),
    "below zero": (lambda r: r["metrics"].update(macro_f1=-0.1), "metrics.macro_f1: input should be greater than"),
    "a list": (lambda r: r.update(metrics=[0.99]), "metrics: input should be a valid dict"),
    "the primary value missing": (lambda r: r["primary"].pop("value"), "primary.value: missing"),
    "all metrics missing": (lambda r: r.pop("metrics"), "metrics: missing"),
    "no gate": (lambda r: r.update(gates=[]), "gates: list should have at least 1 item"),
    "a key of its own": (lambda r: r.update(approved=True), "approved: unknown key"),
    "rows of step 07": (lambda r: r.update(artefacts=[]), "artefacts: unknown key"),
    "another version": (lambda r: r.update(report_version=2), "report_version: input should be less than"),
    "a matrix with a hole": (lambda r: r["confusion"]["counts"][0].pop(), "confusion: value error"),
    "a metric without interval": (lambda r: r["intervals"].pop("accuracy"), "not about the same metrics"),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_report_of_another_form_is_not_judged_and_says_why(run: EvaluatedRun, name: str) -> None:
    change, reason = FORGED[name]
    run.edit_report(change)
    verdict = verdict_on(run)
    refused(verdict, reason)
    assert verdict.report is None and verdict.rows == []


STRANGE: dict[str, tuple[Change, str]] = {
    "more rows": (lambda r: r["outputs"].update(rows=999), "outputs.rows is 999, the test set has"),
    "fewer rows": (lambda r: r["data"].update(rows=1), "data.rows is 1, the test set has"),
    "errors over other rows": (lambda r: r["errors"].update(rows=1), "errors.rows is 1, the test set has"),
    "another test set": (lambda r: r["data"].update(test_sha256="0" * 64), "data.test_sha256 names another test set"),
    "another metric": (
        lambda r: r["primary"].update(metric="accuracy"), "primary.metric is 'accuracy', not macro_f1",
    ),
    "another task": (lambda r: r["task"].update(type="generation"), "task.type is generation, not classification"),
    "two values of one metric": (lambda r: r["primary"].update(value=0.95), "primary.value is 0.95, metrics say 1"),
    "the metric not measured": (
        lambda r: (r["metrics"].pop("macro_f1"), r["intervals"].pop("macro_f1")), "metrics.macro_f1 is missing",
    ),
    "a floor not measured": (
        lambda r: (r["metrics"].pop("finished_rate"), r["intervals"].pop("finished_rate")),
        "metrics.finished_rate is missing",
    ),
    "no baseline": (lambda r: r["baselines"].pop("zero_shot"), "not worse than zero-shot: not measured"),
    "a limited run": (lambda r: r.update(limited=True), "a limited run, not comparable"),
    "a smoke run": (lambda r: r["task"].update(smoke=True), "a smoke run is no evaluation"),
    "other training data": (lambda r: r["gates"][-1].update(passed=False), "trained on the current data"),
    "nothing said of its training data": (lambda r: r["gates"].pop(), "trained on the current data"),
    "another adapter": (lambda r: r["provenance"].update(adapter="0" * 64), "another adapter than the report"),
}  # fmt: skip


@pytest.mark.parametrize("name", STRANGE)
def test_a_report_about_something_else_fails_and_says_what(run: EvaluatedRun, name: str) -> None:
    change, reason = STRANGE[name]
    run.edit_report(change)
    refused(verdict_on(run), reason)


def edited(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
FILES: dict[str, tuple[Callable[[str], str], str]] = {
    "1e999": (edited("value: 1.0", "value: 1e999"), "primary.value: not a number"),
    "1.0e+999": (edited("value: 1.0", "value: 1.0e+999"), "primary.value: not a finite number"),
    "a key twice": (edited("limited: false", "limited: true\nlimited: false"), "the key 'limited' twice, line"),
    "a metric twice": (edited("{macro_f1: 1.0", "{macro_f1: 0.1, macro_f1: 1.0"), "the key 'macro_f1' twice, line"),
    "an alias bomb": (lambda text: BOMB + text, "an anchor or alias, line 1"),
    "a merge": (edited("outputs: {", "outputs: {<<: {rows: 1}, "), "a merge key (<<)"),
    "a tag": (edited("verdict: ", "verdict: !!python/name:os.system "), "a tag, line"),
    "two documents": (lambda text: f"{text}---\n{text}", "a second document, line"),
    "a key that is no text": (lambda text: f"{text}1: 2\n", "a key that is no text"),
    "depth": (lambda text: f"deep: {'[' * 5000}{']' * 5000}\n{text}", "nested deeper than"),
    "50 MB": (lambda text: text + "# " + "x" * (50 << 20), "bytes, more than 4,194,304"),
    "nothing at all": (lambda text: "", "input should be a valid dictionary"),
    "a text": (lambda text: "passed", "input should be a valid dictionary"),
    "half a file": (lambda text: text[: len(text) // 2], "evaluation_report.yaml:"),
    "no YAML": (lambda text: "{" + text, "not YAML"),
    "a number of 5,000 digits": (edited("rows: ", "rows: " + "9" * 5000), "not YAML"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_plain_report_is_refused(run: EvaluatedRun, name: str) -> None:
    change, reason = FILES[name]
    run.report.write_text(change(run.report.read_text(encoding="utf-8")), encoding="utf-8")
    verdict = verdict_on(run)
    refused(verdict, reason)
    assert verdict.report is None


def test_a_missing_report_a_link_and_bytes_are_refused(run: EvaluatedRun, tmp_path: Path) -> None:
    content = run.report.read_bytes()
    refused(verdict_on(run, content[:-1] + b"\xff"), "evaluation_report.yaml: not UTF-8")
    refused(verdict_on(run, b"x" * (MAX_BYTES + 1)), "bytes, more than")
    assert verdict_on(run, content).passed
    elsewhere = tmp_path / "report.yaml"
    run.report.rename(elsewhere)
    refused(verdict_on(run), "evaluation_report.yaml: missing")
    run.report.symlink_to(elsewhere)
    refused(verdict_on(run), "evaluation_report.yaml: not a regular file")


def rows_of(run: EvaluatedRun) -> list[str]:
    return (run.predictions / "adapter.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)


def write_rows(run: EvaluatedRun, rows: list[str], *, manifest: bool = True) -> None:
    """Other answers; with `manifest`, the manifest names them as its machine could have done."""
    import hashlib

    content = "".join(rows).encode()
    (run.predictions / "adapter.jsonl").write_bytes(content)
    if manifest:
        facts = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        edit_manifest(run, lambda told: told["outputs"].update({"adapter.jsonl": facts}))


def edit_manifest(run: EvaluatedRun, change: Change) -> None:
    path = run.predictions / "adapter.manifest.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    change(told)
    path.write_text(json.dumps(told), encoding="utf-8")


def test_predictions_other_than_their_manifest_names_fail(run: EvaluatedRun) -> None:
    """Of the same length: only the digest can tell."""
    rows = rows_of(run)
    changed = rows[0].replace('"seconds": 0.01', '"seconds": 0.02')
    assert changed != rows[0]
    write_rows(run, [changed, *rows[1:]], manifest=False)
    refused(verdict_on(run), "adapter.jsonl: other bytes than its manifest names")


def test_fewer_answers_than_test_rows_fail(run: EvaluatedRun) -> None:
    rows = rows_of(run)
    write_rows(run, rows[1:])
    refused(verdict_on(run), f"{len(rows) - 1} answers, the test set has {len(rows)} rows")


def test_one_row_answered_twice_fails(run: EvaluatedRun) -> None:
    rows = rows_of(run)
    write_rows(run, [rows[0], *rows[:-1]])
    refused(verdict_on(run), f"{len(rows)} answers to {len(rows) - 1} rows")


@pytest.mark.parametrize("line", ["{}\n", "[]\n", "nonsense\n", '{"id": NaN}\n', '{"id": "x", "id": "y"}\n'])
def test_a_line_that_is_no_prediction_fails(run: EvaluatedRun, line: str) -> None:
    write_rows(run, [*rows_of(run)[:-1], line])
    refused(verdict_on(run), f"line {len(rows_of(run))}: ")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda told: told["inputs"].update(test="0" * 64), "inputs.test names another test set"),
        (lambda told: told["inputs"].update(rows="3"), "inputs.rows names another number of rows"),
        (lambda told: told["inputs"].pop("artefact"), "inputs.artefact is missing"),
        (lambda told: told.pop("inputs"), "inputs are missing"),
        (lambda told: told["outputs"].update({"/dev/zero": {}}), "outputs are not adapter.jsonl alone"),
        (lambda told: told.update(outputs=[]), "outputs are not adapter.jsonl alone"),
    ],
)
def test_a_manifest_about_something_else_fails(run: EvaluatedRun, change: Change, reason: str) -> None:
    edit_manifest(run, change)
    refused(verdict_on(run), reason)


def test_missing_predictions_fail_and_both_files_are_named_at_once(run: EvaluatedRun) -> None:
    (run.predictions / "adapter.jsonl").unlink()
    refused(verdict_on(run), "predictions/adapter.jsonl: missing")
    (run.predictions / "adapter.manifest.json").unlink()
    run.report.unlink()
    refused(verdict_on(run), "evaluation_report.yaml: missing", "predictions/adapter.manifest.json: missing")


def test_a_change_that_lowers_its_thresholds_is_judged_by_those_of_main(tmp_path: Path) -> None:
    """T9: the report says passed, by its own threshold; main's is another."""
    run = make_run(tmp_path / "main", wrong=4)
    work = tmp_path / "main" / "build" / "work"
    for name, change in (
        ("task_definition.yaml", lambda values: values["metrics"].update(threshold=0.01)),
        ("configs/benchmark_config.yaml", lambda values: values.update(thresholds={})),
    ):
        values = yaml.safe_load((work / name).read_text(encoding="utf-8"))
        change(values)
        (work / name).write_text(yaml.safe_dump(values), encoding="utf-8")
    lowered = load_project(work)
    assert convert(lowered) == 0
    own = yaml.safe_load(train(lowered, wrong=4).paths.report_yaml.read_text(encoding="utf-8"))
    assert own["verdict"] == "passed" and own["primary"]["threshold"] == 0.01

    verdict = verdict_on(run, lowered.paths.report_yaml.read_bytes())
    refused(verdict, "wanted at least 0.800")
    assert verdict.report and verdict.report.primary.threshold == 0.8
    assert {row.name for row in verdict.rows} >= {"finished_rate"}


def test_prose_of_the_report_is_replaced_by_that_of_this_checkout(run: EvaluatedRun) -> None:
    def forge(report: dict[str, Any]) -> None:
        report["verdict"] = "approved by @acme/owners"
        report["advice"] = [{"id": "1", "symptom": "merge this", "evidence": "at once", "remedy": "now"}]
        for row in report["gates"]:
            row["note"] = "waived by the owners"

    run.edit_report(forge)
    verdict = verdict_on(run)
    assert verdict.passed and verdict.report
    shown = verdict.report.model_dump_json()
    assert "merge this" not in shown and "waived" not in shown and "approved" not in shown


def test_answers_with_any_sign_are_read_back(run: EvaluatedRun) -> None:
    """What a model may write must not make an honest report unreadable."""
    texts = ["1e5", "008", "yes", "~", "=", "<<", "!t", "&a", "a\r\nb\x07\x1b[31m", "\u202e\ufeff\u2028", "😀", "a: -"]

    def fill(report: dict[str, Any]) -> None:
        report["errors"]["worst"] = [
            {
                "id": text,
                "input": text,
                "expected": text,
                "answer": text,
                "score": 0.0,
                "confidence": 0.5,
                "problem": "well-formed",
            }
            for text in texts
        ]

    run.edit_report(fill)
    verdict = verdict_on(run)
    assert verdict.passed, verdict.reasons
    assert verdict.report and [row.answer for row in verdict.report.errors.worst] == texts


def test_many_faults_are_counted_and_never_quote_more_than_a_line(run: EvaluatedRun) -> None:
    run.edit_report(lambda r: r["metrics"].update({f"m{i}\n::error::x" * 40: "bad" for i in range(30)}))
    verdict = verdict_on(run)
    refused(verdict, "more")
    assert all("\n" not in reason and len(reason) < 3000 for reason in verdict.reasons)
