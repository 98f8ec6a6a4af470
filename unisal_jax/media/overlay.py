"""Visualisations of densities: heat colours, a heat overlay, and image, map and overlay side by side."""

import dataclasses
import math
from typing import NamedTuple

import cv2
import numpy as np

from unisal_jax.errors import UnisalError
from unisal_jax.media.arrays import ImageLike, as_density, as_image
from unisal_jax.media.colours import Colours, yuv_of_rgb
from unisal_jax.media.frames import Planes
from unisal_jax.media.images import row_strips

_GREY = np.arange(256, dtype=np.uint8)
# Turbo, because the order of its hues is clear over any photo (inferno is hard to see on skin and flowers).
# Its two dark ends are cut, so that a peak is not darker than its surroundings.
_TURBO_PART = np.rint(np.linspace(40, 228, 256)).astype(np.uint8)
_HEAT = cv2.cvtColor(cv2.applyColorMap(_TURBO_PART[:, None], cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)[:, 0]

# The heat's weight is (density / peak) to this power. A power below 1 makes the surroundings of a peak
# visible. A weight of zero leaves the image unchanged where the density is zero.
_WEIGHT_POWER = 0.5
# Below this share of the peak the weight fades out. The power alone is steepest at zero, where the first of
# the 256 levels would show as a hard edge over a plain background.
_FADE_BELOW = 0.1


def heat_colours(density: np.ndarray) -> np.ndarray:
    """Converts a density, float [H, W] >= 0 of any scale, to colours, uint8 RGB [H, W, 3].

    Colours range from blue at 0 over green and yellow to red at the peak. A map of zeros is blue.
    """
    return _look_up(density_levels(as_density(density)), _HEAT)


def overlay(image: ImageLike, density: np.ndarray, opacity: float = 0.7) -> np.ndarray:
    """Overlays a density as heat colours; the image is unchanged where the density is zero.

    Args:
      image: a path, a Pillow image or an array, see `as_image`.
      density: float [H, W] >= 0, of any scale, or its `density_levels`.
      opacity: weight of the heat at the density's peak, 0 to 1.

    Returns:
      uint8 RGB [H, W, 3].

    Raises:
      UnisalError: wrong types or shapes, or the sizes differ.
    """
    image, density = as_image(image), as_density(density)
    if image.shape != (*density.shape, 3):
        raise UnisalError(f"image of shape {image.shape} and density of shape {density.shape} do not match")
    return lay_heat(image, density_levels(density), opacity)


def lay_heat(image: np.ndarray, levels: np.ndarray, opacity: float) -> np.ndarray:
    """Like `overlay`, with a density's levels, uint8 [H, W] (`density_levels`)."""
    # Values that depend only on the density are computed for its 256 levels instead of for each pixel.
    weight = opacity * _weights()
    heat = np.rint(_HEAT * weight[:, None]).astype(np.uint8)
    kept = np.repeat(np.rint(255 * (1 - weight)).astype(np.uint8)[:, None], 3, axis=1)
    laid = np.empty(image.shape, np.uint8)
    for rows in row_strips(*levels.shape):
        dimmed = cv2.multiply(image[rows], _look_up(levels[rows], kept), scale=1 / 255)
        cv2.add(dimmed, _look_up(levels[rows], heat), dst=laid[rows])
    return laid


class PlanesHeat:
    """Overlays heat on a video's frames in their own planes, as `lay_heat` does in RGB.

    Args:
      colours: of the planes.
      height: of the frames; decides the matrix of untagged colours, as in players.
      opacity: as for `overlay`.
    """

    def __init__(self, colours: Colours, height: int, opacity: float):
        weight = opacity * _weights()
        self._kept = np.rint(255 * (1 - weight)).astype(np.uint8)
        heat = yuv_of_rgb(_HEAT, colours, height)
        # Where weights are small, rounding shows as rings on a plain background. Choose the added values so
        # that they compensate for the rounding on white.
        plain = yuv_of_rgb(np.full((1, 3), 255, np.uint8), colours, height)
        wanted = np.rint(plain * (1 - weight[:, None]) + heat * weight[:, None])
        dimmed = np.rint(np.rint(plain) * self._kept[:, None] / 255)
        self._heat = np.clip(wanted - dimmed, 0, 255).astype(np.uint8).T.copy()
        self._seen = (self._kept < 255) | (self._heat > 0).any(0)
        self._work: list[_Work] = []

    def lay(self, planes: Planes, levels: np.ndarray) -> Planes:
        """Overlays heat on a frame.

        Args:
          planes: of the frame.
          levels: uint8 [h, w] of any size (`density_levels`); resized to the frame.

        Returns:
          The frame with heat, valid until the next call, which reuses its memory.
        """
        if not self._work or self._work[0].laid.shape != planes.y.shape:
            self._work = [_Work(*(np.empty(plane.shape, np.uint8) for _ in range(4))) for plane in planes]
        seen = self._seen[levels]
        for plane, work, heat in zip(planes, self._work, self._heat, strict=True):
            np.copyto(work.laid, plane)
            # Skip the parts of the frame that no heat covers.
            rows, columns = (_reach(seen.any(1 - axis), plane.shape[axis]) for axis in (0, 1))
            if not rows.small or not columns.small:
                continue
            full = _slice(rows.full), _slice(columns.full)
            laid, enlarged, kept, added = (
                each[full] for each in (work.laid, work.levels, work.kept, work.heat)
            )
            small = levels[_slice(rows.small), _slice(columns.small)]
            cv2.resize(small, laid.shape[::-1], dst=enlarged, interpolation=cv2.INTER_LINEAR)
            cv2.LUT(enlarged, self._kept, dst=kept)
            cv2.LUT(enlarged, heat, dst=added)
            cv2.multiply(laid, kept, dst=laid, scale=1 / 255)
            cv2.add(laid, added, dst=laid)
        return Planes(*(work.laid for work in self._work))


@dataclasses.dataclass(frozen=True)
class _Work:
    """Buffers of a plane's size. Allocating them for each frame would cost more than the computation."""

    laid: np.ndarray
    levels: np.ndarray
    kept: np.ndarray
    heat: np.ndarray


def _slice(places: range) -> slice:
    return slice(places.start, places.stop)


class _Reach(NamedTuple):
    """Range along one side where heat is visible: in levels, and in the pixels these are resized to."""

    small: range
    full: range


def _reach(seen: np.ndarray, length: int) -> _Reach:
    """Returns where heat is visible, with a margin of one level, rounded outwards to whole pixels.

    Args:
      seen: bool, along one side of the levels.
      length: of that side in pixels.
    """
    there = np.flatnonzero(seen)
    if len(there) == 0:
        return _Reach(range(0), range(0))
    places = len(seen) // math.gcd(len(seen), length)
    start = max(int(there[0]) - 1, 0) // places
    stop = -(-min(int(there[-1]) + 2, len(seen)) // places)
    pixels = places * length // len(seen)
    return _Reach(range(start * places, stop * places), range(start * pixels, stop * pixels))


def density_panel(image: ImageLike, density: np.ndarray) -> np.ndarray:
    """Places image, grey density and overlay side by side: uint8 RGB [H, 3 W, 3]. Inputs as in `overlay`."""
    image, density = as_image(image), as_density(density)
    grey = np.repeat(density_levels(density)[..., None], 3, axis=2)
    return np.concatenate([image, grey, overlay(image, density)], axis=1)


def _weights() -> np.ndarray:
    """Returns the heat's weight at each of 256 levels, float [256]: 0 with zero slope at 0, 1 at the peak."""
    share = _GREY / 255.0
    fade = np.minimum(share / _FADE_BELOW, 1.0)
    return share**_WEIGHT_POWER * fade**2 * (3 - 2 * fade)


def heat_table() -> tuple[np.ndarray, np.ndarray]:
    """What `lay_heat` lays over an image for each of the 256 levels, for programs in other languages.

    Returns:
      Colours, uint8 RGB [256, 3], and how far each covers the image at full opacity, float [256] in 0..1.
    """
    return _HEAT, _weights()


def density_levels(density: np.ndarray) -> np.ndarray:
    """Returns the density divided by its peak in 256 levels, uint8 [H, W]."""
    peak = float(density.max())
    return cv2.convertScaleAbs(density, alpha=255 / peak if peak > 0 else 0)


def _look_up(levels: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Returns table[levels], uint8 [H, W, 3], for uint8 levels [H, W] and a table [256, 3]."""
    return cv2.LUT(cv2.merge([levels] * 3), table[None])
