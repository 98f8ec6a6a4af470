"""Detects two distant subjects in a shot and gives each its own window.

The two windows are stacked in a tall crop and side by side in a wide one; each fills half of the output.
"""

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

from unisal_jax.apps.boxes import Box, integral, window_shares
from unisal_jax.apps.camera import KINDS, Camera, Frame
from unisal_jax.apps.crop import Aspect, Crop, crop_size
from unisal_jax.domains import Size

# Longer side of the densities stored until their shot is complete.
_KEPT_SIDE = 96
# Smoothing of the attention profile, as a share of its length.
_SMOOTHED = 0.03
# Minimum share of attention of each subject, maximum valley between them relative to the lower peak, and
# minimum share of a shot's frames in which both hold.
_SUBJECT, _VALLEY, _FRAMES = 0.25, 0.5, 0.6


@dataclasses.dataclass(frozen=True)
class Kept:
    """The stored part of a frame: a small density, float [height, width], and its must-keep boxes."""

    density: np.ndarray
    boxes: tuple[Box, ...] = ()


def keep(density: np.ndarray, boxes: tuple[Box, ...]) -> Kept:
    """Reduces a frame for storage; arguments as for `VideoCrops.add`."""
    share = min(1.0, _KEPT_SIDE / max(density.shape))
    height, width = (max(2, round(side * share)) for side in density.shape)
    return Kept(cv2.resize(density, (width, height), interpolation=cv2.INTER_AREA), boxes)


class Split:
    """Two windows through one shot, for the subject at the left or top and the one at the right or bottom.

    Args:
      size: (height, width) of the frames.
      aspect: (width, height) of both windows together.
      scale: as for `VideoCrops`.
      fps: as for `VideoCrops`.
      smoothness: as for `VideoCrops`.
      axis: axis along which the subjects are apart: 0 for rows, 1 for columns.
      apart: their distance as a share of the side.
    """

    def __init__(
        self,
        size: Size,
        aspect: Aspect,
        scale: float,
        fps: float,
        smoothness: float,
        axis: int,
        apart: float,
    ):
        half = half_aspect(aspect)
        # Windows no larger than the distance of the subjects show each subject once.
        side = crop_size(size, half, scale)[axis]
        fits = min(0.5, apart) * size[axis] / side
        window = crop_size(size, half, scale * min(1.0, fits), multiple=2)
        self._size, self._axis = size, axis
        self._cameras = [Camera(size, window, fps, smoothness) for _ in range(2)]
        self._divider = 0.5

    def plan(self, frames: Sequence[Kept], count: int) -> tuple[list[Crop], str]:
        """Returns the crops of the first `count` frames and the type of their path, as `Camera.plan`."""
        found = [two_subjects(frame.density, self._axis, 0.0) for frame in frames]
        known = [number for number, each in enumerate(found) if each is not None]
        places = [each[0] for each in found if each is not None] or [self._divider]
        dividers = np.interp(np.arange(len(frames)), known or [0], places)
        self._divider = float(dividers[count - 1])
        sides = [
            [self._side(frame, divider, second) for frame, divider in zip(frames, dividers, strict=True)]
            for second in (False, True)
        ]
        planned = [camera.plan(each, count) for camera, each in zip(self._cameras, sides, strict=True)]
        (first, kind), (second, other_kind) = planned
        boxes = zip(frames[:count], first.round().astype(int), second.round().astype(int), strict=True)
        return [self._crop(*each) for each in boxes], max(kind, other_kind, key=KINDS.index)

    def _side(self, frame: Kept, divider: float, second: bool) -> Frame:
        """Returns a frame reduced to one side of the divider."""
        density = frame.density.astype(np.float64)
        density /= density.sum()
        at = round(divider * density.shape[self._axis])
        # A view, so that setting it changes the density.
        other = np.moveaxis(density, self._axis, 0)
        other[slice(None, at) if second else slice(at, None)] = 0
        middle = divider * self._size[self._axis]

        def mine(box: Box) -> bool:
            centre = box.left + box.width / 2 if self._axis else box.top + box.height / 2
            return (centre >= middle) == second

        boxes = tuple(box for box in frame.boxes if mine(box))
        return self._cameras[second].frame(cv2.integral(density), boxes)

    def _crop(self, frame: Kept, first: np.ndarray, second: np.ndarray) -> Crop:
        height, width = self._cameras[0].window
        one, two = (Box(int(left), int(top), width, height) for top, left in (first, second))
        sums = integral(frame.density)

        def share(top: int, left: int, rows: int, columns: int) -> float:
            if rows <= 0 or columns <= 0:
                return 0.0
            place = np.array([top]), np.array([left])
            return float(window_shares(sums, self._size, (rows, columns), *place)[0, 0])

        both = share(
            max(one.top, two.top),
            max(one.left, two.left),
            height - abs(one.top - two.top),
            width - abs(one.left - two.left),
        )
        inside = sum(share(box.top, box.left, height, width) for box in (one, two)) - both
        return Crop(one, min(max(inside, 0.0), 1.0), two)


def half_aspect(aspect: Aspect) -> Aspect:
    """Returns the aspect of each of two windows: stacked in a tall crop, else side by side."""
    wide, high = aspect
    return (wide, high / 2) if wide < high else (wide / 2, high)


def find_split(frames: Sequence[Kept], axis: int, window: float) -> float | None:
    """Returns the distance of the two subjects of a shot, as a share of the side; None if there are not two.

    Args:
      frames: the first frames of the shot.
      axis: the axis along which the window has the most room to move.
      window: the window's side along that axis, as a share; closer subjects are treated as one.
    """
    found = [two_subjects(frame.density, axis, window) for frame in frames]
    apart = [each[1] for each in found if each is not None]
    return float(np.median(apart)) if len(apart) >= _FRAMES * len(frames) else None


def two_subjects(density: np.ndarray, axis: int, window: float) -> tuple[float, float] | None:
    """Returns the minimum between two subjects and their distance, as shares of the side; None if not two."""
    profile = density.sum(1 - axis, dtype=np.float64)
    profile /= profile.sum()
    smooth = gaussian_filter1d(profile, _SMOOTHED * len(profile), mode="nearest")
    padded = np.pad(smooth, 1, constant_values=-1)
    peaks = np.flatnonzero((smooth > padded[:-2]) & (smooth >= padded[2:]))
    pairs = [(one, two) for one in peaks for two in peaks if two - one > window * len(profile)]
    if not pairs:
        return None
    one, two = max(pairs, key=lambda pair: min(smooth[pair[0]], smooth[pair[1]]))
    valley = one + int(smooth[one:two].argmin())
    before = profile[:valley].sum()
    apart = smooth[valley] < _VALLEY * min(smooth[one], smooth[two])
    if not apart or not _SUBJECT <= before <= 1 - _SUBJECT:
        return None
    return valley / len(profile), (two - one) / len(profile)
