"""Types that describe an open video."""

import dataclasses
from collections.abc import Generator
from fractions import Fraction
from pathlib import Path

from unisal_jax.domains import Size
from unisal_jax.media.colours import DEFAULT_LOOK, Look
from unisal_jax.media.frames import Frame


@dataclasses.dataclass(frozen=True)
class Origin:
    """The source of a video that is made from another one.

    Attributes:
      path: the file whose other tracks are copied; None if there is nothing to copy.
      zero: time by the source's clock, in seconds, that becomes 0 in the new video.
      begins: start of the part that is read, by the same clock; None for the file's beginning.
      ends: end of that part; None for the file's end.
      tick: unit of times in seconds; None if the file has no frame times.
    """

    path: Path | None
    zero: float
    begins: float | None
    ends: float | None
    tick: Fraction | None


@dataclasses.dataclass(frozen=True)
class FilmInfo:
    """Properties of a video that are known before its frames are read.

    Attributes:
      size, fps: see `VideoReader`.
      look: of its frames.
      origin: of a video read from a file.
    """

    size: Size
    fps: float | None = None
    look: Look = DEFAULT_LOOK
    origin: Origin | None = None


@dataclasses.dataclass(frozen=True)
class VideoFile:
    """An open video: its frames and properties.

    Attributes:
      frames: yields all intact frames, then raises UnisalError if frames are missing.
      fps, frame_count: see `VideoReader`.
      tick: unit of times in seconds; None if the file has no frame times.
      beside: what the file holds beside the frames, of "sound", "subtitles" and "chapters".
      left_out: which of these are not copied into a video made from this one.
      notes: what the user should know about how the file is read, one line each.
      path: the file; None for folders, cameras and addresses.
      clock: the file's clock when its first track begins, in seconds; recorded broadcasts begin at any
        time.
      first: display time of the video's first frame by the file's clock; None if `frames` begin with it.
    """

    frames: Generator[Frame, None, None]
    fps: float | None
    frame_count: int | None
    tick: Fraction | None = None
    beside: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    path: Path | None = None
    clock: float = 0.0
    first: float | None = None
