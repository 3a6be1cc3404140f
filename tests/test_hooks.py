"""The hooks as plain Python: imported, called, and looked at for what they may not do."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from conftest import ROOT


def hook(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "hooks" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pre, post = hook("pre_gen_project"), hook("post_gen_project")


def git(folder: Path, *arguments: str) -> bool:
    """Whether git, which no outer hook has told where to work, did it."""
    environment = {name: value for name, value in os.environ.items() if name != "GIT_DIR"}
    return subprocess.run(["git", *arguments], cwd=folder, env=environment, capture_output=True).returncode == 0


@pytest.fixture
def answers(questions: dict[str, Any]) -> dict[str, Any]:
    """What cookiecutter hands to the hooks when every default is taken."""
    sample = questions["_samples"]["classification"]["en"]
    chosen = {name: value[0] if isinstance(value, list) else value for name, value in questions.items()}
    return {
        **chosen,
        "_output_dir": "/tmp",
        "description": sample["description"],
        "labels": sample["labels"],
        "primary_metric": "macro_f1",
        "threshold": "0.80",
        "__asked_name": "ticket-router",
    }


@pytest.mark.parametrize("name", ["pre_gen_project", "post_gen_project"])
def test_hook_has_one_template_literal_and_only_the_standard_library(name: str) -> None:
    text = (ROOT / "hooks" / f"{name}.py").read_text(encoding="utf-8")
    assert re.findall(r"<<.*?>>|<%|%>|<#|#>", text) == ["<< cookiecutter | jsonify >>"]
    imported = {
        alias.name.split(".")[0] if isinstance(node, ast.Import) else (node.module or "").split(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert imported <= sys.stdlib_module_names


def test_default_answers_are_accepted(answers: dict[str, Any]) -> None:
    assert pre.find_problems(answers) == []


@pytest.mark.parametrize("task_type", ["classification", "extraction", "generation"])
@pytest.mark.parametrize("language", ["en", "zh-TW"])
def test_every_sample_is_accepted(answers: dict[str, Any], task_type: str, language: str) -> None:
    sample = answers["_samples"][task_type][language]
    given = {"task_type": task_type, "language": language, "labels": sample["labels"]}
    metric = {"primary_metric": answers["_metrics"][task_type][0], "description": sample["description"]}
    assert pre.find_problems({**answers, **given, **metric}) == []


def test_all_problems_come_at_once_each_with_variable_rule_and_example(answers: dict[str, Any]) -> None:
    wrong = {
        "__asked_name": "../../evil",
        "description": "a\nb",
        "labels": "a, b",
        "primary_metric": "rouge_l",
        "threshold": "80%",
        "hub_namespace": "no spaces",
        "code_owners": "me",
    }
    problems = pre.find_problems({**answers, **wrong})
    assert {problem.split(":")[0] for problem in problems} == {
        "task_name",
        "description",
        "labels",
        "primary_metric",
        "threshold",
        "hub_namespace",
        "code_owners",
    }
    assert all(". For example: " in problem for problem in problems)


def test_sample_data_needs_the_sample_labels(answers: dict[str, Any]) -> None:
    own = {**answers, "labels": "yes: they agree; no: they do not"}
    (problem,) = pre.find_problems(own)
    assert problem.startswith("sample_data: ") and "billing" in problem and "yes" in problem
    assert pre.find_problems({**own, "sample_data": False}) == []


def test_sample_labels_may_be_described_and_ordered_anew(answers: dict[str, Any]) -> None:
    names = ["returns", "billing", "account", "technical", "shipping"]
    assert pre.find_problems({**answers, "labels": "; ".join(f"{name}: about {name}" for name in names)}) == []


def test_chinese_separators_are_accepted(answers: dict[str, Any]) -> None:
    assert pre.find_problems({**answers, "labels": "是：同意；否：不同意", "sample_data": False}) == []


def test_questions_of_the_hook_are_those_of_the_template(questions: dict[str, Any]) -> None:
    assert list(pre.QUESTIONS) == [name for name in questions if not name.startswith("_")]


def test_hub_id_limit_counts_the_longest_repository(answers: dict[str, Any]) -> None:
    room = pre.HUB_ID_LIMIT - len("/ticket-router-lora")
    assert pre.find_problems({**answers, "hub_namespace": "a" * room}) == []
    (problem,) = pre.find_problems({**answers, "hub_namespace": "a" * (room + 1)})
    assert "96" in problem


@pytest.mark.parametrize("owners", ["@me", "@an-org/the.team_1 @you", " ".join(f"@u{n}" for n in range(10))])
def test_code_owners_are_users_and_teams(answers: dict[str, Any], owners: str) -> None:
    assert pre.find_problems({**answers, "code_owners": owners}) == []


def test_pre_hook_reports_on_standard_error_and_exits_1(
    answers: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pre, "ANSWERS", json.dumps({**answers, "threshold": "2"}))
    assert pre.main() == 1
    assert "threshold: '2'" in capfd.readouterr().err
    monkeypatch.setattr(pre, "ANSWERS", json.dumps(answers))
    assert pre.main() == 0


@pytest.fixture
def project(tmp_path: Path) -> Path:
    samples = tmp_path / "data" / "samples"
    samples.mkdir(parents=True)
    for name in ("classification.en", "classification.zh-TW", "extraction.en"):
        (samples / f"{name}.jsonl").write_text(name, encoding="utf-8")
    (tmp_path / "data" / "raw").mkdir()
    (tmp_path / "finetune" / "__pycache__").mkdir(parents=True)
    return tmp_path


def test_chosen_sample_is_placed_and_the_rest_pruned(project: Path, answers: dict[str, Any]) -> None:
    post.place_sample(project, {**answers, "language": "zh-TW"})
    post.prune(project)
    assert (project / "data/raw/sample.jsonl").read_text(encoding="utf-8") == "classification.zh-TW"
    assert not (project / "data/samples").exists() and not (project / "finetune/__pycache__").exists()


def test_data_that_is_there_is_never_mixed_with_the_sample(project: Path, answers: dict[str, Any]) -> None:
    (project / "data/raw/mine.jsonl").write_text("", encoding="utf-8")
    post.place_sample(project, answers)
    assert [path.name for path in (project / "data/raw").iterdir()] == ["mine.jsonl"]


def test_git_is_started_with_a_commit_only_where_git_knows_who_commits(
    project: Path, answers: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
        monkeypatch.delenv(name)
    assert "user.name" in post.start_git(project, answers)
    assert (project / ".git").is_dir() and not git(project, "rev-parse", "HEAD")
    assert "left alone" in post.start_git(project, answers)


def test_git_of_an_outer_repository_is_respected(project: Path, answers: dict[str, Any]) -> None:
    assert git(project, "init", "-q")
    inner = project / "inner"
    inner.mkdir()
    assert "outer repository" in post.start_git(inner, answers) and not (inner / ".git").exists()
    (project / ".gitignore").write_text("inner/\n", encoding="utf-8")
    (inner / "file").write_text("", encoding="utf-8")
    assert "first commit done" in post.start_git(inner, answers)


def test_git_is_never_required(project: Path, answers: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(project))
    assert "not installed" in post.start_git(project, answers)


def test_git_of_a_calling_git_hook_is_not_written_to(
    project: Path, answers: dict[str, Any], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    outer = tmp_path_factory.mktemp("outer")
    assert git(outer, "init", "-q")
    monkeypatch.setenv("GIT_DIR", str(outer / ".git"))
    assert "first commit done" in post.start_git(project, answers)
    assert (project / ".git").is_dir() and not git(outer, "rev-parse", "HEAD")


def test_cruft_bakes_without_git(project: Path, answers: dict[str, Any]) -> None:
    from_cruft = {name: value for name, value in answers.items() if name != "_output_dir"}
    assert "cruft" in post.start_git(project, from_cruft) and not (project / ".git").exists()


def test_next_steps_name_the_folder_and_the_data(answers: dict[str, Any]) -> None:
    assert "cd ticket-router" in post.next_steps(answers, "git: x")
    assert "data/raw/*.jsonl" in post.next_steps({**answers, "sample_data": False}, "git: x")


PLACES = {
    "closed pipe": "exec {command} | true",
    "full disk": "exec {command} > /dev/full 2> /dev/full",
    "closed": "exec {command} >&- 2>&-",
    "ASCII": "LC_ALL=C PYTHONIOENCODING=ascii:strict exec {command}",
}


@pytest.mark.parametrize("place", PLACES)
def test_project_stays_where_nothing_can_be_printed(template: Path, tmp_path: Path, place: str) -> None:
    """F33: the last print failed, the hook with it, and cookiecutter deleted what it had made."""
    out = tmp_path / "é 中"
    command = [sys.executable, "-m", "cookiecutter", str(template), "--no-input", "--default-config", "-o", str(out)]
    line = "set -o pipefail; " + PLACES[place].format(command=shlex.join([*command, "description=把訊息分類 😀"]))
    done = subprocess.run(["bash", "-c", line], capture_output=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (out / "ticket-router" / "data" / "raw" / "sample.jsonl").exists()
    if place == "ASCII":
        assert "cd 'é 中/ticket-router'" in done.stdout.decode("utf-8")


@pytest.mark.parametrize("place", PLACES)
def test_refusal_keeps_its_exit_code_where_nothing_can_be_printed(
    answers: dict[str, Any], tmp_path: Path, place: str
) -> None:
    text = (ROOT / "hooks" / "pre_gen_project.py").read_text(encoding="utf-8")
    literal = json.dumps({**answers, "threshold": "２"})
    script = tmp_path / "hook.py"
    script.write_text(text.replace('"""<< cookiecutter | jsonify >>"""', f'"""{literal}"""'), encoding="utf-8")
    line = "set -o pipefail; " + PLACES[place].format(command=shlex.join([sys.executable, str(script)]))
    done = subprocess.run(["bash", "-c", line], capture_output=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    if place in ("ASCII", "closed pipe"):
        assert "threshold: '２'" in done.stderr.decode("utf-8")


def test_a_full_disk_is_one_line_and_no_traceback(
    project: Path, answers: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setattr(
        post, "ANSWERS", json.dumps({**answers, "_definition": str(project / "gone.yaml"), "__spdx": "MIT"})
    )
    assert post.main() == 1
    assert (
        capfd.readouterr().err
        == f"E974 No such file or directory ({project}/gone.yaml). Fix: correct it and run the same command again\n"
    )


@pytest.mark.parametrize(("spdx", "stays"), [("LicenseRef-Proprietary", False), ("MIT", True), ("GPL-3.0-only", True)])
def test_only_what_others_may_use_has_a_citation(
    project: Path, answers: dict[str, Any], spdx: str, stays: bool
) -> None:
    (project / "CITATION.cff").touch()
    post.drop_citation(project, {**answers, "__spdx": spdx})
    assert (project / "CITATION.cff").exists() == stays


def test_the_way_is_told_from_where_the_user_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PWD", str(tmp_path / "a"))
    assert post.way_to(tmp_path / "a" / "x") == "x" and post.way_to(tmp_path / "b" / "x") == "../b/x"
    monkeypatch.delenv("PWD")
    assert post.way_to(tmp_path / "x") == str(tmp_path / "x")


def test_what_cruft_bakes_to_compare_is_not_announced(answers: dict[str, Any], tmp_path: Path) -> None:
    from_cruft = {name: value for name, value in answers.items() if name != "_output_dir"}
    assert post.in_passing(Path(tempfile.gettempdir()).resolve() / "tmpra3sw8ip" / "x", from_cruft)
    assert not post.in_passing(tmp_path / "x", from_cruft) and not post.in_passing(Path("/tmp/tmpra3sw8ip/x"), answers)
