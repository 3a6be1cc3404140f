"""Projects that were trained, merged and converted for real, with a random LoRA adapter; made once, then copied."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from finetune import provenance
from finetune.config.project import Project, load_project

QUANTISATIONS = ("f16", "Q8_0", "Q4_K_M")
_made: dict[str, tempfile.TemporaryDirectory[str]] = {}


def project_after(step: str, make_project: Callable[..., Project], root: Path) -> Project:
    """A project at `root` as it is after step "train", "merge" or "convert"; a test may change its copy as it likes."""
    if step not in _made:
        project = make_project(
            base=True, root=root, benchmark={"quantisations": list(QUANTISATIONS), "tolerances": {"Q4_K_M": 1.0}}
        )
        _run_until(step, project)
        _made[step] = tempfile.TemporaryDirectory(prefix="finetune-tests-")
        shutil.copytree(root, _made[step].name, dirs_exist_ok=True)
        return project
    shutil.copytree(_made[step].name, root)
    return load_project(root)


def _run_until(step: str, project: Project) -> None:
    from finetune.data.stage import convert as convert_data
    from finetune.export.gguf import convert
    from finetune.export.merge import merge

    convert_data(project)
    write_adapter(project)
    if step in ("merge", "convert"):
        merge(project)
    if step == "convert":
        convert(project)


def write_adapter(project: Project, scale: float = 0.05, seed: int = 1) -> None:
    """models/adapter as step 03 leaves it, for the project's base model."""
    import torch
    from peft import LoraConfig, get_peft_model

    from finetune.training.base_model import load_weights, resolve_base

    base = resolve_base(project)
    torch.manual_seed(seed)
    model = load_weights(base, dtype=torch.float32, device="cpu")
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    adapted = get_peft_model(model, config)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            weight.data.mul_(scale)
    with provenance.staged(project.paths.adapter) as folder:
        adapted.save_pretrained(folder)
        splits = ("train", project.paths.train), ("valid", project.paths.valid)
        data = {f"{name}_sha256": provenance.sha256(path) for name, path in splits}
        facts = {"id": base.id, "revision": base.revision, "source": base.source, "fingerprint": base.fingerprint}
        record_adapter(folder, {"base": facts, "data": data})


def record_adapter(folder: Path, facts: dict[str, Any]) -> None:
    """The manifest over what now lies in the adapter's folder."""
    outputs = sorted(path for path in folder.iterdir() if path.name != provenance.MANIFEST)
    manifest = folder / provenance.MANIFEST
    provenance.write_manifest(manifest, step="03_train", inputs={}, outputs=outputs, facts=facts)


def rewrite_gguf_template(path: Path, old: bytes, new: bytes) -> None:
    """Change the chat template inside a GGUF file without changing its length."""
    assert len(old) == len(new)
    data = path.read_bytes()
    assert data.count(old) >= 1
    path.write_bytes(data.replace(old, new))
