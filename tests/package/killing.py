"""Forked processes that end by a signal: `in_child` for any call, and as a script step 03 killed at named points.

    python killing.py REPOSITORY    one JSON object: what the run after each of POINTS came to

A process that was forked before torch computed anything has everything imported, and costs no start.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from repository import ROOT

sys.path.insert(0, str(ROOT))

POINTS: dict[str, tuple[str, str, int]] = {
    "before the first checkpoint": ("sft", "loss_sum", 1),
    "between evaluation and checkpoint": ("trainer", "_save_checkpoint", 2),
    "in the checkpoint": ("trainer", "_save_optimizer_and_scheduler", 2),
    "before its seal": ("checkpoints", "seal", 2),
    "in the deletion of an older one": ("shutil", "rmtree", 2),  # the first finds nothing
    "after early stopping": ("trainer", "_load_best_model", 1),
    "saving the adapter": ("run", "_facts", 1),
    "before the checkpoints go": ("checkpoints", "discard", 1),
    "while the checkpoints go": ("checkpoints", "sweep", 3),
}
"""Where a function is found, its name, and which of its calls is not lived to see."""


@dataclass(frozen=True)
class Ended:
    """A process that is over."""

    status: int
    """Its exit code, or minus the signal's number."""
    seconds: float
    said: str


def in_child(call: Callable[[], int | None], log: Path, number: int = 0, after: float = 0.0) -> Ended:
    """Run `call` in a forked process, its standard error in `log`; send it signal `number` after some seconds."""
    began = time.monotonic()
    process = os.fork()
    if process == 0:
        status = 1
        try:
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            status = call() or 0
        finally:
            os._exit(status)
    ended = 0
    while not ended:
        if number and time.monotonic() - began >= after:
            os.kill(process, number)
            number = 0
        ended, status = os.waitpid(process, os.WNOHANG)
        time.sleep(0.002)
    return Ended(os.waitstatus_to_exitcode(status), time.monotonic() - began, log.read_text("utf-8", "replace"))


def _homes() -> dict[str, Any]:
    from finetune.training import checkpoints, sft, trainer

    run, cls = trainer.Run, sft.PromptCompletionTrainer
    return {"sft": sft, "trainer": cls, "checkpoints": checkpoints, "shutil": checkpoints.shutil, "run": run}


def train_until(root: Path, point: str) -> int:
    """Step 03, killed at `point`; a deletion is killed when a file of the folder is gone."""
    from finetune.console import run
    from finetune.training.trainer import train

    home, name, left = POINTS[point]
    original = getattr(_homes()[home], name)

    def dying(*arguments: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            if name == "rmtree":
                (arguments[0] / "optimizer.pt").unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **options)

    setattr(_homes()[home], name, dying)
    return run(train, project=root)


def no_better() -> None:
    """Validation gets worse from the second time on, whatever the model learns."""
    from finetune.training import sft

    def evaluate(self: Any, *_: Any, **__: Any) -> dict[str, float]:
        metrics = {"eval_loss": 1.0 + self.state.global_step}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    sft.PromptCompletionTrainer.evaluate = evaluate  # type: ignore[method-assign]


def main(fresh: Path) -> None:
    from finetune import provenance
    from finetune.console import run
    from finetune.training import callbacks  # noqa: F401 (before the forks)
    from finetune.training.trainer import train

    no_better()
    outcomes = {}
    for point in ("", *POINTS):
        root = fresh.with_name("broken")
        shutil.copytree(fresh, root)
        log = fresh.with_name("log")
        if point:
            status = in_child(partial(train_until, root, point), log).status
            assert status == -signal.SIGKILL, (point, status, log.read_text("utf-8"))
        resumed = in_child(lambda root=root: run(train, project=root), log)
        manifest = provenance.read_manifest(root / "models" / "adapter" / provenance.MANIFEST)
        assert manifest, (point, resumed)
        outcomes[point] = {
            "adapter": {name: file.sha256 for name, file in manifest.outputs.items()},
            "steps": manifest.facts["result"]["steps"],
            "resumed_from": manifest.facts["result"]["resumed_from_step"],
            "said": resumed.said,
            "left": sorted(path.name for path in (root / "models").iterdir()),
        }
        shutil.rmtree(root)
    sys.stdout.write(json.dumps(outcomes))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
