"""The parent's side of native.py: what it sends becomes entries, and how it dies becomes an error with a code."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

import finetune
from finetune.errors import FinetuneError, ModelFault
from finetune.importing.sources import Entry, Source, broken

_KEPT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "LANG", "LC_ALL", "TMPDIR", "TEMP", "TMP")
# -c instead of -m, and -P: the folder that the reader is started in must not be a place for modules.
_START = "import sys; from finetune.importing.native import main; main(*sys.argv[1:])"
_NEEDS = {"workbook": "python_calamine", "parquet": "pyarrow", "arrow": "pyarrow"}


def open_native(kind: str, files: list[Path], name: str, format: str, part: str = "") -> Source:
    """A source read by native.py; `files` of one kind, together called `name`.

    What it finds out is known once it is read. Raises FinetuneError: E165 where the extra is not installed, while
    reading what the child says, or E166 (ModelFault) where it died.
    """
    module = _NEEDS[kind]
    if importlib.util.find_spec(module) is None:
        fix = "pip install -c constraints.txt -e '.[import]' (make setup installs it too)"
        raise FinetuneError(f"{name}: {format} needs the package {module}, which is not installed", fix, "E165")
    argument = str(files[0].absolute()) if kind == "workbook" else json.dumps([str(file.absolute()) for file in files])
    source = Source(name, format, lambda: _entries(kind, argument, part, source))
    return source


def _entries(kind: str, argument: str, part: str, source: Source) -> Iterator[Entry]:
    environment = {key: os.environ[key] for key in _KEPT if key in os.environ}
    environment |= {"PYTHONPATH": str(Path(finetune.__file__).parent.parent), "PYTHONUTF8": "1", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-B", "-P", "-c", _START, kind, argument, part], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=log, env=environment,
        )  # fmt: skip
        try:
            assert process.stdout
            ended = False
            for line in process.stdout:
                message = _message(line)
                ended = ended or bool(message.get("end"))
                yield from _taken(message, source)
            if not ended:
                raise _died(process.wait(), source.name, log)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()  # type: ignore[union-attr]


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


def _died(code: int, name: str, log: IO[bytes]) -> ModelFault:
    """How a reader that did not end in order did end; the same is said of other children in export/child.py."""
    log.seek(0)
    said = log.read()[-2000:].decode("utf-8", "replace").splitlines()
    lines = [line.strip() for line in said if line.strip() and not line.startswith("note:")]
    how = f"ended with exit code {code}"
    if code < 0:
        known = {item.value: item.name for item in signal.Signals}
        how = f"was ended by {known.get(-code, f'signal {-code}')}"
    last = f" ({lines[-1][:200]})" if lines else ""
    fix = "nothing was written; save the data as CSV or JSON Lines and import that"
    return ModelFault(f"{name}: the program that reads it {how}{last}", fix, "E166")
