"""Writes the outputs of predictions atomically: maps, overlays, raw log-densities and numbers.

There is one folder per output type. For an image: `map/NAME.png`, `overlay/NAME.png`, `raw/NAME.npy`,
`json/NAME.json`. For a video:
`map/NAME/0001.png ...`, `overlay/NAME.mp4`, `raw/NAME.npy`, `json/NAME.json`.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from unisal_jax.documents import write_json
from unisal_jax.files import make_folder
from unisal_jax.media.film_options import DEFAULT_DRAWING, Drawing
from unisal_jax.media.images import map_to_grey, read_profile, write_npy, write_png
from unisal_jax.media.overlay import density_levels, lay_heat
from unisal_jax.media.sources import MediaSource
from unisal_jax.media.video_source import FilmInfo
from unisal_jax.predict.facts import summarise
from unisal_jax.predict.film import Predicted
from unisal_jax.predict.records import Record, place, read_record, write_record
from unisal_jax.predict.video_outputs import VideoOutputs

KINDS = ("map", "overlay", "raw", "json")
_MAP_SUFFIXES = {"images": "", "video": ".mp4", "video10": ".mkv"}
# Settings that affect only the outputs of videos.
_OF_VIDEO = ("across_cuts", "part", "stride")


class FrameResults(Protocol):
    """Receives the predictions of one video, frame by frame."""

    def write(self, predicted: Predicted, seconds: float | None = None) -> None:
        """Takes the next frame.

        Args:
          predicted: the frame and its log-density at the network's input size.
          seconds: display time from the first frame; None if unknown.
        """


class Enough(Exception):
    """Raised by `FrameResults.write` to end the video with this frame and keep the outputs so far."""


class Results(Protocol):
    """Receives predictions. Several videos may be open at once, each in its own thread."""

    @property
    def film(self) -> str | None:
        """The output of a video that is itself a video, such as "overlay"; None if there is none."""

    def image(
        self, source: MediaSource, image: np.ndarray, log_density: np.ndarray, about: dict[str, Any]
    ) -> None:
        """Takes an image's prediction.

        Args:
          source: the source of the image.
          image: uint8 RGB [height, width, 3].
          log_density: float32 [height, width]; the call may overwrite it.
          about: entries for JSON.
        """

    def video(
        self, source: MediaSource, film: FilmInfo, about: dict[str, Any]
    ) -> contextlib.AbstractContextManager[FrameResults]:
        """Opens the results of a video.

        The caller adds entries to `about` until the block ends, since frame times are known only then.
        """


@dataclasses.dataclass(frozen=True)
class PredictionFiles:
    """The results of `unisal predict`: files in the folders of `make_folders`.

    Attributes:
      out: the output folder, with a folder per output type.
      kinds: output types, of KINDS.
      drawing: how images and videos are drawn.
      settings: all other settings that the results depend on, as in JSON.
      states: by name, the state of each input before it was read (`records.fingerprint`). None to keep no
        record of the inputs and never replace a video's folder of maps.
    """

    out: Path
    kinds: tuple[str, ...] = ("map", "overlay")
    drawing: Drawing = DEFAULT_DRAWING
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    states: Mapping[str, Any] | None = None

    @property
    def film(self) -> str | None:
        """The overlay, if it is written."""
        return "overlay" if "overlay" in self.kinds else None

    def paths(self, source: MediaSource) -> dict[str, Path]:
        """Returns the file, or for maps of a video the folder, of each output type."""
        name, video = source.name, source.kind == "video"
        files = {
            "map": f"{name}{_MAP_SUFFIXES[self.drawing.maps]}" if video else f"{name}.png",
            "overlay": f"{name}.mp4" if video else f"{name}.png",
            "raw": f"{name}.npy",
            "json": f"{name}.json",
        }
        return {kind: self.out / kind / files[kind] for kind in self.kinds}

    def made_with(self, source: MediaSource, state: Any) -> dict[str, Any]:
        """Returns, by output type, everything that the outputs of an input in this state depend on."""
        video = source.kind == "video"
        settings = {name: value for name, value in self.settings.items() if video or name not in _OF_VIDEO}
        common = {"input": state, "kind": source.kind, "settings": settings}
        made: dict[str, Any] = dict.fromkeys(self.kinds, common)
        if "overlay" in made:
            made["overlay"] = {**common, "opacity": self.drawing.opacity}
            if video:
                made["overlay"]["encoding"] = dataclasses.asdict(self.drawing.encoding)
        if "map" in made and video:
            made["map"] = {**common, "maps": self.drawing.maps}
        return made

    def image(
        self, source: MediaSource, image: np.ndarray, log_density: np.ndarray, about: dict[str, Any]
    ) -> None:
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
            laid = lay_heat(image, levels, self.drawing.opacity)
            del image, levels
            write_png(self.out / "overlay" / f"{source.name}.png", laid, read_profile(source.path))
        self._record(source)

    @contextlib.contextmanager
    def video(self, source: MediaSource, film: FilmInfo, about: dict[str, Any]) -> Iterator[VideoOutputs]:
        """Opens a video's files."""
        known = read_record(self.out, source.name) if self.states is not None else None
        old = known.maps if known else 0
        with VideoOutputs(self.paths(source), film, about, self.drawing, old) as outputs:
            yield outputs
            if self.states is not None and self.has_map_folder:
                # Record the folder of maps before it is renamed into place, so that an interruption cannot
                # leave a folder without a record.
                write_record(self.out, Record(source.name, place(source), max(old, outputs.count)))
        self._record(source, outputs.count if self.has_map_folder else None)

    @property
    def has_map_folder(self) -> bool:
        """Whether a video's maps are written as images in a folder."""
        return "map" in self.kinds and self.drawing.maps == "images"

    def _record(self, source: MediaSource, maps: int | None = None) -> None:
        """Records which input the outputs of a name were made from; `maps` None keeps the recorded number."""
        if self.states is None or not self.kinds:
            return
        old = read_record(self.out, source.name)
        kept = old.outputs if old is not None and old.path == place(source) else {}
        if maps is None:
            maps = old.maps if old is not None else 0
        made = self.made_with(source, self.states.get(source.name))
        write_record(self.out, Record(source.name, place(source), maps, {**kept, **made}))


def make_folders(out: Path, kinds: tuple[str, ...]) -> None:
    """Makes the output folders, so that an unwritable one is reported before any work is done.

    Raises:
      UnisalError: a folder cannot be made or written.
    """
    for kind in kinds:
        make_folder(out / kind)
