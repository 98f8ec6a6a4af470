"""Converts clips to records, one per frame."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.images import encode_png, grey_to_store, read_rgb
from unisal_jax.data.geometry import Geometry, fit_fixations, fit_image
from unisal_jax.data.layouts.releases import Clip
from unisal_jax.data.layouts.truth import UNKNOWN_OBSERVER, Fixations, TruthFiles, TruthPoints
from unisal_jax.domains import Domain, Size
from unisal_jax.errors import UnisalError
from unisal_jax.media.video import open_video

# Placeholder for the map of a frame without ground truth: the format requires an image.
NO_MAP = encode_png(np.zeros((1, 1), np.uint8))

# Frames in the queue per thread: enough to keep threads busy, few enough to fit large frames in memory.
_AHEAD = 4


@dataclass(frozen=True)
class Fitting:
    """How to resize frames to the network's input size before they are stored."""

    geometry: Geometry
    domain: Domain


@dataclass(frozen=True)
class Record:
    """A stored frame.

    Attributes:
      video: the clip's id.
      index: the frame's number in it, from 0.
      size: (height, width) of the frame as released.
      frame: the encoded image.
      map: the encoded saliency map; `NO_MAP` without ground truth.
      points: int32 [n, 2], (row, column) of each fixation in an image of `fixation_size`.
      observers: int32 [n], the observer of each fixation; -1 if unknown.
      fixation_size: (height, width) of the image that the fixations refer to.
      has_truth: False if the release has no ground truth.
      outside: number of fixations outside the image, which are left out.
      doubtful: whether the file of fixations has faults (`Fixations`).
    """

    video: str
    index: int
    size: Size
    frame: bytes
    map: bytes
    points: np.ndarray
    observers: np.ndarray
    fixation_size: Size
    has_truth: bool
    outside: int
    doubtful: bool = False

    def example(self) -> dict[str, Any]:
        """The record as a dict of its features."""
        return {
            "frame": self.frame,
            "map": self.map,
            "fixations": self.points,
            "observers": self.observers,
            "fixation_size": np.array(self.fixation_size, np.int32),
            "has_truth": self.has_truth,
            "video": self.video,
            "index": self.index,
        }


def read_records(clips: Sequence[Clip], fitting: Fitting | None) -> Iterator[Record]:
    """Reads and checks all frames of the clips, in order, on all cores.

    Args:
      clips: the clips.
      fitting: how to resize frames (and maps and fixations, if the geometry crops); None stores the bytes
        of the release.

    Raises:
      UnisalError: a file is missing, damaged or has another size than the rest of its clip, or the numbers
        of a video's frames and maps differ.
    """
    workers = os.cpu_count() or 1
    jobs = _jobs(clips)
    sizes: dict[str, Size] = {}
    with ThreadPoolExecutor(workers) as pool:
        # One window at a time: `map` alone would keep all frames in memory.
        while window := list(islice(jobs, _AHEAD * workers)):
            for job, record in zip(window, pool.map(lambda job: _record(job, fitting), window), strict=True):
                size = sizes.setdefault(record.video, record.size)
                if size != record.size:
                    raise UnisalError(
                        f"{job.name}: {record.size[1]}x{record.size[0]} among frames of {size[1]}x{size[0]}; "
                        "the frames of a video must have the same size"
                    )
                yield record


@dataclass(frozen=True)
class _Job:
    clip: Clip
    index: int
    pixels: np.ndarray | None  # of a frame of a video file, decoded in order; image files are read by workers

    @property
    def name(self) -> Path:
        frames = self.clip.frames
        return frames if isinstance(frames, Path) else frames[self.index]


def _jobs(clips: Sequence[Clip]) -> Iterator[_Job]:
    for clip in clips:
        if isinstance(clip.frames, Path):
            yield from _video_jobs(clip, clip.frames)
        else:
            yield from (_Job(clip, index, None) for index in range(len(clip.frames)))


def _video_jobs(clip: Clip, path: Path) -> Iterator[_Job]:
    wanted = clip.frame_count
    count = 0
    with open_video(path) as video:
        for pixels in video:
            if wanted is None or count < wanted:
                yield _Job(clip, count, pixels)
            count += 1
    if isinstance(clip.truth, TruthFiles) and count != wanted:
        raise UnisalError(f"{path}: {count} frames, but {wanted} maps in {clip.truth.maps.folder}")
    if isinstance(clip.truth, TruthPoints):
        _check_frames(clip.truth, count, path)


def _check_frames(truth: TruthPoints, count: int, path: Path) -> None:
    """Raises UnisalError if there are fixations beyond the `count` frames of `path`."""
    beyond = int((truth.frames >= count).sum())
    if beyond:
        raise UnisalError(
            f"{path}: {count} frames, but {beyond} fixations are on later frames (frame {truth.frames[-1]}, "
            "counted from 0)"
        )


def _record(job: _Job, fitting: Fitting | None) -> Record:
    if job.pixels is not None:
        encoded, pixels = b"", job.pixels
    else:
        encoded, pixels = read_rgb(job.name)
    size: Size = (pixels.shape[0], pixels.shape[1])
    encoded_map, found = _truth(job, size, fitting)
    if fitting is not None:
        input_size, _ = fitting.geometry.sizes(fitting.domain, size)
        pixels, encoded = fit_image(pixels, input_size, fitting.geometry.fit), b""
    return Record(
        video=job.clip.id,
        index=job.index,
        size=size,
        frame=encoded or encode_png(pixels),
        map=encoded_map,
        points=found.points,
        observers=found.observers,
        fixation_size=found.size,
        has_truth=job.clip.truth is not None,
        outside=found.outside,
        doubtful=bool(found.faults),
    )


def _truth(job: _Job, size: Size, fitting: Fitting | None) -> tuple[bytes, Fixations]:
    """The encoded map and the fixations of a frame of `size`, cropped like the frame.

    Without cropping, they are stored as released, as they are exact and already have the target size.
    """
    truth = job.clip.truth
    if truth is None:
        return NO_MAP, Fixations(np.zeros((0, 2), np.int32), np.zeros(0, np.int32), size)
    path = truth.maps[job.index] if isinstance(truth, TruthFiles) else None
    encoded, pixels = grey_to_store(path, truth.read_map(job.index, size))
    found = truth.read_fixations(job.index, size)
    if fitting is None or fitting.geometry.fit == "stretch":
        return encoded, found
    _, target_size = fitting.geometry.sizes(fitting.domain, size)
    pixels = fit_image(pixels, target_size, fitting.geometry.fit)
    points = np.argwhere(fit_fixations(found.points, size, target_size, fitting.geometry)).astype(np.int32)
    # Resizing the map of fixations loses their observers.
    observers = np.full(len(points), UNKNOWN_OBSERVER, np.int32)
    return encode_png(pixels), Fixations(points, observers, target_size, found.outside, found.faults)
