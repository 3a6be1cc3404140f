"""Small SVG pictures for HTML pages: text that fits, axes, and the element around them.

Colours come from the page's CSS classes, so a picture follows light and dark. Every text must be escaped by who draws.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

from markupsafe import Markup, escape


def text_width(text: str, size: float) -> float:
    """Estimated width in pixels; East Asian wide characters take a full em."""
    return size * sum(1.0 if unicodedata.east_asian_width(c) in "WF" else 0.56 for c in text)


def fit(text: str, size: float, width: float) -> str:
    """`text`, shortened with an ellipsis to `width` pixels."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "…", size) > width:
        text = text[:-1]
    return text + "…"


def axis(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """A function from values to pixels, clipped to the drawing."""

    def place(value: float) -> float:
        share = min(max((value - low) / (high - low), 0.0), 1.0)
        return round(start + share * (end - start), 1)

    return place


def svg(width: float, height: float, label: str, parts: Sequence[str]) -> Markup:
    """The picture of `parts`, which must be safe already; `label` is what a screen reader says."""
    return Markup(
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" role="img" aria-label="{escape(label)}">'
        + "".join(parts)
        + "</svg>"
    )
