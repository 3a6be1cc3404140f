"""Steps 01 and 02 on whole repositories: what they write, when they refuse, and that a second run changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from conftest import raw_rows
from finetune.data import stage
from finetune.data.balance import class_weights
from finetune.data.plan import CHECKS_VERSION
from finetune.errors import BAD_INPUT, OK, BadInput, FinetuneError
from finetune.provenance import read_manifest, sha256
from finetune.sealed import is_current
from repository import ROOT


def rows_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def converted(project) -> dict[str, list[dict]]:
    assert stage.convert(project) == OK
    return {split: rows_of(getattr(project.paths, split)) for split in ("train", "valid", "test")}


def tree(root: Path) -> dict[str, tuple[str, int]]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): (sha256(path), path.stat().st_mtime_ns) for path in files}


@pytest.mark.parametrize("task_type", ["classification", "extraction", "generation"])
def test_every_row_lands_in_one_split_as_a_chat_record(make_project, task_type):
    project = make_project(task_type)
    splits = converted(project)
    roles = {split: {tuple(m["role"] for m in row["messages"]) for row in rows} for split, rows in splits.items()}
    assert roles == {
        "train": {("system", "user", "assistant")},
        "valid": {("system", "user", "assistant")},
        "test": {("system", "user")},
    }
    raw = {row["input"]: row[project.task.output.field] for row in raw_rows(task_type)}
    inputs = [row["messages"][1]["content"] for rows in splits.values() for row in rows]
    assert sorted(inputs) == sorted(raw)
    assert all(row["reference"] == raw[row["messages"][1]["content"]] for row in splits["test"])
    assert {tuple(row) for row in splits["train"]} == {("id", "messages")}
    assert {tuple(row) for row in splits["test"]} == {("id", "messages", "reference")}


def test_the_manifest_is_bound_to_the_data_and_to_what_was_written(make_project):
    project = make_project()
    splits = converted(project)
    manifest = read_manifest(project.paths.data_manifest)
    assert manifest is not None
    assert manifest.facts["rows"] == {split: len(rows) for split, rows in splits.items()}
    assert manifest.facts["test_sha256"] == sha256(project.paths.test)
    assert is_current(project.paths.data_manifest, stage.data_inputs(project))
    with open(project.paths.raw / "rows.jsonl", "a", encoding="utf-8") as file:
        file.write('{"input": "one more", "label": "billing"}\n')
    assert not is_current(project.paths.data_manifest, stage.data_inputs(project))


def test_a_second_conversion_touches_no_file_and_a_forced_one_writes_the_same_bytes(make_project, capsys):
    project = make_project()
    assert stage.convert(project) == OK
    before = tree(project.paths.root)
    capsys.readouterr()
    assert stage.convert(project) == OK
    assert "up to date" in capsys.readouterr().err
    assert tree(project.paths.root) == before
    assert stage.convert(project, force=True) == OK
    after = tree(project.paths.root)
    assert {name: entry[0] for name, entry in after.items()} == {name: entry[0] for name, entry in before.items()}
    assert after["data/test.jsonl"][1] != before["data/test.jsonl"][1]


def test_what_the_checks_of_another_day_let_pass_is_asked_again(make_project, monkeypatch, capsys):
    project = make_project(base=True)
    assert stage.convert(project) == OK
    before = sha256(project.paths.test)
    monkeypatch.setattr("finetune.data.plan.CHECKS_VERSION", CHECKS_VERSION + 1)
    for said in ("data report", "up to date"):
        capsys.readouterr()
        assert stage.convert(project) == OK
        assert ("up to date" in capsys.readouterr().err) == (said == "up to date")
    with pytest.raises(BadInput, match="E139"):
        stage.convert(make_project(training={"max_length": 32}))
    assert sha256(project.paths.test) == before


@pytest.mark.parametrize("fact", ["balance", "classes", "test_sha256"])
def test_a_manifest_that_the_later_steps_cannot_read_is_written_anew(make_project, fact):
    project = make_project()
    stage.convert(project)
    before = project.paths.data_manifest.read_bytes()
    manifest = json.loads(before)
    del manifest["facts"][fact]
    project.paths.data_manifest.write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(FinetuneError, match=r"E414 .* run scripts/02_convert_format\.py"):
        stage.require_current(project)
    assert stage.convert(project) == OK
    assert project.paths.data_manifest.read_bytes() == before
    stage.require_current(project)


def test_a_released_status_redoes_nothing_but_another_prompt_does(make_project):
    project = make_project()
    inputs = stage.data_inputs(project)
    assert stage.data_inputs(make_project(task={"status": "released", "released_version": "1.0.0"})) == inputs
    assert stage.data_inputs(make_project(task={"system_prompt": "Other {labels}"})) != inputs


def test_more_rows_leave_the_old_rows_in_their_splits(make_project):
    rows = raw_rows("classification", 120)
    old = converted(make_project(rows=rows[:60]))
    new = converted(make_project(rows=rows[60:] + rows[:60][::-1]))
    for split, records in old.items():
        assert {record["id"] for record in records} <= {record["id"] for record in new[split]}


def test_a_wrong_row_stops_the_conversion_and_leaves_the_last_one_in_place(make_project):
    project = make_project()
    assert stage.convert(project) == OK
    before = tree(project.paths.root / "data" / "chat_format")
    with open(project.paths.raw / "rows.jsonl", "a", encoding="utf-8") as file:
        file.write('{"input": "one more", "label": "biling"}\nnot json\n')
    with pytest.raises(BadInput) as refusal:
        stage.convert(project)
    assert [(p.code, p.line) for p in refusal.value.problems.errors] == [("E135", 61), ("E110", 62)]
    assert tree(project.paths.root / "data" / "chat_format") == before
    assert not list(project.paths.root.rglob("*.part"))


def test_a_full_disk_leaves_no_manifest_and_no_half_file(make_project, monkeypatch):
    project = make_project()

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(stage.os, "fsync", no_space)
        with pytest.raises(OSError, match="No space"):
            stage.convert(project)
    assert not project.paths.data_manifest.exists()
    assert not project.paths.train.exists()
    assert not list(project.paths.root.rglob("*.part"))
    assert stage.convert(project) == OK


def test_oversampling_fills_the_training_split_alone_and_repeats_itself(make_project):
    rows = [row for n, row in enumerate(raw_rows("classification", 90)) if row["label"] != "account" or n % 2]
    plain = converted(make_project(rows=rows))
    project = make_project(rows=rows, task={"data": {"balance": "oversample"}})
    balanced = converted(project)
    assert (balanced["valid"], balanced["test"]) == (plain["valid"], plain["test"])
    assert balanced["train"][: len(plain["train"])] == plain["train"]
    copies = balanced["train"][len(plain["train"]) :]
    answers = Counter(row["messages"][-1]["content"] for row in balanced["train"])
    assert len(set(answers.values())) == 1
    assert copies
    by_id = {row["id"]: row["messages"] for row in plain["train"]}
    assert all(by_id[row["id"].partition("#")[0]] == row["messages"] for row in copies)
    assert len({row["id"] for row in balanced["train"]}) == len(balanced["train"])
    first = sha256(project.paths.train)
    stage.convert(project, force=True)
    assert sha256(project.paths.train) == first
    balance = read_manifest(project.paths.data_manifest).facts["balance"]
    assert sum(balance["copies"].values()) == len(copies)


def test_weights_go_into_the_manifest_and_not_into_the_rows(make_project):
    plain = converted(make_project())
    project = make_project(task={"data": {"balance": "weights"}})
    assert converted(project) == plain
    counts = Counter(row["messages"][-1]["content"] for row in plain["train"])
    assert read_manifest(project.paths.data_manifest).facts["balance"]["class_weights"] == class_weights(counts)


def test_class_weights_average_to_one_over_the_rows():
    counts = {"a": 30, "b": 10, "c": 0}
    weights = class_weights(counts)
    assert weights == {"a": pytest.approx(2 / 3, abs=1e-6), "b": 2.0}
    assert sum(weights[name] * counts[name] for name in weights) == pytest.approx(40, abs=1e-4)


def test_the_report_counts_rows_and_is_bound_to_the_data(make_project):
    project = make_project(task={"data": {"expected_rows": 100}})
    assert stage.validate(project) == OK
    report = json.loads(project.paths.data_report_json.read_text(encoding="utf-8"))
    assert report["valid"] is True
    assert report["inputs"] == stage.data_inputs(project)
    assert (report["rows"]["accepted"], report["rows"]["expected"]) == (60, 100)
    assert sum(report["rows"][split] for split in ("train", "valid", "test")) == 60
    for counts in report["classes"].values():
        assert counts["rows"] == counts["train"] + counts["valid"] + counts["test"] == 20
    lengths = sorted(len(row["input"]) for row in raw_rows("classification"))
    expected = {"min": lengths[0], "median": lengths[29], "p95": lengths[56], "max": lengths[59]}
    assert report["characters"]["input"] == expected
    assert "| billing | 20 |" in project.paths.data_report_md.read_text(encoding="utf-8")


def test_errors_are_reported_in_the_file_on_the_screen_and_as_json(make_project, capsys):
    project = make_project(rows=[*raw_rows("classification"), {"input": "new", "label": "<b>```[x](y)"}])
    assert stage.validate(project) == BAD_INPUT
    assert "data/raw/rows.jsonl:61: E135" in capsys.readouterr().err
    assert stage.validate(project, as_json=True) == BAD_INPUT
    assert json.loads(capsys.readouterr().out)["problems"][0]["line"] == 61
    report = json.loads(project.paths.data_report_json.read_text(encoding="utf-8"))
    assert report["valid"] is False
    markdown = project.paths.data_report_md.read_text(encoding="utf-8")
    before, fence, inside = markdown.partition("````text\n")
    assert fence
    assert "<b>```[x](y)" in inside
    assert "<b>" not in before


def test_labels_with_markdown_in_them_cannot_break_the_table(make_project):
    labels = [{"name": name, "description": "x"} for name in ("a|b", "<img>", "*c*")]
    rows = [{"input": f"row {n}", "label": labels[n % 3]["name"]} for n in range(60)]
    project = make_project(rows=rows, task={"output": {"labels": labels}})
    assert stage.validate(project) == OK
    markdown = project.paths.data_report_md.read_text(encoding="utf-8")
    assert "| a&#124;b | 20 |" in markdown
    assert "| &#60;img&#62; | 20 |" in markdown
    assert "| &#42;c&#42; | 20 |" in markdown


@pytest.mark.parametrize("script", ["01_validate_data.py", "02_convert_format.py"])
def test_a_script_runs_from_a_shell_with_exit_codes(make_project, script):
    project = make_project()

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "scripts" / script), "--project", str(project.paths.root), *arguments]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)

    assert run().returncode == OK
    (project.paths.raw / "rows.jsonl").write_text("{}\n", encoding="utf-8")
    failed = run()
    assert failed.returncode == BAD_INPUT
    assert "data/raw/rows.jsonl:1: E121" in failed.stderr
    assert "Traceback" not in failed.stderr
