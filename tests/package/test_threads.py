"""The number of threads: what may be used, what others leave, and what a container allows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from finetune import threads
from finetune.provenance import environment


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


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
    monkeypatch: pytest.MonkeyPatch, cpus: int, others: float | None, expected: int
) -> None:
    monkeypatch.setattr(threads, "_allowed", lambda: set(range(cpus)))
    monkeypatch.setattr(threads, "_quota", lambda: None)
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
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: dict[str, str], groups: str, expected: float | None
) -> None:
    for name, text in {**{f"cgroup/{name}": text for name, text in files.items()}, "proc/self/cgroup": groups}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="ascii")
    monkeypatch.setattr(threads, "_CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(threads, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(threads, "_allowed", lambda: set(range(8)))
    assert threads._quota() == expected
    assert threads.limit().count == (8 if expected is None else max(int(expected), 1))


@pytest.mark.parametrize(("told", "expected"), [
    ("3", 3), ("4,2", 4), ("99999999999999999999", 512), ("9" * 5000, 512), ("0", 8), ("-2", 8), ("²", 8), ("x", 8),
])  # fmt: skip
def test_any_value_of_the_variable_is_a_number_that_llama_cpp_takes(
    monkeypatch: pytest.MonkeyPatch, told: str, expected: int
) -> None:
    monkeypatch.setattr(threads, "_allowed", lambda: set(range(8)))
    monkeypatch.setattr(threads, "_quota", lambda: None)
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert threads.limit().count == expected


def test_own_work_is_not_that_of_others_and_a_busy_neighbour_is_seen() -> None:
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
    before = threads._usage()
    sum(range(2_000_000))
    assert threads._usage()[2] > before[2]


def test_torch_gets_the_number_and_the_user_is_told_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    before = torch.get_num_threads()
    monkeypatch.setattr(threads, "_allowed", lambda: {0, 1})
    monkeypatch.setattr(threads, "_quota", lambda: None)
    monkeypatch.setattr(threads, "CHECK_SECONDS", 0.0)
    try:
        adapting = threads.Adapting()
        adapting._load = Fixed(1.9)
        adapting.look()
        adapting.look()
        assert torch.get_num_threads() == 1
        assert capsys.readouterr().err.count("threads=1 (other processes use 1.9 of 2 CPUs)") == 1
        adapting._load = Fixed(0.0)
        adapting.look()
        assert torch.get_num_threads() == 1  # one look may be a moment's
        adapting.look()
        assert torch.get_num_threads() == 2
        assert "threads=2 (CPUs this process may use)" in capsys.readouterr().err
    finally:
        torch.set_num_threads(before)


def test_what_is_recorded_of_the_machine_is_what_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """One count of CPUs: a container's two, not the sixty-four of its host."""
    monkeypatch.setattr(threads, "_allowed", lambda: set(range(8)))
    monkeypatch.setattr(threads, "_quota", lambda: 2.5)
    assert environment()["cpus"] == threads.available().count == 2
