"""Preflight: what a run needs, against what is there; every failure at once, the checklist's ranges as warnings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoConfig, LlamaConfig

from finetune.config.benchmark import SIZES
from finetune.config.project import Project
from finetune.data.stage import convert
from finetune.errors import BadInput, FinetuneError
from finetune.training import preflight as preflight_module
from finetune.training import trainer
from finetune.training.base_model import resolve_base
from finetune.training.preflight import GIB, estimate, export_bytes, parameter_count, preflight, require_device

Make = Callable[..., Project]
MODEL = LlamaConfig(vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30)


def check(project: Project) -> None:
    preflight(
        project,
        resolve_base(project),
        device="cpu",
        dtype=torch.float32,
        reason="a test",
        tokens=512,
        checkpointing=False,
    )


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """`machine(memory=…, disk=…)`: what preflight finds free, in bytes; None where the system does not tell."""

    def have(memory: int | None = 64 * GIB, disk: int = 64 * GIB) -> None:
        known = "" if memory is None else f"MemAvailable: {memory // 1024} kB\n"
        (tmp_path / "meminfo").write_text(f"MemTotal: 134217728 kB\n{known}", encoding="ascii")
        monkeypatch.setattr(preflight_module, "MEMINFO", tmp_path / "meminfo")
        monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=disk))

    return have


def test_the_estimate_of_smollm2_is_of_the_right_size(make_project: Make) -> None:
    need = estimate(make_project(), MODEL, 2, 1024, False)
    assert need.weights == pytest.approx(2 * 135e6, rel=0.1)
    assert need.total == need.weights + need.adapter_and_optimiser + need.activations + need.logits


def test_the_estimate_grows_with_tokens_width_and_rank(make_project: Make, tmp_path: Any) -> None:
    project = make_project()
    small, large = (estimate(project, MODEL, 2, tokens, False) for tokens in (1024, 4096))
    assert large.activations == pytest.approx(4 * small.activations, rel=0.01)
    assert large.logits == pytest.approx(4 * small.logits, rel=0.01)
    assert (large.weights, large.adapter_and_optimiser) == (small.weights, small.adapter_and_optimiser)
    assert estimate(project, MODEL, 4, 1024, False).weights == 2 * small.weights
    wide = make_project(training={"lora": {"r": 16}}, root=tmp_path / "wide")
    assert estimate(wide, MODEL, 2, 1024, False).adapter_and_optimiser == 4 * small.adapter_and_optimiser


def test_checkpointing_saves_activations_and_qlora_saves_weights(make_project: Make, tmp_path: Any) -> None:
    project = make_project()
    plain, lean = (estimate(project, MODEL, 2, 1024, checkpointing) for checkpointing in (False, True))
    assert lean.activations < plain.activations / 5 and lean.weights == plain.weights
    quantised = make_project(training={"method": "qlora"}, root=tmp_path / "qlora")
    small = estimate(quantised, MODEL, 2, 1024, False)
    assert small.weights < plain.weights / 3 and small.activations == plain.activations


def test_a_run_that_fits_goes_on_and_says_what_it_found(
    make_project: Make, machine: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    machine()
    check(make_project(base=True))
    shown = capsys.readouterr().err
    assert "64.0 GiB free on the machine" in shown and "device cpu, float32 (a test)" in shown
    assert "✗" not in shown and "W224" not in shown


def test_too_little_memory_is_named_with_its_numbers_and_a_way_out(
    make_project: Make, machine: Callable[..., None]
) -> None:
    machine(memory=1)
    with pytest.raises(BadInput) as failure:
        check(make_project(base=True))
    (problem,) = failure.value.problems.errors
    assert (problem.path, problem.code, problem.key) == ("configs/training_config.yaml", "E242", "batch.per_device")
    assert "GiB of 0.0 GiB free on the machine" in problem.message and "per_device" in problem.fix


def test_memory_and_disk_are_missed_together(
    make_project: Make, machine: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    machine(memory=1, disk=1)
    with pytest.raises(BadInput) as failure:
        check(make_project(base=True))
    assert [problem.code for problem in failure.value.problems.errors] == ["E242", "E243"]
    assert capsys.readouterr().err.count("✗") == 2


def test_a_machine_that_does_not_tell_its_memory_is_given_the_benefit_of_the_doubt(
    make_project: Make, machine: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    machine(memory=None)
    check(make_project(base=True))
    shown = capsys.readouterr().err
    assert "how much is free is unknown" in shown and " 0.0 GiB free" not in shown


def test_rate_and_epochs_outside_the_checked_ranges_warn_and_do_not_stop(
    make_project: Make, machine: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    machine()
    check(make_project(base=True, training={"optimiser": {"learning_rate": 0.5, "epochs": 20}}))
    shown = capsys.readouterr().err
    assert shown.count("W224") == 2 and shown.count("OUTSIDE") == 2
    assert "optimiser.learning_rate" in shown and "0.5 lies outside 0.0001 to 0.1" in shown
    assert "optimiser.epochs" in shown and "20 lies outside 1 to 10" in shown


def test_the_ends_of_a_range_are_inside(
    make_project: Make, machine: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    machine()
    check(make_project(base=True, training={"optimiser": {"learning_rate": 0.1, "epochs": 1}}))
    assert "W224" not in capsys.readouterr().err


def test_c28_a_longer_row_than_the_model_was_trained_for_is_an_error(
    make_project: Make, machine: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    machine()
    context = {"generation": {"context": 4096}}
    check(make_project(base=True, training={"max_length": 2048}, benchmark=context))
    assert "max_length 2048 of 2048 positions" in capsys.readouterr().err
    with pytest.raises(BadInput) as failure:
        check(make_project(training={"max_length": 2049}, benchmark=context))
    assert [(p.code, p.key) for p in failure.value.problems.errors] == [("E226", "max_length")]


def test_disk_for_the_merged_model_and_its_files_is_said_before_training(
    make_project: Make, machine: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    project = make_project(base=True)
    config = AutoConfig.from_pretrained(resolve_base(project).path)
    needed = export_bytes(project, config)  # merged, f16 and Q8_0
    assert needed == int(2 * parameter_count(config) * (1 + 1 + SIZES["Q8_0"]))
    machine(disk=needed // 2)
    check(project)
    assert "W332 steps 05 and 06 will need about 0.0 GiB of disk" in capsys.readouterr().err
    machine(disk=2 * needed + GIB)
    check(project)
    assert "W332" not in capsys.readouterr().err
    project.paths.merged.mkdir(parents=True)
    project.paths.gguf.mkdir(parents=True)
    assert export_bytes(project, config) == 0


PLANNED = {"resources": {"preset": "24GB-4B-LoRA", "gpu_memory_gb": 24}}


def test_a_task_for_a_gpu_is_not_begun_without_one_and_nothing_is_downloaded(
    make_project: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(trainer, "resolve_base", lambda _: pytest.fail("the base model was looked for"))
    project = make_project(task=PLANNED, training={"device": "auto"})
    convert(project)
    with pytest.raises(FinetuneError, match=r"E330 no GPU here, and 24GB-4B-LoRA is planned .* 24 GB.*make smoke"):
        trainer.train(project)


def test_who_sets_device_cpu_has_chosen_it(make_project: Make) -> None:
    require_device(make_project(task=PLANNED, training={"device": "cpu"}), "cpu")
    require_device(make_project(training={"device": "auto"}), "cpu")


@pytest.mark.parametrize(
    ("gib", "said"),
    [
        (22.0, ""),
        (15.7, "W330 24GB-4B-LoRA is planned for a GPU of 24 GB, this one has 16"),
    ],
)
def test_a_smaller_gpu_than_planned_is_said(
    make_project: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], gib: float, said: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=gib * GIB))
    require_device(make_project(task=PLANNED), "cuda")
    assert capsys.readouterr().err.strip() == said
