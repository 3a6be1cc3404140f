"""models/adapter as later steps find it: is it whole, on this base, and trained on what lies here now?"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from finetune import __version__, provenance, sealed
from finetune.config.project import Project
from finetune.data.manifest import DataFacts
from finetune.data.stage import require_current
from finetune.errors import FinetuneError
from finetune.inventory import recipe
from finetune.training.model_files import read_json, safetensors_fault

if TYPE_CHECKING:
    from finetune.training.base_model import BaseModel

REDO = "run scripts/03_train.py"
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_ALWAYS = frozenset(
    {"base_model_name_or_path", "bias", "fan_in_fan_out", "inference_mode", "init_lora_weights", "lora_alpha"}
    | {"lora_dropout", "peft_type", "r", "target_modules", "task_type"}
)
"""Keys of adapter_config.json that readers ask for, whatever their values."""
_MEANS = {
    "train": "the training rows",
    "valid": "the validation rows",
    "config": "configs/training_config.yaml",
    "base": "the base model",
    "code": "the version of this repository's code",
}


class RecordedBase(msgspec.Struct, frozen=True):
    """The base model that an adapter was trained on."""

    id: str = ""
    revision: str = ""
    source: str = ""
    fingerprint: str = ""


class AdapterFacts(msgspec.Struct, frozen=True):
    base: RecordedBase = RecordedBase()


class AdapterManifest(msgspec.Struct, frozen=True):
    """As much of an adapter's manifest as a later step asks for."""

    inputs: dict[str, str]
    facts: AdapterFacts


def write_plain_config(path: Path) -> None:
    """Leave in adapter_config.json what says something: this adapter's own values, and what every peft knows.

    peft writes a key for each method that it knows, in use or not, and its version; peft before 0.14 refuses a file
    with a single key that it does not know, and other readers follow their own list.
    """
    from peft import LoraConfig

    defaults = {
        field.name: field.default_factory() if callable(field.default_factory) else field.default
        for field in dataclasses.fields(LoraConfig)
    }
    values = json.loads(path.read_text(encoding="utf-8"))
    kept = {
        key: value
        for key, value in values.items()
        if value is not None and key != "peft_version" and (key in _ALWAYS or value != defaults.get(key))
    }
    provenance.write_json(path, kept)


def read_adapter_manifest(folder: Path) -> AdapterManifest | None:
    """The manifest of the adapter in `folder`; None where there is none or it is damaged (both mean: not done)."""
    try:
        return msgspec.convert(
            provenance.read_manifest(folder / provenance.MANIFEST), AdapterManifest | None, from_attributes=True
        )
    except msgspec.ValidationError:
        return None


def run_inputs(project: Project, base: BaseModel, data: DataFacts | None) -> dict[str, str]:
    """Digests of all that determines the adapter; the same inputs on the same machine give the same adapter."""
    return {
        "train": data.train_sha256 if data else "",
        "valid": data.valid_sha256 if data else "",
        "config": provenance.digest(recipe(project.training.model_dump(mode="json"))),
        "base": base.fingerprint,
        "code": __version__,
    }


def is_trained(project: Project, inputs: Mapping[str, str]) -> bool:
    """Whether the adapter of these inputs lies here, with a manifest that the later steps can read."""
    folder = project.paths.adapter
    return read_adapter_manifest(folder) is not None and sealed.is_current(folder / provenance.MANIFEST, inputs)


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """What changed between two runs' inputs, in words; empty when nothing did."""
    changed = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    return ", ".join(_MEANS.get(name, name) for name in changed)


def read_whole_adapter(project: Project) -> AdapterManifest:
    """The adapter's manifest, once every file is as step 03 wrote it, so before any is loaded.

    Raises FinetuneError: E501 for no adapter, E502 naming each file that is missing, cut off or changed.
    """
    folder = project.paths.adapter
    shown = project.paths.relative(folder)
    manifest = read_adapter_manifest(folder)
    if manifest is None or not (folder / CONFIG).is_file():
        there = folder.is_dir() and any(folder.iterdir())
        missing = f"{shown} has no manifest of a finished training" if there else f"no adapter in {shown}"
        raise FinetuneError(missing, f"{REDO} first", "E501")
    if faults := sealed.faults(folder / provenance.MANIFEST):
        raise FinetuneError(f"{shown} is not as training left it: {'; '.join(faults)}", f"{REDO} --force", "E502")
    return manifest


def require_loadable(project: Project) -> None:
    """For whoever only asks the adapter: whole by its manifest, or, brought from elsewhere without one, by its format.

    Raises FinetuneError (E502) naming each file that is missing, cut off or changed, or E501 for a broken manifest.
    """
    folder = project.paths.adapter
    if (folder / provenance.MANIFEST).is_file():
        read_whole_adapter(project)
        return
    faults = {CONFIG: read_json(folder / CONFIG)[0], WEIGHTS: safetensors_fault(folder / WEIGHTS)}
    if found := [f"{name} {fault}" for name, fault in faults.items() if fault]:
        shown = project.paths.relative(folder)
        raise FinetuneError(
            f"{shown} cannot be loaded: {'; '.join(found)}", f"{REDO} --force, or fetch it again", "E502"
        )


def require_base(project: Project, manifest: AdapterManifest, base: BaseModel) -> None:
    """Raise FinetuneError (E503) for an adapter of another base: its answers would mean nothing."""
    if manifest.facts.base.fingerprint != base.fingerprint:
        shown = project.paths.relative(project.paths.adapter)
        raise FinetuneError(
            f"the adapter in {shown} was trained on another base model than {base.id} at {base.revision[:20]}",
            f"restore base_model in configs/training_config.yaml, or {REDO} --force",
            "E503",
        )


def outdated(project: Project, manifest: AdapterManifest, base: BaseModel) -> FinetuneError | None:
    """E310 with what changed since the adapter was trained, by the data and configuration here; None if nothing.

    A newer version of the code alone does not count: what was trained and measured by the older one stays valid. Data
    is compared where there is any. Raises FinetuneError (E416) when the converted data itself is outdated.
    """
    data = require_current(project).facts if project.paths.data_manifest.is_file() else None
    before = manifest.inputs
    now = run_inputs(project, base, data)
    known = {"config", "base"} | ({"train", "valid"} if data else set())
    names = known & before.keys()
    changed = differences({name: before[name] for name in names}, {name: now[name] for name in names})
    if not changed:
        return None
    shown = project.paths.relative(project.paths.adapter)
    return FinetuneError(f"{shown} is outdated: {changed} changed since", f"{REDO}, or restore what changed", "E310")


def require_adapter(project: Project, base: BaseModel) -> AdapterManifest:
    """The manifest of an adapter that is whole, on this base and up to date; raises what the functions above say."""
    manifest = read_whole_adapter(project)
    require_base(project, manifest, base)
    if stale := outdated(project, manifest, base):
        raise stale
    return manifest
