"""What a prediction leaves behind: maps, overlays, raw log-densities and numbers, whole or not at all.

One folder a kind: `map/NAME.png`, `overlay/NAME.png`, `raw/NAME.npy`, `json/NAME.json` for a picture;
`map/NAME/0001.png ...`, `overlay/NAME.mp4`, `raw/NAME.npy`, `json/NAME.json` for a video.
"""

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TextIO

import numpy as np

from unisal_jax.errors import UnisalError
from unisal_jax.files import atomic_path, cannot_write
from unisal_jax.media.images import map_to_grey, read_profile, write_map_png, write_npy, write_png
from unisal_jax.media.overlay import density_levels, overlay
from unisal_jax.media.sources import Source
from unisal_jax.media.video import VideoWriter

KINDS = ("map", "overlay", "raw", "json")
_NPY_HEADER_BYTES = 128
# Players need a rate; a folder of frames has none.
DEFAULT_FPS = 25.0


class FrameResults(Protocol):
    """Where the predictions of one video go, frame by frame."""

    def write(self, frame: np.ndarray, log_density: np.ndarray, seconds: float | None = None) -> None:
        """Takes the next frame.

        Args:
          frame: uint8 RGB [height, width, 3].
          log_density: float32 [height, width].
          seconds: when it is shown, from the first frame on; None where the video does not say.
        """


class Enough(Exception):
    """Raised by `FrameResults.write` where this frame is the last one wanted; the video so far is kept."""


class Results(Protocol):
    """Where predictions go. Several videos may be open at once, each in a thread of its own."""

    @property
    def film(self) -> str | None:
        """What is written of a video that is a video itself, such as "overlay"; None where nothing is."""

    def image(self, source: Source, image: np.ndarray, log_density: np.ndarray, about: dict) -> None:
        """Takes a picture's prediction; arrays as for `FrameResults.write`, `about` is for JSON.

        The log-density is given up to the call, which may write into it.
        """

    def video(
        self, source: Source, size: tuple[int, int], fps: float | None, about: dict
    ) -> contextlib.AbstractContextManager[FrameResults]:
        """Opens a video's; `size` (height, width) of its frames, `fps` None where there is no rate.

        `about` is added to until the block ends: when the frames come is known only then.
        """


@dataclasses.dataclass(frozen=True)
class PredictionFiles:
    """The results of `unisal predict`: files of these kinds in the folders of `make_folders`.

    Attributes:
      out: the folder of the folders.
      kinds: of KINDS.
      opacity: of the overlay, 0 to 1.
    """

    out: Path
    kinds: tuple[str, ...] = ("map", "overlay")
    opacity: float = 0.7

    @property
    def film(self) -> str | None:
        """The overlay, where it is written."""
        return "overlay" if "overlay" in self.kinds else None

    def holds(self, source: Source) -> bool:
        """Whether all files of an input are there. They appear whole, so what is there is finished."""
        name, video = source.name, source.kind == "video"
        files = {
            "map": name if video else f"{name}.png",
            "overlay": f"{name}.mp4" if video else f"{name}.png",
            "raw": f"{name}.npy",
            "json": f"{name}.json",
        }
        return bool(self.kinds) and all((self.out / kind / files[kind]).exists() for kind in self.kinds)

    def image(self, source: Source, image: np.ndarray, log_density: np.ndarray, about: dict) -> None:
        """Writes a picture's files."""
        if "raw" in self.kinds:
            write_npy(self.out / "raw" / f"{source.name}.npy", log_density)
        density = np.exp(log_density, out=log_density)
        if "json" in self.kinds:
            with text_file(self.out / "json" / f"{source.name}.json") as file:
                json.dump({"about": about, **summarise(density)}, file, indent=1, sort_keys=True)
                file.write("\n")
        grey = map_to_grey(density) if "map" in self.kinds else None
        levels = density_levels(density) if "overlay" in self.kinds else None
        # A large image's density takes more memory than what is written of it, and encoding needs a copy.
        del density, log_density
        if grey is not None:
            write_png(self.out / "map" / f"{source.name}.png", grey)
            del grey
        if levels is not None:
            laid = overlay(image, levels, self.opacity)
            del image, levels
            write_png(self.out / "overlay" / f"{source.name}.png", laid, read_profile(source.path))

    def video(self, source: Source, size: tuple[int, int], fps: float | None, about: dict) -> "VideoOutputs":
        """Opens a video's files."""
        return VideoOutputs(self.out, self.kinds, source.name, size, fps, about, self.opacity)


def summarise(density: np.ndarray) -> dict[str, Any]:
    """Where a density [height, width] peaks, and its centre of mass and spread.

    Returns:
      `peak` (row, column, density), `centre_of_mass` (row, column) and `spread`, the standard
      deviations (rows, columns); all in pixels, with 0 at the centre of the first pixel.
    """
    density = np.asarray(density)
    rows, columns = (density.sum(axis, dtype=np.float64) for axis in (1, 0))
    rows, columns = rows / rows.sum(), columns / rows.sum()
    row, column = np.unravel_index(density.argmax(), density.shape)

    def moments(weights: np.ndarray) -> tuple[float, float]:
        at = np.arange(len(weights))
        mean = (weights * at).sum()
        return round(float(mean), 4), round(float(np.sqrt((weights * (at - mean) ** 2).sum())), 4)

    (mean_row, spread_rows), (mean_column, spread_columns) = moments(rows), moments(columns)
    return {
        "centre_of_mass": {"column": mean_column, "row": mean_row},
        "peak": {"column": int(column), "density": float(f"{density.max():.6g}"), "row": int(row)},
        "spread": {"columns": spread_columns, "rows": spread_rows},
    }


def make_folders(out: Path, kinds: tuple[str, ...]) -> None:
    """Makes the output folders, and finds out before any work whether they can be written.

    Raises:
      UnisalError: they cannot.
    """
    for kind in kinds:
        folder = out / kind
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(folder / ".writable") as probe:
                probe.touch()
            (folder / ".writable").unlink()
        except OSError as error:
            raise cannot_write(folder, error) from error


class VideoOutputs(contextlib.ExitStack):
    """Writes a video's outputs frame by frame. They take their names when the block ends well.

    Args:
      out, kinds, opacity: as for `PredictionFiles`.
      name: stem of the files.
      about: what the JSON says of the input.
      size: (height, width) of the frames.
      fps: of the overlay; None for 25.
    """

    def __init__(
        self,
        out: Path,
        kinds: tuple[str, ...],
        name: str,
        size: tuple[int, int],
        fps: float | None,
        about: dict,
        opacity: float,
    ):
        super().__init__()
        self._opacity = opacity
        self._count = 0
        self._maps = self.enter_context(_new_folder(out / "map" / name)) if "map" in kinds else None
        self._video = (
            self.enter_context(VideoWriter(out / "overlay" / f"{name}.mp4", size, fps or DEFAULT_FPS))
            if "overlay" in kinds
            else None
        )
        self._raw = (
            self.enter_context(_growing_npy(out / "raw" / f"{name}.npy", size)) if "raw" in kinds else None
        )
        self._json = (
            self.enter_context(frame_list(out / "json" / f"{name}.json", about)) if "json" in kinds else None
        )

    def write(self, frame: np.ndarray, log_density: np.ndarray, seconds: float | None = None) -> None:
        """Adds a frame; arguments as for `FrameResults.write`."""
        self._count += 1
        density = np.exp(log_density)
        if self._maps is not None:
            write_map_png(self._maps / f"{self._count:04d}.png", density)
        if self._video is not None:
            self._video.write(overlay(frame, density, self._opacity))
        if self._raw is not None:
            self._raw.write(np.ascontiguousarray(log_density, "<f4").tobytes())
        if self._json is not None:
            self._json.write(",\n" if self._count > 1 else "\n")
            facts = {"frame": self._count, **shown_at(seconds), **summarise(density)}
            self._json.write(json.dumps(facts, sort_keys=True))


def shown_at(seconds: float | None) -> dict[str, float]:
    """What the JSON of a frame says of its time; nothing where it is not known."""
    return {} if seconds is None else {"seconds": round(seconds, 6)}


@contextlib.contextmanager
def text_file(path: Path) -> Iterator[TextIO]:
    """A file to write text to, whole or not at all; UnisalError names it where it cannot be written."""
    try:
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            yield file
    except OSError as error:
        raise cannot_write(path, error) from error


@contextlib.contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """A temporary folder, put in the place of `path` when the block ends well."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        if path.exists() and not path.is_dir():
            raise UnisalError(f"{path}: is in the way of a folder of maps")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        yield temporary
        shutil.rmtree(path, ignore_errors=True)
        temporary.rename(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _growing_npy(path: Path, size: tuple[int, int]) -> Iterator[BinaryIO]:
    """A file that takes float32 frames [height, width] and becomes an .npy file [T, height, width].

    How many come is known at the end only, so the header is written last, into space kept for it.
    """
    with atomic_path(path) as temporary:
        try:
            with temporary.open("wb") as file:
                file.write(b" " * _NPY_HEADER_BYTES)
                yield file
                count = (file.tell() - _NPY_HEADER_BYTES) // (4 * size[0] * size[1])
                text = (
                    f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({count}, {size[0]}, {size[1]}), }}"
                )
                text = text.ljust(_NPY_HEADER_BYTES - 11) + "\n"
                file.seek(0)
                file.write(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode())
        except OSError as error:
            raise cannot_write(path, error) from error


@contextlib.contextmanager
def frame_list(path: Path, about: dict) -> Iterator[TextIO]:
    """A JSON file whose `frames` are written one by one, since a film has too many to hold.

    `about` comes last, as it is at the end of the block.
    """
    with text_file(path) as file:
        file.write('{"frames": [')
        yield file
        file.write(f'\n],\n"about": {json.dumps(about, sort_keys=True)}}}\n')
