"""What people see: lines, tables, progress, problems; and the one wrapper that turns failures into exit codes."""

from __future__ import annotations

import errno
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

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

T = TypeVar("T")
_err = Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """One plain line on standard error; never interpreted as markup."""
    _err.print(escape(_harmless(text)))


def resolved(name: str, value: object, reason: str) -> None:
    """Announce a value the step chose, and why: `dtype=bfloat16 (the CPU has avx512_bf16)`."""
    say(f"  {name}={value} ({reason})")


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a small table on standard error."""
    grid = Table(title=escape(title), title_justify="left", pad_edge=False)
    for index, column in enumerate(columns):
        grid.add_column(escape(column), justify="left" if index == 0 else "right")
    for row in rows:
        grid.add_row(*(escape(_harmless(str(cell))) for cell in row))
    _err.print(grid)


def progress(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Yield `items` behind a progress bar; where no terminal listens, a line at every tenth instead."""
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # type: ignore[arg-type]
    if not _err.is_terminal:
        yield from _tenths(items, label, total)
        return
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(), console=_err, transient=False,
    )  # fmt: skip
    with bar:
        yield from bar.track(items, total=total, description=escape(label))


def _tenths(items: Iterable[T], label: str, total: int | None) -> Iterator[T]:
    shown = 0
    for number, item in enumerate(items, 1):
        yield item
        if total and total >= 10 and number * 10 // total > shown:
            shown = number * 10 // total
            say(f"  {label}: {number}/{total}")


def report_problems(problems: Problems, as_json: bool = False) -> None:
    """Print problems for people (stderr), machines (`--json`, stdout) and GitHub (annotations)."""
    if as_json:
        sys.stdout.write(json.dumps(problems.to_json(), ensure_ascii=True) + "\n")
    elif problems.all:
        say(problems.render())
    if os.environ.get("GITHUB_ACTIONS") == "true" and not as_json:
        for problem in problems.all[:50]:
            sys.stdout.write(_annotation(problem) + "\n")


def _annotation(problem: Problem) -> str:
    """A workflow command; data and properties are escaped as the runner defines them."""

    def data(text: str) -> str:
        return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")

    def prop(text: str) -> str:
        return data(text).replace(":", "%3A").replace(",", "%2C")

    kind = "warning" if problem.is_warning else "error"
    place = f"file={prop(problem.path)}" + (f",line={problem.line}" if problem.line is not None else "")
    message = f"{problem.key}: {problem.message}" if problem.key else problem.message
    fix = f". Fix: {problem.fix}" if problem.fix else ""
    return f"::{kind} {place},title={prop(problem.code)}::{data(message + fix)}"


def _harmless(text: str) -> str:
    """`text` without what a terminal or the Actions runner would obey: control characters, `::` and `##[` commands."""
    lines = []
    for line in text.split("\n"):
        clean = "".join(c if c == "\t" or (c.isprintable() or c == " ") else f"\\u{ord(c):04x}" for c in line)
        if clean.lstrip().startswith("::"):
            clean = clean.replace("::", ": :", 1)
        lines.append(clean.replace("##[", "## ["))
    return "\n".join(lines)


def run(step: Callable[..., int | None], *, project: Path, smoke: bool = False, **options: Any) -> int:
    """Load the project, run one step, and turn whatever goes wrong into one message and its exit code."""
    from finetune.config.project import load_project

    try:
        return step(load_project(project, smoke=smoke), **options) or OK
    except BadInput as failure:
        report_problems(failure.problems, as_json=bool(options.get("as_json")))
        return BAD_INPUT
    except FinetuneError as failure:
        say(str(failure))
        return failure.exit_code
    except KeyboardInterrupt:
        say("E975 interrupted. Fix: run the same command again, it resumes")
        return INTERRUPTED
    except OSError as failure:
        return _os_error(failure)
    except MemoryError:
        say("E971 the machine ran out of memory. Fix: lower batch.per_device or max_length, or use method: qlora")
        return MODEL_FAULT
    except Exception as failure:  # a bug of ours: said as such, with the place, and never as a success
        if os.environ.get("FINETUNE_DEBUG"):
            traceback.print_exc()
        if "out of memory" in str(failure).lower():
            say("E971 the device ran out of memory. Fix: lower batch.per_device or max_length, or use method: qlora")
            return MODEL_FAULT
        place = traceback.extract_tb(failure.__traceback__)[-1]
        say(
            f"E999 unexpected {type(failure).__name__}: {str(failure)[:500]} "
            f"({Path(place.filename).name}:{place.lineno}). Fix: run again with FINETUNE_DEBUG=1 and report the output"
        )
        return MODEL_FAULT


def _os_error(failure: OSError) -> int:
    where = f" ({failure.filename})" if failure.filename else ""
    if failure.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        say(f"E974 no space left on the device{where}. Fix: free space and run the same command again")
    else:
        say(f"E974 {failure.strerror or type(failure).__name__}{where}. Fix: correct it and run the same command again")
    return IO_FAULT
