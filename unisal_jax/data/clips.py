"""Selects the frames of a training example, as a pure function of (seed, epoch, index).

Every random draw has its own key, so results do not depend on processes, order or restarts.
"""

import dataclasses
import zlib
from collections.abc import Sequence

import numpy as np

from unisal_jax.data.prepared import Video
from unisal_jax.domains import Domain

CLIP_FRAMES = 12
"""Frames per training clip (paper, section 4.1)."""


@dataclasses.dataclass(frozen=True)
class ClipShape:
    """The frames of a clip.

    Attributes:
      frames: number of frames.
      stride: frame stride: the interval between its frames in the video.
    """

    frames: int
    stride: int

    @property
    def span(self) -> int:
        """Number of the video's frames from the first to the last one, inclusive."""
        return self.frames * self.stride - (self.stride - 1)


def clip_shape(domain: Domain, frames: int = CLIP_FRAMES) -> ClipShape:
    """The shape of a domain's training examples: one image, or `frames` frames at its stride."""
    return ClipShape(1, 1) if domain.static else ClipShape(frames, domain.stride)


def split_by_length(videos: Sequence[Video], shape: ClipShape) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Selects the videos that are at least as long as a clip (reference.md, "Video").

    The original drops videos shorter than `frames * stride`, although a clip is `stride - 1` frames shorter.

    Returns:
      (indices of the videos that are long enough, ids of the others), in order.
    """
    kept = tuple(i for i, video in enumerate(videos) if video.frames >= shape.span)
    dropped = tuple(video.id for video in videos if video.frames < shape.span)
    return kept, dropped


def random_clip(video: Video, shape: ClipShape, *key: int | str) -> range:
    """Record numbers of a clip with a uniformly random start."""
    start = video.start + below(video.frames - shape.span + 1, *key)
    return range(start, start + shape.span, shape.stride)


def fixed_clip(video: Video, shape: ClipShape, number: int, count: int) -> range:
    """Record numbers of clip `number` of `count` evenly spaced clips, for validation.

    Each clip is in the middle of its `count`-th of the video, or as close to it as the video's ends allow.
    (The original validates on two clips of each DHF1K video and on one of the others.)
    """
    middle = (2 * number + 1) * video.frames // (2 * count)
    start = video.start + min(max(middle - shape.span // 2, 0), video.frames - shape.span)
    return range(start, start + shape.span, shape.stride)


def permutation(count: int, *key: int | str) -> np.ndarray:
    """A random permutation of the numbers below `count`, int64, drawn with `key`."""
    return np.argsort(_bits(key, count), kind="stable")


def below(limit: int, *key: int | str) -> int:
    """A uniformly random number from 0 to `limit - 1`, drawn with `key`."""
    return int(_bits(key, 1)[0]) * limit >> 64


def uniform(count: int, *key: int | str) -> list[float]:
    """Uniformly random numbers in [0, 1), drawn with `key`."""
    return [float(bits >> np.uint64(11)) * 2.0**-53 for bits in _bits(key, count)]


def _bits(key: Sequence[int | str], count: int) -> np.ndarray:
    # Uses only raw bits: NumPy guarantees that they never change, unlike the results of its Generator.
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in key]
    return np.random.PCG64(np.random.SeedSequence(words)).random_raw(count)
