"""Reading values that nobody vouches for: numbers that are numbers, settings compared, versions in order."""

from __future__ import annotations

import math
from typing import Any

from finetune.versions import parse_tag


def finite_or_none(value: object) -> float | None:
    """`value` as a finite float, else None: a bool, a string, NaN and infinity prove nothing."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None


def first_difference(before: Any, now: Any, key: str = "") -> str | None:
    """Dotted name of the first setting that differs between two dumped configurations; None when they agree."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in {**before, **now}:
            if difference := first_difference(before.get(name), now.get(name), f"{key}.{name}".lstrip(".")):
                return difference
        return None
    return None if before == now else key


def version_key(name: str) -> tuple[object, ...]:
    """Sorts names of tags by their versions, v1.10.0 after v1.9.0 after v1.9.0-rc.1; other names come before them."""
    version = parse_tag(name)
    return (True, version.order) if version else (False, name)
