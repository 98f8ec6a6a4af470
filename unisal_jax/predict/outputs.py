"""What a prediction leaves behind: maps, overlays, raw log-densities and numbers, whole or not at all.

One folder a kind: `map/NAME.png`, `overlay/NAME.png`, `raw/NAME.npy`, `json/NAME.json` for an image;
`map/NAME/0001.png ...`, `overlay/NAME.mp4`, `raw/NAME.npy`, `json/NAME.json` for a video.
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
# Settings on which only a video's outputs depend.
_OF_VIDEO = ("across_cuts", "part", "stride")


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

    def image(
        self, source: MediaSource, image: np.ndarray, log_density: np.ndarray, about: dict[str, Any]
    ) -> None:
        """Takes an image's prediction.

        Args:
          source: where the image came from.
          image: uint8 RGB [height, width, 3].
          log_density: float32 [height, width], given up to the call, which may write into it.
          about: for JSON.
        """

    def video(
        self, source: MediaSource, film: FilmInfo, about: dict[str, Any]
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
      drawing: how images and films look.
      settings: what else the results depend on, beside the input; as JSON has it.
      states: by name, the state of each input before it was read (`records.fingerprint`). None: no
        record of the inputs is kept, and a video's folder of maps is not replaced.
    """

    out: Path
    kinds: tuple[str, ...] = ("map", "overlay")
    drawing: Drawing = DEFAULT_DRAWING
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    states: Mapping[str, Any] | None = None

    @property
    def film(self) -> str | None:
        """The overlay, where it is written."""
        return "overlay" if "overlay" in self.kinds else None

    def paths(self, source: MediaSource) -> dict[str, Path]:
        """The file, or for maps of a video the folder, of each output type."""
        name, video = source.name, source.kind == "video"
        files = {
            "map": f"{name}{_MAP_SUFFIXES[self.drawing.maps]}" if video else f"{name}.png",
            "overlay": f"{name}.mp4" if video else f"{name}.png",
            "raw": f"{name}.npy",
            "json": f"{name}.json",
        }
        return {kind: self.out / kind / files[kind] for kind in self.kinds}

    def made_with(self, source: MediaSource, state: Any) -> dict[str, Any]:
        """By output type, all that the outputs of an input in this state depend on."""
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
                # Before the folder of maps takes its name: from now on it is ours, whatever happens.
                write_record(self.out, Record(source.name, place(source), max(old, outputs.count)))
        self._record(source, outputs.count if self.has_map_folder else None)

    @property
    def has_map_folder(self) -> bool:
        """Whether a video's maps are the images of a folder."""
        return "map" in self.kinds and self.drawing.maps == "images"

    def _record(self, source: MediaSource, maps: int | None = None) -> None:
        """Writes down which input the outputs of a name are of; `maps` None: as many as there were."""
        if self.states is None or not self.kinds:
            return
        old = read_record(self.out, source.name)
        kept = old.outputs if old is not None and old.path == place(source) else {}
        if maps is None:
            maps = old.maps if old is not None else 0
        made = self.made_with(source, self.states.get(source.name))
        write_record(self.out, Record(source.name, place(source), maps, {**kept, **made}))


def make_folders(out: Path, kinds: tuple[str, ...]) -> None:
    """Makes the output folders, and finds out before any work whether they can be written.

    Raises:
      UnisalError: they cannot.
    """
    for kind in kinds:
        make_folder(out / kind)
