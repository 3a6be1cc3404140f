"""Checkpoints that can be trusted: complete, hashed, and of this very run; everything else is refused or skipped."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from finetune import provenance, sealed
from finetune.console import say
from finetune.errors import FinetuneError
from finetune.training.adapter import differences

COMPLETE = "COMPLETE.json"
_OF_A_PROCESS = re.compile(r"rng_state_\d+\.pth")
REQUIRED = ("adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json")


def all_steps(folder: Path) -> list[Path]:
    """Checkpoint folders below `folder`, newest first."""
    found = [path for path in folder.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
    return sorted(found, key=step_of, reverse=True)


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-"))


def seal(checkpoint: Path, run: Mapping[str, str], finished: bool = False) -> None:
    """Mark a checkpoint as complete: the sha256 of every file and the run's fingerprint, written last.

    `finished` means that no step follows: what is left is to take the best checkpoint and to save it.
    """
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != COMPLETE)
    facts = {"finished": finished}
    provenance.write_manifest(checkpoint / COMPLETE, step="checkpoint", inputs=run, outputs=files, facts=facts)


def is_finished(checkpoint: Path) -> bool:
    manifest = provenance.read_manifest(checkpoint / COMPLETE)
    return manifest is not None and manifest.facts.get("finished") is True


def resumption(folder: Path, run: Mapping[str, str] | None = None) -> int | None:
    """The step after which a run (any, or the one of these inputs) would resume; None where it would start over."""
    for checkpoint in all_steps(folder):
        manifest = provenance.read_manifest(checkpoint / COMPLETE)
        if manifest is not None and run in (None, manifest.inputs):
            return step_of(checkpoint)
    return None


def best_of(checkpoint: Path) -> Path:
    """The checkpoint with the best validation loss so far, beside `checkpoint`; itself where none was measured."""
    try:
        best = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))["best_global_step"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        best = None
    return checkpoint.with_name(f"checkpoint-{best}") if best else checkpoint


def rotate(folder: Path, keep: int) -> None:
    """Delete all but the `keep` newest complete checkpoints and what was the best one to each of them."""
    complete = [path for path in all_steps(folder) if (path / COMPLETE).is_file()]
    kept = complete[: max(keep, 1)]
    for path in set(complete).difference(kept, map(best_of, kept)):
        shutil.rmtree(path)


def discard(folder: Path) -> None:
    """Delete all checkpoints. They leave at once, so that what a killed deletion leaves never passes for a run."""
    sweep(folder)
    with contextlib.suppress(FileNotFoundError):  # another process of this run was first
        os.replace(folder, _discarded(folder))
    sweep(folder)


def sweep(folder: Path) -> None:
    """Finish what a killed `discard` has begun."""
    shutil.rmtree(_discarded(folder), ignore_errors=True)


def _discarded(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.discarded")


def newest_complete(folder: Path, run: Mapping[str, str]) -> Path | None:
    """The checkpoint to resume from; damaged and unfinished ones are removed with a warning.

    Raises FinetuneError (E232) when the checkpoints belong to other data, another configuration or another base.
    """
    for checkpoint in all_steps(folder):
        manifest = provenance.read_manifest(checkpoint / COMPLETE)
        missing = [name for name in REQUIRED if not (checkpoint / name).is_file()]
        best = best_of(checkpoint)
        if manifest is None or missing or not all(map(_is_whole, {checkpoint, best})):
            why = f"{missing[0]} is missing" if missing else "it is unfinished or damaged"
            if manifest is not None and not missing and not _is_whole(best):
                why = f"{best.name}, the best so far, is missing or damaged"
            say(f"W232 {checkpoint.name} is skipped and removed: {why}")
            shutil.rmtree(checkpoint)
            continue
        if changed := differences(manifest.inputs, run):
            raise FinetuneError(
                f"{checkpoint.name} belongs to another run: {changed} changed since",
                "restore what changed, or discard the old run with --restart",
                code="E232",
            )
        return checkpoint
    return None


def _is_whole(checkpoint: Path) -> bool:
    manifest = provenance.read_manifest(checkpoint / COMPLETE)
    if manifest is None:
        return False
    found = sealed.deviations(checkpoint, manifest.outputs, beside=[COMPLETE])
    # Another process may save the state of its random numbers after the first one has sealed the folder.
    return all(d.kind == "unlisted" and _OF_A_PROCESS.fullmatch(d.name) for d in found)
