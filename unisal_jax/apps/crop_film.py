"""The second reading of a video that is cropped: films of its windows, and its poster."""

import contextlib
import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unisal_jax.apps.boxes import Box
from unisal_jax.apps.crop import Crop
from unisal_jax.domains import Size
from unisal_jax.media.decoded import planes_of
from unisal_jax.media.film_options import Encoding, Part
from unisal_jax.media.frames import Planes
from unisal_jax.media.images import write_png
from unisal_jax.media.lanczos import resize_planes
from unisal_jax.media.video import open_video
from unisal_jax.media.video_source import FilmInfo


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


def write_films(
    source: str | Path,
    part: Part,
    info: FilmInfo,
    fps: float,
    encoding: Encoding,
    films: Sequence[Film],
    still: Still | None,
) -> None:
    """Reads a video once more and writes films and a still of it.

    Args:
      source: the video.
      part: of it that was cropped.
      info: of it, what the films keep.
      fps: of a video that has no rate.
      encoding: of the films.
      films: the films to write.
      still: the image to write.
    """
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(open_video(source, part))
        writers = []
        if films:
            from unisal_jax.media.video_writer import VideoWriter  # late: a still needs no FFmpeg

            for film in films:
                writer = VideoWriter(film.path, film.size, fps, info, encoding)
                writers.append(stack.enter_context(writer))
        # No more than were predicted: behind them a damaged video may end with an error.
        wanted = len(films[0].crops) if films else (still.number + 1 if still else 0)
        for number, frame in enumerate(itertools.islice(reader.frames(), wanted)):
            if films:
                planes = planes_of(frame)
                for film, writer in zip(films, writers, strict=True):
                    window = cropped(planes, film.crops[number], film.size)
                    writer.write_planes(window, frame.seconds, frame.duration)
            if still is not None and number == still.number:
                write_png(still.path, frame.rgb())


def cropped(planes: Planes, crop: Crop, size: Size) -> Planes:
    """A frame's window; of two, one above the other or side by side, each in about half of the size."""
    first = _part(planes, crop.box)
    if crop.second is None:
        return first
    height, width = size
    axis = 0 if height > width else 1
    # Even, as the parts of a plane with half as many colours.
    half = size[axis] // 4 * 2
    sizes = ((half, width), (height - half, width)) if axis == 0 else ((height, half), (height, width - half))
    parts = [
        _resized(part, part_size)
        for part, part_size in zip((first, _part(planes, crop.second)), sizes, strict=True)
    ]
    return Planes(*(np.concatenate(pair, axis) for pair in zip(*parts, strict=True)))


def _part(planes: Planes, box: Box) -> Planes:
    return planes.part(box.top, box.left, box.height, box.width)


def _resized(planes: Planes, size: Size) -> Planes:
    half = size[0] // 2, size[1] // 2
    sizes = size, half, half
    return Planes(*(resize_planes([each], to)[..., 0] for each, to in zip(planes, sizes, strict=True)))
