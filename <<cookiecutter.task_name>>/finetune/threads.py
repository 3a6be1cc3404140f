"""How many threads native code gets: the CPUs this process may use, less what other processes take of them.

Threads of one matrix product wait for the slowest of them, and wait by spinning: as many threads as CPUs, beside busy
processes on the same CPUs, take turns in waiting for each other, several times slower than one thread alone. Fewer
threads than idle CPUs lose only what they leave. The number follows the load while a step runs; see
docs/decisions/0021 of the template and benchmarks/threads.py.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from finetune.console import resolved

CHECK_SECONDS = 10.0
"""A running step looks again after this time; the load is that of the time between two looks."""
_SHORTEST = 0.5
"""Seconds over which the load is measured at least."""
_VARIABLE = "OMP_NUM_THREADS"
_MOST = 512
"""llama.cpp ends its process where it is told more (GGML_MAX_N_THREADS)."""
CGROUP, PROC = Path("/sys/fs/cgroup"), Path("/proc")
"""Where Linux tells of the container's share, and of who uses the CPUs."""


@dataclass(frozen=True)
class Threads:
    """A number of threads, and why that many."""

    count: int
    reason: str


def limit() -> Threads:
    """What native code may use at most: OMP_NUM_THREADS where set, else every CPU there is for this process."""
    value = os.environ.get(_VARIABLE, "").split(",")[0]
    return Threads(min(int(value[:9]), _MOST), _VARIABLE) if value.isdecimal() and int(value[:9]) > 0 else available()


def available() -> Threads:
    """The CPUs of this process (taskset and containers name them), or its container's share of their time if less."""
    cpus, quota = len(_allowed()), _quota()
    if quota is not None and quota < cpus:
        return Threads(max(int(quota), 1), f"the container's quota is {quota:g} CPUs")
    return Threads(cpus, "CPUs this process may use")


class Load:
    """What other processes use of this process's CPUs, from one look to the next."""

    def __init__(self) -> None:
        self._before = _usage()

    def others(self) -> float | None:
        """CPUs' worth of time that others used since the last look; None where the system does not say."""
        elapsed = time.monotonic() - self._before[0]
        if elapsed < _SHORTEST:
            time.sleep(_SHORTEST - elapsed)
        before, self._before = self._before, _usage()
        wall, everyone, own = (now - then for now, then in zip(self._before, before, strict=True))
        return None if everyone != everyone else max(everyone - own, 0.0) / wall


def fitting(load: Load) -> Threads:
    """As many threads as find an idle CPU; never fewer than one, nor than a quarter of what may be used.

    A floor is needed: whoever gives way to every other process ends with nothing on a machine that is always full.
    """
    most = limit()
    others = None if most.reason == _VARIABLE else load.others()
    if others is None:
        return most
    cpus = len(_allowed())
    count = max(1, most.count // 4, min(most.count, int(cpus - others + 0.5)))
    return most if count == most.count else Threads(count, f"other processes use {others:.1f} of {cpus} CPUs")


class Adapting:
    """Keeps torch's number of threads fitting while a step runs: call `look()` as often as you like.

    `count` is the number with which an interrupted run goes on, as long as the load agrees; 0 for a fresh one.
    """

    def __init__(self, load: Load | None = None, count: int = 0) -> None:
        self._load, self._looked, self._seen = load or Load(), 0.0, 0
        most = limit()
        self.count = count if most.reason != _VARIABLE and 0 < count <= most.count else 0
        if self.count:
            self._set(Threads(self.count, "as before the interruption"))

    def look(self, soon: bool = False) -> None:
        """Look at the load, at most every CHECK_SECONDS (`soon`: now), and say it when the number changes.

        After the first time two looks have to agree: sums of another number of threads may round otherwise, so that a
        moment's load must not change a run.
        """
        if not soon and time.monotonic() - self._looked < CHECK_SECONDS:
            return
        threads = fitting(self._load)
        self._looked = time.monotonic()
        seen, self._seen = self._seen, threads.count
        if threads.count != self.count and (self.count == 0 or seen == threads.count):
            self._set(threads)

    def _set(self, threads: Threads) -> None:
        import torch

        self.count = threads.count
        torch.set_num_threads(threads.count)
        resolved("threads", threads.count, threads.reason)


def _allowed() -> set[int]:
    """Numbers of the CPUs that this process may run on: its affinity, which a machine's own count does not know."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _usage() -> tuple[float, float, float]:
    """(wall clock, CPU time of everyone on the allowed CPUs, CPU time of this process), in seconds; NaN for unknown."""
    times = os.times()
    try:
        lines = (PROC / "stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return time.monotonic(), float("nan"), 0.0
    wanted, busy = {f"cpu{number}" for number in _allowed()}, 0
    for line in lines:
        name, *fields = line.split()
        if name in wanted:  # user nice system idle iowait irq softirq steal; guest time is part of user
            spent = [int(field) for field in fields[:8]]
            busy += sum(spent) - spent[3] - spent[4]
    return time.monotonic(), busy / os.sysconf("SC_CLK_TCK"), times.user + times.system


def _quota() -> float | None:
    """CPUs that the process's control groups allow (cgroup v2: cpu.max, v1: cfs_quota), the smallest on the way up."""
    found = []
    for group in _groups():
        try:
            if (group / "cpu.max").is_file():
                quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
            else:
                quota = (group / "cpu.cfs_quota_us").read_text(encoding="ascii")
                period = (group / "cpu.cfs_period_us").read_text(encoding="ascii")
            if quota != "max" and int(quota) > 0:
                found.append(int(quota) / int(period))
        except (OSError, ValueError, ZeroDivisionError):
            continue
    return min(found, default=None)


def _groups() -> list[Path]:
    """Control groups of this process that may limit its CPUs, and their parents."""
    try:
        lines = (PROC / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    groups = []
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = CGROUP if not controllers else CGROUP / "cpu"
        inside = root / name.lstrip("/")
        groups += [inside, *(parent for parent in inside.parents if parent.is_relative_to(root))]
    return groups
