"""Commands in messages of a smoke run are those of a smoke run, wherever the message comes from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from config_files import Make
from finetune.config.project import load_project
from finetune.console import run
from finetune.data.stage import convert
from finetune.errors import BAD_INPUT, BadInput, FinetuneError, Problems
from finetune.evaluation.advice import advise
from finetune.evaluation.predictions import read_test, score_artefact
from finetune.evaluation.report import build_report
from finetune.evidence.checklist import evaluate as decide
from finetune.evidence.checklist import load_checklist, read_ticks
from finetune.evidence.facts import Facts
from finetune.hints import for_smoke
from pipeline_fakes import Oracle, with_adapter, with_data
from repository import ROOT

SCRIPTS = ROOT / "scripts"
NAKED = re.compile(r"\b0[1-8]_[a-z_]+\.py(?! --smoke)")


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("run scripts/03_train.py first", "run scripts/03_train.py --smoke first"),
        ("run scripts/06_convert_gguf.py --force", "run scripts/06_convert_gguf.py --smoke --force"),
        ("scripts/03_train.py, then 04_evaluate.py", "scripts/03_train.py --smoke, then 04_evaluate.py --smoke"),
        ("run scripts/checklist.py", "run scripts/checklist.py --smoke"),
        ("run scripts/03_train.py --smoke first", "run scripts/03_train.py --smoke first"),
        ("python scripts/fetch_tokenizer.py", "python scripts/fetch_tokenizer.py"),
        ("python scripts/setup_github.py --check", "python scripts/setup_github.py --check"),
    ],
)  # fmt: skip
def test_a_script_that_takes_smoke_gets_it_once(text: str, typed: str) -> None:
    assert for_smoke(text) == typed and for_smoke(typed) == typed


def test_every_numbered_step_takes_smoke() -> None:
    steps = sorted(SCRIPTS.glob("0*.py"))
    assert len(steps) == 8
    assert all(for_smoke(f"scripts/{step.name}") == f"scripts/{step.name} --smoke" for step in steps)


@pytest.fixture
def smoke_root(make_project: Make) -> Path:
    root = make_project().paths.root
    (root / "configs" / "smoke_config.yaml").write_text("training: {optimiser: {epochs: 1}}\n", encoding="utf-8")
    return root


@pytest.mark.parametrize("smoke", [True, False])
@pytest.mark.parametrize("step", ["trainer.train", "stage.evaluate", "gguf.convert", "parity.verify"])
def test_a_step_that_misses_another_names_it_as_typed(
    smoke_root: Path, capsys: pytest.CaptureFixture[str], step: str, smoke: bool
) -> None:
    module, name = step.split(".")
    folder = {"trainer": "training", "stage": "evaluation"}.get(module, "export")
    function = getattr(__import__(f"finetune.{folder}.{module}", fromlist=[name]), name)
    assert run(function, project=smoke_root, smoke=smoke) == BAD_INPUT
    said = capsys.readouterr().err
    named = re.findall(r"scripts/0\d_\w+\.py(?: --smoke)?", said)
    assert named and all(command.endswith(" --smoke") == smoke for command in named), said


def test_problems_are_told_as_typed_too(smoke_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def step(project: object) -> int:
        problems = Problems()
        problems.add("models", "E801", "made by 03_train.py", "run scripts/04_evaluate.py")
        raise BadInput(problems)

    assert run(step, project=smoke_root, smoke=True) == BAD_INPUT
    assert "made by 03_train.py --smoke. Fix: run scripts/04_evaluate.py --smoke" in capsys.readouterr().err


def test_a_failure_keeps_its_code_and_its_text_in_an_ordinary_run(
    smoke_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def step(project: object) -> int:
        raise FinetuneError("no adapter", "run scripts/03_train.py", "E401")

    assert run(step, project=smoke_root) == BAD_INPUT
    assert capsys.readouterr().err == "E401 no adapter. Fix: run scripts/03_train.py\n"


def test_the_smoke_checklist_names_smoke_commands(smoke_root: Path) -> None:
    checklist = load_checklist()
    for smoke in (True, False):
        results = decide(checklist, Facts(smoke_root, smoke), read_ticks(""))
        naked = [text for result in results.values() if NAKED.search(text := result.finding.text)]
        assert bool(naked) != smoke, naked


@pytest.mark.parametrize(
    ("smoke", "command"), [(True, "scripts/03_train.py --smoke,"), (False, "scripts/03_train.py,")]
)
def test_the_advice_of_a_smoke_report_names_smoke_commands(smoke_root: Path, smoke: bool, command: str) -> None:
    project = with_adapter(with_data(load_project(smoke_root, smoke)))
    with open(project.paths.raw / "rows.jsonl", "a", encoding="utf-8") as file:
        file.writelines(f'{{"input": "question {n} about an invoice", "label": "billing"}}\n' for n in range(20))
    assert convert(project) == 0
    tuned = score_artefact(project, "adapter", Oracle(project, wrong=0))
    (stale,) = [item for item in advise(project, build_report(project, tuned, read_test(project))) if item.id == "5.3"]
    assert command in stale.remedy
