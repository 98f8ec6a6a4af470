"""What a prediction leaves behind: maps, overlays, raw log-densities and numbers, whole or not at all.

One folder a kind: `map/NAME.png`, `overlay/NAME.png`, `raw/NAME.npy`, `json/NAME.json` for a picture;
`map/NAME/0001.png ...`, `overlay/NAME.mp4`, `raw/NAME.npy`, `json/NAME.json` for a video.
"""

import contextlib
import dataclasses
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TextIO, TypeVar

import numpy as np

from unisal_jax.documents import rounded, write_json
from unisal_jax.errors import OutputError
from unisal_jax.files import atomic_path, is_system, make_folder, temporary_path, text_file, write_errors
from unisal_jax.media.densities import resize_log_density
from unisal_jax.media.film_options import DEFAULT_ENCODING, Encoding
from unisal_jax.media.images import map_to_grey, read_profile, write_map_png, write_npy, write_png
from unisal_jax.media.overlay import PlanesHeat, density_levels, lay_heat
from unisal_jax.media.sources import Source
from unisal_jax.media.video_source import FilmInfo
from unisal_jax.predict.film import Predicted
from unisal_jax.predict.records import Record, place, read_record, write_record

_Output = TypeVar("_Output")

KINDS = ("map", "overlay", "raw", "json")
_NPY_HEADER_BYTES = 128
# Settings on which only a video's outputs depend.
_OF_VIDEO = ("across_cuts", "part", "stride")
# Players need a rate; a folder of frames has none.
DEFAULT_FPS = 25.0


class FrameResults(Protocol):
    """Where the predictions of one video go, frame by frame."""

    def write(self, predicted: Predicted, seconds: float | None = None) -> None:
        """Takes the next frame.

        Args:
          predicted: the frame and its log-density, at the size that the network saw.
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
        """Takes a picture's prediction.

        Args:
          source: where the picture came from.
          image: uint8 RGB [height, width, 3].
          log_density: float32 [height, width], given up to the call, which may write into it.
          about: for JSON.
        """

    def video(
        self, source: Source, film: FilmInfo, about: dict
    ) -> contextlib.AbstractContextManager[FrameResults]:
        """Opens a video's.

        `about` is added to until the block ends: when the frames come is known only then.
        """


@dataclasses.dataclass(frozen=True)
class PredictionFiles:
    """The results of `unisal predict`: files of these kinds in the folders of `make_folders`.

    Attributes:
      out: the folder of the folders.
      kinds: of KINDS.
      opacity: of the overlay, 0 to 1.
      encoding: of a video's overlay.
      settings: what else the results depend on, beside the input; as JSON has it.
      states: by name, the state of each input before it was read (`records.fingerprint`). None: no
        record of the inputs is kept, and a video's folder of maps is not replaced.
    """

    out: Path
    kinds: tuple[str, ...] = ("map", "overlay")
    opacity: float = 0.7
    encoding: Encoding = DEFAULT_ENCODING
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    states: Mapping[str, Any] | None = None

    @property
    def film(self) -> str | None:
        """The overlay, where it is written."""
        return "overlay" if "overlay" in self.kinds else None

    def paths(self, source: Source) -> dict[str, Path]:
        """The file, or for maps of a video the folder, of each output type."""
        name, video = source.name, source.kind == "video"
        files = {
            "map": name if video else f"{name}.png",
            "overlay": f"{name}.mp4" if video else f"{name}.png",
            "raw": f"{name}.npy",
            "json": f"{name}.json",
        }
        return {kind: self.out / kind / files[kind] for kind in self.kinds}

    def made_with(self, source: Source, state: Any) -> dict[str, Any]:
        """By output type, all that the outputs of an input in this state depend on."""
        video = source.kind == "video"
        settings = {name: value for name, value in self.settings.items() if video or name not in _OF_VIDEO}
        common = {"input": state, "kind": source.kind, "settings": settings}
        drawn = {**common, "opacity": self.opacity}
        if video:
            drawn["encoding"] = dataclasses.asdict(self.encoding)
        return {kind: drawn if kind == "overlay" else common for kind in self.kinds}

    def image(self, source: Source, image: np.ndarray, log_density: np.ndarray, about: dict) -> None:
        """Writes an image's files."""
        if "raw" in self.kinds:
            write_npy(self.out / "raw" / f"{source.name}.npy", log_density)
        density = np.exp(log_density, out=log_density)
        if "json" in self.kinds:
            write_json(self.out / "json" / f"{source.name}.json", {"about": about, **summarise(density)})
        grey = map_to_grey(density) if "map" in self.kinds else None
        levels = density_levels(density) if "overlay" in self.kinds else None
        # A large image's density takes more memory than what is written of it, and encoding needs a copy.
        del density, log_density
        if grey is not None:
            write_png(self.out / "map" / f"{source.name}.png", grey)
            del grey
        if levels is not None:
            laid = lay_heat(image, levels, self.opacity)
            del image, levels
            write_png(self.out / "overlay" / f"{source.name}.png", laid, read_profile(source.path))
        self._record(source)

    @contextlib.contextmanager
    def video(self, source: Source, film: FilmInfo, about: dict) -> "Iterator[VideoOutputs]":
        """Opens a video's files."""
        known = read_record(self.out, source.name) if self.states is not None else None
        old = known.maps if known else 0
        with VideoOutputs(self, source.name, film, about, old) as outputs:
            yield outputs
            if self.states is not None and "map" in self.kinds:
                # Before the folder of maps takes its name: from now on it is ours, whatever happens.
                write_record(self.out, Record(source.name, place(source), max(old, outputs.count)))
        self._record(source, outputs.count if "map" in self.kinds else None)

    def _record(self, source: Source, maps: int | None = None) -> None:
        """Writes down which input the outputs of a name are of; `maps` None: as many as there were."""
        if self.states is None or not self.kinds:
            return
        old = read_record(self.out, source.name)
        kept = old.outputs if old is not None and old.path == place(source) else {}
        if maps is None:
            maps = old.maps if old is not None else 0
        made = self.made_with(source, self.states.get(source.name))
        write_record(self.out, Record(source.name, place(source), maps, {**kept, **made}))


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
        "peak": {"column": int(column), "density": rounded(float(density.max())), "row": int(row)},
        "spread": {"columns": spread_columns, "rows": spread_rows},
    }


def make_folders(out: Path, kinds: tuple[str, ...]) -> None:
    """Makes the output folders, and finds out before any work whether they can be written.

    Raises:
      UnisalError: they cannot.
    """
    for kind in kinds:
        make_folder(out / kind)


class VideoOutputs(contextlib.ExitStack):
    """Writes a video's outputs frame by frame. They take their names when the block ends well.

    Args:
      files: whose output they are.
      name: stem of the files.
      film: that the frames are of; the overlay has 25 a second where it has no rate.
      about: what the JSON says of the input.
      replaced: files in the folder of maps that were written before and may be replaced.

    Attributes:
      count: frames so far.
    """

    def __init__(
        self,
        files: PredictionFiles,
        name: str,
        film: FilmInfo,
        about: dict,
        replaced: int = 0,
    ):
        super().__init__()
        self.count = 0
        self._size = film.size
        self._heat = PlanesHeat(film.look.colours, film.size[0], files.opacity)
        from unisal_jax.media.video_writer import VideoWriter  # late: images need no FFmpeg

        def opened(kind: str, output: contextlib.AbstractContextManager[_Output]) -> _Output | None:
            return self.enter_context(output) if kind in files.kinds else None

        out, rate = files.out, film.fps or DEFAULT_FPS
        self._maps = opened("map", _new_folder(out / "map" / name, replaced))
        self._raw = opened("raw", _growing_npy(out / "raw" / f"{name}.npy", film.size))
        self._json = opened("json", frame_list(out / "json" / f"{name}.json", about))
        self._video: VideoWriter | None = None
        if "overlay" in files.kinds:
            target = out / "overlay" / f"{name}.mp4"
            self._video = self.enter_context(VideoWriter(target, film.size, rate, film, files.encoding))

    def write(self, predicted: Predicted, seconds: float | None = None) -> None:
        """Adds a frame; arguments as for `FrameResults.write`."""
        self.count += 1
        frame = predicted.frame
        if self._video is not None:
            # What is seen has 256 levels: they are made small, and enlarged as bytes.
            levels = density_levels(np.exp(predicted.log_density))
            self._video.write_planes(self._heat.lay(frame.planes(), levels), frame.seconds, frame.duration)
        if self._maps is None and self._raw is None and self._json is None:
            return
        log_density = resize_log_density(predicted.log_density, self._size)
        if self._raw is not None:
            self._raw.write(np.ascontiguousarray(log_density, "<f4").tobytes())
        density = np.exp(log_density, out=log_density)
        if self._maps is not None:
            write_map_png(self._maps / f"{self.count:04d}.png", density)
        if self._json is not None:
            self._json.write(",\n" if self.count > 1 else "\n")
            facts = {"frame": self.count, **shown_at(seconds), **summarise(density)}
            self._json.write(json.dumps(facts, sort_keys=True))


def shown_at(seconds: float | None) -> dict[str, float]:
    """What the JSON of a frame says of its time; nothing where it is not known."""
    return {} if seconds is None else {"seconds": round(seconds, 6)}


def check_replaceable(folder: Path, written: int) -> None:
    """Refuses to replace a folder of maps that holds anything else than `0001.png` to `written`.

    Raises:
      OutputError: it does, or a file has its name.
    """
    with write_errors(folder):
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise OutputError(f"{folder}: is in the way of a folder of maps")
        if not folder.exists():
            return
        for entry in folder.iterdir():
            number = re.fullmatch(r"([0-9]{4,18})\.png", entry.name)
            ours = number and 1 <= int(number[1]) <= written and entry.name == f"{int(number[1]):04d}.png"
            if (not ours and not is_system(entry.name)) or entry.is_dir():
                raise OutputError(
                    f"{folder}: holds files that were not written by unisal predict, or by an older version "
                    f"({entry.name}); move it away or name another --out"
                )


@contextlib.contextmanager
def _new_folder(path: Path, replaced: int) -> Iterator[Path]:
    """A temporary folder, put in the place of `path` when the block ends well.

    An older folder of `replaced` maps at `path` stays whole until then; one that holds anything else is
    left as it is (`check_replaceable`).
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
    """A file that takes float32 frames [height, width] and becomes an .npy file [T, height, width].

    How many come is known at the end only, so the header is written last, into space kept for it.
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
def frame_list(path: Path, about: dict) -> Iterator[TextIO]:
    """A JSON file whose `frames` are written one by one, since a film has too many to hold.

    `about` comes last, as it is at the end of the block.
    """
    with text_file(path) as file:
        file.write('{"frames": [')
        yield file
        file.write(f'\n],\n"about": {json.dumps(about, sort_keys=True)}}}\n')
