"""Boxes in an image and their share of a density, computed exactly with an integral image."""

import dataclasses

import cv2
import numpy as np

from unisal_jax.domains import Size
from unisal_jax.errors import UnisalError
from unisal_jax.media.arrays import as_density


@dataclasses.dataclass(frozen=True)
class Box:
    """A rectangle of whole pixels: columns left to left + width - 1, rows top to top + height - 1."""

    left: int
    top: int
    width: int
    height: int

    @property
    def area(self) -> int:
        """The area in pixels."""
        return self.width * self.height

    def of(self, array: np.ndarray) -> np.ndarray:
        """Returns the part of an image or map [height, width, ...] inside the box, as a view."""
        return array[self.top : self.top + self.height, self.left : self.left + self.width]

    def fits(self, size: Size) -> bool:
        """Whether the box lies completely inside an image of this (height, width)."""
        return (
            min(self.left, self.top) >= 0
            and self.left + self.width <= size[1]
            and self.top + self.height <= size[0]
        )

    def clipped(self, size: Size) -> "Box | None":
        """Returns the part of the box inside an image of this (height, width); None if it is empty."""
        left, top = max(self.left, 0), max(self.top, 0)
        right, bottom = min(self.left + self.width, size[1]), min(self.top + self.height, size[0])
        return Box(left, top, right - left, bottom - top) if right > left and bottom > top else None

    def holds(self, other: "Box") -> bool:
        """Whether the other box lies completely inside this one."""
        return (
            self.left <= other.left
            and self.top <= other.top
            and other.left + other.width <= self.left + self.width
            and other.top + other.height <= self.top + self.height
        )

    def to_json(self) -> dict[str, int]:
        """Returns the four numbers by name."""
        return dataclasses.asdict(self)


def integral(density: np.ndarray) -> np.ndarray:
    """Returns the integral image: the share of attention above and left of each pixel corner.

    Args:
      density: float [H, W] >= 0 of any scale, such as `SaliencyModel.predict` returns.

    Returns:
      float64 [H + 1, W + 1].

    Raises:
      UnisalError: the density is not such an array, or zero everywhere.
    """
    density = as_density(density)
    sums = cv2.integral(density)
    if not (np.isfinite(sums[-1, -1]) and sums[-1, -1] > 0 and density.min() >= 0):
        raise UnisalError("density: must be finite, not negative, and not zero everywhere")
    # In place: the sums take twice the memory of the density.
    return np.divide(sums, sums[-1, -1], out=sums)


def share(sums: np.ndarray, box: Box) -> float:
    """Returns the share of attention in a box inside the image, 0 to 1; `sums` is from `integral`."""
    bottom, right = box.top + box.height, box.left + box.width
    inside = sums[bottom, right] - sums[box.top, right] - sums[bottom, box.left] + sums[box.top, box.left]
    return float(np.clip(inside, 0, 1))


def window_shares(
    sums: np.ndarray, size: Size, window: Size, tops: np.ndarray, lefts: np.ndarray
) -> np.ndarray:
    """Returns the share of attention in a window at each position, float64 [tops, lefts].

    Args:
      sums: integral image of a density of any size.
      size: (height, width) of the image; window and positions are in its pixels.
      window: (height, width) of the window.
      tops: rows of the window's positions.
      lefts: columns of the window's positions.
    """
    bands = _sums_at(sums, tops + window[0], size[0]) - _sums_at(sums, tops, size[0])
    columns = bands.T
    return (_sums_at(columns, lefts + window[1], size[1]) - _sums_at(columns, lefts, size[1])).T


def _sums_at(sums: np.ndarray, places: np.ndarray, side: int) -> np.ndarray:
    """Interpolates cumulative sums [n + 1, m] linearly at positions from 0 to `side`, which maps to n."""
    at = np.asarray(places) * ((len(sums) - 1) / side)
    first = np.minimum(at.astype(int), len(sums) - 2)
    part = (at - first)[:, None]
    return sums[first] if not part.any() else sums[first] * (1 - part) + sums[first + 1] * part
