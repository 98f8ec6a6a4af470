"""Crops a video shot by shot, moving the window like a camera operator (`camera.py`)."""

import dataclasses
import math
from collections.abc import Iterable, Iterator
from itertools import repeat

import numpy as np

from unisal_jax.apps.boxes import Box, integral
from unisal_jax.apps.camera import KINDS, Camera, Frame
from unisal_jax.apps.crop import Aspect, Crop, crop_size
from unisal_jax.apps.split import Kept, Split, find_split, keep
from unisal_jax.domains import Size
from unisal_jax.errors import UnisalError
from unisal_jax.media.arrays import as_density

# Minimum look-ahead in frames before a position is fixed.
FORESIGHT = 256


@dataclasses.dataclass(frozen=True)
class Shot:
    """How a shot is cropped.

    Attributes:
      first, last: its first and last frame, from 0.
      path: "still", "pan" (at constant speed), "follow", or "free" (not smoothed); for two windows, that of
        the window that moves more.
      attention: mean share of attention kept, 0 to 1.
      split: whether it has two windows.
    """

    first: int
    last: int
    path: str
    attention: float
    split: bool = False


def crop_video(
    densities: Iterable[np.ndarray],
    aspect: Aspect,
    scale: float = 1.0,
    fps: float = 25.0,
    smoothness: float = 0.3,
    cuts: Iterable[bool] | None = None,
) -> Iterator[Crop]:
    """Crops the frames of a video with a smoothly moving window; see `VideoCrops`.

    Args:
      densities: float [H, W] >= 0 of any scale, all of one size.
      aspect: as for `VideoCrops`.
      scale: as for `VideoCrops`; the frames have the size of the densities.
      fps: as for `VideoCrops`.
      smoothness: as for `VideoCrops`.
      cuts: whether each frame begins a new shot, for example from `unisal_jax.media.cuts.CutDetector`. None
        to treat all frames as one shot, in which case the window moves continuously across cuts.

    Yields:
      A crop per frame, up to a few hundred frames behind the densities.

    Raises:
      UnisalError: as for `VideoCrops`.
    """
    crops = None
    # Not strict, since `cuts` may be endless. It comes second, so that no extra item of it is consumed.
    for each, cut in zip(densities, repeat(False) if cuts is None else cuts, strict=False):
        density = as_density(each)
        crops = crops or VideoCrops((density.shape[0], density.shape[1]), aspect, scale, fps, smoothness)
        yield from crops.add(density, bool(cut))
    if crops is not None:
        yield from crops.finish()


class VideoCrops:
    """Takes a video's densities one by one and returns its crops, with a smoothly moving window.

    In each shot the window stands still, pans at constant speed, or follows the attention (`camera.py`). The
    followed path maximises the sum over frames of its share of attention, with more weight in the centre of
    the window, minus `smoothness` times its squared speed in longer sides per second. It is found with the
    Viterbi algorithm on a grid of at most 129 positions per side. The acceleration of the window is at most
    two longer sides per second squared. Memory is bounded: in long shots a position is fixed with a
    look-ahead of at least 256 frames, and densities are not stored.

    Attributes:
      window: (height, width) of the crops.
      shots: the shots that are complete.

    Args:
      size: (height, width) of the frames.
      aspect: as for `best_crop`.
      scale: as for `best_crop`; the sides are even, as video files require.
      fps: frames per second.
      smoothness: in squared seconds. At 0.3, moving half an image's length in a second costs as much as 7.5%
        of the attention. 0 uses each frame's best grid position without smoothing.
      split: whether shots with two distant subjects get two windows, see `Split`.

    Raises:
      UnisalError: an argument is out of range; from `add`, as for `best_crop`, or a density of another size.
    """

    def __init__(
        self,
        size: Size,
        aspect: Aspect,
        scale: float = 1.0,
        fps: float = 25.0,
        smoothness: float = 0.3,
        split: bool = False,
    ):
        if not (fps > 0 and math.isfinite(fps)):
            raise UnisalError(f"fps: {fps} is not a positive number")
        if not (smoothness >= 0 and math.isfinite(smoothness)):
            raise UnisalError(f"smoothness: {smoothness} is not a non-negative number")
        self.window = crop_size(size, aspect, scale, multiple=2)
        self.shots: list[Shot] = []
        self._size, self._aspect, self._scale = size, aspect, scale
        self._fps, self._smoothness = fps, smoothness
        self._camera = Camera(size, self.window, fps, smoothness)
        self._may_split = split and self.window != size
        self._density_size: tuple[int, ...] | None = None
        self._begin_shot(0)

    def add(self, density: np.ndarray, cut: bool = False, boxes: tuple[Box, ...] = ()) -> list[Crop]:
        """Takes the next frame and returns the crops that are now fixed, in order.

        Args:
          density: float [H, W] >= 0 of any scale and any size, the same for all frames.
          cut: whether the frame begins a new shot.
          boxes: must-keep boxes of this frame, in pixels of the frame.
        """
        density = as_density(density)
        sums = integral(density)
        if density.shape != (self._density_size or density.shape):
            raise UnisalError(
                f"density: has size {list(density.shape)}, but earlier ones {list(self._density_size or ())}"
            )
        self._density_size = density.shape
        settled = []
        if cut and self._frames:
            settled = self._end_shot()
        self._frames.append(self._camera.frame(sums, boxes))
        if self._may_split:
            self._kept.append(keep(density, boxes))
        if len(self._frames) == 2 * FORESIGHT:
            settled += self._settle(FORESIGHT)
        return settled

    def finish(self) -> list[Crop]:
        """Returns the crops of the remaining frames, after the last one was added."""
        return self._end_shot() if self._frames else []

    def _begin_shot(self, first: int) -> None:
        self._camera.cut()
        self._frames: list[Frame] = []
        self._kept: list[Kept] = []
        self._split: Split | None = None
        self._first, self._count, self._sum, self._kind = first, 0, 0.0, KINDS[0]

    def _end_shot(self) -> list[Crop]:
        crops = self._settle(len(self._frames))
        last = self._first + self._count - 1
        split = self._split is not None
        self.shots.append(Shot(self._first, last, self._kind, self._sum / self._count, split))
        self._begin_shot(last + 1)
        return crops

    def _settle(self, count: int) -> list[Crop]:
        """Returns the crops of the first `count` stored frames."""
        if self._may_split and self._count == 0:
            self._split = self._find_split()
        if self._split is not None:
            crops, kind = self._split.plan(self._kept, count)
        else:
            path, kind = self._camera.plan(self._frames, count)
            crops = [
                self._crop(frame, int(top), int(left))
                for frame, (top, left) in zip(self._frames[:count], path.round(), strict=True)
            ]
        del self._frames[:count], self._kept[:count]
        self._count += count
        self._sum += sum(crop.attention for crop in crops)
        self._kind = max(self._kind, kind, key=KINDS.index)
        return crops

    def _crop(self, frame: Frame, top: int, left: int) -> Crop:
        height, width = self.window
        return Crop(Box(left, top, width, height), self._camera.attention(frame, top, left))

    def _find_split(self) -> Split | None:
        shares = [part / side for part, side in zip(self.window, self._size, strict=True)]
        axis = 0 if shares[0] < shares[1] else 1
        apart = find_split(self._kept, axis, shares[axis])
        if apart is None:
            return None
        return Split(self._size, self._aspect, self._scale, self._fps, self._smoothness, axis, apart)
