"""Step 03 stopped by real signals at every moment: saved, said truthfully, and resumed to the same bytes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetune import provenance
from finetune.config.project import Project
from finetune.console import guarded, run
from finetune.data.stage import convert
from finetune.errors import Interrupted
from finetune.interrupts import Stopped
from finetune.training import callbacks, checkpoints, sft
from finetune.training.trainer import train
from repository import ROOT

SCRIPT = ROOT / "scripts" / "03_train.py"
RECIPE = {
    "optimiser": {"learning_rate": 0.01, "epochs": 4},
    "batch": {"per_device": 2, "effective": 4},
    "lora": {"r": 4, "alpha": 8, "dropout": 0.1},
    "early_stopping_patience": 0,
}


def weights(project: Project) -> str:
    return provenance.sha256(project.paths.adapter / "adapter_model.safetensors")


def result(project: Project) -> dict[str, Any]:
    manifest = provenance.read_manifest(project.paths.adapter / provenance.MANIFEST)
    assert manifest is not None
    return manifest.facts["result"]


@pytest.fixture
def make_ready(make_project: Callable[..., Project], tmp_path: Path) -> Callable[..., Project]:
    def make(name: str, **training: Any) -> Project:
        made = make_project(base=True, training={**RECIPE, **training}, root=tmp_path / name)
        assert convert(made) == 0
        return made

    return make


class Moment:
    """Sends this process a signal when training reaches `what` for the `count`-th time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, what: str, count: int, number: int, times: int = 1) -> None:
        self.left, self.number, self.times = count, number, times
        loss, seal = sft.loss_sum, checkpoints.seal

        def loss_sum(model: Any, batch: Any) -> Any:
            self.reached(what == ("step" if model.training else "evaluation"))
            return loss(model, batch)

        def sealing(*arguments: Any) -> None:
            self.reached(what == "saving")
            seal(*arguments)

        monkeypatch.setattr(sft, "loss_sum", loss_sum)
        monkeypatch.setattr(checkpoints, "seal", sealing)

    def reached(self, here: bool) -> None:
        self.left -= here
        if here and self.left == 0:
            for _ in range(self.times):
                os.kill(os.getpid(), self.number)


@pytest.fixture
def unbroken(make_ready: Callable[..., Project]) -> Project:
    project = make_ready("unbroken")
    train(project)
    return project


@pytest.mark.parametrize(("what", "count", "number", "name"), [
    ("step", 1, signal.SIGINT, "Ctrl-C"),  # before the first checkpoint
    ("step", 7, signal.SIGTERM, "SIGTERM"),  # between two micro-batches of a step
    ("step", 32, signal.SIGHUP, "SIGHUP"),
    ("evaluation", 1, signal.SIGINT, "Ctrl-C"),
    ("evaluation", 8, signal.SIGTERM, "SIGTERM"),
    ("saving", 2, signal.SIGINT, "Ctrl-C"),
])  # fmt: skip
def test_a_signal_at_any_moment_saves_and_the_resumed_run_has_the_same_bytes(
    make_ready: Callable[..., Project],
    unbroken: Project,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    what: str,
    count: int,
    number: int,
    name: str,
) -> None:
    project = make_ready("broken")
    with monkeypatch.context() as patched:
        Moment(patched, what, count, number)
        with pytest.raises(Interrupted) as stopped:
            train(project)
    said = re.fullmatch(
        rf"E975 stopped by {name} after step (\d+) of \d+, which is saved\. "
        r"Fix: run the same command again: it resumes after step (\d+)",
        str(stopped.value),
    )
    assert said and said[1] == said[2], stopped.value
    assert f"{name}: finishing the step" in capfd.readouterr().err
    assert not project.paths.adapter.exists()
    assert checkpoints.resumption(project.paths.checkpoints) == int(said[1])
    train(project)
    assert f"resuming after step {said[1]}\n" in capfd.readouterr().err
    assert result(project)["resumed_from_step"] == int(said[1])
    assert weights(project) == weights(unbroken)


def test_the_second_ctrl_c_ends_at_once_and_says_that_it_starts_over(
    make_ready: Callable[..., Project], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    project = make_ready("broken")
    monkeypatch.setattr(callbacks, "ECHO_SECONDS", 0.0)
    Moment(monkeypatch, "step", 3, signal.SIGINT, times=2)
    monkeypatch.setattr("finetune.console.ignore", lambda: None)  # the process lives on here
    assert run(train, project=project.paths.root) == 75
    assert "E975 stopped by Ctrl-C. Fix: run the same command again: it starts over" in capfd.readouterr().err
    assert checkpoints.all_steps(project.paths.checkpoints) == []


def test_a_signal_that_a_launcher_passes_on_is_no_second_ctrl_c(
    make_ready: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_ready("broken")
    Moment(monkeypatch, "step", 3, signal.SIGINT, times=2)
    with pytest.raises(Interrupted, match="after step 2 of"):
        train(project)


def test_a_forced_run_that_was_stopped_resumes_without_force(
    unbroken: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = weights(unbroken)
    with monkeypatch.context() as patched:
        Moment(patched, "step", 7, signal.SIGINT)
        with pytest.raises(Interrupted, match="run the same command without --force again: it resumes after step 4"):
            train(unbroken, force=True)
    # The adapter of before is still there and current, and yet the forced run is what goes on.
    train(unbroken)
    assert result(unbroken)["resumed_from_step"] == 4
    assert weights(unbroken) == before


def no_better(monkeypatch: pytest.MonkeyPatch) -> None:
    """Validation gets worse from the second time on, whatever the model learns."""

    def evaluate(self: Any, *_: Any, **__: Any) -> dict[str, float]:
        metrics = {"eval_loss": 1.0 + self.state.global_step}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    monkeypatch.setattr(sft.PromptCompletionTrainer, "evaluate", evaluate)


def test_early_stopping_counts_on_after_an_interruption(
    make_ready: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = {"early_stopping_patience": 2, "optimiser": {"learning_rate": 0.01, "epochs": 8}}
    no_better(monkeypatch)
    whole, broken = make_ready("whole", **recipe), make_ready("broken", **recipe)
    train(whole)
    per_epoch = result(whole)["steps"] // 3  # the best, then two that are no better
    assert result(whole)["steps"] == 3 * per_epoch < per_epoch * 8
    with monkeypatch.context() as patched:
        Moment(patched, "saving", 2, signal.SIGTERM)  # one evaluation was no better
        with pytest.raises(Interrupted, match=f"after step {2 * per_epoch} of"):
            train(broken)
    train(broken)
    assert result(broken)["steps"] == result(whole)["steps"]
    assert weights(broken) == weights(whole)


@pytest.mark.parametrize("patience", [0, 1])
def test_killed_between_the_last_step_and_the_adapter_only_the_saving_is_left(
    make_ready: Callable[..., Project], monkeypatch: pytest.MonkeyPatch, patience: int
) -> None:
    recipe = {"early_stopping_patience": patience}
    no_better(monkeypatch)
    whole, broken = make_ready("whole", **recipe), make_ready("broken", **recipe)
    train(whole)
    staged = provenance.staged

    def killed(target: Path) -> Any:
        if target == broken.paths.adapter:
            os.kill(os.getpid(), signal.SIGTERM)
        return staged(target)

    with monkeypatch.context() as patched:
        patched.setattr(provenance, "staged", killed)
        patched.setattr("finetune.console.ignore", lambda: None)
        assert guarded(lambda: train(broken)) == 75
    with monkeypatch.context() as patched:
        patched.setattr(sft, "loss_sum", lambda *_: pytest.fail("a step was trained"))
        train(broken)
    assert weights(broken) == weights(whole)
    assert result(broken)["steps"] == result(whole)["steps"]
    assert result(broken)["samples_per_s"] == 0.0


def test_killed_at_any_point_the_next_run_has_the_same_bytes(make_ready: Callable[..., Project]) -> None:
    recipe = {"early_stopping_patience": 2, "batch": {"per_device": 4, "effective": 8}, "checkpoints": {"keep": 1}}
    fresh = make_ready("fresh", **recipe).paths.root
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).with_name("killing.py")), str(fresh)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)
    unbroken = outcomes.pop("")
    step = unbroken["steps"] // 3  # the best, then two that are no better
    assert {point: found["resumed_from"] for point, found in outcomes.items()} == {
        "before the first checkpoint": None,
        "between evaluation and checkpoint": step,
        "in the checkpoint": step,
        "before its seal": step,
        "in the deletion of an older one": 3 * step,
        "after early stopping": 3 * step,
        "saving the adapter": 3 * step,
        "before the checkpoints go": 3 * step,
        "while the checkpoints go": None,
    }
    for point, found in outcomes.items():
        assert found["adapter"].keys() == unbroken["adapter"].keys(), point
        same = {name for name, sha256 in found["adapter"].items() if sha256 == unbroken["adapter"][name]}
        assert same == unbroken["adapter"].keys(), point
        assert (found["steps"], found["left"]) == (unbroken["steps"], ["adapter", "base"]), point
        only_saved = "only saving is left" in found["said"]
        assert only_saved == (found["resumed_from"] == 3 * step), point
    assert "is up to date" in outcomes["while the checkpoints go"]["said"]


def test_without_the_best_checkpoint_an_older_one_is_taken(tmp_path: Path) -> None:
    for step, best in ((2, 2), (4, 4), (6, 4)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        for name in checkpoints.REQUIRED:
            (folder / name).write_text(f'{{"best_global_step": {best}}}', encoding="utf-8")
        checkpoints.seal(folder, {"a": "b"})
    (tmp_path / "checkpoint-4" / "optimizer.pt").unlink()
    assert checkpoints.newest_complete(tmp_path, {"a": "b"}) == tmp_path / "checkpoint-2"


def test_what_the_shell_ignores_stays_ignored(tmp_path: Path) -> None:
    code = (
        "import os, signal; from finetune.console import guarded\n"
        "def call():\n  os.kill(os.getpid(), signal.SIGHUP); os.kill(os.getpid(), signal.SIGINT); print('lived on')\n"
        "raise SystemExit(guarded(call))"
    )
    quiet = 'trap \'\' HUP INT; exec "$0" -c "$1"'
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["sh", "-c", quiet, sys.executable, code], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "lived on\n"), done.stderr


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_any_step_ends_75_and_its_cleaning_up_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, number: int, name: str
) -> None:
    monkeypatch.setattr("finetune.console.ignore", lambda: None)

    def call() -> None:
        with provenance.staged(tmp_path / "folder") as folder:
            (folder / "file").write_text("half", encoding="utf-8")
            os.kill(os.getpid(), number)
            time.sleep(5)

    before = signal.getsignal(number)
    assert guarded(call, again=lambda: "run the same command again: it starts over") == 75
    assert f"E975 stopped by {name}. Fix: run the same command again: it starts over" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(number) is before
    assert issubclass(Stopped, KeyboardInterrupt)


def test_two_processes_stop_together_and_resume(make_ready: Callable[..., Project]) -> None:
    project = make_ready("two", optimiser={"learning_rate": 0.01, "epochs": 60})
    command = [
        # standalone: on a free port
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        str(SCRIPT),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with open(project.paths.root / "log", "w+b") as log:
        process = subprocess.Popen(
            command, cwd=project.paths.root, env=environment, stderr=log, stdout=log, start_new_session=True
        )
        deadline = time.monotonic() + 180
        while not checkpoints.all_steps(project.paths.checkpoints) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: launcher and both processes
        process.wait(timeout=120)
        log.seek(0)
        said = log.read().decode("utf-8", errors="replace")
    step = checkpoints.resumption(project.paths.checkpoints)
    assert step is not None and f"after step {step} of" in said, said
    assert f"it resumes after step {step}" in said
