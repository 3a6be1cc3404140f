"""Ctrl-C, SIGTERM and SIGHUP end a step in order, with a true word on what the same command does next time.

    @rerun("what a model has answered completely is kept")
    def evaluate(project, …): …

What the shell told this process to ignore (nohup, a job in the background) stays ignored.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
STARTS_OVER = "it starts over, and nothing is half-written"

Step = TypeVar("Step", bound=Callable[..., Any])
Says = str | Callable[[Any], str]


class Stopped(KeyboardInterrupt):
    """A signal that ends the step; `name` is how people know it."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.name = name_of(number)


def name_of(number: int) -> str:
    """`Ctrl-C` for SIGINT, else the signal's own name."""
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name


def is_ctrl_c(stopped: KeyboardInterrupt) -> bool:
    """Whether somebody at the keyboard stopped it: only they may be asked whether to go on."""
    return not isinstance(stopped, Stopped) or stopped.name == name_of(signal.SIGINT)


@contextmanager
def listening(heard: Callable[[int], None]) -> Iterator[None]:
    """Call `heard(number)` for each of SIGNALS while the block runs; does nothing outside of the main thread."""
    previous = {}
    if threading.current_thread() is threading.main_thread():

        def handler(number: int, frame: FrameType | None) -> None:
            heard(number)

        # None: a handler that was not set by Python, which Python could not put back.
        heeded = [number for number in SIGNALS if signal.getsignal(number) not in (signal.SIG_IGN, None)]
        previous = {number: signal.signal(number, handler) for number in heeded}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)


def stop(number: int) -> None:
    """Raise Stopped, the way Python raises KeyboardInterrupt for SIGINT alone."""
    raise Stopped(number)


def ignore() -> None:
    """From here to the end of the process no signal may cut a message in two."""
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)


def rerun(says: Says) -> Callable[[Step], Step]:
    """Mark a step with what a second run of it does after an interruption: a clause, or a function of the project."""

    def mark(step: Step) -> Step:
        step.rerun = says  # type: ignore[attr-defined]
        return step

    return mark


def advice(step: Callable[..., Any], project: Any, options: Mapping[str, Any]) -> str:
    """What to do after an interruption: which command again, and what it does.

    --force and --restart would throw away what the interrupted run has done, so they are left out the second time.
    """
    says = getattr(step, "rerun", STARTS_OVER)
    if callable(says):
        says = says(project) if project is not None else STARTS_OVER
    dropped = " or ".join(f"--{name}" for name in ("force", "restart") if options.get(name))
    command = f"run the same command without {dropped}" if dropped and says != STARTS_OVER else "run the same command"
    return f"{command} again: {says}"
