"""Run a foreign tool in a process of its own, behind a progress bar, its output shown only when it fails."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from finetune.child_process import (
    clean_environment,
    hang_remedy,
    how_it_ended,
    last_lines,
    patience,
    remedy,
    show,
    signal_name,
)
from finetune.console import progress
from finetune.errors import ModelFault, StorageFault

_POLL_SECONDS = 0.1


def run_python(arguments: Sequence[str], *, label: str, file: str, pythonpath: str, grows: Path, expected: int) -> None:
    """Run this interpreter with `arguments`, behind a progress bar that follows the size of the file it writes.

    `file` is what messages call that file, `grows` where it lies while it is written, `expected` its final size in
    bytes, roughly. Shows the tool's last lines and raises StorageFault (E974) when the disk is full, and ModelFault
    when it fails (E773), is ended by a signal (E777), or neither writes nor says anything for too long (E778).
    """
    limit = patience(expected)
    with tempfile.TemporaryDirectory(prefix="finetune-") as home, tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-B", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=clean_environment(home, pythonpath),
            cwd=home,
        )
        silent = False
        try:
            for _ in progress(_percents(process, log, grows, expected, limit), label, total=100):
                pass
        except _Silent:
            silent = True
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
        if silent or process.returncode != 0:
            _fail(f"{label} ({file})", process.returncode, last_lines(log), limit if silent else None)


class _Silent(Exception):
    """The tool neither writes nor says anything."""


def _percents(
    process: subprocess.Popen[bytes], log: IO[bytes], grows: Path, expected: int, limit: float
) -> Iterator[int]:
    """1 … 100 as the file grows; _Silent when file and log have stood still for `limit` seconds."""
    shown, seen, still = 0, (-1, -1), 0.0
    while process.poll() is None:
        time.sleep(_POLL_SECONDS)
        size = grows.stat().st_size if grows.exists() else 0
        signs = (size, os.fstat(log.fileno()).st_size)
        # Polls are counted, not the clock read: after Ctrl-Z and fg nobody has been silent for hours.
        still, seen = (still + _POLL_SECONDS, seen) if signs == seen else (0.0, signs)
        if still >= limit:
            raise _Silent
        while shown < min(size * 100 // max(expected, 1), 99):
            shown += 1
            yield shown
    if process.returncode == 0:
        yield from range(shown, 100)


def _fail(what: str, code: int, lines: list[str], silent: float | None) -> None:
    show(lines)
    if silent is not None:
        message = f"{what} gave no sign of life for {silent:.0f} seconds, and was ended"
        raise ModelFault(message, hang_remedy(silent), "E778")
    if any("No space left" in line for line in lines):
        raise StorageFault(f"{what}: no space left on the device", "free space and run the same command again", "E974")
    fix = remedy(code, "run the same command again, it resumes")
    raise ModelFault(f"{what} {how_it_ended(code)}", fix, "E777" if signal_name(code) else "E773")
