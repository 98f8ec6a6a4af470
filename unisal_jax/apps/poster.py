"""Chooses a video's poster: the frame with the strongest single focus.

The focus of a frame is the share of attention in the best square with a third of the shorter side. It is high
if one small place draws nearly all attention, and half as high if two do. It is reduced towards the edge of
the image, and in frames with less fine detail than others of their shot: fades, dissolves and blur.
"""

import math

import cv2
import numpy as np

from unisal_jax.apps.crop import best_crop

_SQUARE = 1 / 3
# Reduction of a focus in the corner of the image.
_CORNER = 0.3
# Longer sides to which frames and densities are reduced.
_FRAME_SIDE, _DENSITY_SIDE = 480, 96
# Sufficient detail, as a share of the 90th percentile of the shot's frames.
_ENOUGH = 0.9


class Poster:
    """Takes a video's frames one by one and finally chooses the poster."""

    def __init__(self) -> None:
        self._focus: list[float] = []
        self._detail: list[float] = []
        self._shot: list[int] = []

    def add(self, frame: np.ndarray, density: np.ndarray, cut: bool) -> None:
        """Takes the next frame.

        Args:
          frame: uint8 RGB [height, width, 3].
          density: float of any size.
          cut: whether the frame begins a new shot.
        """
        self._focus.append(focus_of(density))
        grey = cv2.cvtColor(_shrink(frame, _FRAME_SIDE), cv2.COLOR_RGB2GRAY)
        self._detail.append(float(cv2.Laplacian(grey, cv2.CV_32F).std()))
        self._shot.append((self._shot[-1] if self._shot else 0) + cut)

    def best(self) -> tuple[int, float]:
        """Returns the number of the poster, from 0, and its focus; the first frame if several are equal."""
        focus, detail, shot = (np.array(each) for each in (self._focus, self._detail, self._shot))
        most = np.array([np.percentile(detail[shot == each], 90) for each in range(shot[-1] + 1)])
        enough = np.minimum(1.0, detail / np.maximum(_ENOUGH * most[shot], 1e-6))
        best = int((focus * enough).argmax())
        return best, float(focus[best])


def focus_of(density: np.ndarray) -> float:
    """Returns the strength of a density's single focus, 0 to 1, reduced towards the edge."""
    small = _shrink(density, _DENSITY_SIDE)
    height, width = small.shape
    crop = best_crop(small, (1, 1), _SQUARE)
    row = (crop.box.top + crop.box.height / 2) / height - 0.5
    column = (crop.box.left + crop.box.width / 2) / width - 0.5
    return crop.attention * (1 - _CORNER * math.hypot(row, column) / math.hypot(0.5, 0.5))


def _shrink(array: np.ndarray, side: int) -> np.ndarray:
    share = min(1.0, side / max(array.shape[:2]))
    height, width = (max(1, round(each * share)) for each in array.shape[:2])
    return cv2.resize(array, (width, height), interpolation=cv2.INTER_AREA)
