"""Reads a video a second time and writes its crops and poster."""

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
    """A video to write: its file, its (height, width), and a crop for each source frame."""

    path: Path
    size: Size
    crops: Sequence[Crop]


@dataclasses.dataclass(frozen=True)
class Still:
    """A frame to write: its file and its number, from 0."""

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
    """Reads a video again and writes crops and a still of it.

    Args:
      source: the video.
      part: the part of it that was cropped.
      info: properties of it that the crops take over.
      fps: frame rate to use if the video has none.
      encoding: of the crops.
      films: the crops to write.
      still: the frame to write.
    """
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(open_video(source, part))
        writers = []
        if films:
            from unisal_jax.media.video_writer import VideoWriter  # imported late: a still needs no FFmpeg

            for film in films:
                writer = VideoWriter(film.path, film.size, fps, info, encoding)
                writers.append(stack.enter_context(writer))
        # Read no more frames than were predicted: a damaged video would raise an error after them.
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
    """Crops a frame. Two windows are stacked or placed side by side, each in about half of the size."""
    first = _part(planes, crop.box)
    if crop.second is None:
        return first
    height, width = size
    axis = 0 if height > width else 1
    # Even, since chroma planes have half the resolution.
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
