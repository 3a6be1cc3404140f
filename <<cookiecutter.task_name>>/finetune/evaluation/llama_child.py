"""The parent's end of llama.cpp's process: ask, wait with a limit, and say what happened when no answer comes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import weakref
from pathlib import Path
from typing import IO

from finetune.child_process import (
    CRASHES,
    Watch,
    clean_environment,
    hang_remedy,
    how_it_ended,
    import_paths,
    last_lines,
    patience,
    remedy,
    show,
    signal_name,
)
from finetune.errors import FinetuneError, ModelFault
from finetune.evaluation.llama_messages import (
    A,
    Alive,
    Failed,
    Load,
    Loaded,
    ReadVocabulary,
    Request,
    Vocabulary,
    read_answer,
    to_line,
)

REDO = "run scripts/06_convert_gguf.py --force"
_WORKER = "finetune.evaluation.llama_worker"
_LONGEST_LINE = 64 * 2**20
GRACE_SECONDS = 10
"""A process that no longer speaks has this time to end, so that its exit code can be told."""


class RuntimeFault(ModelFault):
    """llama.cpp's process crashed (E480), was ended from outside (E481), hung (E482), or failed otherwise (E483)."""

    def __init__(self, message: str, fix: str, code: str, *, signal: str | None, lines: list[str]) -> None:
        super().__init__(message, fix, code)
        self.signal, self.lines = signal, lines

    @property
    def is_crash(self) -> bool:
        return self.code == "E480"

    def shown(self) -> RuntimeFault:
        """This fault, after showing the last lines of llama.cpp."""
        show(self.lines)
        return self


class LlamaChild:
    """A process in which llama.cpp works on one GGUF file.

    It sees no secrets, writes nothing to the terminal, and ends with this object, this process, or the thread that made
    this object.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()
        self._name = path.name
        self._limit = patience(path.stat().st_size if path.is_file() else 0)
        home = tempfile.TemporaryDirectory(prefix="finetune-")
        self._log = tempfile.TemporaryFile("a+b")  # noqa: SIM115  closed by _finish
        self._process = subprocess.Popen(
            [sys.executable, "-B", "-m", _WORKER, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=clean_environment(home.name, import_paths()),
            cwd=home.name,
        )
        self._watch = Watch(self._process)
        self._finish = weakref.finalize(self, _finish, self._process, self._watch, self._log, home)

    @property
    def pid(self) -> int:
        return self._process.pid

    def load(self, *, context: int, threads: int, extra_buffers: bool) -> Loaded:
        """Load the file and run it once. ModelFault (E470) for a file it refuses."""
        request = Load(path=str(self._path), context=context, threads=threads, extra_buffers=extra_buffers)
        return self._open(request, Loaded, "loading")

    def vocabulary(self) -> Vocabulary:
        """Load the vocabulary alone."""
        return self._open(ReadVocabulary(path=str(self._path)), Vocabulary, "loading the vocabulary of")

    def _open(self, request: Load | ReadVocabulary, kind: type[A], doing: str) -> A:
        answer = self._exchange(request, kind, doing)
        if not isinstance(answer, Failed):
            return answer
        if answer.missing:
            raise FinetuneError(
                f"llama-cpp-python cannot be used: {answer.reason}", 'run pip install -e ".[export]"', "E520"
            )
        show(last_lines(self._log))
        raise ModelFault(f"llama.cpp cannot load {self._name}: {answer.reason}", REDO, "E470")

    def ask(self, request: Request, kind: type[A], doing: str) -> A:
        """The answer, of `kind`, to one request; RuntimeFault when there is none.

        `doing` says in a message what it was for.
        """
        answer = self._exchange(request, kind, doing)
        if isinstance(answer, Failed):
            message = f"llama.cpp failed while {doing} {self._name}: {answer.reason}"
            raise RuntimeFault(message, REDO, "E483", signal=None, lines=last_lines(self._log))
        return answer

    def _exchange(self, request: Request, kind: type[A], doing: str) -> A | Failed:
        assert self._process.stdin is not None
        try:
            self._watch.expect(self._limit)
            try:
                self._process.stdin.write(to_line(request))
                self._process.stdin.flush()
            except BrokenPipeError:
                raise self._fault(doing) from None
            while isinstance(answer := self._read(kind, doing), Alive):
                self._watch.expect(self._limit)
            return answer
        except BaseException:  # after Ctrl-C too: the next line would answer a request of before
            self.close()
            raise
        finally:
            self._watch.rest()

    def _read(self, kind: type[A], doing: str) -> A | Failed | Alive:
        assert self._process.stdout is not None
        line = self._process.stdout.readline(_LONGEST_LINE)
        if not line.endswith(b"\n") and len(line) < _LONGEST_LINE:
            raise self._fault(doing)
        try:
            return read_answer(line, kind)
        except ValueError:
            lines = [*last_lines(self._log), f"it said: {line[:200]!r}"]
            message = f"llama.cpp's process wrote what is no answer while {doing} {self._name}"
            fix = f"run the same command again; if it stays, {REDO}"
            raise RuntimeFault(message, fix, "E483", signal=None, lines=lines) from None

    def _fault(self, doing: str) -> RuntimeFault:
        """Why the process no longer speaks."""
        lives = False
        try:
            code = self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            lives, code = True, 0
        lines, where = last_lines(self._log), f"while {doing} {self._name}"
        if self._watch.expired:
            message = f"llama.cpp gave no sign of life for {self._limit:.0f} seconds {where}, and was ended"
            return RuntimeFault(message, hang_remedy(self._limit), "E482", signal=None, lines=lines)
        name = signal_name(code)
        kind = "E483" if name is None else "E480" if name in CRASHES else "E481"
        message = f"llama.cpp {'closed its end of the pipe' if lives else how_it_ended(code)} {where}"
        return RuntimeFault(message, remedy(code, REDO), kind, signal=name, lines=lines)

    @property
    def closed(self) -> bool:
        return not self._finish.alive

    def close(self) -> None:
        """End the process, at once: it has nothing to save."""
        self._finish()


def _finish(
    process: subprocess.Popen[bytes], watch: Watch, log: IO[bytes], home: tempfile.TemporaryDirectory[str]
) -> None:
    watch.close()
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, log):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
    home.cleanup()
