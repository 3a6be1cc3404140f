"""Foreign code in a process of its own: what it may see, how long it may be silent, and how its end is told.

Native code (llama.cpp, its converter, its quantiser) can end the process it runs in: a wrong kernel, a failed
assertion, a machine out of memory. So it runs in a child, and a dead child is one sentence with a remedy.
"""

from __future__ import annotations

import ctypes
import os
import signal
import site
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

from finetune.console import say

KEPT = (
    "PATH",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "LLAMA_CPP_LIB_PATH",
    "SYSTEMROOT",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "TEMP",
    "TMP",
    "VIRTUAL_ENV",
    "OMP_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "CUDA_CACHE_PATH",
    "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "HSA_OVERRIDE_GFX_VERSION",
    "GGML_VK_VISIBLE_DEVICES",
)
"""The environment a child gets; tokens are not filtered out, they are never let in."""

SILENCE = "LLM_FT_SILENCE_SECONDS"
"""Environment variable: seconds without a sign of life after which a child counts as hanging."""

REINSTALL = (
    "pip install --force-reinstall --no-deps --no-cache-dir --no-binary llama-cpp-python -c constraints.txt "
    "llama-cpp-python"
)
"""Builds the runtime anew, by this machine's compiler and for its CPU."""

CRASHES = frozenset({"SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT", "SIGTRAP"})
"""Signals by which native code ends itself; the others come from outside."""

TAIL = 12
_TICK = 0.25
_PR_SET_PDEATHSIG = 1


def clean_environment(home: str, pythonpath: str) -> dict[str, str]:
    """What a child sees. `home` is empty, so that a token stored by a login is not found either."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    # CUDA keeps here what it compiled for this GPU, below the home folder unless told otherwise.
    kept.setdefault("CUDA_CACHE_PATH", os.path.expanduser("~/.nv/ComputeCache"))
    if site.ENABLE_USER_SITE:  # packages of `pip install --user` lie there too
        kept["PYTHONUSERBASE"] = site.getuserbase()
    return kept | {
        "HOME": home,
        "HF_HOME": home,
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONPATH": pythonpath,
        "PYTHONUTF8": "1",
        "GGML_NO_BACKTRACE": "1",  # it would start a debugger, whose output buries the assertion that failed
    }


def import_paths() -> str:
    """PYTHONPATH for a child that runs a module of this repository: its root, then what this process was given."""
    import finetune

    inherited = [os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    return os.pathsep.join([str(Path(finetune.__file__).resolve().parents[1]), *inherited])


def end_with(parent: int) -> None:
    """Have Linux end this process with its parent: an idle one would wait for ever for a parent that was killed."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def patience(size: int) -> float:
    """Seconds a child that works on a file of `size` bytes may be silent.

    Five minutes, and one more for each GB: a slow disk reads 17 MB/s, and two CPU cores need some five minutes for 512
    tokens of a prompt with a model of 14 billion weights (28 TFLOP at 50 to 100 GFLOP/s), 15 GB or more.
    """
    seconds = os.environ.get(SILENCE, "")
    if seconds.replace(".", "", 1).isdecimal() and float(seconds) > 0:
        return float(seconds)
    return 300 + 60 * size / 1e9


class Watch:
    """Kills a process that gives no sign of life. Time in which this process itself is stopped does not count."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.expired = False
        self._process = process
        self._left = float("inf")
        self._closed = threading.Event()
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    def expect(self, seconds: float) -> None:
        """The next sign of life comes within `seconds`."""
        self._left = seconds

    def rest(self) -> None:
        """Nothing is expected."""
        self._left = float("inf")

    def close(self) -> None:
        self._closed.set()

    def _run(self) -> None:
        # Ticks are counted, not the clock read: after Ctrl-Z and fg nobody has been silent for hours.
        while not self._closed.wait(_TICK):
            self._left -= _TICK
            if self._left <= 0:
                self.expired = True
                self._process.kill()
                return


def signal_name(code: int) -> str | None:
    """SIGSEGV for -11: the signal behind a return code, or None for an exit code."""
    if code >= 0:
        return None
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def how_it_ended(code: int) -> str:
    """A return code as the end of a sentence that begins with the child's name."""
    name = signal_name(code)
    if name is None:
        return f"ended with exit code {code}"
    return f"was {'killed' if name == 'SIGKILL' else 'ended'} by {name}"


def remedy(code: int, again: str) -> str:
    """What to do about a child that ended so; `again` is the command that makes its file anew."""
    name = signal_name(code)
    if name == "SIGKILL":
        return (
            "the system kills what takes too much memory: free some, or use a smaller model, context or quantisation, "
            "and run the same command again"
        )
    if name == "SIGILL":
        return f"this CPU lacks an instruction that llama-cpp-python was built with, so build it here: {REINSTALL}"
    if name == "SIGBUS":
        return f"the file could not be read to its end (damaged, cut off, disk gone): {again}"
    if name in CRASHES:
        return f"{again}; if it ends so again, build the runtime on this machine (docs/runtime.md): {REINSTALL}"
    if name:
        return "it was ended from outside: run the same command again"
    return "see the lines above, and run the same command again: what is made is kept"


def hang_remedy(seconds: float) -> str:
    """What to do about a child that was silent for `seconds`."""
    return (
        "run the same command again, with fewer other programs on the machine; where it is only slow, "
        f"set {SILENCE} above {seconds:.0f}"
    )


def last_lines(log: IO[bytes]) -> list[str]:
    """The last lines of what a child wrote, without empty ones."""
    log.seek(0, os.SEEK_END)
    log.seek(max(0, log.tell() - 64_000))
    text = log.read().decode("utf-8", errors="replace")
    return [line.strip() for line in text.replace("\r", "\n").split("\n") if line.strip()][-TAIL:]


def show(lines: list[str]) -> None:
    """Show a child's last lines, set apart."""
    for line in lines:
        say(f"  | {line[:300]}")
