"""Writes the output files of a video frame by frame, each atomically."""

import contextlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TextIO, TypeVar

import numpy as np

from unisal_jax.errors import OutputError
from unisal_jax.files import atomic_path, is_system, temporary_path, text_file, write_errors
from unisal_jax.media.densities import resize_log_density
from unisal_jax.media.film_options import Drawing
from unisal_jax.media.images import write_map_png
from unisal_jax.media.overlay import PlanesHeat, density_levels
from unisal_jax.media.video_source import FilmInfo
from unisal_jax.predict.facts import shown_at, summarise
from unisal_jax.predict.film import Predicted

# For folders of frames, which have no rate.
DEFAULT_FPS = 25.0
_NPY_HEADER_BYTES = 128

_Output = TypeVar("_Output")


class VideoOutputs(contextlib.ExitStack):
    """Writes a video's outputs frame by frame. They appear when the block ends without an exception.

    Args:
      paths: the file, or folder of maps, of each output type (`PredictionFiles.paths`).
      film: the video that the frames are from; if it has no rate, outputs have 25 frames per second.
      about: entries about the input for JSON.
      drawing: how images and videos are drawn.
      replaced: number of earlier files in the folder of maps that may be replaced.

    Attributes:
      count: number of frames so far.
    """

    def __init__(
        self,
        paths: Mapping[str, Path],
        film: FilmInfo,
        about: dict[str, Any],
        drawing: Drawing,
        replaced: int = 0,
    ):
        super().__init__()
        self.count = 0
        self._size = film.size
        self._heat = PlanesHeat(film.look.colours, film.size[0], drawing.opacity)
        # Imported late, since images do not need FFmpeg.
        from unisal_jax.media.map_writer import open_maps
        from unisal_jax.media.video_writer import VideoWriter

        def maps(path: Path) -> contextlib.AbstractContextManager[_Maps]:
            if drawing.maps == "images":
                return _map_images(path, replaced)
            return open_maps(path, film, rate)

        rate = film.fps or DEFAULT_FPS
        self._maps = self.enter_context(maps(paths["map"])) if "map" in paths else None
        self._raw = self.enter_context(_growing_npy(paths["raw"], film.size)) if "raw" in paths else None
        self._json = self.enter_context(frame_list(paths["json"], about)) if "json" in paths else None
        self._video: VideoWriter | None = None
        if "overlay" in paths:
            writer = VideoWriter(paths["overlay"], film.size, rate, film, drawing.encoding)
            self._video = self.enter_context(writer)

    def write(self, predicted: Predicted, seconds: float | None = None) -> None:
        """Adds a frame; arguments as for `FrameResults.write`."""
        self.count += 1
        frame = predicted.frame
        if self._video is not None:
            from unisal_jax.media.decoded import planes_of  # imported late, as above

            # The overlay has 256 levels: quantise at the input size, then enlarge as bytes.
            levels = density_levels(np.exp(predicted.log_density))
            self._video.write_planes(self._heat.lay(planes_of(frame), levels), frame.seconds, frame.duration)
        if self._maps is None and self._raw is None and self._json is None:
            return
        log_density = resize_log_density(predicted.log_density, self._size)
        if self._raw is not None:
            self._raw.write(np.ascontiguousarray(log_density, "<f4").tobytes())
        density = np.exp(log_density, out=log_density)
        if self._maps is not None:
            self._maps.write_map(density, frame.seconds, frame.duration)
        if self._json is not None:
            self._json.write(",\n" if self.count > 1 else "\n")
            facts = {"frame": self.count, **shown_at(seconds), **summarise(density)}
            self._json.write(json.dumps(facts, sort_keys=True))


class _Maps(Protocol):
    """Receives a video's maps."""

    def write_map(self, density: np.ndarray, seconds: float | None, duration: float | None) -> None:
        """Takes the next map, float [height, width]; times as for `VideoWriter.write_planes`."""


class _MapImages:
    """Writes maps as PNG files into a folder."""

    def __init__(self, folder: Path):
        self._folder, self._count = folder, 0

    def write_map(self, density: np.ndarray, seconds: float | None, duration: float | None) -> None:
        self._count += 1
        write_map_png(self._folder / f"{self._count:04d}.png", density)


@contextlib.contextmanager
def _map_images(path: Path, replaced: int) -> Iterator[_MapImages]:
    with _new_folder(path, replaced) as folder:
        yield _MapImages(folder)


def check_replaceable(folder: Path, written: int) -> None:
    """Checks that a folder of maps holds only the files `0001.png` to number `written`.

    Raises:
      OutputError: it holds other files, or is itself a file or link.
    """
    with write_errors(folder):
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise OutputError(f"{folder}: is not a folder, but maps are to be written into a folder there")
        if not folder.exists():
            return
        for entry in folder.iterdir():
            number = re.fullmatch(r"([0-9]{4,18})\.png", entry.name)
            ours = number and 1 <= int(number[1]) <= written and entry.name == f"{int(number[1]):04d}.png"
            if (not ours and not is_system(entry.name)) or entry.is_dir():
                raise OutputError(
                    f"{folder}: holds files not written by unisal predict, or written by an older version "
                    f"({entry.name}); move the folder or choose another --out"
                )


@contextlib.contextmanager
def _new_folder(path: Path, replaced: int) -> Iterator[Path]:
    """Opens a temporary folder, which replaces `path` when the block ends without an exception.

    An older folder of `replaced` maps at `path` stays intact until then. A folder that holds anything else
    is never replaced (`check_replaceable`).
    """
    check_replaceable(path, replaced)
    temporary, old = temporary_path(path), temporary_path(path)
    try:
        with write_errors(path):
            temporary.mkdir()
            yield temporary
            check_replaceable(path, replaced)
            if path.exists():
                path.rename(old)
            try:
                temporary.rename(path)
            except BaseException:
                if old.exists():
                    old.rename(path)
                raise
            shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _growing_npy(path: Path, size: tuple[int, int]) -> Iterator[BinaryIO]:
    """Opens a file for float32 frames [height, width] that becomes an .npy file [T, height, width].

    The number of frames is known only at the end, so the header is written last, into reserved space.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(b" " * _NPY_HEADER_BYTES)
        yield file
        count = (file.tell() - _NPY_HEADER_BYTES) // (4 * size[0] * size[1])
        text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({count}, {size[0]}, {size[1]}), }}"
        text = text.ljust(_NPY_HEADER_BYTES - 11) + "\n"
        file.seek(0)
        file.write(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode())


@contextlib.contextmanager
def frame_list(path: Path, about: dict[str, Any]) -> Iterator[TextIO]:
    """Opens a JSON file whose `frames` are written one by one, since a video has too many to hold.

    `about` is written last, with its entries at the end of the block.
    """
    with text_file(path) as file:
        file.write('{"frames": [')
        yield file
        file.write(f'\n],\n"about": {json.dumps(about, sort_keys=True)}}}\n')
