"""What a file, folder or camera gives as a video."""

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

TimedFrame = tuple[np.ndarray, float | None]
"""A frame, uint8 RGB [H, W, 3], and when it is shown, in seconds; None where the file does not say."""


@dataclass(frozen=True)
class VideoFile:
    """What a video file holds.

    Attributes:
        frames: all good frames, then UnisalError if there should have been more.
        fps, frame_count: as of `VideoReader`.
        tick: what the file rounds times to, in seconds.
        beside: what the file holds beside the frames: of "sound", "subtitles" and "chapters".
        notes: what a user should know of how the file is read, a line each.
    """

    frames: Generator[TimedFrame, None, None]
    fps: float | None
    frame_count: int | None
    tick: float = 0.0
    beside: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
