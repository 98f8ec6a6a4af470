"""Writes the outputs of `unisal crop` atomically: boxes as JSON, cropped images and videos, posters.

The files are `json/NAME.json`, `crop/NAME.png` for an image, `crop/NAME.mp4` for a video, and
`poster/NAME.png` for a video's poster. With several aspects the names of boxes and crops end in them, as in
`crop/NAME_9x16.mp4`. A video's boxes are known long after its frames were read, so it is read a second time.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unisal_jax.apps.boxes import Box
from unisal_jax.apps.crop import Aspect, Crop, best_crop
from unisal_jax.apps.faces import Faces
from unisal_jax.apps.keep import KeepBoxes
from unisal_jax.apps.poster import Poster
from unisal_jax.documents import rounded, write_json
from unisal_jax.domains import Size
from unisal_jax.errors import UnisalError
from unisal_jax.media.film_options import DEFAULT_ENCODING, WHOLE, Encoding, Part
from unisal_jax.media.images import read_profile, write_png
from unisal_jax.media.sources import MediaSource
from unisal_jax.media.video_source import FilmInfo
from unisal_jax.predict.facts import shown_at
from unisal_jax.predict.film import Predicted
from unisal_jax.predict.records import forget
from unisal_jax.predict.video_outputs import DEFAULT_FPS

KINDS = ("json", "crop", "poster")

if TYPE_CHECKING:
    from unisal_jax.apps.shots import Shot, VideoCrops


@dataclasses.dataclass(frozen=True)
class CropFiles:
    """The results of `unisal crop`, for `predict_sources`.

    Attributes:
      out: the output folder, with the folders made by `files.new_folders`.
      kinds: output types, of KINDS.
      aspects: (width, height) of each window, in any unit.
      scale: side of the window relative to the largest that fits, above 0 and at most 1.
      smoothness: of a video's path, see `VideoCrops`.
      split: whether shots with two distant subjects get two windows.
      keep: must-keep boxes, if there is only one input.
      face_model: YuNet's file, to detect faces that must not be cut.
      part: the part of a video to read.
      encoding: of the output videos.
    """

    out: Path
    kinds: tuple[str, ...]
    aspects: tuple[Aspect, ...]
    scale: float = 1.0
    smoothness: float = 0.3
    split: bool = False
    keep: KeepBoxes | None = None
    face_model: Path | None = None
    part: Part = WHOLE
    encoding: Encoding = DEFAULT_ENCODING

    @property
    def film(self) -> str | None:
        """The crop, if it is written."""
        return "crop" if "crop" in self.kinds else None

    def paths(self, source: MediaSource) -> list[Path]:
        """Returns the output files of an input."""
        paths = [
            path
            for aspect in self.aspects
            for kind, path in self._files(source, aspect).items()
            if kind in self.kinds
        ]
        if "poster" in self.kinds and source.kind == "video":
            paths.append(self._poster(source))
        return paths

    def check(self, sources: list[MediaSource]) -> None:
        """Checks the sources.

        Raises:
          UnisalError: a source cannot be read twice although this is needed, or must-keep boxes were given
            for several inputs.
        """
        for source in sources:
            if {"crop", "poster"} & set(self.kinds) and source.is_live:
                raise UnisalError(
                    f"{source.path}: cannot be read twice, which cropping requires; use --save json"
                )
        if self.keep is not None and len(sources) != 1:
            raise UnisalError(f"--keep: requires a single input, not {len(sources)}")
        if self.face_model is not None:
            Faces(self.face_model, DEFAULT_FPS)

    def image(self, source: MediaSource, image: np.ndarray, log_density: np.ndarray, about: dict) -> None:
        """Writes an image's boxes and its crops."""
        density = np.exp(log_density, out=log_density)
        boxes = self._boxes(image.shape[:2], DEFAULT_FPS).add(image, 0, None, False)
        for aspect in self.aspects:
            crop = best_crop(density, aspect, self.scale, boxes)
            if "crop" in self.kinds:
                profile = read_profile(source.path)
                write_png(self._files(source, aspect)["crop"], crop.box.of(image), profile)
            self._write_json(source, aspect, {"about": self._about(about, aspect), **_facts(crop)})

    @contextlib.contextmanager
    def video(self, source: MediaSource, film: FilmInfo, about: dict) -> Iterator["_Track"]:
        """Takes a video's predictions, then writes its boxes and crops it."""
        # Imported late: images need neither FFmpeg nor SciPy, whose imports take half a second.
        from unisal_jax.apps.crop_film import Film, Still, write_films
        from unisal_jax.apps.shots import VideoCrops

        fps, size = film.fps or DEFAULT_FPS, film.size
        squeeze = float(film.look.pixel_aspect)
        windows = [
            VideoCrops(size, (wide / squeeze, high), self.scale, fps, self.smoothness, self.split)
            for wide, high in self.aspects
        ]
        poster = Poster() if "poster" in self.kinds else None
        track = _Track(windows, self._boxes(size, fps), poster)
        yield track
        crops = track.finish()
        films = [
            Film(self._files(source, aspect)["crop"], window.window, each)
            for aspect, window, each in zip(self.aspects, windows, crops, strict=True)
            if "crop" in self.kinds
        ]
        best = poster.best() if poster is not None else None
        still = Still(self._poster(source), best[0]) if best is not None else None
        if films or still is not None:
            write_films(source.path, self.part, film, fps, self.encoding, films, still)
        about = {**about, "smoothness": self.smoothness}
        for aspect, window, each in zip(self.aspects, windows, crops, strict=True):
            content = {
                "about": self._about(about, aspect),
                "frames": [
                    {"frame": number, **shown_at(seconds), **_facts(crop)}
                    for number, (crop, seconds) in enumerate(zip(each, track.times, strict=True), 1)
                ],
                "mean_attention": rounded(float(np.mean([crop.attention for crop in each]))),
                "shots": [_shot(shot, track.times) for shot in window.shots],
            }
            if best is not None:
                number, focus = best
                seconds = track.times[number]
                content["poster"] = {"focus": rounded(focus), "frame": number + 1, **shown_at(seconds)}
            self._write_json(source, aspect, content)

    def _boxes(self, size: Size, fps: float) -> "_MustKeep":
        if self.keep is not None:
            self.keep.check(size)
        faces = Faces(self.face_model, fps) if self.face_model is not None else None
        return _MustKeep(self.keep, faces, size)

    def _about(self, about: dict, aspect: Aspect) -> dict:
        return {**about, "aspect": list(aspect), "scale": self.scale}

    def _stem(self, source: MediaSource, aspect: Aspect) -> str:
        return source.name if len(self.aspects) == 1 else source.name + aspect_suffix(aspect)

    def _files(self, source: MediaSource, aspect: Aspect) -> dict[str, Path]:
        stem = self._stem(source, aspect)
        crop = f"{stem}.{'png' if source.kind == 'image' else 'mp4'}"
        return {"json": self.out / "json" / f"{stem}.json", "crop": self.out / "crop" / crop}

    def _poster(self, source: MediaSource) -> Path:
        return self.out / "poster" / f"{source.name}.png"

    def _write_json(self, source: MediaSource, aspect: Aspect, content: dict) -> None:
        if "json" in self.kinds:
            forget(
                self.out, self._stem(source, aspect), "json"
            )  # `unisal predict` writes a file of this name
            write_json(self._files(source, aspect)["json"], content)


def aspect_suffix(aspect: Aspect) -> str:
    """Returns the ending of file names if there are several aspects, such as "_9x16"."""
    return "_" + "x".join(f"{side:.12g}" for side in aspect)


class _MustKeep:
    """Provides the must-keep boxes of each frame: given ones and faces."""

    def __init__(self, keep: KeepBoxes | None, faces: Faces | None, size: Size):
        self._keep, self._faces, self._size = keep, faces, size

    @property
    def looks(self) -> bool:
        """Whether it needs the pixels of the frames."""
        return self._faces is not None

    def add(self, frame: np.ndarray | None, number: int, seconds: float | None, cut: bool) -> tuple[Box, ...]:
        boxes: tuple[Box, ...] = ()
        if self._keep is not None:
            boxes += self._keep.at(number + 1, seconds, self._size)
        if self._faces is not None and frame is not None:
            boxes += self._faces.add(frame, cut)
        return boxes


class _Track:
    """Collects the crops of a video, a few numbers per frame."""

    def __init__(self, windows: "list[VideoCrops]", boxes: _MustKeep, poster: Poster | None):
        self._windows, self._boxes, self._poster = windows, boxes, poster
        self._settled: list[list[Crop]] = [[] for _ in windows]
        self.times: list[float | None] = []

    def write(self, predicted: Predicted, seconds: float | None = None) -> None:
        frame, cut = predicted.frame, predicted.begins_shot
        # At the network's input size, which is sufficient for windows and much smaller.
        density = np.exp(predicted.log_density)
        rgb = frame.rgb() if self._boxes.looks or self._poster is not None else None
        boxes = self._boxes.add(rgb, len(self.times), seconds, cut)
        self.times.append(seconds)
        if self._poster is not None and rgb is not None:
            self._poster.add(rgb, density, cut)
        for window, settled in zip(self._windows, self._settled, strict=True):
            settled += window.add(density, cut, boxes)

    def finish(self) -> list[list[Crop]]:
        for window, settled in zip(self._windows, self._settled, strict=True):
            settled += window.finish()
        return self._settled


def _facts(crop: Crop) -> dict[str, Any]:
    facts: dict[str, Any] = {"attention": rounded(crop.attention)}
    if crop.second is None:
        return {**facts, "box": crop.box.to_json()}
    return {**facts, "boxes": [crop.box.to_json(), crop.second.to_json()]}


def _shot(shot: "Shot", times: list[float | None]) -> dict[str, Any]:
    facts = {
        "attention": rounded(shot.attention),
        "first_frame": shot.first + 1,
        "last_frame": shot.last + 1,
        "layout": "split" if shot.split else "single",
        "path": shot.path,
    }
    for end, number in (("first", shot.first), ("last", shot.last)):
        facts |= {f"{end}_{name}": value for name, value in shown_at(times[number]).items()}
    return facts
