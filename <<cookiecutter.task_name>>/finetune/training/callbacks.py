"""What watches a training run: finite numbers, checkpoints that are sealed, signals, and a progress line."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from finetune import provenance
from finetune.console import say
from finetune.errors import ModelFault
from finetune.interrupts import listening, name_of, stop
from finetune.threads import Adapting
from finetune.training import checkpoints

WATCHED = ("loss", "grad_norm", "eval_loss")
ECHO_SECONDS = 1.0
"""Launchers pass on the signal that the terminal has sent already: what comes sooner is no second Ctrl-C."""


class FiniteGuard(TrainerCallback):
    """Stops at the first loss, gradient norm or adapter weight that is not finite.

    The Trainer by itself logs 0.0, goes on and ends with success.
    """

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        logs: dict[str, float] = kwargs["logs"]
        for name in WATCHED:
            if name in logs and not math.isfinite(logs[name]):
                raise diverged(f"{name} is {logs[name]} at step {state.global_step}")

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if name := first_not_finite(kwargs["model"]):
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
            control.should_evaluate = control.should_save = True
        # A resumed run knows nothing of the losses since the last logged step.
        control.should_log |= control.should_save
        return control

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if not state.is_world_process_zero:
            return
        folder = Path(str(args.output_dir))
        # Preemption comes after this one: what asks to stop here is the last step or early stopping.
        finished = control.should_training_stop
        checkpoints.seal(folder / f"checkpoint-{state.global_step}", self.run, finished)
        checkpoints.rotate(folder, self.keep)


class LogFile(TrainerCallback):
    """Keeps training_log.jsonl equal to the run's log so far, over resumes too."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero:
            write_log(self.path, state)


def write_log(path: Path, state: TrainerState) -> None:
    """One JSON object a logged step: step, epoch, loss, grad_norm, learning_rate or eval_loss.

    The Trainer's last entry is left out: its times and mean are those of one process, not of a run that was resumed.
    """
    points = [entry for entry in state.log_history if "train_runtime" not in entry]
    # Sorted, as the Trainer keeps them in a checkpoint.
    provenance.write_text(path, "".join(json.dumps(entry, sort_keys=True) + "\n" for entry in points))


class Progress(TrainerCallback):
    """A line at every logged step with the loss and the time left."""

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.started, self.first = time.monotonic(), state.global_step

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        logs: dict[str, float] = kwargs["logs"]
        shown = [f"{name} {logs[name]:.4f}" for name in ("loss", "eval_loss") if name in logs]
        if not shown or not state.is_world_process_zero:
            return
        done = state.global_step - self.first
        left = (time.monotonic() - self.started) / done * (state.max_steps - state.global_step) if done else 0.0
        width, share = 24, state.global_step / max(state.max_steps, 1)
        bar = "█" * round(width * share) + "░" * (width - round(width * share))
        minutes, seconds = divmod(round(left), 60)
        say(f"  train {bar} {state.global_step}/{state.max_steps}  {', '.join(shown)}  {minutes}:{seconds:02} left")


class FittingThreads(TrainerCallback, ExportableState):
    """On a CPU: as many threads as other processes leave idle CPUs, looked at anew while the run goes on.

    Their number is part of a checkpoint: with another one the resumed run might round otherwise than the unbroken one.
    """

    def __init__(self, count: int = 0) -> None:
        self._count = count
        self._threads: Adapting | None = None

    def state(self) -> dict[str, Any]:
        return {"args": {"count": self._threads.count if self._threads else self._count}, "attributes": {}}

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._threads = Adapting(count=self._count)
        self._threads.look(soon=True)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        assert self._threads
        self._threads.look()


class Preemption(TrainerCallback):
    """The first signal: finish the step, save, stop; the command then exits 75. A second Ctrl-C ends it at once."""

    def __init__(self) -> None:
        self.requested = ""
        """Name of the signal that was heard."""
        self.stopped = False
        """Training was cut short; False also where the signal came when nothing was left to do."""

    def __enter__(self) -> Preemption:
        self._listening = listening(self._heard)
        self._listening.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.__exit__(None, None, None)

    def _heard(self, number: int) -> None:
        if not self.requested:
            self.requested, self._since = name_of(number), time.monotonic()
            if os.environ.get("RANK", "0") == "0":
                # Not by say(): the signal may have come in the middle of a line.
                os.write(2, f"\n  {self.requested}: finishing the step and saving; Ctrl-C ends at once\n".encode())
        elif number == signal.SIGINT and time.monotonic() - self._since > ECHO_SECONDS:
            stop(number)

    def _agreed(self, args: TrainingArguments) -> bool:
        """Whether any process was asked to stop: one that stops alone would leave the others waiting for ever."""
        import torch

        if torch.distributed.is_available() and torch.distributed.is_initialized():
            asked = torch.tensor(int(bool(self.requested)), device=args.device)
            torch.distributed.all_reduce(asked, torch.distributed.ReduceOp.MAX)
            if asked.item() and not self.requested:
                self.requested, self._since = "a signal to another process", time.monotonic()
        return bool(self.requested)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        if self._agreed(args):
            control.should_save = control.should_log = True
        return control

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        # After a save, so that one during validation stops here too; a run that ends by itself is let end.
        if self._agreed(args) and not control.should_training_stop:
            self.stopped = control.should_training_stop = True
        return control
