"""The second reading of a video that is cropped: films of its windows, and its poster."""

import contextlib
import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unisal_jax.apps.crop import Crop
from unisal_jax.domains import Size
from unisal_jax.media.images import resize_frame, write_png
from unisal_jax.media.video import open_video


@dataclasses.dataclass(frozen=True)
class Film:
    """A film to write: its file, its (height, width), and a crop for each frame of the video."""

    path: Path
    size: Size
    crops: Sequence[Crop]


@dataclasses.dataclass(frozen=True)
class Still:
    """A frame to write: its file, and its number from 0."""

    path: Path
    number: int


def write_films(source: str | Path, fps: float, films: Sequence[Film], still: Still | None) -> None:
    """Reads a video once and writes films and a still of it, at `fps` frames a second."""
    with contextlib.ExitStack() as stack:
        frames = stack.enter_context(open_video(source))
        writers = []
        if films:
            from unisal_jax.media.video_writer import VideoWriter  # late: a still needs no FFmpeg

            writers = [stack.enter_context(VideoWriter(film.path, film.size, fps)) for film in films]
        # No more than were predicted: behind them a damaged video may end with an error.
        wanted = len(films[0].crops) if films else (still.number + 1 if still else 0)
        for number, frame in enumerate(itertools.islice(frames, wanted)):
            for film, writer in zip(films, writers, strict=True):
                writer.write(cropped(frame, film.crops[number], film.size))
            if still is not None and number == still.number:
                write_png(still.path, frame)


def cropped(frame: np.ndarray, crop: Crop, size: Size) -> np.ndarray:
    """A frame's window; of two, one above the other or side by side, each in half of the size."""
    if crop.second is None:
        return crop.box.of(frame)
    height, width = size
    tall = height > width
    first = (height // 2, width) if tall else (height, width // 2)
    rest = (height - first[0], width) if tall else (height, width - first[1])
    halves = resize_frame(crop.box.of(frame), first), resize_frame(crop.second.of(frame), rest)
    return np.concatenate(halves, axis=0 if tall else 1)
