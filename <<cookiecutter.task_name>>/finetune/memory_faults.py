"""Whether an error says that memory ran out: training and decoding recover from it, anything else ends with E971."""

from __future__ import annotations

import re

_MESSAGES = re.compile(
    r"out of memory|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED|not enough memory|can't allocate memory",
    re.IGNORECASE,
)


def is_out_of_memory(error: BaseException) -> bool:
    """True for the errors by which torch, CUDA, cuBLAS, cuDNN and the host's allocator say that memory ran out."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and says_out_of_memory(str(error))


def says_out_of_memory(text: str) -> bool:
    return _MESSAGES.search(text) is not None
