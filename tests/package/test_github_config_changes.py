"""Settings and code of two checkouts: each key that differs, policy marked, no text or secret quoted at length."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetune.github.data_pr.config_changes import code_changes, setting_changes
from finetune.github.data_pr.schema import Setting


@pytest.fixture
def settings(make_project: Callable[..., Any], tmp_path: Path) -> Callable[..., list[Setting]]:
    """The differences of a repository whose configurations have these sections from a plain one."""

    def run(**after: Any) -> list[Setting]:
        make_project(root=tmp_path / "base")
        make_project(root=tmp_path / "head", **after)
        found, unread = setting_changes(tmp_path / "base", tmp_path / "head")
        assert not unread
        return found

    return run


def test_nothing_differs_from_itself(settings):
    assert settings() == []


def test_settings_that_say_what_is_demanded_are_policy_and_come_first(settings):
    found = settings(
        task={"metrics": {"threshold": 0.5}, "description": "another", "data": {"duplicates": "error"}},
        benchmark={"tolerances": {"f16": 0.5}},
        training={"optimiser": {"epochs": 3}, "checks": {"epochs": [1, 99]}, "base_model": {"revision": "1" * 40}},
    )
    assert [(s.key, s.before, s.after) for s in found if s.policy] == [
        ("metrics.threshold", "0.8", "0.5"),
        ("data.duplicates", '"warn"', '"error"'),
        ("tolerances.f16", "1", "0.5"),
        ("base_model.revision", f'"{"0" * 40}"', f'"{"1" * 40}"'),
        ("checks.epochs", "[1, 10]", "[1, 99]"),
    ]
    assert [(s.path, s.key) for s in found[5:]] == [
        ("task_definition.yaml", "description"),
        ("configs/training_config.yaml", "optimiser.epochs"),
    ]


def test_a_default_that_is_written_out_is_no_change_and_one_that_goes_shows_what_follows(settings):
    same = {"input": {"field": "input"}, "data": {"balance": "none"}, "metrics": {"secondary": ["accuracy"]}}
    assert settings(task=same, training={"seed": 42, "optimiser": {"weight_decay": 0}}) == []
    found = settings(task={"metrics": {"threshold": 0.9}, "license": "mit"})
    assert [(s.key, s.before, s.after) for s in found] == [
        ("metrics.threshold", "0.8", "0.9"),
        ("license", '"apache-2.0"', '"mit"'),
    ]


def test_a_threshold_that_is_taken_out_shows_the_one_that_follows(make_project, tmp_path):
    for side, threshold in (("base", 0.95), ("head", 0.8)):
        make_project(root=tmp_path / side, task={"metrics": {"threshold": threshold}})
    file = tmp_path / "head" / "task_definition.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("  threshold: 0.8\n", ""), encoding="utf-8")
    found, unread = setting_changes(tmp_path / "base", tmp_path / "head")
    assert not unread and [(s.key, s.before, s.after) for s in found] == [("metrics.threshold", "0.95", "0.8")]


def test_a_new_label_in_the_middle_moves_no_other_and_a_long_text_is_only_measured(settings):
    labels = [{"name": n, "description": f"about {n} matters"} for n in ("billing", "new", "shipping", "account")]
    prompt = "Sort it, but otherwise.\n{labels}" + "x" * 90
    found = {s.key: (s.before, s.after) for s in settings(task={"output": {"labels": labels}, "system_prompt": prompt})}
    assert found.keys() == {"output.labels[new].description", "system_prompt"}
    assert found["output.labels[new].description"] == (None, '"about new matters"')
    assert "Sort" not in "".join(filter(None, found["system_prompt"]))
    assert "a text of 122 characters" in (found["system_prompt"][1] or "")


def test_a_secret_in_a_setting_is_withheld(settings):
    token = "hf_" + "a" * 34
    found = settings(task={"description": token})
    assert token not in str(found)
    assert "withheld" in str(found[0].after)


@pytest.mark.parametrize("side", ["base", "head"])
@pytest.mark.parametrize("text", ["a: [", "a: &x 1\nb: *x", "\x00", "- 1", None])
def test_a_file_that_is_broken_on_one_side_is_named_and_the_others_are_compared(settings, tmp_path, side, text):
    settings(training={"optimiser": {"epochs": 3}})
    file = tmp_path / side / "configs" / "benchmark_config.yaml"
    file.unlink()
    if text is None:
        file.mkdir()
    else:
        file.write_text(text, encoding="utf-8")
    found, unread = setting_changes(tmp_path / "base", tmp_path / "head")
    assert unread == ["configs/benchmark_config.yaml"]
    assert [setting.key for setting in found] == ["optimiser.epochs"]


def test_a_file_that_is_new_or_gone_is_a_change_of_every_key(settings, tmp_path):
    settings()
    (tmp_path / "head" / "configs" / "smoke_config.yaml").write_text("training: {max_length: 64}\n", encoding="utf-8")
    found, unread = setting_changes(tmp_path / "base", tmp_path / "head")
    assert [(s.path, s.key, s.before, s.after) for s in found] == [
        ("configs/smoke_config.yaml", "training.max_length", None, "64")
    ]
    assert unread == []


@pytest.fixture
def checkouts(tmp_path: Path) -> tuple[Path, Path]:
    for side, text in (("base", "old"), ("head", "new")):
        for name in ("finetune/a.py", "finetune/deep/b.py", "scripts/__pycache__/c.pyc", ".github/workflows/d.yml"):
            path = tmp_path / side / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text if name != "finetune/a.py" else "same", encoding="utf-8")
    return tmp_path / "base", tmp_path / "head"


def test_code_that_differs_is_listed_and_caches_are_not(checkouts):
    base, head = checkouts
    (head / "constraints.txt").write_text("torch==1\n", encoding="utf-8")
    assert code_changes(base, head) == [".github/workflows/d.yml", "constraints.txt", "finetune/deep/b.py"]
    assert code_changes(base, base) == []


@pytest.mark.parametrize("name", ["tests/test_task.py", "Makefile", "pyproject.toml", "configs/accelerate/a.yaml"])
def test_whatever_codeowners_names_as_code_is_listed(checkouts, name):
    base, head = checkouts
    (head / name).parent.mkdir(parents=True, exist_ok=True)
    (head / name).write_text("x", encoding="utf-8")
    assert name in code_changes(base, head)


def test_no_link_is_followed(checkouts, tmp_path):
    base, head = checkouts
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x.py").write_text("x", encoding="utf-8")
    for name in ("finetune/loop", ".github/loop"):
        (base / name).symlink_to(tmp_path / "outside")
        (head / name).symlink_to(head if name.startswith("finetune") else tmp_path / "outside")
    (base / "pyproject.toml").symlink_to("/etc/hostname")
    assert code_changes(base, head) == [
        ".github/workflows/d.yml",
        "finetune/deep/b.py",
        "finetune/loop",
        "pyproject.toml",
    ]
    (base / "scripts").rename(base / "old")
    (base / "scripts").symlink_to(tmp_path / "outside")
    assert "scripts" in code_changes(base, head)
    assert "scripts/x.py" not in code_changes(base, head)
