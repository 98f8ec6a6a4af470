"""Focal points: local maxima of a density and the share of attention around each."""

import dataclasses
from typing import Any

import cv2
import numpy as np
from scipy import ndimage

from unisal_jax.apps.boxes import integral
from unisal_jax.documents import rounded
from unisal_jax.media.arrays import as_density

# Densities are smooth: a map with this longer side has the same local maxima.
_SIDE = 160
# Each step uphill goes to the highest pixel within this share of the longer side.
_REACH = 1 / 16
# Local maxima below this share of the peak are not focal points.
_LEAST_HEIGHT = 0.1


@dataclasses.dataclass(frozen=True)
class FocalPoint:
    """A local maximum of a density.

    Attributes:
      row, column: in pixels.
      attention: share of the density in all pixels from which it is reached by going uphill, 0 to 1.
    """

    row: int
    column: int
    attention: float

    def to_json(self) -> dict[str, Any]:
        """Returns the values by name, floats rounded to six digits."""
        return {"attention": rounded(self.attention), "column": self.column, "row": self.row}


def focal_points(density: np.ndarray, most: int = 5) -> list[FocalPoint]:
    """Returns the focal points of a density, largest share first.

    Each pixel belongs to the local maximum reached by repeatedly moving to the highest pixel within a
    sixteenth of the longer side. Local maxima below a tenth of the peak are omitted.

    Args:
      density: float [H, W] >= 0 of any scale.
      most: maximum number of points.

    Raises:
      UnisalError: the density is not such an array.
    """
    density = as_density(density)
    integral(density)  # checks that it is a density
    height, width = density.shape
    scale = min(1.0, _SIDE / max(height, width))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    small = (
        density if size == density.shape else cv2.resize(density, size[::-1], interpolation=cv2.INTER_AREA)
    )
    # The rank of each pixel by height, so that no two are equal.
    order = small.ravel().argsort(kind="stable")
    heights = np.empty(small.size, np.int32)
    heights[order] = np.arange(small.size, dtype=np.int32)
    reach = max(1, round(_REACH * max(size)))
    goal = order[ndimage.maximum_filter(heights.reshape(size), 2 * reach + 1).ravel()]
    while (goal != goal[goal]).any():
        goal = goal[goal]
    shares = np.bincount(goal, small.ravel().astype(np.float64), small.size) / small.sum(dtype=np.float64)
    tops = np.flatnonzero((shares > 0) & (small.ravel() >= _LEAST_HEIGHT * small.max()))
    points = [
        FocalPoint(*_highest(density, divmod(int(top), size[1]), size), float(shares[top])) for top in tops
    ]
    return sorted(points, key=lambda point: -point.attention)[:most]


def _highest(density: np.ndarray, cell: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Returns (row, column) of the largest value among the pixels that a pixel of the small map covers."""
    (top, bottom), (left, right) = (
        (at * whole // part, -(-(at + 1) * whole // part))
        for at, whole, part in zip(cell, density.shape, size, strict=True)
    )
    inside = density[top:bottom, left:right]
    down, across = np.unravel_index(inside.argmax(), inside.shape)
    return top + int(down), left + int(across)
