"""The output while it is written: OUT.part, and beside it OUT.part.json, which says for which run.

Answers are appended one whole window at a time and forced to the disk. A run that finds a part of its own keeps the
whole windows of it and goes on behind them; as a window's answers depend on its own rows alone, the bytes are those of
a run that was never stopped. At the end the part becomes OUT, and its manifest, last, OUT.manifest.json.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from finetune import provenance, sealed
from finetune.errors import FinetuneError

Inputs = Mapping[str, str]


class PartialOutput:
    """The files of one output; `open` decides whether there is something to go on with."""

    def __init__(self, out: Path, window: int, shown: str) -> None:
        self.out, self._window, self.shown = out, window, shown
        self.path = out.with_name(out.name + ".part")
        self._record = out.with_name(out.name + ".part.json")
        self.manifest = out.with_name(out.name + ".manifest.json")
        self._file: BinaryIO | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        return self.out, self.path, self._record, self.manifest

    def is_done(self, inputs: Inputs) -> bool:
        """Whether OUT is this run's already. Completes a run that was killed between its last two renames."""
        record = provenance.read_manifest(self._record)
        if record and record.outputs and not self.path.exists() and sealed.is_current(self._record, inputs):
            os.replace(self._record, self.manifest)
        return sealed.is_current(self.manifest, inputs)

    def rows_of(self, inputs: Inputs) -> int | None:
        """How many rows this run's input has, where an earlier start has checked and counted them."""
        record = provenance.read_manifest(self._record)
        return record.facts.get("rows") if record and record.inputs == dict(inputs) else None

    def refuse_foreign(self, inputs: Inputs, force: bool) -> None:
        """Raise FinetuneError where OUT (E444) or its part (E445) is another run's and `force` is not set."""
        if force:
            return
        record = provenance.read_manifest(self._record)
        if self.path.exists() and self.path.stat().st_size and (record is None or record.inputs != dict(inputs)):
            raise FinetuneError(
                f"{self.shown}.part holds answers of another run ({_difference(record, inputs)})",
                "finish that run, name another OUT, or give --force to begin anew",
                "E445",
            )
        if self.out.exists():
            made = provenance.read_manifest(self.manifest)
            raise FinetuneError(
                f"{self.shown} is there already, and not what this run writes ({_difference(made, inputs)})",
                "name another OUT, or give --force to replace it when the new one is whole",
                "E444",
            )

    def open(self, inputs: Inputs, rows: int) -> int:
        """Begin, or go on; returns how many rows are answered already. Raises FinetuneError (E446) while in use."""
        file = open(self.path, "r+b" if self.path.exists() else "x+b")  # noqa: SIM115
        try:
            _lock(file, f"{self.shown}.part")
            done = offset = 0
            if self.rows_of(inputs) == rows:
                done, offset = self._whole_windows(file, rows)
            file.truncate(offset)
            file.seek(offset)
            if not done:
                provenance.write_manifest(self._record, step="predict", inputs=inputs, outputs=[], facts={"rows": rows})
        except BaseException:
            file.close()
            raise
        self._file = file
        return done

    def append(self, lines: list[bytes]) -> None:
        """Write the answers of one window, the last one's may be fewer."""
        assert self._file is not None
        self._file.write(b"".join(lines))
        self._file.flush()
        os.fsync(self._file.fileno())

    def finish(self, inputs: Inputs, facts: Mapping[str, Any]) -> None:
        """Give the part its name, then its manifest."""
        assert self._file is not None
        self._file.seek(0)
        digest = hashlib.file_digest(self._file, "sha256").hexdigest()  # type: ignore[arg-type]
        output = {"sha256": digest, "bytes": self._file.tell()}
        record = {"step": "predict", "inputs": dict(inputs), "outputs": {self.out.name: output}, "facts": dict(facts)}
        provenance.write_json(self._record, record)
        os.replace(self.path, self.out)
        os.replace(self._record, self.manifest)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _whole_windows(self, file: BinaryIO, rows: int) -> tuple[int, int]:
        """Rows in whole windows, or all `rows`, and the bytes they take."""
        file.seek(0)
        read = offset = kept = end = 0
        for line in file:
            if not line.endswith(b"\n"):
                break
            read, offset = read + 1, offset + len(line)
            if read % self._window == 0 or read == rows:
                kept, end = read, offset
        return (0, 0) if read > rows else (kept, end)


def _difference(made: provenance.Manifest | None, inputs: Inputs) -> str:
    """What is another one, in words."""
    if made is None:
        return "no manifest says where it comes from"
    words = {"input": "the input", "artefact": "the model", "task": "the task", "generation": "the settings"}
    other = [words.get(name, name) for name in inputs if made.inputs.get(name) != inputs[name]]
    return f"changed: {', '.join(other)}" if other else "it was changed by hand"


def _lock(file: BinaryIO, shown: str) -> None:
    with contextlib.suppress(ImportError):  # no such locks on Windows
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FinetuneError(f"another run is writing {shown}", "let it end, or name another OUT", "E446") from None
