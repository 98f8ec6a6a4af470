"""What `unisal crop` leaves behind: boxes as JSON, cropped pictures and videos, whole or not at all.

`json/NAME.json` for both, `crop/NAME.png` for a picture, `crop/NAME.mp4` for a video. A video's boxes are
settled long after its frames have gone by, so it is read a second time to be cropped.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from unisal_jax.apps.crop import Aspect, Crop, VideoCrops, best_crop
from unisal_jax.documents import rounded, write_json
from unisal_jax.errors import UnisalError
from unisal_jax.media.densities import resize_log_density
from unisal_jax.media.film_options import WHOLE, Part
from unisal_jax.media.images import read_profile, write_png
from unisal_jax.media.sources import Source
from unisal_jax.media.video import open_video
from unisal_jax.media.video_source import FilmInfo
from unisal_jax.predict.facts import shown_at
from unisal_jax.predict.film import Predicted
from unisal_jax.predict.records import forget
from unisal_jax.predict.video_outputs import DEFAULT_FPS

KINDS = ("json", "crop")


@dataclasses.dataclass(frozen=True)
class CropFiles:
    """The results of `unisal crop`, to be given to `predict_sources`.

    Attributes:
      out: the folder of the folders, which `files.new_folders` has made.
      kinds: of KINDS.
      aspect: (width, height), in any unit.
      scale: side of the window over that of the largest that fits, above 0, at most 1.
      smoothness: of a video's path, see `VideoCrops`.
      part: of a video.
    """

    out: Path
    kinds: tuple[str, ...]
    aspect: Aspect
    scale: float = 1.0
    smoothness: float = 0.3
    part: Part = WHOLE

    @property
    def film(self) -> str | None:
        """The crop, where it is written."""
        return "crop" if "crop" in self.kinds else None

    def paths(self, source: Source) -> list[Path]:
        """The files that an input's results go to."""
        crop = f"{source.name}.{'png' if source.kind == 'image' else 'mp4'}"
        files = {"json": f"{source.name}.json", "crop": crop}
        return [self.out / kind / files[kind] for kind in self.kinds]

    def check(self, sources: list[Source]) -> None:
        """Raises UnisalError for a source that cannot be read twice, where that would be needed."""
        for source in sources:
            if "crop" in self.kinds and source.is_live:
                raise UnisalError(f"{source.path}: cannot be seen twice, to be cropped; save json alone")

    def image(self, source: Source, image: np.ndarray, log_density: np.ndarray, about: dict) -> None:
        """Writes a picture's box and its crop."""
        crop = best_crop(np.exp(log_density, out=log_density), self.aspect, self.scale)
        if "crop" in self.kinds:
            profile = read_profile(source.path)
            write_png(self.out / "crop" / f"{source.name}.png", crop.box.of(image), profile)
        self._write_json(source, {"about": self._about(about), **_facts(crop)})

    @contextlib.contextmanager
    def video(self, source: Source, film: FilmInfo, about: dict) -> Iterator["_Track"]:
        """Takes a video's predictions; at the end writes its boxes and crops it."""
        fps = film.fps or DEFAULT_FPS
        track = _Track(VideoCrops(film.size, self.aspect, self.scale, fps, self.smoothness))
        yield track
        crops = track.finish()
        if "crop" in self.kinds:
            # Late: images need no FFmpeg.
            from unisal_jax.media.decoded import planes_of
            from unisal_jax.media.video_writer import VideoWriter

            target = self.out / "crop" / f"{source.name}.mp4"
            with (
                open_video(source.path, self.part) as reader,
                VideoWriter(target, track.window, fps, film) as writer,
            ):
                for crop, frame in zip(crops, reader.frames(), strict=False):
                    box = crop.box
                    part = planes_of(frame).part(box.top, box.left, box.height, box.width)
                    writer.write_planes(part, frame.seconds, frame.duration)
        mean = rounded(float(np.mean([crop.attention for crop in crops])))
        frames_json = [
            {"frame": number, **shown_at(seconds), **_facts(crop)}
            for number, (crop, seconds) in enumerate(zip(crops, track.times, strict=True), 1)
        ]
        about = {**self._about(about), "smoothness": self.smoothness}
        self._write_json(source, {"about": about, "frames": frames_json, "mean_attention": mean})

    def _about(self, about: dict) -> dict:
        return {**about, "aspect": list(self.aspect), "scale": self.scale}

    def _write_json(self, source: Source, content: dict) -> None:
        if "json" in self.kinds:
            forget(self.out, source.name, "json")  # `unisal predict` writes a file of this name
            write_json(self.out / "json" / f"{source.name}.json", content)


class _Track:
    """Collects the crops of a video: a few numbers a frame."""

    def __init__(self, crops: VideoCrops):
        self._crops = crops
        self._settled: list[Crop] = []
        self.times: list[float | None] = []
        self.window = crops.window

    def write(self, predicted: Predicted, seconds: float | None = None) -> None:
        self.times.append(seconds)
        log_density = resize_log_density(predicted.log_density, predicted.frame.size)
        self._settled += self._crops.add(np.exp(log_density, out=log_density))

    def finish(self) -> list[Crop]:
        return self._settled + self._crops.finish()


def _facts(crop: Crop) -> dict[str, Any]:
    return {"attention": rounded(crop.attention), "box": crop.box.to_json()}
