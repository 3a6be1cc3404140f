"""The parent's side of native.py: what it sends becomes entries, and how it dies becomes an error with a code."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

import finetune
from finetune.child_process import Watch, clean_environment, hang_remedy, how_it_ended, last_lines, patience
from finetune.errors import FinetuneError, ModelFault
from finetune.importing.sources import Entry, Source, broken

# -c instead of -m, and -P: the folder that the reader is started in must not be a place for modules.
_START = "import sys; from finetune.importing.native import main; main(*sys.argv[1:])"
_NEEDS = {"workbook": "python_calamine", "parquet": "pyarrow", "arrow": "pyarrow"}


def open_native(kind: str, files: list[Path], name: str, format: str, part: str = "") -> Source:
    """A source read by native.py; `files` of one kind, together called `name`.

    What it finds out is known once it is read. Raises FinetuneError: E165 where the extra is not installed, while
    reading what the child says, or ModelFault where it died (E166) or hung (E177).
    """
    module = _NEEDS[kind]
    if importlib.util.find_spec(module) is None:
        fix = "pip install -c constraints.txt -e '.[import]' (make setup installs it too)"
        raise FinetuneError(f"{name}: {format} needs the package {module}, which is not installed", fix, "E165")
    argument = str(files[0].absolute()) if kind == "workbook" else json.dumps([str(file.absolute()) for file in files])
    limit = patience(sum(file.stat().st_size for file in files))
    source = Source(name, format, lambda: _entries([kind, argument, part], source, limit))
    return source


def _entries(arguments: list[str], source: Source, limit: float) -> Iterator[Entry]:
    root = str(Path(finetune.__file__).resolve().parents[1])
    with tempfile.TemporaryDirectory(prefix="finetune-") as home, tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-B", "-P", "-c", _START, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=clean_environment(home, root) | {"OMP_NUM_THREADS": "1"},
        )
        watch = Watch(process)
        try:
            assert process.stdout
            ended = False
            while line := _line(process.stdout, watch, limit):
                message = _message(line)
                ended = ended or bool(message.get("end"))
                yield from _taken(message, source)
            if watch.expired:
                what = f"{source.name}: the program that reads it gave no sign of life for {limit:.0f} seconds"
                raise ModelFault(what, hang_remedy(limit), "E177")
            if not ended:
                raise _died(process.wait(), source.name, last_lines(log))
        finally:
            watch.close()
            process.kill()
            process.wait()
            process.stdout.close()  # type: ignore[union-attr]


def _line(stream: IO[bytes], watch: Watch, limit: float) -> bytes:
    """The next line, empty at the end. What is done with it takes as long as it takes: only the reader is timed."""
    watch.expect(limit)
    try:
        return stream.readline()
    finally:
        watch.rest()


def _message(line: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(line)
    except msgspec.DecodeError:
        return {}  # cut off by the death of its writer


def _taken(message: dict[str, Any], source: Source) -> Iterator[Entry]:
    name = source.name
    if "error" in message:
        code, what, fix = message["error"]
        raise FinetuneError(f"{name}: {what}", fix, code) if fix else broken(name, what)
    if "about" in message:
        source.found = [tuple(line) for line in message["about"]]
    file = f"{name}/{message['file']}" if message.get("file") and not name.endswith(message["file"]) else name
    for number, record in message.get("rows", ()):
        yield Entry(f"{file}:{number}", record, message["done"])


def _died(code: int, name: str, said: list[str]) -> ModelFault:
    """How a reader that did not end in order did end."""
    lines = [line for line in said if not line.startswith("note:")]
    last = f" ({lines[-1][:200]})" if lines else ""
    fix = "nothing was written; save the data as CSV or JSON Lines and import that"
    return ModelFault(f"{name}: the program that reads it {how_it_ended(code)}{last}", fix, "E166")
