"""Curves over the epochs of a training as inline SVG, styled by the page that contains them."""

import math
from collections.abc import Sequence

import numpy as np

from unisal_jax.evaluate.histogram import round_step

_WIDTH, _HEIGHT = 260, 165
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 10, 30
_TICKS = 4

STYLE = """
.curve { fill: none; stroke: var(--bar); stroke-width: 1.75; }
.thin { fill: none; stroke: var(--quiet); stroke-width: 1; opacity: .6; }
.dot { fill: var(--bar); }
.best { fill: var(--mean); }
.grid { stroke: var(--line); fill: none; }
"""

Point = tuple[float, float]


def curve_svg(points: Sequence[Point], what: str, best: float | None, behind: Sequence[Point] = ()) -> str:
    """A curve with a dot per point.

    The vertical axis fits the curve and the middle 90% of the background line, which is clipped.

    Args:
      points: (epoch, value), at least one, finite.
      what: description for the accessible label; not escaped.
      best: epoch of the point to mark.
      behind: points of a thin background line, such as the training loss.
    """
    values = [value for _, value in points]
    if behind:
        values += [float(each) for each in np.quantile([value for _, value in behind], (0.05, 0.95))]
    span = (max(values) - min(values)) or 0.1 * abs(values[0]) or 0.1
    step = round_step(span / _TICKS)
    low, high = math.floor(min(values) / step) * step, math.ceil(max(values) / step) * step
    if high <= low:
        high = low + step
    last = max(epoch for epoch, _ in (*points, *behind))

    def x(epoch: float) -> float:
        return _LEFT + epoch / last * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        share = (min(max(value, low), high) - low) / (high - low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    def path(line: Sequence[Point]) -> str:
        return "M" + "L".join(f"{x(epoch):.1f} {y(value):.1f}" for epoch, value in line)

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{what} over epochs">']
    digits = max(0, -math.floor(math.log10(step)))
    for number in range(round(low / step), round(high / step) + 1):
        at = y(number * step)
        parts.append(f'<path class="grid" d="M{_LEFT} {at:.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(
            f'<text class="tick" x="{_LEFT - 5}" y="{at + 4:.1f}" text-anchor="end">'
            f"{number * step:.{digits}f}</text>"
        )
    every = max(1, round(round_step(last / 6)))
    for tick in range(0, math.floor(last) + 1, every):
        parts.append(
            f'<text class="tick" x="{x(tick):.1f}" y="{_HEIGHT - _BOTTOM + 15}" text-anchor="middle">'
            f"{tick}</text>"
        )
    parts.append(
        f'<text class="tick" x="{(_LEFT + _WIDTH - _RIGHT) / 2:.1f}" y="{_HEIGHT - 2}" text-anchor="middle">'
        "epoch</text>"
    )
    if behind:
        parts.append(f'<path class="thin" d="{path(behind)}"/>')
    parts.append(f'<path class="curve" d="{path(points)}"/>')
    for epoch, value in points:
        chosen = epoch == best
        parts.append(
            f'<circle class="{"best" if chosen else "dot"}" cx="{x(epoch):.1f}" cy="{y(value):.1f}" '
            f'r="{4.5 if chosen else 2.5}"><title>epoch {epoch:g}: {value:.4f}</title></circle>'
        )
    return "".join(parts) + "</svg>"
