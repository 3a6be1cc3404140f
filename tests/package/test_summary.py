"""The summary: every score on one screen with its place, nothing invented where nothing was measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetune.config.project import Project
from finetune.errors import OK, FinetuneError
from finetune.evaluation.summary import summarise
from release_tree import make_release
from reports import rewrite


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[Project], str]:
    """What `summarise` prints on a wide terminal."""
    monkeypatch.setenv("COLUMNS", "200")

    def show(project: Project) -> str:
        capsys.readouterr()
        assert summarise(project) == OK
        return capsys.readouterr().err

    return show


def line(text: str, name: str) -> str:
    (found,) = (line for line in text.splitlines() if line.strip(" │┃").startswith(name))
    return found


def test_every_model_stands_with_its_score_its_change_and_its_place(
    tmp_path: Path, shown: Callable[[Project], str]
) -> None:
    text = shown(make_release(tmp_path))
    assert "small-task: passed" in text and "macro_f1" in text
    for name, *cells in (
        ("zero-shot base model", "0.500", "HuggingFaceTB/SmolLM2-135M-Instruct"),
        ("tuned adapter", "1.000", "models/adapter"),
        ("merged", "1.000", "0.000 (limit 0.02)", "models/merged"),
        ("f16", "1.000", "0.000 (limit 0.02)", "models/gguf/small-task-f16.gguf"),
        ("Q8_0", "0.933", "-0.067 (limit 0.1)", "models/gguf/small-task-Q8_0.gguf"),
    ):
        assert all(cell in line(text, name) for cell in cells), line(text, name)
    assert "vLLM: open, not run here" in text
    assert text.count("tuned adapter") == 1 and "reference" not in text


def test_it_names_the_files_to_open_next(tmp_path: Path, shown: Callable[[Project], str]) -> None:
    project = make_release(tmp_path)
    text = shown(project)
    assert "benchmarks/results/evaluation_report.html" in line(text, "look at")
    assert [line.split()[1] for line in text.splitlines() if line.startswith("serve")] == [
        "models/gguf",
        "models/merged",
    ]
    project.paths.merged.rename(tmp_path / "moved")
    assert "models/merged  (vLLM" not in shown(project)


def test_before_step_07_there_are_only_the_two_measured_models(tmp_path: Path, shown: Callable[[Project], str]) -> None:
    project = make_release(tmp_path)
    rewrite(project, lambda values: (values.pop("artefacts"), values["baselines"].pop("zero_shot")))
    text = shown(project)
    assert "1.000" in line(text, "tuned adapter")
    assert not any(name in text for name in ("zero-shot", "Q8_0", "open, not run"))


def test_an_artefact_that_was_refused_unmeasured_shows_a_dash(tmp_path: Path, shown: Callable[[Project], str]) -> None:
    project = make_release(tmp_path)

    def refuse(values: dict[str, Any]) -> None:
        row = next(row for row in values["artefacts"] if row["name"] == "f16")
        del row["value"], row["difference"]
        row |= {"status": "failed", "passed": False, "reason": "its chat template is not the base model's"}

    rewrite(project, refuse)
    text = shown(project)
    assert "small-task: failed" in text and line(text, "f16").count("–") == 2


def test_without_a_report_it_names_the_step(make_project: Callable[..., Project]) -> None:
    with pytest.raises(FinetuneError, match=r"E506 no evaluation report.*scripts/04_evaluate\.py") as failure:
        summarise(make_project())
    assert failure.value.exit_code == 2
