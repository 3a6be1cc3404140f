"""The data report's pictures as SVG: rows per split, classes, lengths, copies and scripts.

Each is drawn twice, for a wide page and for a telephone; the style shows one of them. Colours come from the page's CSS
classes. Every text that is not a number is escaped here; the results are `Markup`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count

from markupsafe import Markup, escape

from finetune.data.check_results import SplitCounts
from finetune.data.report.facts import share
from finetune.data.report.schema import Histogram, Imbalance, Lengths
from finetune.data.splits import SPLITS
from finetune.markdown import one_line
from finetune.svg import axis, fit, svg, text_width

WIDE, NARROW = 940, 340
MOST_CLASSES = 120
"""Classes that are drawn; of more, the largest third and the smallest two thirds of this number."""
_DENSE = 30
_NAMES = 330.0
"""Pixels for the names on a wide page."""
_PARTS = (*SPLITS, "out")
_FAR = 1.5
"""A limit further away than this many times the longest row is told, not drawn: it would squash the rows."""


def both(draw: Callable[[int], Markup]) -> Markup:
    """The picture for a wide page and for a narrow one."""
    pictures = (("wide", WIDE), ("narrow", NARROW))
    return Markup("").join(Markup('<div class="pic {}">{}</div>').format(name, draw(width)) for name, width in pictures)


def split_bar(splits: Sequence[tuple[str, int]], width: int) -> Markup:
    """One bar of all accepted rows: what each split gets, and what is left out."""
    total = sum(rows for _, rows in splits)
    at, parts, x = axis(0, max(1, total), 0, width), [], 0
    for (name, rows), kind in zip(splits, _PARTS, strict=False):
        title = f"{name}: {rows:,} rows, {share(rows, total)}"
        parts.append(_bar(at(x), 0, at(x + rows) - at(x), 22, kind, title))
        x += rows
    return svg(width, 22, "rows per split", parts)


def class_bars(classes: Mapping[str, SplitCounts], imbalance: Imbalance | None, width: int) -> Markup:
    """Stacked bars by class, largest first; a dashed line marks the fewest rows that the imbalance limit allows."""
    order = sorted(classes.items(), key=lambda item: (-item[1].rows, item[0]))
    hidden = len(order) - MOST_CLASSES
    top = MOST_CLASSES // 3
    shown = order if hidden <= 0 else [*order[:top], *order[top + hidden :]]
    wide, dense = width > 600, len(shown) > _DENSE
    pitch, height, size = (18, 12, 12) if wide and dense else (28, 18, 13) if wide else (38, 12, 12)
    most = max(1, order[0][1].rows)
    names = [one_line(name) for name, _ in shown]
    left = min(_NAMES, max(text_width(name, size) for name in names) + 12) if wide else 0.0
    right, head = text_width(f"{most:,}", size) + 14, 46.0
    at = axis(0, most, left, width - right)
    floor = most / imbalance.limit if imbalance and imbalance.limit else 0.0
    rows, y = [], head
    for number, (name, (_, counts)) in enumerate(zip(names, shown, strict=True)):
        if hidden > 0 and number == top:
            gap = f'<text class="axis" x="{left:.1f}" y="{y + 14:.1f}">… {hidden:,} classes between …</text>'
            rows.append(gap)
            y += 24
        level = y if wide else y + 18
        few = counts.rows < floor or not counts.rows
        goal = f'<line class="goal" x1="{at(floor)}" y1="{level - 2}" x2="{at(floor)}" y2="{level + height + 2}"/>'
        rows.append(_class_row(name, counts, at, left, (y, level, height, size), few, goal if floor else ""))
        y += pitch
    frame = _ticks(at, most, head, y, width, doubled=dense)
    if floor:
        x, label = at(floor), f"limit {imbalance.limit:g}:1 = {floor:,.0f} rows" if imbalance else ""
        end = x + 6 + text_width(label, 12) > width
        place = f'x="{x - 6 if end else x + 6:.1f}" y="14" text-anchor="{"end" if end else "start"}"'
        rows.append(f'<line class="goal" x1="{x}" y1="4" x2="{x}" y2="20"/><text class="mark" {place}>{label}</text>')
    return svg(width, y + (20 if dense else 4), "rows per class and split", [*frame, *rows])


def _class_row(
    name: str,
    counts: SplitCounts,
    at: Callable[[float], float],
    left: float,
    box: tuple[float, float, float, float],
    few: bool,
    goal: str,
) -> str:
    """Name, the bar's parts, the limit and the sum; on a narrow page the name stands above its bar."""
    y, level, height, size = box
    base = level + height / 2 + size * 0.36
    if left:
        label = f'<text class="name" font-size="{size}" x="{left - 8:.1f}" y="{base:.1f}" text-anchor="end">'
        label += f"{escape(fit(name, size, left - 12))}</text>"
    else:
        label = f'<text class="name" font-size="{size}" x="0" y="{y + 12:.1f}">{escape(fit(name, size, NARROW))}</text>'
    said = ", ".join(f"{split} {getattr(counts, split):,}" for split in SPLITS)
    said += f", left out {counts.left_out:,}" if counts.left_out else ""
    bars, x = "", 0
    for part, rows in zip(_PARTS, (counts.train, counts.valid, counts.test, counts.left_out), strict=True):
        if rows:
            bars += _bar(at(x), level, at(x + rows) - at(x), height, part)
            x += rows
    total = f'<text class="sum{" few" if few else ""}" font-size="{size}" x="{at(x) + 6:.1f}" y="{base:.1f}">'
    title = f"<title>{escape(f'{name}: {counts.rows:,} rows ({said})')}</title>"
    return f"<g>{title}{label}{bars}{goal}{total}{counts.rows:,}</text></g>"


def histogram(found: Histogram, lengths: Lengths | None, width: int) -> Markup:
    """Rows by length; bars beyond the limit stand out, and the limit is a line where it is near enough to be drawn."""
    bottom, height, left = 196, 232, 46
    low = found.bins[0][0]
    high = max(low + 1, found.bins[-1][1])
    near = found.limit is not None and found.limit <= high * _FAR
    at = axis(low, max(high, found.limit or 0) if near else high, left, width - 8)
    most = max(rows for _, _, rows in found.bins)
    up = axis(0, most, bottom, 34)
    parts = []
    for tick in nice_ticks(most, 4):
        parts.append(f'<line class="grid" x1="{left}" y1="{up(tick)}" x2="{width}" y2="{up(tick)}"/>')
        parts.append(f'<text class="axis" x="{left - 7}" y="{up(tick) + 4}" text-anchor="end">{tick:,}</text>')
    for start, end, rows in found.bins:
        if rows:
            over = found.limit is not None and start > found.limit
            x, wide = at(start), max(1.0, at(end) - at(start) - 1)
            top = min(up(rows), bottom - 1.5)
            title = f"{start:,} to {max(start, end - 1):,}: {rows:,} rows"
            parts.append(_bar(x, top, wide, bottom - top, "over-limit" if over else "train", title))
    last = max(high, found.limit or 0) if near else high
    for tick in nice_ticks(last, 8 if width > 600 else 4):
        if tick >= low:
            parts.append(f'<text class="axis" x="{at(tick)}" y="{bottom + 18}" text-anchor="middle">{tick:,}</text>')
    marks = [("median", lengths.median, "mid"), ("95 %", lengths.p95, "mid")] if lengths else []
    marks += [("limit", found.limit, "goal")] if near and found.limit is not None else []
    parts += _marks(marks, at, bottom, width)
    if found.limit is not None and not near:
        text = f'x="{width - 2}" y="{bottom + 34}" text-anchor="end"'
        parts.append(f'<text class="mark" {text}>limit {found.limit:,}, far to the right →</text>')
    return svg(width, height, "rows by length in characters", parts)


def _marks(
    marks: Sequence[tuple[str, int, str]], at: Callable[[float], float], bottom: float, width: float
) -> list[str]:
    """Labelled vertical lines; a label that would run into the one before it goes a line higher."""
    parts, ends = [], [-1.0, -1.0]
    for name, value, style in marks:
        x, label = at(value), f"{name} {value:,}"
        long = text_width(label, 12)
        begin = x + 5 if x + 5 + long < width else x - 5 - long
        row = 0 if begin > ends[0] else 1
        ends[row] = begin + long + 16
        y = 28 - 16 * row
        parts.append(f'<line class="{style}" x1="{x}" y1="{y - 10}" x2="{x}" y2="{bottom}"/>')
        parts.append(f'<text class="mark" x="{begin:.1f}" y="{y}">{label}</text>')
    return parts


def count_bars(rows: Sequence[tuple[str, int, str]], width: int) -> Markup:
    """Compact bars, each (what, how many, class of its colour), on one scale that begins at nothing."""
    wide, size = width > 600, 13
    names = [one_line(name) for name, _, _ in rows]
    left = min(_NAMES, max(text_width(name, size) for name in names) + 12) if wide else 0.0
    most = max(1, *(n for _, n, _ in rows))
    right = max(text_width(f"{n:,}", size) for _, n, _ in rows) + 14
    at, y, parts = axis(0, most, left, width - right), 0.0, []
    for name, (_, n, kind) in zip(names, rows, strict=True):
        level = y if wide else y + 18
        place = f'x="{left - 8:.1f}" y="{level + 13}" text-anchor="end"' if wide else f'x="0" y="{y + 13}"'
        label = escape(fit(name, size, left - 12 if wide else NARROW))
        parts.append(f'<text class="name" font-size="{size}" {place}>{label}</text>')
        length = max(2.0, at(n) - left) if n else 0.0
        if n:
            parts.append(_bar(left, level, length, 16, kind))
        parts.append(f'<text class="sum" font-size="{size}" x="{left + length + 6:.1f}" y="{level + 13}">{n:,}</text>')
        y += 26 if wide else 44
    return svg(width, y, "numbers of rows", parts)


def nice_ticks(most: int, about: int) -> list[int]:
    """Round numbers from 0 to `most`, in at most `about` steps of 1, 2 or 5 times a power of ten."""
    steps = (factor * 10**power for power in count() for factor in (1, 2, 5))
    return list(range(0, most + 1, next(step for step in steps if most <= step * about)))


def _ticks(
    at: Callable[[float], float], most: int, top: float, bottom: float, width: float, doubled: bool
) -> list[str]:
    """Grid lines with numbers above and, below a long picture, once more."""
    parts = []
    for tick in nice_ticks(most, 6 if width > 600 else 3):
        x = at(tick)
        parts.append(f'<line class="grid" x1="{x}" y1="{top - 6}" x2="{x}" y2="{bottom:.1f}"/>')
        for y in (top - 12, *((bottom + 14,) if doubled else ())):
            anchor = "start" if x < 8 else "middle"
            parts.append(f'<text class="axis" x="{x}" y="{y:.1f}" text-anchor="{anchor}">{tick:,}</text>')
    return parts


def _bar(x: float, y: float, width: float, height: float, kind: str, title: str = "") -> str:
    """A rectangle of a closed set of colours; the title is ours."""
    box = f'class="bar {kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f"<rect {box}><title>{escape(title)}</title></rect>" if title else f"<rect {box}/>"
