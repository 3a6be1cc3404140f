"""The report's pictures as small SVG strings: colours come from the page's CSS classes, so they follow light and dark.

Every text that is not a number is escaped here; the results are `Markup` and go into the template as they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

from finetune.evaluation.report_parts import Training
from finetune.svg import axis, fit, svg, text_width

LARGEST_MATRIX = 30
"""Classes drawn in a heat map; of more, those with the most errors."""


def scale(
    value: float, interval: Sequence[float], threshold: float, baselines: Sequence[tuple[str, float]], passed: bool
) -> Markup:
    """The primary metric on a line from 0 to 1: dot with interval, threshold mark, baselines as hollow dots."""
    left, width, y = 14.0, 572.0, 62.0
    at = axis(0.0, 1.0, left, left + width)
    parts = [f'<line class="rail" x1="{left}" y1="{y}" x2="{left + width}" y2="{y}"/>']
    for tick in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<line class="tick" x1="{at(tick)}" y1="{y - 4}" x2="{at(tick)}" y2="{y + 4}"/>')
        parts.append(f'<text class="axis" x="{at(tick)}" y="{y + 44}" text-anchor="middle">{tick:g}</text>')
    goal = at(threshold)
    side = "end" if threshold > 0.5 else "start"
    shift = -7 if threshold > 0.5 else 7
    parts.append(f'<line class="goal" x1="{goal}" y1="14" x2="{goal}" y2="{y + 14}"/>')
    parts.append(f'<text class="note" x="{goal + shift}" y="22" text-anchor="{side}">threshold {threshold:.3f}</text>')
    used: list[float] = []
    for name, baseline in baselines:
        x = at(baseline)
        row = 1 if any(abs(x - other) < 90 for other in used) else 0
        used.append(x)
        anchor = "start" if x < 70 else "end" if x > left + width - 70 else "middle"
        label = f"{escape(name)} {baseline:.3f}"
        parts.append(f'<circle class="base" cx="{x}" cy="{y}" r="6"><title>{label}</title></circle>')
        level = y + 24 if row == 0 else y - 14
        parts.append(f'<text class="note" x="{x}" y="{level}" text-anchor="{anchor}">{label}</text>')
    low, high = at(interval[0]), at(interval[1])
    state = "good" if passed else "bad"
    wide = max(high - low, 1)
    parts.append(f'<rect class="span {state}" x="{low}" y="{y - 5}" width="{wide:.1f}" height="10" rx="5"/>')
    parts.append(f'<circle class="dot {state}" cx="{at(value)}" cy="{y}" r="9"><title>{value:.3f}</title></circle>')
    return svg(600, 112, f"primary metric {value:.3f}, threshold {threshold:.3f}", parts)


def heat_map(labels: Sequence[str], columns: Sequence[str], counts: Sequence[Sequence[int]]) -> Markup:
    """Confusion matrix, expected down, predicted across; darkness is the share of the row.

    The last column (unparseable) is left out when it is empty.
    """
    rows, shown = _most_confused(len(labels), counts), list(range(len(columns)))
    if len(rows) < len(labels):
        shown = [*rows, *range(len(labels), len(columns))]
    if not any(row[-1] for row in counts) and len(columns) > len(labels):
        shown = [column for column in shown if column != len(columns) - 1]
    cell = 42 if len(rows) <= 8 else 34 if len(rows) <= 12 else 24 if len(rows) <= 20 else 18
    size = 12 if cell >= 24 else 10
    margin = min(200.0, max(text_width(labels[row], size) for row in rows) + 12)
    head = min(140.0, max(text_width(columns[column], size) for column in shown) * 0.72 + 16)
    right = head * 0.75  # slanted heads lean over the last column
    parts = []
    for j, column in enumerate(shown):
        place = f"translate({margin + j * cell + cell / 2:.1f} {head - 6:.1f}) rotate(-45)"
        name = escape(fit(columns[column], size, 170))
        parts.append(f'<text class="name" font-size="{size}" transform="{place}">{name}</text>')
    for i, row in enumerate(rows):
        y, total = head + i * cell, sum(counts[row]) or 1
        name, level = escape(fit(labels[row], size, margin - 10)), f"{y + cell / 2 + size * 0.36:.1f}"
        parts.append(
            f'<text class="name" font-size="{size}" x="{margin - 7:.1f}" y="{level}" text-anchor="end">{name}</text>'
        )
        for j, column in enumerate(shown):
            title = f"{labels[row]} → {columns[column]}: {counts[row][column]} ({counts[row][column] / total:.0%})"
            square = _square(margin + j * cell, y, cell, counts[row][column], total, row == column, size)
            parts.append(f"<g><title>{escape(title)}</title>{square}</g>")
    width, height = margin + len(shown) * cell + right, head + len(rows) * cell + 4
    return svg(width, height, "confusion matrix, expected labels down, predicted labels across", parts)


def _square(x: float, y: float, cell: int, count: int, total: int, right: bool, size: int) -> str:
    """One cell: an empty ground, the colour of its share over it, and the count where it fits."""
    share = count / total
    box = f'x="{x:.1f}" y="{y:.1f}" width="{cell - 2}" height="{cell - 2}" rx="3"'
    if not count:
        return f'<rect class="cell" {box}/>'
    kind, opacity = "hit" if right else "miss", 0.12 + 0.88 * share
    drawn = f'<rect class="cell" {box}/><rect class="{kind}" {box} fill-opacity="{opacity:.2f}"/>'
    if text_width(str(count), size) > cell - 4:
        return drawn
    middle, level = x + cell / 2 - 1, y + cell / 2 + size * 0.32
    place = f'font-size="{size}" x="{middle:.1f}" y="{level:.1f}" text-anchor="middle"'
    return drawn + f'<text class="count{" over" if share > 0.45 else ""}" {place}>{count}</text>'


def _most_confused(size: int, counts: Sequence[Sequence[int]]) -> list[int]:
    """Rows to draw, in their order: all, or those with the most errors in their row or column."""
    if size <= LARGEST_MATRIX:
        return list(range(size))
    errors = [sum(counts[i]) - counts[i][i] + sum(counts[j][i] for j in range(size) if j != i) for i in range(size)]
    return sorted(sorted(range(size), key=lambda i: (-errors[i], i))[:LARGEST_MATRIX])


def loss_curve(curve: Training) -> Markup:
    """Training loss as a line, evaluation loss as a line with points, the best evaluation marked.

    The axis of the loss is logarithmic: fine-tuning starts high and is decided in the last decade.
    """
    loss, evaluated = curve.loss, curve.eval_loss
    points = [*loss, *evaluated]
    low, high = _decades([value for _, value in points])
    first, last = min(step for step, _ in points), max(step for step, _ in points)
    x, height = axis(first, max(last, first + 1), 44, 590), axis(low, high, 214, 12)

    def y(value: float) -> float:
        return height(math.log10(max(value, 10.0**low)))

    parts = []
    for decade in range(low, high + 1):
        level = height(decade)
        parts.append(f'<line class="grid" x1="44" y1="{level}" x2="590" y2="{level}"/>')
        parts.append(f'<text class="axis" x="38" y="{level + 4}" text-anchor="end">{10.0**decade:g}</text>')
    for step in sorted({first, (first + last) // 2, last}):
        anchor = "start" if step == first else "end" if step == last else "middle"
        parts.append(f'<text class="axis" x="{x(step)}" y="232" text-anchor="{anchor}">step {step:g}</text>')
    for name, line in (("train", loss), ("eval", evaluated)):
        if line:
            path = " ".join(f"{x(step)},{y(value)}" for step, value in line)
            parts.append(f'<polyline class="line {name}" points="{path}"/>')
    parts += [
        f'<circle class="mark{" best" if step == curve.best_eval_step else ""}" cx="{x(step)}" cy="{y(value)}" '
        f'r="{5 if step == curve.best_eval_step else 3}"><title>step {step:g}: {value:.4f}</title></circle>'
        for step, value in evaluated
    ]
    return svg(600, 240, "training and evaluation loss by step", parts)


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """Exponents of the powers of ten around the positive values; at least one decade, at most six."""
    positive = [value for value in values if value > 0] or [1.0]
    high = math.ceil(math.log10(max(positive)))
    low = min(math.floor(math.log10(min(positive))), high - 1)
    return max(low, high - 6), high
