"""Crops of a given aspect ratio that keep the most attention: of a picture, and along a video.

A picture's crop is the best of all places of the window, by an integral image. A video's is the path of
the window that keeps the most attention less a price for its speed, found by dynamic programming
(`track.py`), and then smoothed by a filter without delay.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator

import numpy as np

from unisal_jax.apps.boxes import Box, integral, share
from unisal_jax.apps.track import BestPath, Placed, Smoothed, best_place
from unisal_jax.domains import Size
from unisal_jax.errors import UnisalError
from unisal_jax.media.arrays import as_density

Aspect = tuple[float, float]  # width : height

# Places of the window along a video: so many over the picture's longer side.
_GRID = 128
# The window's greatest speed, in longer sides a second: fast enough to cross the picture in a second.
_MAX_SPEED = 1.0
# Half the width of the filter that makes steps from place to place a glide, in seconds.
_FILTER_SECONDS = 0.5


@dataclasses.dataclass(frozen=True)
class Crop:
    """Where to cut, and what share of the attention lies inside, 0 to 1."""

    box: Box
    attention: float


def crop_size(size: Size, aspect: Aspect, scale: float = 1.0, multiple: int = 1) -> Size:
    """The (height, width) of the window of an aspect ratio in a picture.

    Args:
      size: (height, width) of the picture.
      aspect: (width, height) of the window, in any unit.
      scale: side of the window over that of the largest that fits, above 0, at most 1.
      multiple: make the sides multiples of this, rounding down, where the picture is large enough; 2 for
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


def best_crop(density: np.ndarray, aspect: Aspect, scale: float = 1.0) -> Crop:
    """The window of an aspect ratio that holds the largest share of a density, of all its places.

    Args:
      density: float [H, W] >= 0 of any scale.
      aspect: (width, height) of the window, in any unit, such as (9, 16).
      scale: side of the window over that of the largest that fits, above 0, at most 1.
    Returns:
      The crop. Of places that hold the same (within 1e-9) the one nearest to the picture's middle.
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
    top, left = best_place(_shares(sums, across, tops, lefts))
    return Crop(Box(left, top, width, height), share(sums, Box(left, top, across[1], across[0])))


def crop_video(
    densities: Iterable[np.ndarray],
    aspect: Aspect,
    scale: float = 1.0,
    fps: float = 25.0,
    smoothness: float = 0.3,
) -> Iterator[Crop]:
    """The crops of a video's frames, with a window that moves gently: see `VideoCrops`.

    Args:
      densities: float [H, W] >= 0 of any scale, all of one size.
      aspect, scale, fps, smoothness: as for `VideoCrops`.
    Yields:
      A crop a frame, some hundred frames behind the densities.
    Raises:
      UnisalError: as `VideoCrops`.
    """
    crops = None
    for density in map(as_density, densities):
        crops = crops or VideoCrops((density.shape[0], density.shape[1]), aspect, scale, fps, smoothness)
        yield from crops.add(density)
    if crops is not None:
        yield from crops.finish()


class VideoCrops:
    """Takes a video's densities one by one and returns its crops, with a window that moves gently.

    The window's path maximises the sum over frames of its share of attention less `smoothness` times its
    speed squared, in the picture's longer sides a second. It is found by Viterbi's algorithm over a grid of
    at most 129 places a side, and then averaged over half a second to both sides. Memory is bounded: a
    place is settled with at least 256 frames of foresight, and densities are not kept. Cuts are not looked
    for: the window glides from one shot's place to the next one's.

    Args:
      size: (height, width) of the frames.
      aspect, scale: as for `best_crop`; the sides are even, as those of video files.
      fps: frames a second.
      smoothness: in squared seconds. 0.3: half a picture's length in a second costs as much as 7.5% of the
        attention. 0: each frame's best place on the grid, unsmoothed.
    Raises:
      UnisalError: an argument is out of its range; from `add`, as `best_crop`, or another size.
    """

    def __init__(
        self, size: Size, aspect: Aspect, scale: float = 1.0, fps: float = 25.0, smoothness: float = 0.3
    ):
        if not (fps > 0 and math.isfinite(fps)):
            raise UnisalError(f"fps: {fps} is not above 0")
        if not (smoothness >= 0 and math.isfinite(smoothness)):
            raise UnisalError(f"smoothness: {smoothness} is not 0 or above")
        self._size = size
        self.window = crop_size(size, aspect, scale, multiple=2)
        free = size[0] - self.window[0], size[1] - self.window[1]
        self._tops, self._lefts = (_grid(side, max(size)) for side in free)
        prices = [_prices(places, max(size), fps, smoothness) for places in (self._tops, self._lefts)]
        self._path = BestPath(*prices)
        self._smoothed = Smoothed(round(_FILTER_SECONDS * fps) if smoothness > 0 else 0)

    def add(self, density: np.ndarray) -> list[Crop]:
        """Takes the next frame's density, float [H, W]; returns the crops that this settles, in order.

        A crop's share of attention is exact on the grid. Between, it is a cubic's through the nearest
        places, for densities as smooth as the network's within 1e-4.
        """
        density = as_density(density)
        sums = integral(density)
        if density.shape != self._size:
            raise UnisalError(f"density: size {list(density.shape)} among frames of {list(self._size)}")
        shares = _shares(sums, self.window, self._tops, self._lefts).astype(np.float32)
        return self._crops(self._path.add(shares))

    def finish(self) -> list[Crop]:
        """The crops of the frames that are left, once the last one was added."""
        crops = self._crops(self._path.finish())
        return crops + [self._crop(*placed) for placed in self._smoothed.finish()]

    def _crops(self, settled: list[Placed]) -> list[Crop]:
        return [self._crop(*placed) for each in settled for placed in self._smoothed.add(each)]

    def _crop(self, row: float, column: float, shares: np.ndarray) -> Crop:
        top, left = (
            round(float(np.interp(at, np.arange(len(places)), places)))
            for at, places in ((row, self._tops), (column, self._lefts))
        )
        attention = float(_weights(top, self._tops) @ shares @ _weights(left, self._lefts))
        return Crop(Box(left, top, self.window[1], self.window[0]), min(max(attention, 0.0), 1.0))


def _shares(sums: np.ndarray, window: Size, tops: np.ndarray, lefts: np.ndarray) -> np.ndarray:
    """Shares of attention in the window at all these places, float64 [tops, lefts]."""
    bands = sums[tops + window[0]] - sums[tops]
    return bands[:, lefts + window[1]] - bands[:, lefts]


def _grid(free: int, longest: int) -> np.ndarray:
    """Evenly spaced places from 0 to `free`, in whole pixels."""
    step = math.ceil(longest / _GRID)
    return np.linspace(0, free, math.ceil(free / step) + 1).round().astype(int)


def _prices(places: np.ndarray, longest: int, fps: float, smoothness: float) -> np.ndarray:
    """What it costs to move by 0, 1, 2, ... places from a frame to the next."""
    most = len(places) - 1
    step = places[-1] / max(most, 1) / longest
    reach = most if smoothness == 0 or most == 0 else min(most, math.ceil(_MAX_SPEED / (step * fps)))
    return smoothness * (np.arange(reach + 1) * step * fps) ** 2


def _weights(at: int, places: np.ndarray) -> np.ndarray:
    """What each place counts for a value between them: a cubic through the four nearest (Lagrange's)."""
    first = int(np.clip(np.searchsorted(places, at) - 2, 0, max(len(places) - 4, 0)))
    near = slice(first, first + 4)
    weights = np.zeros(len(places))
    gaps = places[near, None] - places[None, near] + np.eye(len(places[near]))
    steps = np.where(np.eye(len(gaps), dtype=bool), 1, at - places[None, near])
    weights[near] = (steps / gaps).prod(1)
    return weights
