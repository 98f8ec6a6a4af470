"""Assigns fixations to the frames of a video."""

from pathlib import Path

import numpy as np

from unisal_jax.errors import UnisalError
from unisal_jax.media.video import open_video


def frame_edges(path: Path, fps: float | None = None) -> np.ndarray:
    """Returns the start times of a video's frames and the end of the last one.

    All frames are decoded, since a file's header is often wrong.

    Args:
      path: a video file.
      fps: frames per second, if the video was not shown at its own times.

    Returns:
      float64 [frames + 1], ms from the first frame.

    Raises:
      UnisalError: the video cannot be read, or has neither times nor a rate and `fps` is None.
    """
    with open_video(path) as video:
        count = sum(1 for _ in video.frames())
        times, rate = np.array(video.times), fps or video.fps
    if fps is None and count > 1 and np.isfinite(times).all() and (np.diff(times) > 0).all():
        return edges_of(1000 * times)
    if not rate:
        raise UnisalError(f"{path}: has no frame times; pass --film-fps")
    return np.arange(count + 1) * (1000 / rate)


def edges_of(times: np.ndarray) -> np.ndarray:
    """Appends the end of the last frame, after the median step, to the times of frames."""
    return np.append(times, times[-1] + np.median(np.diff(times)))


def frames_of(start: np.ndarray, duration: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the frames whose middle lies within each fixation.

    An observer thus has at most one fixation per frame, as in recordings with one point per frame, and a
    fixation is weighted by its duration. A fixation too short to contain the middle of a frame belongs to the
    frame displayed at its own middle, or at the middle of its part within the video.

    Args:
      start: float64 [n], ms from the video's first frame.
      duration: float64 [n], ms; NaN if unknown, which is treated as 0.
      edges: as returned by `frame_edges`.

    Returns:
      (index of the fixation, frame from 0), both int64 [m]; fixations outside the video have no entries.
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
