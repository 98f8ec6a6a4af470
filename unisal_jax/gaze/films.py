"""Which frames of a film a fixation counts on."""

from pathlib import Path

import numpy as np

from unisal_jax.errors import UnisalError
from unisal_jax.media.video import open_video


def frame_edges(path: Path, fps: float | None = None) -> np.ndarray:
    """When a film's frames begin, and when the last one ends: float64 [frames + 1], ms from the first one.

    All frames are decoded: what a file's header declares is often not what it gives.

    Args:
      path: a video file.
      fps: frames a second, where the film was not shown at its own times.

    Raises:
      UnisalError: it cannot be read, or knows neither times nor rate and `fps` is None.
    """
    with open_video(path) as video:
        count = sum(1 for _ in video.frames())
        times, rate = np.array(video.times), fps or video.fps
    if fps is None and count > 1 and np.isfinite(times).all() and (np.diff(times) > 0).all():
        return edges_of(1000 * times)
    if not rate:
        raise UnisalError(f"{path}: does not say when its frames are shown; give --film-fps")
    return np.arange(count + 1) * (1000 / rate)


def edges_of(times: np.ndarray) -> np.ndarray:
    """Times of frames, and when the last one ends: after the median of all steps."""
    return np.append(times, times[-1] + np.median(np.diff(times)))


def frames_of(start: np.ndarray, duration: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The frames in whose middle the eye rested, of each fixation.

    One person has one fixation a frame at most, as in recordings that hold a point for each frame, and a
    fixation weighs as much as it lasts. One so short that it falls between two middles counts on the frame
    that is shown at its own middle, or at that of the part of it that lies in the film.

    Args:
      start: float64 [n], ms from the film's first frame.
      duration: float64 [n], ms; NaN where it is not known, which counts as an instant.
      edges: as of `frame_edges`.

    Returns:
      (number of the fixation, frame from 0), both int64 [m]; none for fixations outside of the film.
    """
    middles = (edges[:-1] + edges[1:]) / 2
    end = np.clip(start + np.nan_to_num(duration), edges[0], edges[-1])
    begin = np.clip(start, edges[0], edges[-1])
    first, stop = np.searchsorted(middles, begin), np.searchsorted(middles, end)
    shown = np.searchsorted(edges, (begin + end) / 2, "right") - 1
    within = (start < edges[-1]) & ((start >= edges[0]) | (end > edges[0]))
    between = within & (first == stop)
    first, stop = np.where(between, shown, first), np.where(between, shown + 1, stop)
    count = stop - first
    number = np.repeat(np.arange(len(start)), count)
    offset = np.arange(len(number)) - np.repeat(np.cumsum(count) - count, count)
    return number, first[number] + offset
