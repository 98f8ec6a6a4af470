"""Frames of a video: stored as they were read, and converted on demand.

A decoded frame stays in its own planes (YUV, mostly 4:2:0): RGB takes twice the memory and is usually needed
only at the network's input size. This module holds RGB frames; `decoded.py` holds those of FFmpeg.
"""

import dataclasses
from collections.abc import Iterator
from typing import ClassVar, Protocol

import cv2
import numpy as np

from unisal_jax.domains import Size
from unisal_jax.media.colours import DEFAULT_LOOK, Look
from unisal_jax.media.lanczos import resize_planes


@dataclasses.dataclass(frozen=True)
class Planes:
    """An image in YUV 4:2:0: `y` uint8 [H, W], `u` and `v` [ceil(H / 2), ceil(W / 2)]."""

    y: np.ndarray
    u: np.ndarray
    v: np.ndarray

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter((self.y, self.u, self.v))

    @property
    def size(self) -> Size:
        """(height, width) of the image."""
        return self.y.shape[0], self.y.shape[1]

    def part(self, top: int, left: int, height: int, width: int) -> "Planes":
        """Returns a rectangle, as views if it begins at an even row and column.

        Otherwise its chroma is interpolated from the neighbouring samples.
        """
        rows, columns = -(-height // 2), -(-width // 2)

        def colours(plane: np.ndarray) -> np.ndarray:
            if top % 2:
                # Repeat the last row: an odd height has no row below it.
                plane = _between(plane, np.concatenate([plane[1:], plane[-1:]]))
            if left % 2:
                plane = _between(plane, np.concatenate([plane[:, 1:], plane[:, -1:]], 1))
            return plane[top // 2 : top // 2 + rows, left // 2 : left // 2 + columns]

        luma = self.y[top : top + height, left : left + width]
        return Planes(luma, colours(self.u), colours(self.v))


class Frame(Protocol):
    """A frame of a video, upright.

    Attributes:
      size: (height, width).
      seconds: display time by the file's own clock (`SteadyClock`); None if unknown.
      duration: how long it is displayed, in seconds; None if unknown.
      look: how its pixels are displayed.
    """

    @property
    def look(self) -> Look: ...

    @property
    def size(self) -> Size: ...

    @property
    def seconds(self) -> float | None: ...

    @property
    def duration(self) -> float | None: ...

    def rgb(self) -> np.ndarray:
        """Returns uint8 RGB [H, W, 3], which the caller may keep and change."""

    def resized(self, size: Size) -> np.ndarray:
        """Returns the frame at this (height, width) as uint8 RGB [h, w, 3], resized by `resize_planes`."""


@dataclasses.dataclass(frozen=True)
class RgbFrame:
    """A frame that was read as RGB: from a folder, a camera, an animation or a program."""

    pixels: np.ndarray
    seconds: float | None = None
    duration: float | None = None
    look: ClassVar[Look] = DEFAULT_LOOK

    @property
    def size(self) -> Size:
        """(height, width)."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def rgb(self) -> np.ndarray:
        """See `Frame`."""
        return self.pixels

    def resized(self, size: Size) -> np.ndarray:
        """See `Frame`."""
        return resize_rgb(self.pixels, size)


def resize_rgb(frame: np.ndarray, size: Size) -> np.ndarray:
    """Resizes uint8 RGB [H, W, 3] with `resize_planes`; always returns a new array."""
    return np.array(frame) if frame.shape[:2] == tuple(size) else resize_planes(cv2.split(frame), size)


def _between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return cv2.addWeighted(first, 0.5, second, 0.5, 0)
