"""Step 03 end to end on a tiny model: done once, resumable to the same bytes, and never a silent failure."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune import provenance
from finetune.config.project import Project, load_project
from finetune.data.stage import convert
from finetune.errors import FinetuneError, ModelFault
from finetune.training import checkpoints, sft
from finetune.training.adapter import write_plain_config
from finetune.training.trainer import train
from repository import ROOT

PEFT_0_6 = {
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "fan_in_fan_out", "inference_mode",
    "init_lora_weights", "layers_pattern", "layers_to_transform", "lora_alpha", "lora_dropout", "modules_to_save",
    "peft_type", "r", "rank_pattern", "revision", "target_modules", "task_type",
}  # fmt: skip
"""All that its LoraConfig takes."""
SCRIPT = ROOT / "scripts" / "03_train.py"


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    made = make_project(base=True)
    assert convert(made) == 0
    return made


def adapter_hash(project: Project) -> str:
    return provenance.sha256(project.paths.adapter / "adapter_model.safetensors")


def manifest(project: Project) -> provenance.Manifest:
    found = provenance.read_manifest(project.paths.adapter / provenance.MANIFEST)
    assert found is not None
    return found


def start(project: Project) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, str(SCRIPT)], cwd=project.paths.root, env=environment, stderr=subprocess.PIPE, text=True
    )


def wait_for_checkpoint(project: Project, process: subprocess.Popen[str]) -> None:
    for _ in range(600):
        if list(project.paths.checkpoints.glob("checkpoint-*/COMPLETE.json")):
            return
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.05)
    raise AssertionError("no checkpoint within 30 s")


def longer(project: Project) -> Project:
    """The same project with enough steps to be interrupted in the middle."""
    file = project.paths.training_config
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    values["optimiser"]["epochs"] = 12
    values["batch"] = {"per_device": 2, "effective": 4}
    values["early_stopping_patience"] = 0
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    return load_project(project.paths.root)


def test_training_lowers_the_loss_and_records_what_made_it(project: Project) -> None:
    assert train(project) == 0
    facts = manifest(project).facts
    log = [json.loads(line) for line in (project.paths.adapter / "training_log.jsonl").open(encoding="utf-8")]
    losses = [entry["loss"] for entry in log if "loss" in entry]
    assert losses[-1] < losses[0]
    # A random model starts at about ln(vocabulary) per answer token; a wrong token count would shift this.
    assert losses[0] == pytest.approx(math.log(49152), rel=0.03)
    assert facts["result"]["steps"] == log[-1]["step"]
    assert facts["data"]["train_sha256"] == provenance.sha256(project.paths.train)
    assert facts["resolved"]["batching"] == "shared_prefix"
    config = json.loads((project.paths.adapter / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == "models/base/tiny"
    assert not {"lm_head", "embed_tokens"} & set(config["target_modules"])
    # peft 0.6, which the card promises, refuses a file with any other key; decision 0031 of the template.
    assert config.keys() <= PEFT_0_6 and None not in config.values()
    # peft's own order is that of a set, another in every process.
    assert config["target_modules"] == sorted(config["target_modules"])
    assert not project.paths.checkpoints.exists()


def test_the_adapter_config_keeps_what_another_method_sets(tmp_path: Path) -> None:
    from peft import LoraConfig

    LoraConfig(r=4, target_modules=["q_proj"], use_dora=True, rank_pattern={"q_proj": 2}).save_pretrained(tmp_path)
    write_plain_config(tmp_path / "adapter_config.json")
    config = json.loads((tmp_path / "adapter_config.json").read_text(encoding="utf-8"))
    assert (config["use_dora"], config["rank_pattern"], config["lora_alpha"]) == (True, {"q_proj": 2}, 8)
    assert "use_qalora" not in config and "peft_version" not in config


def test_a_second_run_does_nothing_and_force_gives_the_same_bytes(project: Project) -> None:
    train(project)
    first, written = adapter_hash(project), (project.paths.adapter / provenance.MANIFEST).stat().st_mtime_ns
    train(project)
    assert (project.paths.adapter / provenance.MANIFEST).stat().st_mtime_ns == written
    train(project, force=True)
    assert adapter_hash(project) == first
    assert (project.paths.adapter / provenance.MANIFEST).stat().st_mtime_ns != written


@pytest.mark.parametrize("batching", ["packed", "padded"])
def test_every_batching_learns_the_same(make_project: Callable[..., Project], tmp_path: Path, batching: str) -> None:
    results = []
    for form in ("shared_prefix", batching):
        batch = {"per_device": 4, "effective": 8, "batching": form}
        made = make_project(base=True, training={"batch": batch}, root=tmp_path / form)
        convert(made)
        train(made)
        results.append(manifest(made).facts["result"]["best_eval_loss"])
    assert results[0] == pytest.approx(results[1], rel=1e-4)


def test_a_killed_run_resumes_to_the_same_adapter(project: Project) -> None:
    project = longer(project)
    train(project)
    expected = adapter_hash(project)
    (project.paths.adapter / provenance.MANIFEST).unlink()
    process = start(project)
    wait_for_checkpoint(project, process)
    process.kill()
    process.wait()
    assert not (project.paths.adapter / provenance.MANIFEST).exists()
    assert train(project) == 0
    assert manifest(project).facts["result"]["resumed_from_step"] > 0
    assert adapter_hash(project) == expected


def test_sigterm_saves_and_exits_75(project: Project) -> None:
    project = longer(project)
    process = start(project)
    wait_for_checkpoint(project, process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75, errors
    assert "E975" in errors and "Traceback" not in errors
    assert not project.paths.adapter.exists()
    assert train(project) == 0


def test_nan_stops_the_run_with_exit_70_and_keeps_no_adapter(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = sft.loss_sum

    def poisoned(model: Any, batch: Any) -> Any:
        calls.append(1)
        return original(model, batch) * (float("nan") if len(calls) > 4 else 1.0)

    monkeypatch.setattr(sft, "loss_sum", poisoned)
    with pytest.raises(ModelFault) as failure:
        train(project)
    assert failure.value.exit_code == 70 and failure.value.code == "E970"
    assert not project.paths.adapter.exists()


@pytest.mark.parametrize("message", ["CUDA out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDA error: out of memory"])
def test_out_of_memory_halves_the_micro_batch_and_keeps_the_recipe(
    project: Project, monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    train(project)
    expected = manifest(project).facts["result"]
    original, failed = sft.loss_sum, []

    def short_of_memory(model: Any, batch: Any) -> Any:
        if not failed and model.training:
            failed.append(1)
            raise RuntimeError(message)
        return original(model, batch)

    monkeypatch.setattr(sft, "loss_sum", short_of_memory)
    train(project, force=True)
    result = manifest(project).facts["result"]
    assert [(r["from_per_device"], r["to_per_device"]) for r in result["recovered"]] == [(4, 2)]
    assert result["steps"] == expected["steps"]
    assert result["best_eval_loss"] == pytest.approx(expected["best_eval_loss"], rel=1e-4)


def test_changed_data_refuses_an_old_checkpoint_until_restart(project: Project) -> None:
    project = longer(project)
    process = start(project)
    wait_for_checkpoint(project, process)
    process.kill()
    process.wait()
    with (project.paths.raw / "rows.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(f'{{"input": "new row {n} about an invoice", "label": "billing"}}\n' for n in range(12))
    convert(project)
    with pytest.raises(FinetuneError, match=r"E232.*train.* changed"):
        train(project)
    assert train(project, restart=True) == 0


def test_a_damaged_checkpoint_is_skipped_for_the_one_before(tmp_path: Path) -> None:
    run = {"train": "a"}
    for step in (2, 4, 6):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        for name in checkpoints.REQUIRED:
            (folder / name).write_text(f"{name} {step}", encoding="utf-8")
        checkpoints.seal(folder, run)
    (tmp_path / "checkpoint-6" / "optimizer.pt").unlink()
    (tmp_path / "checkpoint-4" / "adapter_model.safetensors").write_text("other bytes", encoding="utf-8")
    (tmp_path / "checkpoint-8").mkdir()
    assert checkpoints.newest_complete(tmp_path, run) == tmp_path / "checkpoint-2"
    assert [path.name for path in checkpoints.all_steps(tmp_path)] == ["checkpoint-2"]


@pytest.mark.parametrize(("keep", "left"), [(1, [5, 4]), (2, [5, 4, 2])])
def test_rotation_keeps_the_newest_and_what_was_best_to_each(tmp_path: Path, keep: int, left: list[int]) -> None:
    for step, best in ((1, 1), (2, 2), (3, 2), (4, 2), (5, 4)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "trainer_state.json").write_text(f'{{"best_global_step": {best}}}', encoding="utf-8")
        checkpoints.seal(folder, {})
    (tmp_path / "checkpoint-6").mkdir()  # still being written
    checkpoints.rotate(tmp_path, keep)
    assert [checkpoints.step_of(path) for path in checkpoints.all_steps(tmp_path)] == [6, *left]


def test_qlora_trains_on_the_cpu(make_project: Callable[..., Project]) -> None:
    made = make_project(base=True, training={"method": "qlora", "optimiser": {"learning_rate": 0.001, "epochs": 1}})
    convert(made)
    assert train(made) == 0
    assert manifest(made).facts["config"]["method"] == "qlora"


def test_unknown_target_modules_name_the_real_ones(make_project: Callable[..., Project]) -> None:
    made = make_project(base=True, training={"lora": {"target_modules": ["q_proj", "query"]}})
    convert(made)
    with pytest.raises(FinetuneError, match=r"E225 target_modules query match nothing.*q_proj"):
        train(made)


def test_without_converted_data_the_step_that_makes_it_is_named(make_project: Callable[..., Project]) -> None:
    with pytest.raises(FinetuneError, match="02_convert_format"):
        train(make_project(base=True))
