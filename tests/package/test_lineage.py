"""A step says that what it reads is outdated or broken, with the command that helps, before anything is loaded."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporting import project_after, record_adapter
from finetune import provenance
from finetune.config.project import Project, load_project
from finetune.console import run
from finetune.data.manifest import read_data_manifest
from finetune.data.stage import convert as convert_data
from finetune.errors import FinetuneError, GateFailed
from finetune.evaluation import backends
from finetune.evaluation.stage import evaluate
from finetune.export.gguf import convert
from finetune.export.merge import merge
from finetune.export.parity import verify
from finetune.hub.publish import publish
from finetune.training import model_files
from finetune.training.base_model import BaseModel, load_tokenizer, load_weights, resolve_base
from finetune.training.trainer import Run, train

Make = Callable[..., Project]
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 269060552\n"


def edit(project: Project, file: str, key: str, value: object) -> Project:
    """The project with `key` (dotted) of one of its YAML files changed."""
    path = project.paths.root / file
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    *parents, last = key.split(".")
    inner = values
    for name in parents:
        inner = inner.setdefault(name, {})
    inner[last] = value
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return load_project(project.paths.root)


def add_row(project: Project) -> Project:
    with open(project.paths.raw / "rows.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps({"input": "one more question about an invoice", "label": "billing"}) + "\n")
    return project


TASK, TRAINING, BENCHMARK = "task_definition.yaml", "configs/training_config.yaml", "configs/benchmark_config.yaml"
STALE_DATA = [
    (add_row, "data/raw"),
    (lambda project: edit(project, TASK, "system_prompt", "Another prompt.\n{labels}"), TASK),
    (lambda project: edit(project, BENCHMARK, "splits.salt", "x"), "splits in configs/benchmark_config.yaml"),
]


@pytest.mark.parametrize(("change", "named"), STALE_DATA)
def test_training_on_outdated_data_is_refused_before_the_base_model_is_looked_for(
    make_project: Make, change: Callable[[Project], Project], named: str
) -> None:
    project = make_project()  # no base model here: a look for it would fail with another code
    convert_data(project)
    with pytest.raises(FinetuneError, match=f"E416 the converted data is older than {named}. Fix: run scripts/02_conv"):
        train(change(project))


def test_changed_files_of_the_conversion_are_refused(make_project: Make) -> None:
    project = make_project()
    convert_data(project)
    with open(project.paths.train, "ab") as file:
        file.write(b"\n")
    with pytest.raises(FinetuneError, match=r"E416 the converted data was changed: train.jsonl has .* bytes"):
        train(project)


@pytest.fixture
def merged(make_project: Make, tmp_path: Path) -> Project:
    return project_after("merge", make_project, tmp_path / "repository")


@pytest.fixture
def converted(make_project: Make, tmp_path: Path, llama_cpp_tools: None) -> Project:
    return project_after("convert", make_project, tmp_path / "repository")


def trained_with(project: Project) -> None:
    """Give the adapter the inputs that step 03 records."""
    from finetune.training.adapter import run_inputs

    file = project.paths.adapter / provenance.MANIFEST
    manifest = provenance.read_manifest(file)
    data = read_data_manifest(project.paths.data_manifest)
    assert manifest is not None and data is not None
    inputs = run_inputs(project, resolve_base(project), data.facts)
    provenance.write_json(file, {**manifest.model_dump(), "inputs": inputs})


@pytest.mark.parametrize("step", [merge, convert])
def test_a_changed_recipe_makes_the_adapter_outdated(merged: Project, step: Callable[[Project], int]) -> None:
    trained_with(merged)
    assert step is not merge or merge(merged) == 0
    changed = edit(merged, TRAINING, "optimiser.epochs", 3)
    with pytest.raises(FinetuneError, match=r"E310 models/adapter is outdated: configs/training_config.yaml changed"):
        step(changed)
    step(edit(changed, TRAINING, "optimiser.epochs", 2)) if step is merge else None


def test_new_rows_make_the_adapter_outdated_and_step_04_measures_it_all_the_same(
    merged: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    trained_with(merged)
    add_row(merged)
    with pytest.raises(FinetuneError, match="E416"):
        merge(merged)
    convert_data(merged)
    rows = provenance.read_manifest(merged.paths.data_manifest)
    assert rows is not None
    with pytest.raises(FinetuneError, match=r"E310 .*the training rows changed since\. Fix: run scripts/03_train.py"):
        merge(merged)
    capsys.readouterr()
    with pytest.raises(GateFailed, match="trained on the current data"):
        evaluate(merged)
    assert "W310 models/adapter is outdated: the training rows changed since" in capsys.readouterr().err


def test_the_gguf_step_names_a_merged_model_of_another_adapter(merged: Project) -> None:
    with open(merged.paths.adapter / "training_log.jsonl", "w", encoding="utf-8") as file:
        file.write("{}\n")  # another training: other files, its own manifest
    manifest = provenance.read_manifest(merged.paths.adapter / provenance.MANIFEST)
    assert manifest is not None
    record_adapter(merged.paths.adapter, manifest.facts)
    with pytest.raises(FinetuneError, match=r"E311 models/merged is outdated: the adapter changed.*05_merge_adapter"):
        convert(merged)


def test_the_check_names_gguf_files_and_a_report_of_another_time(converted: Project) -> None:
    with pytest.raises(GateFailed):
        evaluate(converted)
    changed = edit(converted, BENCHMARK, "generation.context", 1024)
    with pytest.raises(FinetuneError, match=r"E312 models/gguf is outdated: .*context changed.*06_convert_gguf"):
        verify(changed)
    edit(converted, BENCHMARK, "generation.context", 768)
    text = converted.paths.report_yaml.read_text(encoding="utf-8")
    adapter = yaml.safe_load(text)["provenance"]["adapter"]
    converted.paths.report_yaml.write_text(text.replace(adapter, "f" * 64), encoding="utf-8")
    with pytest.raises(FinetuneError, match=r"E313 the evaluation report is about another adapter.*04_evaluate"):
        verify(converted)
    file = converted.paths.gguf / "small-task-Q8_0.gguf"
    converted.paths.report_yaml.write_text(text, encoding="utf-8")
    os.truncate(file, 1000)
    with pytest.raises(FinetuneError, match=r"E316 .*small-task-Q8_0.gguf has 1,000 of .* bytes.*06_convert_gguf"):
        verify(converted)


def test_publishing_names_an_outdated_adapter(merged: Project, capsys: pytest.CaptureFixture[str]) -> None:
    trained_with(merged)
    assert publish(edit(merged, TRAINING, "seed", 7), dry_run=True, version="1.0.0") == 2
    assert "models/adapter: E310 models/adapter is outdated: configs/training_config.yaml" in capsys.readouterr().err


def cut_off(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def pointer(path: Path) -> None:
    path.write_bytes(POINTER)


def link_to_nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to("/nowhere/at/all")


def garbage(path: Path) -> None:
    path.write_bytes(b"\xff" * 4096)


DAMAGE = [
    (cut_off, r"has [\d,]+ of [\d,]+ bytes"), (emptied, "is empty"), (pointer, "is a Git LFS pointer"),
    (link_to_nowhere, "is a broken link"),
]  # fmt: skip


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
@pytest.mark.parametrize(("damage", "said"), DAMAGE)
def test_a_broken_adapter_is_named_by_every_step_that_would_load_it(
    merged: Project, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None], said: str, name: str
) -> None:
    loaders = "transformers.AutoModelForCausalLM.from_pretrained"
    monkeypatch.setattr(loaders, lambda *_, **__: pytest.fail("a model was loaded"))
    damage(merged.paths.adapter / name)
    expected = rf"(E502 models/adapter is not as training left it: {name} {said}.*03_train.py --force|E401|E501)"
    steps: tuple[Callable[[Project], Any], ...] = (evaluate, merge, lambda p: backends.open_backend(p, "adapter"))
    for step in steps:
        with pytest.raises(FinetuneError, match=expected) as failure:
            step(merged)
        if name != "adapter_config.json" or damage is not link_to_nowhere:
            assert failure.value.code == "E502"


@pytest.mark.parametrize("base", [[1], None, {"id": 5}])
def test_an_adapter_whose_manifest_no_later_step_can_read_is_trained_again(
    merged: Project, monkeypatch: pytest.MonkeyPatch, base: object
) -> None:
    runs: list[object] = []
    monkeypatch.setattr(Run, "execute", lambda run: runs.append(run.inputs))
    train(merged)
    path = merged.paths.adapter / provenance.MANIFEST
    manifest = {**json.loads(path.read_text(encoding="utf-8")), "inputs": runs.pop()}
    path.write_text(json.dumps(manifest), encoding="utf-8")
    train(merged)
    assert not runs, "up to date"
    manifest["facts"]["base"] = base
    path.write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(FinetuneError, match=r"E501 .* run scripts/03_train\.py first"):
        merge(merged)
    train(merged)
    assert len(runs) == 1


def test_an_adapter_brought_from_elsewhere_is_known_by_its_format(merged: Project) -> None:
    (merged.paths.adapter / provenance.MANIFEST).unlink()
    backends.open_backend(merged, "adapter").close()
    cut_off(merged.paths.adapter / "adapter_model.safetensors")
    with pytest.raises(FinetuneError, match=r"E502 models/adapter cannot be loaded: adapter_model.safetensors has"):
        backends.open_backend(merged, "adapter")
    cut_off(merged.paths.adapter / "adapter_config.json")
    both = r"E502 models/adapter cannot be loaded: adapter_config.json is not JSON; adapter_model.safetensors has"
    with pytest.raises(FinetuneError, match=both):
        backends.open_backend(merged, "adapter")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
@pytest.mark.parametrize(("damage", "said"), [*DAMAGE, (garbage, "is no")])
def test_a_broken_model_folder_is_named_before_it_is_loaded(
    tiny_base: Path, tmp_path: Path, damage: Callable[[Path], None], said: str, name: str
) -> None:
    folder = tmp_path / "tiny"
    shutil.copytree(tiny_base, folder)
    assert model_files.faults(folder) == []
    damage(folder / name)
    if name == "config.json" and damage is link_to_nowhere:
        said = "is missing"
    elif name.endswith(".json") and damage in (cut_off, garbage):
        said = "is not JSON"
    base = BaseModel(folder, "models/base/tiny", "r", "local", "f", "mit")
    for load in (load_tokenizer, lambda b: load_weights(b, dtype=None, device="cpu")):
        with pytest.raises(
            FinetuneError, match=rf"E314 the base model models/base/tiny cannot be loaded: {name} {said}"
        ):
            load(base)


def test_a_shard_that_was_not_downloaded_is_missed(tiny_base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sharded"
    folder.mkdir()
    (folder / "config.json").write_text("{}", encoding="utf-8")
    assert model_files.faults(folder) == ["no weights (model.safetensors)"]
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / model_files.INDEX).write_text(json.dumps({"weight_map": shards}), encoding="utf-8")
    (folder / shards["a"]).write_bytes((tiny_base / "model.safetensors").read_bytes())
    assert model_files.faults(folder) == ["model-00002-of-00002.safetensors is missing"]


def test_a_broken_merged_model_is_named_before_it_is_loaded(merged: Project) -> None:
    cut_off(merged.paths.merged / "model.safetensors")
    with pytest.raises(FinetuneError, match=r"E315 models/merged cannot be loaded: model.safetensors has .* bytes"):
        backends.open_backend(merged, "merged")
    with pytest.raises(FinetuneError, match=r"E505 models/merged is not as the merge left it: model.safetensors has"):
        convert(merged)


def test_the_commands_end_with_2_and_no_traceback(merged: Project, capfd: pytest.CaptureFixture[str]) -> None:
    cut_off(merged.paths.adapter / "adapter_model.safetensors")
    assert run(evaluate, project=merged.paths.root) == 2
    assert run(merge, project=merged.paths.root) == 2
    said = capfd.readouterr().err
    assert said.count("E502") == 2 and "E999" not in said and "Traceback" not in said


@pytest.mark.parametrize("step", [merge, convert])
def test_what_is_missing_is_said_before_the_hub_is_asked(
    make_project: Make, monkeypatch: pytest.MonkeyPatch, step: Callable[[Project], int]
) -> None:
    monkeypatch.setattr("finetune.training.base_model.resolve_base", lambda _: pytest.fail("the Hub was asked"))
    with pytest.raises(FinetuneError, match=r"E501 no adapter.*03_train|E504 no merged model.*05_merge"):
        step(make_project())
