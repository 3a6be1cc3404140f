"""What people see: lines, tables, progress, problems; and the one wrapper that turns failures into exit codes."""

from __future__ import annotations

import errno
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from finetune import codes, remedies
from finetune.errors import (
    BAD_INPUT,
    INTERRUPTED,
    IO_FAULT,
    MODEL_FAULT,
    OK,
    BadInput,
    FinetuneError,
    Problem,
    Problems,
)
from finetune.interrupts import Stopped, advice, ignore, listening, stop
from finetune.memory_faults import says_out_of_memory

T = TypeVar("T")
QUIET_SECONDS = 2.0
"""Work that is done sooner shows no progress."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Where no terminal says how wide it is, a table must not be cut to 80 columns.
_err = Console(stderr=True, highlight=False, soft_wrap=True, width=None if sys.stderr.isatty() else 140)


def say(text: str) -> None:
    """One plain line on standard error, never markup; where it begins with a code, its remedy follows."""
    _err.print(Text(_harmless(text)))
    if begins := codes.CODE.match(text):
        _say_remedies([begins[0]])


def _say_remedies(said: Iterable[str]) -> None:
    for line in remedies.remedy_lines(said):
        _err.print(Text(line))


def answer(text: str) -> None:
    """One line on standard output: what the command was asked for. Harmless as in `say`, in whatever encoding."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write(_harmless(text).encode(encoding, "backslashreplace").decode(encoding) + "\n")
    sys.stdout.flush()


def resolved(name: str, value: object, reason: str) -> None:
    """Announce a value the step chose, and why: `dtype=bfloat16 (the CPU has avx512_bf16)`."""
    say(f"  {name}={value} ({reason})")


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a small table on standard error."""
    grid = Table(title=Text(_harmless(title)), title_justify="left", pad_edge=False)
    for index, column in enumerate(columns):
        grid.add_column(Text(_harmless(column)), justify="left" if index == 0 else "right")
    for row in rows:
        grid.add_row(*(Text(_harmless(str(cell))) for cell in row))
    _err.print(grid)


def progress(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Yield `items` behind a progress bar; where no terminal listens, a line at every tenth after two seconds."""
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # type: ignore[arg-type]
    if not _err.is_terminal:
        yield from _tenths(items, label, total)
        return
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=_err,
        transient=False,
    )
    with bar:
        yield from bar.track(items, total=total, description=escape(_harmless(label)))


def _tenths(items: Iterable[T], label: str, total: int | None) -> Iterator[T]:
    shown, start = 0, time.monotonic()
    for number, item in enumerate(items, 1):
        yield item
        if total and number * 10 // total > shown and time.monotonic() - start >= QUIET_SECONDS:
            shown = number * 10 // total
            say(f"  {label}: {number}/{total}")


def report_problems(problems: Problems, as_json: bool = False) -> None:
    """Print problems for people (stderr), machines (`--json`, stdout) and GitHub (annotations)."""
    if as_json:
        sys.stdout.write(json.dumps(problems.to_json(), ensure_ascii=True) + "\n")
    elif problems.all:
        _err.print(Text(_harmless(problems.render())))
        _say_remedies(problem.code for problem in problems.all)
    if os.environ.get("GITHUB_ACTIONS") == "true" and not as_json:
        for problem in problems.all[:50]:
            # Whatever the runner's encoding: a sign it lacks must not cost the report.
            encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
            sys.stdout.write(_annotation(problem).encode(encoding, "backslashreplace").decode(encoding) + "\n")


def _annotation(problem: Problem) -> str:
    """A workflow command; data and properties are escaped as the runner defines them."""

    def data(text: str) -> str:
        return "%0A".join(_visible(line).replace("%", "%25") for line in text.split("\n"))

    def prop(text: str) -> str:
        return data(text).replace(":", "%3A").replace(",", "%2C")

    kind = "warning" if problem.is_warning else "error"
    place = f"file={prop(problem.path)}" + (f",line={problem.line}" if problem.line is not None else "")
    message = f"{problem.key}: {problem.message}" if problem.key else problem.message
    fix = f". Fix: {problem.fix}" if problem.fix else ""
    remedy = "".join(f"\n修正：{sentence}" for sentence in remedies.remedies([problem.code]).values())
    return f"::{kind} {place},title={prop(problem.code)}::{data(message + fix + remedy)}"


def _harmless(text: str) -> str:
    """`text` without what a terminal or the Actions runner would obey: control characters, `::` and `##[` commands."""
    lines = []
    for line in text.split("\n"):
        clean = _visible(line)
        if clean.lstrip().startswith("::"):
            clean = clean.replace("::", ": :", 1)
        lines.append(clean.replace("##[", "## ["))
    return "\n".join(lines)


def _visible(line: str) -> str:
    return "".join(c if c == "\t" or c.isprintable() else f"\\u{ord(c):04x}" for c in line)


def run(step: Callable[..., int | None], *, project: Path, smoke: bool = False, **options: Any) -> int:
    """Load the project and run one step of it; `guarded` tells what happens when something goes wrong."""
    from finetune.config.project import load_project

    remedies.use(project)
    loaded = None

    def call() -> int | None:
        nonlocal loaded
        try:
            loaded = load_project(project, smoke=smoke)
            return step(loaded, **options)
        except FinetuneError as failure:
            if smoke:
                failure.in_smoke_run()
            raise

    return guarded(call, as_json=bool(options.get("as_json")), again=lambda: advice(step, loaded, options))


def guarded(
    call: Callable[[], int | None], *, as_json: bool = False, again: Callable[[], str] = lambda: "run it again"
) -> int:
    """The exit code of `call`; whatever goes wrong in it becomes one message and its exit code.

    `again` says what to do after an interruption.
    """
    try:
        with listening(stop):
            return call() or OK
    except BadInput as failure:
        report_problems(failure.problems, as_json=as_json)
        return BAD_INPUT
    except FinetuneError as failure:
        say(str(failure))
        return failure.exit_code
    except KeyboardInterrupt as failure:
        if isinstance(failure, Stopped):
            ignore()
        say(f"E975 stopped by {getattr(failure, 'name', 'Ctrl-C')}. Fix: {again()}")
        return INTERRUPTED
    except OSError as failure:
        return _os_error(failure)
    except ModuleNotFoundError as failure:
        return _no_module(failure)
    except MemoryError:
        say("E971 the machine ran out of memory. Fix: lower batch.per_device or max_length, or use method: qlora")
        return MODEL_FAULT
    except Exception as failure:  # a bug of ours: said as such, with the place, and never as a success
        return _unexpected(failure)


def _no_module(failure: ModuleNotFoundError) -> int:
    """A package of an extra that this Python lacks; a module of ours that is missing is a bug."""
    package = (failure.name or "").partition(".")[0]
    if not package or package == "finetune":
        return _unexpected(failure)
    say(f"E248 {sys.executable} lacks {package}. Fix: make setup, then run the same command with .venv/bin/python")
    return BAD_INPUT


def _os_error(failure: OSError) -> int:
    where = f" ({failure.filename})" if failure.filename else ""
    if failure.errno in _FULL:
        say(f"E974 no space left on the device{where}. Fix: free space and run the same command again")
    else:
        said = _one_line(failure.strerror or str(failure)) or type(failure).__name__
        say(f"E974 {said}{where}. Fix: correct it and run the same command again")
    return IO_FAULT


def _unexpected(failure: Exception) -> int:
    if os.environ.get("FINETUNE_DEBUG"):
        traceback.print_exc()
    if says_out_of_memory(str(failure)):
        say("E971 the device ran out of memory. Fix: lower batch.per_device or max_length, or use method: qlora")
        return MODEL_FAULT
    # torch and safetensors wrap a full disk in errors of their own.
    cause, text = failure.__cause__ or failure.__context__, str(failure).lower()
    if "no space left" in text or "file write failed" in text or getattr(cause, "errno", None) in _FULL:
        return _os_error(OSError(errno.ENOSPC, ""))
    place = traceback.extract_tb(failure.__traceback__)[-1]
    say(
        f"E999 unexpected {type(failure).__name__}: {_one_line(str(failure))} "
        f"({Path(place.filename).name}:{place.lineno}). Fix: run again with FINETUNE_DEBUG=1 and report the output"
    )
    return MODEL_FAULT


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500]
