"""Writes maps as a grey video, for video editors and for encoders that allocate bits by saliency."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from unisal_jax.media.colours import FULL_RANGE, Colours, Look
from unisal_jax.media.film_options import Encoding
from unisal_jax.media.frames import Planes
from unisal_jax.media.images import map_to_grey
from unisal_jax.media.video_source import FilmInfo
from unisal_jax.media.video_writer import GreyWriter, VideoWriter

# High quality: smooth maps compress well anyway, and steps between levels would be visible.
_ENCODING = Encoding("veryfast", 8.0)
_LEVELS_OF_10_BITS = 1023
_NO_COLOUR = 128


class MapFilm:
    """8-bit maps in H.264, each scaled to its peak, as in map images."""

    def __init__(self, writer: VideoWriter):
        self._writer = writer

    def write_map(self, density: np.ndarray, seconds: float | None, duration: float | None) -> None:
        """Appends a density, float [height, width]; times as for `VideoWriter.write_planes`."""
        grey = map_to_grey(density)
        half = np.full([-(-side // 2) for side in grey.shape], _NO_COLOUR, np.uint8)
        self._writer.write_planes(Planes(grey, half, half), seconds, duration)


class DeepMapFilm:
    """10-bit maps in lossless FFV1, each scaled to its peak."""

    def __init__(self, writer: GreyWriter):
        self._writer = writer

    def write_map(self, density: np.ndarray, seconds: float | None, duration: float | None) -> None:
        """See `MapFilm.write_map`."""
        peak = float(density.max())
        scale = _LEVELS_OF_10_BITS / peak if peak > 0 else 0.0
        self._writer.write_grey((density * scale).astype(np.uint16), seconds, duration)


@contextlib.contextmanager
def open_maps(path: Path, film: FilmInfo, fps: float) -> Iterator[MapFilm | DeepMapFilm]:
    """Opens a map video with the frame times of the predicted video: 8-bit .mp4 or 10-bit .mkv by suffix."""
    origin = film.origin
    if origin is not None:
        origin = dataclasses.replace(origin, path=None)
    look = Look(Colours(range=FULL_RANGE), film.look.pixel_aspect)
    grey = FilmInfo(film.size, film.fps, look, origin)
    if path.suffix == ".mkv":
        with GreyWriter(path, film.size, fps, grey) as deep:
            yield DeepMapFilm(deep)
    else:
        with VideoWriter(path, film.size, fps, grey, _ENCODING) as writer:
            yield MapFilm(writer)
