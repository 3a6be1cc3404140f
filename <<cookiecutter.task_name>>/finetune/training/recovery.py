"""Out of memory: halve the micro-batch, double the accumulation, resume. The effective batch never changes.

`auto_find_batch_size` of accelerate is not used: it changes the recipe and misses several of the messages of
finetune/memory_faults.py.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from finetune.console import say
from finetune.errors import ModelFault
from finetune.memory_faults import is_out_of_memory

MAX_TRIES = 3


@dataclass(frozen=True)
class Recovery:
    """One recovered shortage, for the run manifest."""

    from_per_device: int
    to_per_device: int
    message: str


def with_recovery(attempt: Callable[[int], Any], per_device: int, effective: int) -> tuple[Any, list[Recovery]]:
    """Call `attempt(micro_batch)`; on a memory shortage again with half of it, at most MAX_TRIES times.

    Raises ModelFault (E971) when a single row does not fit or the tries are used up.
    """
    recovered: list[Recovery] = []
    while True:
        try:
            return attempt(per_device), recovered
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            smaller = next((size for size in range(per_device // 2, 0, -1) if effective % size == 0), 0)
            if smaller == 0 or len(recovered) == MAX_TRIES:
                fix = "use method: qlora, a smaller base model or a smaller max_length"
                raise ModelFault(f"out of memory at {per_device} rows a step", fix, code="E971") from None
            recovered.append(Recovery(per_device, smaller, str(error)[:200]))
        # Outside the except block: the traceback would keep the failed attempt's tensors alive.
        per_device = smaller
        _free()
        say(f"W971 out of memory: going on with {per_device} rows at once, the effective batch stays {effective}")


def _free() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
