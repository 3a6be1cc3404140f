"""What watches a training run: finite numbers, checkpoints that are sealed, signals, and a progress line."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from finetune import provenance
from finetune.console import say
from finetune.errors import ModelFault
from finetune.training import checkpoints

WATCHED = ("loss", "grad_norm", "eval_loss")


class FiniteGuard(TrainerCallback):
    """Stops at the first loss, gradient norm or adapter weight that is not finite.

    The Trainer by itself logs 0.0, goes on and ends with success.
    """

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, Any], **_: Any
    ) -> None:
        for name in WATCHED:
            if name in logs and not math.isfinite(logs[name]):
                raise diverged(f"{name} is {logs[name]} at step {state.global_step}")

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any, **_: Any
    ) -> None:
        if name := first_not_finite(model):
            raise diverged(f"adapter weight {name} is not finite at step {state.global_step}")


def first_not_finite(model: Any) -> str | None:
    """Name of the first trainable parameter that holds NaN or infinity."""
    import torch

    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not bool(torch.isfinite(parameter).all()):
            return str(name)
    return None


def diverged(what: str) -> ModelFault:
    fix = "lower optimiser.learning_rate or max_grad_norm; the last finite checkpoint is kept"
    return ModelFault(what, fix, code="E970")


class Milestones(TrainerCallback):
    """Evaluates and saves at the last step too, seals every checkpoint, then rotates."""

    def __init__(self, run: Mapping[str, str], keep: int) -> None:
        self.run, self.keep = run, keep

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        if state.global_step >= state.max_steps:
            control.should_evaluate = control.should_save = control.should_log = True
        return control

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if not state.is_world_process_zero:
            return
        folder = Path(args.output_dir)
        checkpoints.seal(folder / f"checkpoint-{state.global_step}", self.run)
        checkpoints.rotate(folder, self.keep, state.best_model_checkpoint)


class LogFile(TrainerCallback):
    """Keeps training_log.jsonl equal to the run's log so far, over resumes too."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero:
            write_log(self.path, state)


def write_log(path: Path, state: TrainerState) -> None:
    """One JSON object a logged step: step, epoch, loss, grad_norm, learning_rate or eval_loss."""
    provenance.write_text(path, "".join(json.dumps(entry) + "\n" for entry in state.log_history))


class Progress(TrainerCallback):
    """A line at every logged step with the loss and the time left."""

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.started, self.first = time.monotonic(), state.global_step

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, Any], **_: Any
    ) -> None:
        shown = [f"{name} {logs[name]:.4f}" for name in ("loss", "eval_loss") if name in logs]
        if not shown or not state.is_world_process_zero:
            return
        done = state.global_step - self.first
        left = (time.monotonic() - self.started) / done * (state.max_steps - state.global_step) if done else 0.0
        width, share = 24, state.global_step / max(state.max_steps, 1)
        bar = "█" * round(width * share) + "░" * (width - round(width * share))
        minutes, seconds = divmod(round(left), 60)
        say(f"  train {bar} {state.global_step}/{state.max_steps}  {', '.join(shown)}  {minutes}:{seconds:02} left")


class Preemption(TrainerCallback):
    """SIGTERM: finish the step, save, stop; the command then exits 75 and resumes when run again."""

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> Preemption:
        self._previous = signal.signal(signal.SIGTERM, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._previous)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.requested = True

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        if self.requested and state.global_step < state.max_steps:
            control.should_save = control.should_training_stop = True
        return control
