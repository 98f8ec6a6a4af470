"""Histograms as inline SVG, styled by the page that contains them."""

import math
from collections.abc import Sequence

import numpy as np

_WIDTH, _HEIGHT = 240, 130
_LEFT, _RIGHT, _TOP, _BOTTOM = 12, 12, 24, 24
_BINS, _TICKS = 18, 4


def histogram_svg(values: Sequence[float], mean: float, noun: str) -> str:
    """A histogram of at least one finite value, with bins and ticks at round numbers.

    Its elements have the classes `bar`, `axis`, `tick`, `mean` and `mean-label`. The tooltip of a bar
    shows its range and count.

    Args:
      values: the values to count.
      mean: position of the dashed line.
      noun: what each value belongs to, such as "image".
    """
    low, high = min(values), max(values)
    span = (high - low) or 0.1 * abs(low) or 0.1
    step = round_step(span / _BINS)
    first, last = math.floor(low / step), max(math.ceil(high / step), math.floor(low / step) + 1)
    edges = np.arange(first, last + 1) * step
    # A rounded edge must not exclude the extreme values.
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    digits = max(0, -math.floor(math.log10(step)))

    def x(value: float) -> float:
        share = (value - edges[0]) / (edges[-1] - edges[0])
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    floor = _HEIGHT - _BOTTOM
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="histogram over {noun}s">']
    for count, start, end in zip(counts, edges, edges[1:], strict=False):
        if count:
            height = count / counts.max() * (floor - _TOP)
            parts.append(
                f'<rect class="bar" x="{x(start) + 0.5:.1f}" y="{floor - height:.1f}" '
                f'width="{x(end) - x(start) - 1:.1f}" height="{height:.1f}">'
                f"<title>{start:.{digits}f} to {end:.{digits}f}: {count} {noun}{'' if count == 1 else 's'}"
                "</title></rect>"
            )
    parts.append(f'<path class="axis" d="M{_LEFT} {floor}H{_WIDTH - _RIGHT}"/>')
    tick_step = round_step(span / _TICKS)
    for number in range(math.ceil(edges[0] / tick_step), math.floor(edges[-1] / tick_step) + 1):
        at = number * tick_step
        text = f"{at:.{max(0, -math.floor(math.log10(tick_step)))}f}"
        parts.append(f'<path class="axis" d="M{x(at):.1f} {floor}v4"/>')
        parts.append(
            f'<text class="tick" x="{x(at):.1f}" y="{_HEIGHT - 6}" text-anchor="middle">{text}</text>'
        )
    if math.isfinite(mean):
        at = x(min(max(mean, edges[0]), edges[-1]))
        side = "start" if at < _WIDTH / 2 else "end"
        parts.append(f'<path class="mean" d="M{at:.1f} {_TOP - 10}V{floor}"/>')
        parts.append(
            f'<text class="mean-label" x="{at + (4 if side == "start" else -4):.1f}" y="{_TOP - 8}" '
            f'text-anchor="{side}">mean {mean:.3f}</text>'
        )
    return "".join(parts) + "</svg>"


def round_step(rough: float) -> float:
    """The smallest number of the form 1, 2 or 5 times a power of ten that is not below `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
