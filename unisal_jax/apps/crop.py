"""The crop of an image that keeps the most attention: the best of all places of the window.

Crops of a video are in `shots.py`.
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
    """Where to cut, and what share of the attention lies inside, 0 to 1.

    Attributes:
      box: the window.
      attention: inside, of two windows in either.
      second: the other window of a frame that is shown in two (`split.py`).
    """

    box: Box
    attention: float
    second: Box | None = None


def crop_size(size: Size, aspect: Aspect, scale: float = 1.0, multiple: int = 1) -> Size:
    """The (height, width) of the window of an aspect ratio in an image.

    Args:
      size: (height, width) of the image.
      aspect: (width, height) of the window, in any unit.
      scale: side of the window over that of the largest that fits, above 0, at most 1.
      multiple: make the sides multiples of this, rounding down, where the image is large enough; 2 for
        video, which has even sides.

    Raises:
      UnisalError: the aspect or the scale is out of its range.
    """
    wide, high = aspect
    if not (wide > 0 and high > 0 and math.isfinite(wide / high)):
        raise UnisalError(f"aspect: {wide}:{high} is not a ratio of two numbers above 0")
    if not 0 < scale <= 1:
        raise UnisalError(f"scale: {scale} is not above 0 and at most 1")
    height = min(size[0], size[1] * high / wide) * scale
    width = min(size[1], size[0] * wide / high) * scale
    sides = (max(1, min(round(side), most)) for side, most in zip((height, width), size, strict=True))
    rows, columns = (
        max(side - side % multiple, min(most, multiple)) for side, most in zip(sides, size, strict=True)
    )
    return rows, columns


def best_crop(density: np.ndarray, aspect: Aspect, scale: float = 1.0, boxes: Sequence[Box] = ()) -> Crop:
    """The window of an aspect ratio that holds the largest share of a density, of all its places.

    Args:
      density: float [H, W] >= 0 of any scale.
      aspect: (width, height) of the window, in any unit, such as (9, 16).
      scale: side of the window over that of the largest that fits, above 0, at most 1.
      boxes: to be kept whole, in pixels of the density: of all places those that hold the most of them.

    Returns:
      The crop. Of places that hold the same (within 1e-9) the one nearest to the image's middle.

    Raises:
      UnisalError: the density is no such array, or the aspect or the scale is out of its range.
    """
    density = as_density(density)
    rows, columns = density.shape
    height, width = crop_size((rows, columns), aspect, scale)
    # Along a side that the window spans whole there is one place: sums over it do, in little memory.
    across: Size = (height, width)
    if density.min() >= 0:  # else it is refused below
        if height == rows:
            density, across = density.sum(0, np.float64, keepdims=True), (1, across[1])
        if width == columns:
            density, across = density.sum(1, np.float64, keepdims=True), (across[0], 1)
    sums = integral(density)
    tops, lefts = (np.arange(side - part + 1) for side, part in zip(density.shape, across, strict=True))
    scores = window_shares(sums, (density.shape[0], density.shape[1]), across, tops, lefts)
    if boxes:
        # Along a side that the window spans whole the one place holds all that there is.
        scores += box_scores(boxes, (height, width), tops, lefts)
    top, left = best_place(scores)
    return Crop(Box(left, top, width, height), share(sums, Box(left, top, across[1], across[0])))
