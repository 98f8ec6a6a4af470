"""What the demo's page has done for it: files for one upload, and a camera's frames."""

import contextlib
import dataclasses
import json
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from unisal_jax.errors import UnisalError
from unisal_jax.media.images import read_image
from unisal_jax.media.overlay import overlay
from unisal_jax.media.sources import Source, expand_inputs
from unisal_jax.media.video import VideoWriter
from unisal_jax.predict.batch import Options, predict_sources
from unisal_jax.predict.model import SaliencyModel, Stream
from unisal_jax.predict.outputs import FrameResults, PredictionFiles, make_folders
from unisal_jax.samples import CLIP_FPS, CLIP_SIZE, moving_clip, photograph_path

_RATE_OVER_FRAMES = 30


@dataclasses.dataclass(frozen=True)
class Result:
    """What came of one upload; the files lie in a folder of their own under the desk's.

    Attributes:
      source: what was predicted.
      overlay: heat over the input, .png or .mp4.
      map: the grey map, .png, or a .zip of one a frame.
      raw: the log-density, .npy [H, W]; None for a clip.
      facts: the .json file.
      summary: a few lines for people.
    """

    source: Source
    overlay: Path
    map: Path
    raw: Path | None
    facts: Path
    summary: str


class Desk:
    """Predicts uploads and camera frames with one model.

    Args:
      model: the network.
      folder: where everything that it writes goes.
      max_seconds: a clip's prediction stops after so long; what is done by then is kept.
    """

    def __init__(self, model: SaliencyModel, folder: Path, max_seconds: float):
        self.model, self.folder, self.max_seconds = model, folder, max_seconds

    def samples(self) -> list[Path]:
        """The bundled photograph, and a short clip made from it."""
        clip, photograph = self.folder / "clip.mp4", self.folder / "photograph.jpg"
        shutil.copyfile(photograph_path(), photograph)
        with VideoWriter(clip, CLIP_SIZE, CLIP_FPS) as writer:
            for frame in moving_clip():
                writer.write(frame)
        return [photograph, clip]

    def predict(self, path: str | Path, domain: str | None, opacity: float) -> Result:
        """The prediction of a picture or clip, told apart by the suffix.

        Args:
          path: the upload.
          domain: whose parameters; None for the usual one of pictures or of video.
          opacity: of the overlay, 0 to 1.
        Raises:
          UnisalError: the file cannot be read; the message names it, without its folder.
        """
        path = Path(path)
        out = Path(tempfile.mkdtemp(prefix="result-", dir=self.folder))
        try:
            (source,) = expand_inputs([str(path)])
            kinds = ("map", "overlay", "json", *(("raw",) if source.kind == "image" else ()))
            make_folders(out, kinds)
            files = _Bounded(PredictionFiles(out, kinds, opacity), self.max_seconds)
            summary = predict_sources(self.model, [source], files, Options(domain, skip_errors=True))
            if not summary.done or (source.kind == "video" and summary.frames == 0):
                raise UnisalError(summary.errors[0])
        except BaseException as error:
            shutil.rmtree(out, ignore_errors=True)
            if isinstance(error, UnisalError):
                # Where uploads are kept is nobody's business.
                raise UnisalError(str(error).replace(f"{path.parent}/", "")) from error
            raise
        facts = out / "json" / f"{source.name}.json"
        about = json.loads(facts.read_text())["about"]
        lines = [
            f"{about['size'][1]}x{about['size'][0]} pixels, domain {about['domain']}",
            f"{summary.frames} frames in {summary.seconds:.1f} s" if summary.frames else "",
            *(line.replace(f"{path.parent}/", "") for line in summary.errors),
        ]
        image = source.kind == "image"
        maps = out / "map" / f"{source.name}.png"
        if not image:
            maps = Path(
                shutil.make_archive(str(out / f"{source.name}_maps"), "zip", out / "map" / source.name)
            )
        return Result(
            source=source,
            overlay=out / "overlay" / f"{source.name}.{'png' if image else 'mp4'}",
            map=maps,
            raw=out / "raw" / f"{source.name}.npy" if image else None,
            facts=facts,
            summary="; ".join(line for line in lines if line),
        )

    def forget(self, result: Result | None) -> None:
        """Removes a result's files; None is passed over."""
        if result is not None:
            shutil.rmtree(result.facts.parents[1], ignore_errors=True)

    def overlay(self, result: Result, opacity: float) -> np.ndarray:
        """A picture's overlay at another opacity, uint8 RGB [H, W, 3], without predicting again."""
        assert result.raw is not None, "a clip's overlay is a file"
        return overlay(read_image(result.source.path), np.exp(np.load(result.raw)), opacity)


class Live:
    """A camera's frames with their heat, and how many come a second."""

    def __init__(self, model: SaliencyModel):
        self._model = model
        self._stream: Stream | None = None
        self._opened: Any = None
        self._times: deque[float] = deque(maxlen=_RATE_OVER_FRAMES)

    def __call__(
        self, frame: np.ndarray, domain: str | None, opacity: float
    ) -> tuple[np.ndarray, float | None]:
        """A frame's overlay, both uint8 RGB [H, W, 3], and the measured frames a second, None at first.

        A frame of another size, or another domain, begins the stream anew.
        """
        size = frame.shape[0], frame.shape[1]
        if self._stream is None or self._opened != (size, domain):
            self._stream, self._opened = self._model.stream(size, domain), (size, domain)
            self._times.clear()
        shown = overlay(frame, self._stream(frame), opacity)
        self._times.append(time.monotonic())
        passed = self._times[-1] - self._times[0]
        return shown, (len(self._times) - 1) / passed if passed > 0 else None


@dataclasses.dataclass(frozen=True)
class _Bounded:
    """Results that end a video when its time is up, as if it broke off there."""

    files: PredictionFiles
    seconds: float

    @property
    def film(self) -> str | None:
        return self.files.film

    def image(self, source: Source, image: np.ndarray, log_density: np.ndarray, about: dict) -> None:
        self.files.image(source, image, log_density, about)

    @contextlib.contextmanager
    def video(
        self, source: Source, size: tuple[int, int], fps: float | None, about: dict
    ) -> Iterator[FrameResults]:
        with self.files.video(source, size, fps, about) as results:
            yield _Until(results, time.monotonic() + self.seconds, self.seconds)


@dataclasses.dataclass(frozen=True)
class _Until:
    results: FrameResults
    deadline: float
    seconds: float

    def write(self, frame: np.ndarray, log_density: np.ndarray, seconds: float | None = None) -> None:
        if time.monotonic() > self.deadline:
            raise UnisalError(f"stopped after {self.seconds:g} seconds, the limit of this page")
        self.results.write(frame, log_density, seconds)
