"""Whole videos in order, as they are scored: frames at the input size, truth at the video's own."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import grain
import numpy as np

from unisal_jax.data.geometry import evaluation_input_size, fit_picture
from unisal_jax.data.prepared import Prepared, Truth, Video, check_size, read_frames
from unisal_jax.domains import Domain, Size
from unisal_jax.errors import UnisalError


class EvaluationFrame(NamedTuple):
    """One frame.

    Attributes:
      id: `dataset/split/video/frame`, for messages.
      pixels: uint8 RGB [h, w, 3] at the network's input size.
      truth: map and fixations at the video's own size, or None.
    """

    id: str
    pixels: np.ndarray
    truth: Truth | None


def evaluation_videos(
    prepared: Prepared, domain: Domain, *, threads: int = 2
) -> Iterator[tuple[Video, Iterator[EvaluationFrame]]]:
    """Yields each video with all of its frames in order; of an image there is one.

    A video's frames are read while they are taken, a few ahead, so the memory does not grow with
    its length. Frames that were not taken are passed over when the next video is asked for.

    Args:
      domain: whose parameters make the predictions; it sizes the frames of data that is not one of
        the released sets (`geometry.evaluation_input_size`).
      threads: how many frames are read at once; 0 reads a frame when it is asked for.
    Raises:
      UnisalError: a record is damaged, or the dataset was prepared at a size that scoring cannot
        use; names the frame.
    """
    places = []
    for video in prepared.videos:
        size = evaluation_input_size(prepared.name, domain, video.size, video=video.frames > 1)
        places += [_Place(video, frame, size) for frame in range(video.frames)]
    # More ahead than threads: unlike a training batch, a frame is small.
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=4 * threads)
    read = grain.MapDataset.source(places).map(lambda place: _read(prepared, place))
    frames = iter(read.to_iter_dataset(options))
    try:
        for video in prepared.videos:
            mine = itertools.islice(frames, video.frames)
            yield video, mine
            for _ in mine:
                pass
    finally:
        frames.close()


class _Place(NamedTuple):
    """Where a frame is, and the size that it is to have."""

    video: Video
    frame: int
    input_size: Size


def _read(prepared: Prepared, place: _Place) -> EvaluationFrame:
    size = place.video.size
    (frame,) = read_frames(prepared, [place.video.start + place.frame])
    check_size(prepared, frame, place.video, place.input_size)
    truth = frame.truth
    if truth is not None and not truth.map.shape == truth.fixation_size == size:
        raise UnisalError(
            f"{frame.id}: its map is {truth.map.shape[0]}x{truth.map.shape[1]}, the video is "
            f"{size[0]}x{size[1]}; scoring needs the dataset prepared at full resolution"
        )
    return EvaluationFrame(frame.id, fit_picture(frame.pixels, place.input_size, "stretch"), truth)
