"""One function over many pieces, in as many processes as there are cores, results in order."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from finetune.child_process import end_with
from finetune.errors import StorageFault
from finetune.interrupts import SIGNALS
from finetune.threads import available

Piece = TypeVar("Piece")
Result = TypeVar("Result")
Map = Callable[[Callable[[Any, Piece], Result], Iterable[Piece]], Iterator[Result]]
_WAITING = 3
"""Pieces a process: enough that none waits for work, few enough that unread results stay small."""
_state: Any = None


@contextmanager
def workers(make_state: Callable[[], Any], parallel: bool) -> Iterator[Map[Any, Any]]:
    """A `map(function, pieces)` whose `function(state, piece)` runs in processes that each made their own state.

    Results come in the order of the pieces. Without `parallel`, with one core, or where a process cannot be forked,
    everything runs here. Raises StorageFault where a process was killed from outside, mostly for want of memory.
    """
    cores = available().count
    if not parallel or cores < 2 or sys.platform != "linux":
        state = make_state()
        yield lambda function, pieces: (function(state, piece) for piece in pieces)
        return
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(cores, mp_context=context, initializer=_start, initargs=(make_state, os.getpid())) as pool:
        yield lambda function, pieces: _ordered(pool, cores, function, pieces)


def _ordered(pool: ProcessPoolExecutor, cores: int, function: Callable[..., Any], pieces: Iterable[Any]) -> Iterator:
    waiting: deque[Future[Any]] = deque()
    try:
        for piece in pieces:
            waiting.append(pool.submit(_call, function, piece))
            if len(waiting) >= _WAITING * cores:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        fix = "free memory and run the same command again"
        raise StorageFault("a process that reads data was killed from outside", fix, "E977") from None
    finally:
        for future in waiting:
            future.cancel()


def _start(make_state: Callable[[], Any], parent: int) -> None:
    global _state
    end_with(parent)
    gc.disable()  # what is made here holds no cycles, and looking for some costs a tenth of the time
    os.environ |= {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}  # one thread a core in all
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and ends the work in order
    for number in set(SIGNALS) - {signal.SIGINT}:
        signal.signal(number, signal.SIG_DFL)  # the parent's handler came along with the fork
    _state = make_state()


def _call(function: Callable[[Any, Any], Any], piece: Any) -> Any:
    return function(_state, piece)
