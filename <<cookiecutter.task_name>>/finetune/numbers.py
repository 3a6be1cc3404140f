"""Numbers as people read them, the same in reports, comments, release notes and cards; a dash where there is none."""

from __future__ import annotations

NONE = "–"


def format_number(value: float | None, digits: int = 3) -> str:
    """A measured value with fixed digits."""
    return f"{value:.{digits}f}" if isinstance(value, (int, float)) else NONE


def format_signed(value: float | None) -> str:
    """A difference with its sign, which nothing has that rounds to zero."""
    if not isinstance(value, (int, float)):
        return NONE
    text = f"{value:+.3f}"
    return "0.000" if text in ("+0.000", "-0.000") else text


def format_size(value: float | None) -> str:
    """Bytes as the Hub shows them: a MB are 10^6. Below 0.1 MB they are counted."""
    if not isinstance(value, (int, float)):
        return NONE
    if value < 1e5:
        return f"{value:,} bytes"
    return f"{value / 1e9:.2f} GB" if value >= 1e9 else f"{value / 1e6:.1f} MB"
