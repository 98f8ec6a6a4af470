"""What the demo's page has done for it: files for one upload, and a camera's frames."""

import base64
import contextlib
import dataclasses
import json
import os
import re
import secrets
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from unisal_jax.errors import UnisalError
from unisal_jax.media.decoded import planes_of
from unisal_jax.media.film_options import Drawing
from unisal_jax.media.images import IMAGE_SUFFIXES, read_image, write_png
from unisal_jax.media.overlay import overlay
from unisal_jax.media.sources import MediaSource, expand_inputs
from unisal_jax.media.video import VIDEO_SUFFIXES, open_video
from unisal_jax.media.video_source import FilmInfo
from unisal_jax.media.video_writer import VideoWriter
from unisal_jax.predict.batch import PredictOptions, predict_sources
from unisal_jax.predict.film import Predicted
from unisal_jax.predict.model import SaliencyModel, Stream
from unisal_jax.predict.outputs import FrameResults, PredictionFiles, make_folders
from unisal_jax.predict.video_outputs import DEFAULT_FPS
from unisal_jax.samples import CLIP_FPS, CLIP_SIZE, moving_clip, photograph_path

_RATE_OVER_FRAMES = 30
_FRAME_PIXELS = 9_000_000
# The input beside the heat is for looking at: its longer side, in pixels.
_VIEW_SIDE = 1600
# Opacities in steps, so that a result has a bounded number of overlays.
_OPACITY_STEPS = 20
# Names of uploads: what is not of these is replaced, and long ones are cut.
_UNUSUAL = re.compile(r"[^\w .()+-]")
_NAME_LENGTH = 60

Tell = Callable[[int, int | None], None]
"""Called with the number of frames done and, where it is known, of all frames."""


class Stopped(Exception):
    """The prediction is no longer wanted; raised by a `Tell`, and while the desk closes."""


@dataclasses.dataclass(frozen=True)
class Result:
    """What came of one upload. Only what lies in `folder`/shown is for visitors.

    Attributes:
      folder: holds all of it, and nothing else.
      source: what was predicted; not in `folder`.
      view: the input as it was read, .jpg or .mp4, written by us.
      overlay: heat over the input, .png or .mp4.
      map: the grey map, .png, or a .zip of one a frame.
      raw: the log-density, .npy [H, W]; None for a clip.
      facts: the .json file.
      summary: a few lines for people.
    """

    folder: Path
    source: MediaSource
    view: Path
    overlay: Path
    map: Path
    raw: Path | None
    facts: Path
    summary: str


class Desk:
    """Predicts uploads and camera frames with one model, and keeps their files.

    Below its folder, `uploads/TOKEN/NAME` are the files of visitors, which are read by this package's
    readers alone and never shown; `results/TOKEN/shown/` is what is.

    Args:
      model: the network.
      folder: where everything that it writes goes.
      max_seconds: a clip's prediction stops after so long; what is done by then is kept.
      max_bytes: of all files in the folder; no upload is taken and no prediction begun beyond.
    """

    def __init__(self, model: SaliencyModel, folder: Path, max_seconds: float, max_bytes: int):
        self.model, self.folder, self.max_seconds, self.max_bytes = model, folder, max_seconds, max_bytes
        self._uploads, self._results = folder / "uploads", folder / "results"
        self._uploads.mkdir()
        self._results.mkdir()
        shown = rf"{re.escape(str(self._results))}/[0-9a-f]{{32}}/shown/(\d+/)?[^/]+"
        # Only names of `place_for`: not "..", and nothing that is read as a pattern.
        self._is_upload = re.compile(rf"{re.escape(str(self._uploads))}/[0-9a-f]{{32}}/(?!\.)[\w .()+-]+")
        self._is_shown = re.compile(shown)
        self._closing = threading.Event()
        self._working = threading.Lock()

    def samples(self) -> list[Path]:
        """The bundled photograph, and a short clip made from it."""
        clip, photograph = self.folder / "clip.mp4", self.folder / "photograph.jpg"
        shutil.copyfile(photograph_path(), photograph)
        with VideoWriter(clip, CLIP_SIZE, CLIP_FPS) as writer:
            for frame in moving_clip():
                writer.write(frame)
        return [photograph, clip]

    def place_for(self, name: str) -> Path | None:
        """A new path for an upload of this name; None where its suffix is of no image or video."""
        path = PurePosixPath(name.replace("\\", "/"))
        suffix = path.suffix.lower()
        if suffix not in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
            return None
        stem = _UNUSUAL.sub("_", path.stem)[:_NAME_LENGTH].strip(". ") or "upload"
        return self._uploads / secrets.token_hex(16) / f"{stem}{suffix}"

    def is_upload(self, path: str) -> bool:
        """Whether this is a path that `place_for` may have given."""
        return self._is_upload.fullmatch(path) is not None

    def shows(self, path: str) -> bool:
        """Whether this is a path of a result's file for visitors."""
        return self._is_shown.fullmatch(path) is not None

    def has_room(self, size: int = 0) -> bool:
        """Whether `size` bytes more may be kept."""
        return size + sum(_size(path) for path in self.folder.rglob("*")) <= self.max_bytes

    def predict(
        self,
        path: str | Path,
        domain: str | None,
        opacity: float,
        tell: Tell = lambda done, total: None,
    ) -> Result:
        """The prediction of an image or clip, told apart by the suffix.

        Args:
          path: the upload.
          domain: whose parameters; None for the usual one of images or of video.
          opacity: of the overlay, 0 to 1.
          tell: called after each frame of a clip.

        Raises:
          UnisalError: the file cannot be read; the message names it, without its folder.
          Stopped: raised by `tell`, or the desk closes.
        """
        path, out = Path(path), self._results / secrets.token_hex(16)
        try:
            with self._working:
                if self._closing.is_set():
                    raise Stopped
                if not self.has_room():
                    raise UnisalError(f"{path.name}: this page holds too many files; try again later")
                if self.is_upload(str(path)):
                    with contextlib.suppress(OSError):
                        os.utime(path.parent)  # its age counts from here
                return self._predict(path, domain, opacity, tell, out)
        except BaseException as error:
            shutil.rmtree(out, ignore_errors=True)
            if isinstance(error, UnisalError):
                raise UnisalError(_without_folders(str(error), path, out)) from error
            raise

    def _predict(self, path: Path, domain: str | None, opacity: float, tell: Tell, out: Path) -> Result:
        (source,) = expand_inputs([str(path)])
        image, name, shown = source.kind == "image", source.name, out / "shown"
        kinds = ("map", "overlay", "json", *(("raw",) if image else ()))
        make_folders(out, kinds)
        shown.mkdir()
        view, total = shown / f"{name}.{'jpg' if image else 'mp4'}", None
        if not image:
            with open_video(path) as reader:
                total = reader.frame_count

        def watch(done: int) -> None:
            if self._closing.is_set():
                raise Stopped
            tell(done, total)

        files = _Shown(PredictionFiles(out, kinds, Drawing(opacity)), view, self.max_seconds, watch)
        summary = predict_sources(self.model, [source], files, PredictOptions(domain, skip_errors=True))
        if not summary.done or (not image and summary.frames == 0):
            raise UnisalError(summary.errors[0])
        about = json.loads((out / "json" / f"{name}.json").read_text(encoding="utf-8"))["about"]
        lines = [
            f"{about['size'][1]}x{about['size'][0]} pixels, domain {about['domain']}",
            f"{summary.frames} frames in {summary.seconds:.1f} s" if summary.frames else "",
            *(_without_folders(line, path, out) for line in summary.errors),
        ]
        if image:
            maps = (out / "map" / f"{name}.png").rename(shown / f"{name}_map.png")
        else:
            maps = Path(shutil.make_archive(str(shown / f"{name}_maps"), "zip", out / "map" / name))
            shutil.rmtree(out / "map")
        ending = "png" if image else "mp4"
        return Result(
            folder=out,
            source=source,
            view=view,
            overlay=(out / "overlay" / f"{name}.{ending}").rename(shown / f"{name}_overlay.{ending}"),
            map=maps,
            raw=out / "raw" / f"{name}.npy" if image else None,
            facts=(out / "json" / f"{name}.json").rename(shown / f"{name}.json"),
            summary="; ".join(line for line in lines if line),
        )

    def fade(self, result: Result, opacity: float) -> Path:
        """An image's overlay at another opacity, in steps of a twentieth, without predicting again."""
        assert result.raw is not None, "a clip's overlay is one file"
        steps = round(min(max(opacity, 0.0), 1.0) * _OPACITY_STEPS)
        path = result.folder / "shown" / str(steps) / result.overlay.name
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            density = np.exp(np.load(result.raw))
            write_png(path, overlay(read_image(result.source.path), density, steps / _OPACITY_STEPS))
        return path

    def forget(self, result: Result | None, keep_upload: bool = False) -> None:
        """Removes a result's files, and the upload that it came from; None is passed over."""
        if result is not None:
            shutil.rmtree(result.folder, ignore_errors=True)
            if not keep_upload:
                self.discard(result.source.path)

    def discard(self, path: str | Path) -> None:
        """Removes an upload; anything else is left alone."""
        if self.is_upload(str(path)):
            shutil.rmtree(Path(path).parent, ignore_errors=True)

    def sweep(self, seconds: float) -> None:
        """Removes uploads and results that are older."""
        for folder in [*self._uploads.iterdir(), *self._results.iterdir()]:
            with contextlib.suppress(OSError):
                if time.time() - folder.stat().st_mtime > seconds:
                    shutil.rmtree(folder, ignore_errors=True)

    def close(self, seconds: float = 20.0) -> None:
        """Ends the prediction that is running, waited for so long, and begins no other."""
        self._closing.set()
        if self._working.acquire(timeout=seconds):
            self._working.release()

    def frame(self, url: str) -> np.ndarray:
        """A camera's frame, uint8 RGB [H, W, 3], from a data URL in base64.

        Raises:
          UnisalError: it is damaged or larger than 9 megapixels.
        """
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            # Closed before it is read: Windows opens a file only once.
            file = Path(folder) / "camera.frame"
            try:
                file.write_bytes(base64.b64decode(url.partition(",")[2], validate=True))
                return read_image(file, _FRAME_PIXELS)
            except ValueError as error:
                raise UnisalError("the camera's frame is damaged") from error
            except UnisalError as error:
                raise UnisalError(str(error).replace(str(file), "the camera's frame")) from error


def _without_folders(text: str, path: Path, out: Path) -> str:
    """Where uploads and results are kept is nobody's business."""
    return text.replace(f"{path.parent}{os.sep}", "").replace(f"{out}{os.sep}", "")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # removed meanwhile
        return 0


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
class _Shown:
    """Results that also keep the input as it was read, for looking at.

    A video ends when its time is up, as if it broke off there.
    """

    files: PredictionFiles
    view: Path
    seconds: float
    watch: Callable[[int], None]

    @property
    def film(self) -> str | None:
        return self.files.film

    def image(self, source: MediaSource, image: np.ndarray, log_density: np.ndarray, about: dict) -> None:
        self.files.image(source, image, log_density, about)
        view = Image.fromarray(image)
        view.thumbnail((_VIEW_SIDE, _VIEW_SIDE))
        view.save(self.view, quality=90)

    @contextlib.contextmanager
    def video(self, source: MediaSource, film: FilmInfo, about: dict) -> Iterator[FrameResults]:
        with (
            self.files.video(source, film, about) as results,
            VideoWriter(self.view, film.size, film.fps or DEFAULT_FPS, film) as view,
        ):
            yield _Until(results, view, time.monotonic() + self.seconds, self.seconds, self.watch)


@dataclasses.dataclass
class _Until:
    results: FrameResults
    view: VideoWriter
    deadline: float
    seconds: float
    watch: Callable[[int], None]
    done: int = 0

    def write(self, predicted: Predicted, seconds: float | None = None) -> None:
        if time.monotonic() > self.deadline:
            raise UnisalError(f"stopped after {self.seconds:g} seconds, the limit of this page")
        self.results.write(predicted, seconds)
        frame = predicted.frame
        self.view.write_planes(planes_of(frame), frame.seconds, frame.duration)
        self.done += 1
        self.watch(self.done)
