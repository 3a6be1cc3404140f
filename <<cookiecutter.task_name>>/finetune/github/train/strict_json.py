"""JSON of others: one value, no repeated keys, no NaN, and no larger than its reader expects."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any


class Unreadable(ValueError):
    """Why a file is not what it should be, in one clause."""


def read_bytes(path: Path, limit: int) -> bytes:
    """Content of a regular file of at most `limit` bytes. Raises Unreadable; a link is not followed."""
    try:
        # Without O_NONBLOCK, opening a pipe would wait for its other end.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise Unreadable("missing") from None
    except OSError:
        raise Unreadable("not a regular file") from None
    with open(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("not a regular file")
        if status.st_size > limit:
            raise Unreadable(f"{status.st_size:,} bytes, more than {limit:,}")
        return file.read(limit)


def loads(data: bytes) -> Any:
    """The one JSON value in `data`. Raises Unreadable."""
    try:
        return json.loads(
            data.decode("utf-8"), object_pairs_hook=_reject_duplicate_keys, parse_constant=_refuse, parse_float=_finite
        )
    except Unreadable:
        raise
    except (ValueError, RecursionError):
        raise Unreadable("not JSON") from None


def read_json(path: Path, limit: int) -> Any:
    """`loads` of `read_bytes`."""
    return loads(read_bytes(path, limit))


def _reject_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        # Which of the two counts would depend on the reader.
        raise Unreadable("a key stands there twice")
    return values


def _refuse(name: str) -> Any:
    raise Unreadable(f"{name} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise Unreadable(f"{text[:40]} is no finite number")
    return value
