"""The number of threads: what may be used, what others leave, and what a container allows."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from finetune import threads
from finetune.provenance import environment
from finetune.training.callbacks import FittingThreads


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`machine(8, {"proc/stat": …})`: so many CPUs for this process, and these files below /proc and /sys/fs/cgroup."""

    def be(cpus: int, files: dict[str, str] | None = None) -> None:
        for name, text in (files or {}).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text, encoding="ascii")
        monkeypatch.setattr(threads, "CGROUP", tmp_path / "cgroup")
        monkeypatch.setattr(threads, "PROC", tmp_path / "proc")
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cpus)))

    return be


class Fixed(threads.Load):
    """A load that is told."""

    def __init__(self, value: float | None) -> None:
        self.value = value

    def others(self) -> float | None:
        return self.value


@pytest.mark.parametrize(("cpus", "others", "expected"), [
    (2, 0.0, 2), (2, 0.3, 2), (2, 0.7, 1), (2, 1.0, 1), (2, 2.0, 1), (1, 1.0, 1),
    (8, 0.0, 8), (8, 3.0, 5), (8, 8.0, 2), (16, 15.9, 4), (16, None, 16),
])  # fmt: skip
def test_threads_are_as_many_as_idle_cpus(
    machine: Callable[..., None], cpus: int, others: float | None, expected: int
) -> None:
    machine(cpus)
    chosen = threads.fitting(Fixed(others))
    assert chosen.count == expected
    assert (chosen.reason == "CPUs this process may use") == (expected == cpus)


def test_the_variable_of_the_user_is_obeyed_whatever_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads.fitting(Fixed(99.0)) == threads.Threads(3, "OMP_NUM_THREADS")


@pytest.mark.parametrize(("files", "groups", "expected"), [
    ({"a/cpu.max": "150000 100000\n", "cpu.max": "max 100000\n"}, "0::/a\n", 1.5),
    ({"a/b/cpu.max": "max 100000\n", "a/cpu.max": "400000 100000\n"}, "0::/a/b\n", 4.0),
    ({"cpu.max": "50000 100000\n"}, "0::/\n", 0.5),
    ({"a/cpu.max": "max 100000\n"}, "0::/a\n", None),
    ({"cpu/x/cpu.cfs_quota_us": "200000\n", "cpu/x/cpu.cfs_period_us": "100000\n"}, "3:cpu,cpuacct:/x\n", 2.0),
    ({"cpu/x/cpu.cfs_quota_us": "-1\n", "cpu/x/cpu.cfs_period_us": "100000\n"}, "3:cpu,cpuacct:/x\n", None),
    ({"cpu.max": "what is this\n"}, "0::/\n", None),
    ({}, "9:name=systemd:/\n0::/\n", None),
])  # fmt: skip
def test_a_container_s_quota_counts(
    machine: Callable[..., None], files: dict[str, str], groups: str, expected: float | None
) -> None:
    machine(8, {**{f"cgroup/{name}": text for name, text in files.items()}, "proc/self/cgroup": groups})
    if expected is None:
        assert threads.limit() == threads.Threads(8, "CPUs this process may use")
    else:
        reason = f"the container's quota is {expected:g} CPUs"
        assert threads.limit() == threads.Threads(max(int(expected), 1), reason)


@pytest.mark.parametrize(("told", "expected"), [
    ("3", 3), ("4,2", 4), ("99999999999999999999", 512), ("9" * 5000, 512), ("0", 8), ("-2", 8), ("²", 8), ("x", 8),
])  # fmt: skip
def test_any_value_of_the_variable_is_a_number_that_llama_cpp_takes(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch, told: str, expected: int
) -> None:
    machine(8)
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert threads.limit().count == expected


def test_a_busy_neighbour_is_seen() -> None:
    load = threads.Load()
    neighbour = subprocess.Popen(
        [sys.executable, "-c", "import os, time\nend = time.monotonic() + 30\nwhile time.monotonic() < end: pass"]
    )
    try:
        load.others()
        busy = load.others()
    finally:
        neighbour.kill()
        neighbour.wait()
    assert busy is not None and 0.0 < busy < (os.cpu_count() or 1) + 0.5


@pytest.mark.parametrize("foreign", [0.0, 1.0])
def test_own_work_is_not_that_of_others(machine: Callable[..., None], foreign: float) -> None:
    """/proc/stat as it is after this process computed for half a second, and `foreign` seconds of others."""
    ticks = os.sysconf("SC_CLK_TCK")

    def busy(seconds: float) -> dict[str, str]:  # user nice system idle iowait; the second CPU is not ours
        return {"proc/stat": f"cpu 9 9\ncpu0 {int(seconds * ticks)} 0 0 700 70 0 0 0 0 0\ncpu1 9999 0 0 0 0 0 0 0\n"}

    machine(1, busy(5))
    before, began, load = sum(os.times()[:2]), time.monotonic(), threads.Load()
    while (own := sum(os.times()[:2]) - before) < 0.5:
        sum(range(10_000))
    machine(1, busy(5 + own + foreign))
    others = load.others()
    assert others == pytest.approx(foreign / (time.monotonic() - began), abs=0.1)


def test_torch_gets_the_number_and_the_user_is_told_once(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    before = torch.get_num_threads()
    machine(2)
    load = Fixed(1.9)
    monkeypatch.setattr(threads, "CHECK_SECONDS", 0.0)
    try:
        adapting = threads.Adapting(load)
        adapting.look()
        adapting.look()
        assert torch.get_num_threads() == 1
        assert capsys.readouterr().err.count("threads=1 (other processes use 1.9 of 2 CPUs)") == 1
        load.value = 0.0
        adapting.look()
        assert torch.get_num_threads() == 1  # one look may be a moment's
        adapting.look()
        assert torch.get_num_threads() == 2
        assert "threads=2 (CPUs this process may use)" in capsys.readouterr().err
    finally:
        torch.set_num_threads(before)


def test_a_resumed_run_goes_on_with_its_number_while_the_load_is_a_moments(
    machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    before = torch.get_num_threads()
    machine(4)
    monkeypatch.setattr(threads, "CHECK_SECONDS", 0.0)
    monkeypatch.setattr(threads, "Load", lambda: Fixed(3.0))
    try:
        broken = FittingThreads(count=4)  # as a checkpoint keeps it
        resumed = FittingThreads.from_state(broken.state())
        resumed.on_train_begin(*[None] * 3)
        assert torch.get_num_threads() == 4
        resumed.on_step_end(*[None] * 3)
        assert torch.get_num_threads() == 1
        assert resumed.state()["args"] == {"count": 1}
        assert threads.Adapting(count=9).count == 0  # of a larger machine
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        assert threads.Adapting(count=4).count == 0
    finally:
        torch.set_num_threads(before)


def test_what_is_recorded_of_the_machine_is_what_the_process_may_use(machine: Callable[..., None]) -> None:
    """One count of CPUs: a container's two, not the sixty-four of its host."""
    machine(8, {"cgroup/cpu.max": "250000 100000\n", "proc/self/cgroup": "0::/\n"})
    assert environment()["cpus"] == threads.available().count == 2
