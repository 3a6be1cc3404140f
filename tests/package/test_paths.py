"""Where everything lies: a smoke run beside the real one, and names as people read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetune.paths import Paths


def test_a_smoke_run_shares_nothing_but_inputs_and_the_base_model(tmp_path: Path) -> None:
    plain, smoke = Paths(tmp_path), Paths(tmp_path, smoke=True)
    shared = {
        "task_definition",
        "training_config",
        "benchmark_config",
        "smoke_config",
        "raw",
        "base",
        "iterations",
        "integration_guide",
        "tokenizer",
    }
    every = {name for name, value in vars(Paths).items() if isinstance(value, property) and name != "_out"}
    assert shared < every
    for name in every:
        path = getattr(smoke, name)
        if name in shared:
            assert path == getattr(plain, name)
        else:
            assert path == tmp_path / "build" / "smoke" / getattr(plain, name).relative_to(tmp_path)


def test_paths_are_shown_relative_to_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = Paths(tmp_path / "repository")
    assert paths.relative(paths.train) == "data/chat_format/train.jsonl"
    assert paths.relative(Path("/elsewhere/a")) == "/elsewhere/a"
    paths.adapter.mkdir(parents=True)
    (tmp_path / "disk").mkdir()
    paths.merged.symlink_to(tmp_path / "disk")
    assert paths.relative(paths.merged / "a") == "models/merged/a"
    (tmp_path / "link").symlink_to(paths.root)
    assert paths.relative(tmp_path / "link" / "models" / "adapter") == "models/adapter"
    monkeypatch.chdir(paths.root)
    assert paths.relative(Path("models/adapter")) == "models/adapter"
    assert Paths(Path(".")).relative(paths.adapter) == "models/adapter"
