"""Common Matplotlib code of the figures: no window, reproducible bytes, one colour per dataset."""

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from unisal_jax.errors import UnisalError
from unisal_jax.packages import install_command

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The palette of Okabe and Ito, safe for colour-blind readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
MARK = "#D55E00"
MAP_COLOURS = "inferno"


def grid(
    rows: int, columns: int, width: float = 2.2, height: float = 2.2, **options: Any
) -> "tuple[Figure, Any]":
    """A figure of axes [rows, columns], each `width` x `height` inches.

    The page is about 11 inches wide at this resolution; a wider figure is scaled down, with its text.

    Raises:
      UnisalError: matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UnisalError(
            f"figures require matplotlib; install it with: {install_command('analysis')}"
        ) from error
    matplotlib.rcParams["svg.hashsalt"] = "unisal-jax"
    matplotlib.rcParams["font.size"] = 9
    figure = Figure(figsize=(columns * width, rows * height), dpi=150, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def wrapped(text: str, width: int) -> str:
    """A label wrapped to lines of `width` characters, as names of folders and files may be long."""
    return "\n".join(textwrap.wrap(text, width)) or text


def label_row(axes: "Axes", label: str) -> None:
    """Labels a row of maps or images on the left, horizontally, as the row may be short."""
    axes.set_ylabel(wrapped(label, 14), fontsize=8, rotation=0, ha="right", va="center")


def legend(figure: "Figure", axes: "Axes") -> None:
    """Adds a legend for `axes` above the figure, where it covers nothing."""
    handles, labels = axes.get_legend_handles_labels()
    names = [wrapped(label, 24) for label in labels]
    columns = max(1, int(figure.get_figwidth() / 2.3))  # each 24 characters and a marker
    figure.legend(handles, names, loc="outside upper center", ncols=columns, fontsize=8, markerscale=2)


def show(axes: "Axes", image: np.ndarray, title: str = "", **options: Any) -> None:
    """Shows a map [H, W] in the common colour map, or an RGB image [H, W, 3], without ticks."""
    if image.ndim == 2:
        options.setdefault("cmap", MAP_COLOURS)
    axes.imshow(image, interpolation="nearest", **options)
    axes.set(xticks=[], yticks=[])
    if title:
        axes.set_title(wrapped(title, 24), fontsize=8)


def frame(axes: "Axes", colour: str = MARK) -> None:
    """Draws a frame around an image."""
    for spine in axes.spines.values():
        spine.set(edgecolor=colour, linewidth=2.5)
