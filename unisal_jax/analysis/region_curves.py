"""The figure of `unisal score-regions --plot`: the attention in boxes over a video."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from unisal_jax.analysis.plots import COLOURS, grid, legend

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Once all colours are used, lines differ in their dashes.
_DASHES = ("-", "--", ":", "-.")


def draw_curves(times: Sequence[float], attention: Mapping[str, Sequence[float]]) -> "Figure":
    """Plots a line per box over the seconds of a video, or over its frames if any frame lacks a time.

    Args:
      times: times of the frames in seconds; NaN for a frame without a time.
      attention: by box name, the share in each frame, 0 to 1; NaN where the box is outside the image.

    Raises:
      UnisalError: matplotlib is not installed.
    """
    figure, ((axes,),) = grid(1, 1, width=9.2, height=3.6)
    timed = not any(map(math.isnan, times))
    at = np.asarray(times) if timed else np.arange(1, len(times) + 1)
    for number, (name, values) in enumerate(attention.items()):
        percent = 100 * np.asarray(values)
        line = COLOURS[number % len(COLOURS)], _DASHES[number // len(COLOURS) % len(_DASHES)]
        there = ~np.isnan(percent)
        # A single frame between frames without the box is drawn as a point.
        alone = there & ~np.append(False, there[:-1]) & ~np.append(there[1:], False)
        axes.plot(at, percent, color=line[0], linestyle=line[1], linewidth=1.6, label=_label(name))
        axes.plot(at[alone], percent[alone], ".", color=line[0])
    axes.set(xlabel="seconds" if timed else "frame", ylabel="share of attention, %")
    axes.set_ylim(bottom=0)
    axes.margins(x=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e0e0e0", linewidth=0.8)
    axes.set_axisbelow(True)
    legend(figure, axes)
    return figure


def _label(name: str) -> str:
    """A name escaped for Matplotlib, where $ starts a formula and a leading "_" hides a label."""
    shown = name.replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown
