"""Step 05: the merged model is the base plus the adapter, with the base's tokenizer and greedy decoding."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from exporting import project_after, record_adapter, write_adapter
from finetune import provenance
from finetune.config.project import Project
from finetune.errors import OK, FinetuneError, ModelFault, StorageFault
from finetune.export.merge import TOKENIZER_FILES, merge
from finetune.export.merged_config import write_config
from finetune.export.safety import refuse_code


@pytest.fixture
def trained(make_project: Callable[..., Project], tmp_path: Path) -> Project:
    return project_after("train", make_project, tmp_path / "trained")


def base_folder(project: Project) -> Path:
    return project.paths.root / "models" / "base" / "tiny"


def test_merged_logits_equal_base_plus_adapter(trained: Project) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    assert merge(trained) == OK
    base = AutoModelForCausalLM.from_pretrained(base_folder(trained), dtype=torch.float32)
    ids = torch.arange(100, 164)[None]
    with torch.inference_mode():
        alone = base(ids).logits
        adapted = PeftModel.from_pretrained(base, trained.paths.adapter)(ids).logits
        merged = AutoModelForCausalLM.from_pretrained(trained.paths.merged, dtype=torch.float32)(ids).logits
    change, error = (adapted - alone).abs().mean(), (merged - adapted).abs().mean()
    assert change > 0.01
    assert error < change / 10  # bfloat16 rounding, far below what the adapter does


def test_merged_model_is_stored_in_16_bits(trained: Project) -> None:
    merge(trained)
    assert json.loads((trained.paths.merged / "config.json").read_text())["dtype"] == "bfloat16"


@pytest.mark.parametrize("rope", [
    {"rope_theta": 500000.0, "rope_scaling": None},
    {"rope_theta": 1000000, "rope_scaling": {"rope_type": "linear", "factor": 2.0}},
])  # fmt: skip
def test_the_config_is_the_published_one_and_older_readers_find_their_fields(
    trained: Project, rope: dict[str, Any]
) -> None:
    from transformers import AutoConfig

    path = base_folder(trained) / "config.json"
    published = {key: value for key, value in json.loads(path.read_text()).items() if key != "rope_parameters"} | rope
    del published["dtype"]
    published |= {
        "torch_dtype": "float32",
        "transformers_version": "4.40.0",
        "sliding_window": 64,
        "use_sliding_window": False,
    }
    path.write_text(json.dumps(published))
    write_adapter(trained)
    merge(trained)
    config = json.loads((trained.paths.merged / "config.json").read_text())
    assert {key: config.get(key) for key in published} == {**published, "torch_dtype": "bfloat16"}
    assert config["dtype"] == "bfloat16"
    newer = [AutoConfig.from_pretrained(folder).rope_parameters for folder in (path.parent, trained.paths.merged)]
    assert newer[0] == newer[1] and newer[0]["rope_theta"] == rope["rope_theta"]


def test_a_base_in_the_newer_form_is_told_in_the_older_one_too(trained: Project) -> None:
    path = base_folder(trained) / "config.json"
    newer = {"rope_theta": 500000.0, "rope_type": "linear", "factor": 2.0}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rope_parameters": newer}))
    write_adapter(trained)
    merge(trained)
    config = json.loads((trained.paths.merged / "config.json").read_text())
    assert config["rope_parameters"] == newer and config["rope_theta"] == 500000.0
    assert config["rope_scaling"] == {"rope_type": "linear", "factor": 2.0}


def test_of_a_model_for_pictures_the_language_model_is_described(tmp_path: Path) -> None:
    inner = {
        "model_type": "gemma3_text",
        "rope_theta": 1e6,
        "torch_dtype": "float16",
        "auto_map": {"AutoConfig": "x.Y"},
    }
    outer = {"model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"], "text_config": inner}
    written = {"model_type": "gemma3_text", "architectures": ["Gemma3ForCausalLM"], "dtype": "bfloat16", "_x": 1}
    (tmp_path / "config.json").write_text(json.dumps(outer))
    (tmp_path / "written.json").write_text(json.dumps(written))
    write_config(tmp_path / "written.json", tmp_path)
    assert json.loads((tmp_path / "written.json").read_text()) == {
        "model_type": "gemma3_text", "architectures": ["Gemma3ForCausalLM"], "rope_theta": 1e6, "dtype": "bfloat16",
        "torch_dtype": "bfloat16",
    }  # fmt: skip


def test_tokenizer_files_are_the_base_models_bytes(trained: Project) -> None:
    merge(trained)
    for name in TOKENIZER_FILES:
        original, copy = base_folder(trained) / name, trained.paths.merged / name
        assert original.exists() == copy.exists()
        assert not original.exists() or original.read_bytes() == copy.read_bytes()


def test_generation_config_is_greedy_and_stops(trained: Project) -> None:
    sampling = {"do_sample": True, "temperature": 0.7, "top_p": 0.8, "repetition_penalty": 1.05, "eos_token_id": [2, 0]}
    (base_folder(trained) / "generation_config.json").write_text(json.dumps(sampling))
    write_adapter(trained)
    merge(trained)
    values = json.loads((trained.paths.merged / "generation_config.json").read_text())
    assert values["do_sample"] is False and values["temperature"] == 0.0
    assert not {"top_p", "top_k", "repetition_penalty"} & values.keys()
    assert values["eos_token_id"] == [2, 0]
    assert values["max_new_tokens"] == trained.task.output.max_new_tokens


def test_keys_that_load_code_and_local_paths_are_dropped(trained: Project) -> None:
    for name in ("config.json", "tokenizer_config.json"):
        path = base_folder(trained) / name
        values = json.loads(path.read_text()) | {"auto_map": {"AutoConfig": "evil.Config"}}
        path.write_text(json.dumps(values))
    write_adapter(trained)
    merge(trained)
    refuse_code(trained.paths.merged, "models/merged")
    assert str(trained.paths.root) not in (trained.paths.merged / "config.json").read_text()


def test_a_second_run_changes_nothing_and_a_new_adapter_does(trained: Project) -> None:
    weights = trained.paths.merged / "model.safetensors"
    merge(trained)
    first, when = weights.read_bytes(), weights.stat().st_mtime_ns
    merge(trained)
    assert weights.stat().st_mtime_ns == when
    write_adapter(trained, seed=2)
    merge(trained)
    assert weights.read_bytes() != first


def test_missing_adapter_names_the_step_that_makes_it(make_project: Callable[..., Project]) -> None:
    with pytest.raises(FinetuneError, match=r"no adapter in models/adapter.*03_train\.py first") as refusal:
        merge(make_project(base=True))
    assert refusal.value.exit_code == 2


def test_changed_adapter_file_is_refused(trained: Project) -> None:
    path = trained.paths.adapter / "adapter_model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(FinetuneError, match="E502"):
        merge(trained)


def test_adapter_of_another_base_is_refused(trained: Project) -> None:
    record_adapter(trained.paths.adapter, {"base": {"fingerprint": "another"}})
    with pytest.raises(FinetuneError, match="E503"):
        merge(trained)


def test_nan_weight_is_refused_and_the_old_merge_survives(trained: Project) -> None:
    from safetensors.torch import load_file, save_file

    merge(trained)
    before = provenance.tree_digest(trained.paths.merged)
    path = trained.paths.adapter / "adapter_model.safetensors"
    tensors = load_file(path)
    next(iter(tensors.values()))[0, 0] = float("nan")
    save_file(tensors, path)
    facts = provenance.read_manifest(trained.paths.adapter / provenance.MANIFEST).facts
    record_adapter(trained.paths.adapter, facts)
    with pytest.raises(ModelFault, match="not finite") as fault:
        merge(trained)
    assert fault.value.exit_code == 70
    assert provenance.tree_digest(trained.paths.merged) == before
    assert sorted(p.name for p in trained.paths.merged.parent.iterdir()) == ["adapter", "base", "merged"]


def test_full_disk_is_refused_before_anything_is_loaded(trained: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=0))
    with pytest.raises(StorageFault, match="E974 the merged model needs about"):
        merge(trained)
    assert not trained.paths.merged.exists()
