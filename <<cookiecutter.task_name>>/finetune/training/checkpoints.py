"""Checkpoints that can be trusted: complete, hashed, and of this very run; everything else is refused or skipped."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from finetune import provenance
from finetune.console import say
from finetune.errors import FinetuneError

COMPLETE = "COMPLETE.json"
REQUIRED = ("adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json")


def all_steps(folder: Path) -> list[Path]:
    """Checkpoint folders below `folder`, newest first."""
    found = [path for path in folder.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
    return sorted(found, key=step_of, reverse=True)


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-"))


def seal(checkpoint: Path, run: Mapping[str, str]) -> None:
    """Mark a checkpoint as complete: the sha256 of every file and the run's fingerprint, written last."""
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != COMPLETE)
    provenance.write_manifest(checkpoint / COMPLETE, step="checkpoint", inputs=run, outputs=files, facts={})


def rotate(folder: Path, keep: int, best: str | None) -> None:
    """Delete all but the `keep` newest complete checkpoints; the best one and the last complete one always stay."""
    complete = [path for path in all_steps(folder) if (path / COMPLETE).is_file()]
    for path in complete[max(keep, 1) :]:
        if best is None or path.name != Path(best).name:
            shutil.rmtree(path)


def newest_complete(folder: Path, run: Mapping[str, str]) -> Path | None:
    """The checkpoint to resume from; damaged and unfinished ones are removed with a warning.

    Raises FinetuneError (E232) when the checkpoints belong to other data, another configuration or another base.
    """
    for checkpoint in all_steps(folder):
        manifest = provenance.read_manifest(checkpoint / COMPLETE)
        missing = [name for name in REQUIRED if not (checkpoint / name).is_file()]
        if manifest is None or missing or not provenance.is_current(checkpoint / COMPLETE, manifest["inputs"]):
            why = f"{missing[0]} is missing" if missing else "it is unfinished or damaged"
            say(f"W232 {checkpoint.name} is skipped and removed: {why}")
            shutil.rmtree(checkpoint)
            continue
        changed = sorted(name for name in {*run, *manifest["inputs"]} if run.get(name) != manifest["inputs"].get(name))
        if changed:
            raise FinetuneError(
                f"{checkpoint.name} belongs to another run: {', '.join(changed)} changed since",
                "restore what changed, or discard the old run with --restart",
                code="E232",
            )
        return checkpoint
    return None
