"""Writes the outputs of `unisal scanpath` atomically: `csv/NAME.csv`, `json/NAME.json`, `image/NAME.png`.

The tables have the columns stimulus (the image's file name), path, index, x, y and duration. Concatenated,
they can be read by `unisal evaluate --protocol scanpath --predictions`.
"""

import contextlib
import csv
import dataclasses
import io
from pathlib import Path
from typing import NoReturn

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from unisal_jax.documents import write_json
from unisal_jax.errors import UnisalError
from unisal_jax.files import write_text
from unisal_jax.media.images import read_profile, write_png
from unisal_jax.media.sources import MediaSource
from unisal_jax.media.video_source import FilmInfo
from unisal_jax.predict.outputs import FrameResults
from unisal_jax.predict.records import forget
from unisal_jax.predict.scanpath import DEGREES, FIXATIONS, Scanpaths, draw_scanpaths

KINDS = ("csv", "json", "image")
COLUMNS = ("stimulus", "path", "index", "x", "y", "duration")

# Okabe and Ito's colours without black, which are distinguishable with colour blindness. Lines have a dark
# outline, so that they are visible on light and dark images.
_COLOURS = ((86, 180, 233), (230, 159, 0), (0, 158, 115), (204, 121, 167), (240, 228, 66), (213, 94, 0))
_RIM, _INK = (20, 20, 20), (0, 0, 0)
# Supersampling factor, since Pillow's lines are not antialiased.
_FINE = 2
# Maximum longer side of a drawn image.
_MOST_SIDE = 2048


@dataclasses.dataclass(frozen=True)
class ScanpathFiles:
    """The results of `unisal scanpath`, for `predict_sources`.

    Attributes:
      out: the output folder, with the folders made by `files.new_folders`.
      kinds: output types, of KINDS.
      count, fixations, seed, degrees: as for `draw_scanpaths`.
    """

    out: Path
    kinds: tuple[str, ...] = KINDS
    count: int = 5
    fixations: int = FIXATIONS
    seed: int = 1
    degrees: float = DEGREES

    @property
    def film(self) -> str | None:
        """None, since no videos are written."""
        return None

    def paths(self, source: MediaSource) -> list[Path]:
        """Returns the output files of an image."""
        return [self._file(source, kind) for kind in self.kinds]

    def image(self, source: MediaSource, image: np.ndarray, log_density: np.ndarray, about: dict) -> None:
        """Samples an image's scanpaths and writes them."""
        density = np.exp(log_density, out=log_density)
        paths = draw_scanpaths(density, self.count, self.fixations, self.seed, degrees=self.degrees)
        if "csv" in self.kinds:
            write_text(self._file(source, "csv"), to_csv(Path(source.path).name, paths))
        if "json" in self.kinds:
            settings = {name: getattr(self, name) for name in ("count", "degrees", "fixations", "seed")}
            forget(self.out, source.name, "json")  # `unisal predict` writes a file of this name
            write_json(self._file(source, "json"), {"about": {**about, **settings}, "paths": to_json(paths)})
        if "image" in self.kinds:
            write_png(self._file(source, "image"), draw(image, paths.xy), read_profile(source.path))

    def video(
        self, source: MediaSource, film: FilmInfo, about: dict
    ) -> contextlib.AbstractContextManager[FrameResults]:
        """Raises UnisalError."""
        refuse_video(source)

    def _file(self, source: MediaSource, kind: str) -> Path:
        return self.out / kind / f"{source.name}.{'png' if kind == 'image' else kind}"


def refuse_video(source: MediaSource) -> NoReturn:
    """Raises UnisalError, since there is no scanpath model for videos."""
    raise UnisalError(f"{source.path}: is a video; scanpaths are available only for images")


def to_csv(stimulus: str, paths: Scanpaths) -> str:
    """Formats scanpaths as a CSV table, with pixels to two decimals and integer milliseconds."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for number, path in enumerate(to_json(paths), 1):
        for index, fixation in enumerate(path, 1):
            writer.writerow([stimulus, number, index, fixation["x"], fixation["y"], fixation["duration"]])
    return text.getvalue()


def to_json(paths: Scanpaths) -> list[list[dict[str, float]]]:
    """Returns a list for each scanpath, with x and y in pixels and the duration in milliseconds."""
    # Round down, since the right and lower edges are outside the image.
    xy = np.floor(paths.xy * 100) / 100
    durations = np.rint(paths.durations).astype(int)
    return [
        [
            {"duration": int(duration), "x": float(x), "y": float(y)}
            for (x, y), duration in zip(path, times, strict=True)
        ]
        for path, times in zip(xy, durations, strict=True)
    ]


def draw(image: np.ndarray, paths: np.ndarray) -> np.ndarray:
    """Draws scanpaths as numbered circles connected by lines, with a colour for each.

    Args:
      image: uint8 RGB [H, W, 3].
      paths: [paths, fixations, 2], (x, y) in pixels of the image.

    Returns:
      uint8 RGB of the image's size, reduced to a longer side of 2048 pixels if larger.
    """
    scale = min(1.0, _MOST_SIDE / max(image.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    # Lighten the image, so that the colours stand out.
    canvas = Image.fromarray(cv2.convertScaleAbs(image, alpha=0.75, beta=32))
    canvas = canvas.resize((width * _FINE, height * _FINE), Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(canvas)
    radius = _FINE * max(6.0, 0.014 * max(height, width))
    font = ImageFont.load_default(1.2 * radius)
    line = max(2, round(radius / 5))
    # Draw in reverse order, so that the first path is on top.
    for number, path in reversed(list(enumerate(paths * scale * _FINE))):
        colour = _COLOURS[number % len(_COLOURS)]
        points = [(float(x), float(y)) for x, y in path]
        if len(points) > 1:
            pen.line(points, _RIM, line + 2 * _FINE, joint="curve")
            pen.line(points, colour, line, joint="curve")
        for index, (x, y) in reversed(list(enumerate(points, 1))):
            circle = (x - radius, y - radius, x + radius, y + radius)
            pen.ellipse(circle, fill=colour, outline=_RIM, width=_FINE)
            pen.text((x, y), str(index), _INK, font, anchor="mm")
    return np.asarray(canvas.resize((width, height), Image.Resampling.BOX))
