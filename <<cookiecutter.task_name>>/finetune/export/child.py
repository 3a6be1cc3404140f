"""Run a foreign tool in a process of its own: no secrets, no network of the Hub, output shown only when it fails."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from finetune.console import progress, say
from finetune.errors import ModelFault, StorageFault

KEPT = (
    "PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "LANG", "LC_ALL", "TMPDIR", "TEMP", "TMP",
    "VIRTUAL_ENV", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES",
)  # fmt: skip
"""The environment a tool gets; tokens are not filtered out, they are never let in."""

TAIL = 12
_POLL_SECONDS = 0.1


def run_python(arguments: Sequence[str], *, label: str, pythonpath: Path, grows: Path, expected: int) -> None:
    """Run this interpreter with `arguments`, behind a progress bar that follows the size of the file it writes.

    `expected` is that file's final size in bytes, roughly. Raises StorageFault (E974) when the disk is full and
    ModelFault (E773) when the tool fails, after showing its last lines.
    """
    with tempfile.TemporaryDirectory(prefix="finetune-") as home, tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-B", *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            env=_environment(home, pythonpath), cwd=home,
        )  # fmt: skip
        try:
            for _ in progress(_percents(process, grows, expected), label, total=100):
                pass
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
        if process.returncode != 0:
            log.seek(0)
            _fail(label, process.returncode, log.read().decode("utf-8", errors="replace"))


def _environment(home: str, pythonpath: Path) -> Mapping[str, str]:
    """`home` is empty, so that a token stored by a login is not found either."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return kept | {
        "HOME": home,
        "HF_HOME": home,
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONPATH": str(pythonpath),
        "PYTHONUTF8": "1",
    }


def _percents(process: subprocess.Popen[bytes], grows: Path, expected: int) -> Iterator[int]:
    shown = 0
    while process.poll() is None:
        time.sleep(_POLL_SECONDS)
        reached = grows.stat().st_size * 100 // max(expected, 1) if grows.exists() else 0
        while shown < min(reached, 99):
            shown += 1
            yield shown
    if process.returncode == 0:
        yield from range(shown, 100)


def _fail(label: str, code: int, output: str) -> None:
    lines = [line.strip() for line in output.replace("\r", "\n").split("\n") if line.strip()][-TAIL:]
    for line in lines:
        say(f"  | {line[:300]}")
    if "No space left" in output:
        raise StorageFault(f"{label}: no space left on the device", "free space and run the same command again", "E974")
    how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    raise ModelFault(f"{label} {how}", "see the lines above; the run can be repeated, it resumes", "E773")
