"""What a file, folder or camera gives as a video."""

import dataclasses
from collections.abc import Generator
from fractions import Fraction
from pathlib import Path

from unisal_jax.domains import Size
from unisal_jax.media.colours import DEFAULT_LOOK, Look
from unisal_jax.media.frames import Frame


@dataclasses.dataclass(frozen=True)
class Origin:
    """What a film that is made of another keeps of it.

    Attributes:
        path: the file, for what it holds beside its frames; None where that is nothing.
        zero: the time by the file's clock, in seconds, that is 0 in the film that is made.
        begins: when the part that was read begins, by the same clock; None at the file's beginning.
        ends: when it ends; None at the file's end.
        tick: what times are multiples of, in seconds; None where the file does not say when frames are shown.
    """

    path: Path | None
    zero: float
    begins: float | None
    ends: float | None
    tick: Fraction | None


@dataclasses.dataclass(frozen=True)
class FilmInfo:
    """What is known of a film before its frames are read.

    Attributes:
        size, fps: see `VideoReader`.
        look: of its frames.
        origin: of a film from a file.
    """

    size: Size
    fps: float | None = None
    look: Look = DEFAULT_LOOK
    origin: Origin | None = None


@dataclasses.dataclass(frozen=True)
class VideoFile:
    """What a video file holds.

    Attributes:
        frames: all good frames, then UnisalError if there should have been more.
        fps, frame_count: as of `VideoReader`.
        tick: what times are multiples of, in seconds; None where the file does not say when frames are shown.
        beside: what the file holds beside the frames: of "sound", "subtitles" and "chapters".
        left_out: which of these a film that is made of it does not keep.
        notes: what a user should know of how the file is read, a line each.
        path: of a file that holds more than its frames.
        clock: what the file's clock shows when its first track begins, in seconds: recordings of broadcasts
            begin at any time.
        first: when the film's first frame is shown, by the file's clock; None if `frames` begin with it.
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
