"""Finds the crop of an image that keeps the most attention, among all positions of the window.

`shots.py` crops videos.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from unisal_jax.apps.boxes import Box, integral, share, window_shares
from unisal_jax.apps.camera import box_scores
from unisal_jax.apps.track import best_place
from unisal_jax.domains import Size
from unisal_jax.errors import UnisalError
from unisal_jax.media.arrays import as_density

Aspect = tuple[float, float]  # width : height


@dataclasses.dataclass(frozen=True)
class Crop:
    """A crop and the share of attention inside.

    Attributes:
      box: the window.
      attention: share of attention inside the window, or inside either of two windows, 0 to 1.
      second: the second window if the frame is split (`split.py`).
    """

    box: Box
    attention: float
    second: Box | None = None


def crop_size(size: Size, aspect: Aspect, scale: float = 1.0, multiple: int = 1) -> Size:
    """Returns the (height, width) of a window with a given aspect ratio in an image.

    Args:
      size: (height, width) of the image.
      aspect: (width, height) of the window, in any unit.
      scale: side of the window relative to the largest that fits, above 0 and at most 1.
      multiple: round the sides down to multiples of this if the image is large enough; 2 for video, which
        requires even sides.

    Raises:
      UnisalError: the aspect or the scale is out of range.
    """
    try:
        wide, high = aspect
        is_ratio = wide > 0 and high > 0 and math.isfinite(wide / high)
    except (TypeError, ValueError):  # such as the command's "9:16"
        raise UnisalError(f"aspect: {aspect!r} is not (width, height), such as (9, 16)") from None
    if not is_ratio:
        raise UnisalError(f"aspect: {wide}:{high} is not a ratio of two positive numbers")
    if not 0 < scale <= 1:
        raise UnisalError(f"scale: {scale} is not in (0, 1]")
    height = min(size[0], size[1] * high / wide) * scale
    width = min(size[1], size[0] * wide / high) * scale
    sides = (max(1, min(round(side), most)) for side, most in zip((height, width), size, strict=True))
    rows, columns = (
        max(side - side % multiple, min(most, multiple)) for side, most in zip(sides, size, strict=True)
    )
    return rows, columns


def best_crop(density: np.ndarray, aspect: Aspect, scale: float = 1.0, boxes: Sequence[Box] = ()) -> Crop:
    """Finds the window with a given aspect ratio that holds the largest share of a density.

    Args:
      density: float [H, W] >= 0 of any scale.
      aspect: (width, height) of the window, in any unit, such as (9, 16).
      scale: side of the window relative to the largest that fits, above 0 and at most 1.
      boxes: must-keep boxes in pixels of the density; the window holds as many as possible.

    Returns:
      The crop. Ties (within 1e-9) go to the window nearest to the centre of the image.

    Raises:
      UnisalError: the density is not such an array, or the aspect or the scale is out of range.
    """
    density = as_density(density)
    rows, columns = density.shape
    height, width = crop_size((rows, columns), aspect, scale)
    # Along a side that the window spans completely there is one position, so sum over it to save memory.
    across: Size = (height, width)
    if density.min() >= 0:  # negative values are rejected below
        if height == rows:
            density, across = density.sum(0, np.float64, keepdims=True), (1, across[1])
        if width == columns:
            density, across = density.sum(1, np.float64, keepdims=True), (across[0], 1)
    sums = integral(density)
    tops, lefts = (np.arange(side - part + 1) for side, part in zip(density.shape, across, strict=True))
    scores = window_shares(sums, (density.shape[0], density.shape[1]), across, tops, lefts)
    if boxes:
        # The scores broadcast along a side with one position.
        scores += box_scores(boxes, (height, width), tops, lefts)
    top, left = best_place(scores)
    return Crop(Box(left, top, width, height), share(sums, Box(left, top, across[1], across[0])))
