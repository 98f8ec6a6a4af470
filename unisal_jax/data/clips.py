"""Which frames a training example is made of: a pure function of (seed, epoch, index).

Every draw has its own key, so that it does not matter who draws, in which order, or after which
restart.
"""

import dataclasses
import zlib
from collections.abc import Sequence

import numpy as np

from unisal_jax.data.prepared import Video
from unisal_jax.domains import Domain

CLIP_FRAMES = 12
"""Frames of a training clip (paper, section 4.1)."""


@dataclasses.dataclass(frozen=True)
class ClipShape:
    """What a clip takes of a video.

    Attributes:
      frames: how many.
      stride: every how many of the video's frames one is taken.
    """

    frames: int
    stride: int

    @property
    def span(self) -> int:
        """How many of the video's frames lie between the first and the last one, both included."""
        return self.frames * self.stride - (self.stride - 1)


def clip_shape(domain: Domain, frames: int = CLIP_FRAMES) -> ClipShape:
    """A domain's training examples: one image, or `frames` frames at its stride."""
    return ClipShape(1, 1) if domain.static else ClipShape(frames, domain.stride)


def split_by_length(videos: Sequence[Video], shape: ClipShape) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Which videos a clip fits in (reference.md, "Video": shorter ones are dropped).

    The original drops a video already when it is shorter than `frames * stride`, though its clips
    end `stride - 1` frames earlier; here the clip decides.

    Returns:
      (positions in `videos` of those that are long enough, ids of the others), in their order.
    """
    kept = tuple(i for i, video in enumerate(videos) if video.frames >= shape.span)
    dropped = tuple(video.id for video in videos if video.frames < shape.span)
    return kept, dropped


def random_clip(video: Video, shape: ClipShape, *key: int | str) -> range:
    """Record numbers of a clip that starts anywhere it fits, each start as likely."""
    start = video.start + below(video.frames - shape.span + 1, *key)
    return range(start, start + shape.span, shape.stride)


def fixed_clip(video: Video, shape: ClipShape, number: int, count: int) -> range:
    """Record numbers of clip `number` of `count` that lie evenly in the video, for validation.

    Each is in the middle of its `count`-th of the video, or as near as the video's ends allow. (The
    original validates on two clips of each DHF1K video and on one of the others.)
    """
    middle = (2 * number + 1) * video.frames // (2 * count)
    start = video.start + min(max(middle - shape.span // 2, 0), video.frames - shape.span)
    return range(start, start + shape.span, shape.stride)


def permutation(count: int, *key: int | str) -> np.ndarray:
    """The numbers below `count`, int64, in an order drawn with `key`."""
    return np.argsort(_bits(key, count), kind="stable")


def below(limit: int, *key: int | str) -> int:
    """A number from 0 to `limit - 1`, each as likely, drawn with `key`."""
    return int(_bits(key, 1)[0]) * limit >> 64


def uniform(count: int, *key: int | str) -> list[float]:
    """Numbers from 0 to below 1, each as likely, drawn with `key`."""
    return [float(bits >> np.uint64(11)) * 2.0**-53 for bits in _bits(key, count)]


def _bits(key: Sequence[int | str], count: int) -> np.ndarray:
    # Only the raw bits: NumPy keeps them the same for ever, but not what its Generator makes of them.
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in key]
    return np.random.PCG64(np.random.SeedSequence(words)).random_raw(count)
