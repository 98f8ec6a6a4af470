"""Matplotlib as all figures use it: no window, the same bytes from run to run, one colour a dataset."""

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from unisal_jax.errors import UnisalError
from unisal_jax.packages import install_command

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's, which those who see few colours can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
MARK = "#D55E00"
MAP_COLOURS = "inferno"


def grid(
    rows: int, columns: int, width: float = 2.2, height: float = 2.2, **options: Any
) -> "tuple[Figure, Any]":
    """A figure of axes [rows, columns], each of so many inches.

    The page is about 11 inches wide at the figures' resolution: a wider figure is made smaller there, and
    its words with it.

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
    """A label in lines of so many characters, all of it: a folder's or file's name may be long."""
    return "\n".join(textwrap.wrap(text, width)) or text


def label_row(axes: "Axes", label: str) -> None:
    """Names a row of maps or images at its left; upright, as a row may be lower than its name is long."""
    axes.set_ylabel(wrapped(label, 14), fontsize=8, rotation=0, ha="right", va="center")


def legend(figure: "Figure", axes: "Axes") -> None:
    """What the colours of `axes` mean, above the figure, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    names = [wrapped(label, 24) for label in labels]
    columns = max(1, int(figure.get_figwidth() / 2.3))  # of 24 letters and a mark
    figure.legend(handles, names, loc="outside upper center", ncols=columns, fontsize=8, markerscale=2)


def show(axes: "Axes", image: np.ndarray, title: str = "", **options: Any) -> None:
    """A map [H, W] in the colours of all maps, or an RGB image [H, W, 3], without ticks."""
    if image.ndim == 2:
        options.setdefault("cmap", MAP_COLOURS)
    axes.imshow(image, interpolation="nearest", **options)
    axes.set(xticks=[], yticks=[])
    if title:
        axes.set_title(wrapped(title, 24), fontsize=8)


def frame(axes: "Axes", colour: str = MARK) -> None:
    """Marks an image by a frame around it."""
    for spine in axes.spines.values():
        spine.set(edgecolor=colour, linewidth=2.5)
