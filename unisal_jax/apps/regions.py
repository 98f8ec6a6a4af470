"""Scores regions of an image, read from a file, on a density."""

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unisal_jax.apps.boxes import Box, integral, share
from unisal_jax.documents import read_json, rounded
from unisal_jax.domains import Size
from unisal_jax.errors import UnisalError
from unisal_jax.limits import MAX_PIXELS
from unisal_jax.media.arrays import as_density
from unisal_jax.tables import read_table

SIDES = ("left", "top", "width", "height")
TIMES = ("frame", "seconds")

# Column names used by annotation tools and trackers.
_OTHER_NAMES = {"x": "left", "y": "top", "w": "width", "h": "height", "box": "name"}

# Maximum number of characters of a value in a message.
_SHOWN = 60


@dataclasses.dataclass(frozen=True)
class Region:
    """A box with a name."""

    name: str
    box: Box

    def box_at(self, frame: int, seconds: float | None) -> Box:
        """Returns the box in a frame of a video, as `MovingRegion.box_at`; always the same."""
        return self.box


@dataclasses.dataclass(frozen=True)
class RegionScore:
    """The score of a region.

    Attributes:
      name, box: of the region.
      attention: share of the density inside, 0 to 1.
      relative: mean density inside relative to a uniform density; 1 is what a uniform gaze would give.
      peak: (row, column) of the largest density inside, in pixels of the whole image.
      peak_relative: the density there relative to a uniform density.
      rank: 1 for the largest attention; ties get the lower number.
    """

    name: str
    box: Box
    attention: float
    relative: float
    peak: tuple[int, int]
    peak_relative: float
    rank: int

    def to_json(self) -> dict[str, Any]:
        """Returns the values by name, floats rounded to six digits."""
        return {
            "attention": rounded(self.attention),
            "box": self.box.to_json(),
            "name": self.name,
            "peak": {
                "column": self.peak[1],
                "relative": rounded(self.peak_relative),
                "row": self.peak[0],
            },
            "rank": self.rank,
            "relative": rounded(self.relative),
        }


def score_regions(density: np.ndarray, regions: Sequence[Region]) -> list[RegionScore]:
    """Scores regions, which may overlap, on a density.

    Args:
      density: float [H, W] >= 0 of any scale, such as `SaliencyModel.predict` returns.
      regions: boxes in pixels of the density.

    Returns:
      One score per region, in the same order.

    Raises:
      UnisalError: the density is not such an array, or a box leaves it.
    """
    density = as_density(density)
    sums = integral(density)
    size = density.shape[0], density.shape[1]
    check_regions(regions, size)
    shares = [share(sums, region.box) for region in regions]
    total = float(np.sum(density, dtype=np.float64))
    scores = []
    for region, attention in zip(regions, shares, strict=True):
        inside = region.box.of(density)
        row, column = np.unravel_index(inside.argmax(), inside.shape)
        scores.append(
            RegionScore(
                name=region.name,
                box=region.box,
                attention=attention,
                relative=attention * density.size / region.box.area,
                peak=(region.box.top + int(row), region.box.left + int(column)),
                peak_relative=float(inside[row, column]) * density.size / total,
                rank=1 + sum(other > attention for other in shares),
            )
        )
    return scores


def check_regions(regions: Iterable[Region], size: Size) -> None:
    """Raises UnisalError for the first box that leaves an image of this (height, width)."""
    for region in regions:
        if not region.box.fits(size):
            box = region.box
            raise UnisalError(
                f"box {region.name!r}: columns {box.left} to {box.left + box.width - 1}, rows {box.top} to "
                f"{box.top + box.height - 1} leave the image of {size[1]}x{size[0]} (width x height)"
            )


class MeanDensity:
    """The mean of a video's densities, float [H, W], which are added one by one and not stored."""

    def __init__(self) -> None:
        self._total = np.zeros(())
        self._count = 0

    def add(self, density: np.ndarray) -> None:
        """Adds the next frame's density."""
        self._total = self._total + density.astype(np.float64)
        self._count += 1

    def density(self) -> np.ndarray:
        """Returns the mean so far, float64 [H, W].

        Raises:
          UnisalError: no density was added.
        """
        if self._count == 0:
            raise UnisalError("densities: none were added")
        return self._total / self._count


def read_regions(path: str | Path) -> list[Region]:
    """Reads regions of an image from a file; `apps.moving.read_moving_regions` reads those of a video.

    Args:
      path: a .json file with a list of objects (or such a list under "boxes"), or a .csv file with a header
        (`unisal_jax.tables`). Both have `left`, `top`, `width` and `height` (or `x`, `y`, `w`, `h`) in whole
        pixels, and may have a `name` (or `box`); by default a box is named by its number, from 1.

    Raises:
      UnisalError: there is no such file, it has another format, its boxes have times, a box is empty, or two
        have the same name.
    """
    path, rows = Path(path), read_rows(path)
    timed = next((unit for row in rows for unit in TIMES if is_given(row, unit)), None)
    if timed:
        raise UnisalError(f"{path}: has a column {timed!r}, which applies only to videos; remove the column")
    regions = [region_of(path, number, row) for number, row in enumerate(rows, 1)]
    check_names(path, [region.name for region in regions])
    return regions


def read_rows(path: str | Path) -> list[dict[str, Any]]:
    """Reads the rows of a file of boxes, with columns named as in `SIDES`, `TIMES` and "name".

    Raises:
      UnisalError: there is no such file, it holds no boxes, or its format is not that of `read_regions`.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".json", ".csv"):
        raise UnisalError(f"{path}: a file of boxes must be .json or .csv")
    found = (
        _read_json(path) if suffix == ".json" else read_table(path, "a list of boxes", SIDES, _OTHER_NAMES)
    )
    rows = [_renamed(path, number, row) for number, row in enumerate(found, 1)]
    if not rows:
        raise UnisalError(f"{path}: holds no boxes")
    return rows


def _read_json(path: Path) -> list[Any]:
    content = read_json(path, "a list of boxes")
    rows = content.get("boxes") if isinstance(content, dict) else content
    if not isinstance(rows, list):
        raise UnisalError(f'{path}: not a list of boxes (neither a list nor an object with a list "boxes")')
    return rows


def _renamed(path: Path, number: int, row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise UnisalError(f"{path}: box {number}: not an object with {', '.join(SIDES)}")
    renamed: dict[str, Any] = {_OTHER_NAMES.get(key) or key: value for key, value in row.items()}
    if len(renamed) < len(row):
        twice = next(key for key, name in _OTHER_NAMES.items() if key in row and name in row)
        raise UnisalError(f"{path}: box {number}: both {twice!r} and {_OTHER_NAMES[twice]!r}")
    return renamed


def is_given(row: dict[str, Any], column: str) -> bool:
    """Whether a row of a file of boxes has a value in a column."""
    return row.get(column) not in (None, "")


def name_of(path: Path, number: int, row: dict[str, Any]) -> str:
    """Returns the name of a row's box; its number if it has none.

    Raises:
      UnisalError: the name is not text.
    """
    name = row.get("name", "")
    if not isinstance(name, str | int | float | None):
        raise UnisalError(f"{path}: box {number}: its name is not text")
    return str(number if name is None or name == "" else name)


def region_of(path: Path, number: int, row: dict[str, Any]) -> Region:
    """Returns the region of row `number` of a file.

    Raises:
      UnisalError: a side is missing or not an integer, the box is empty, or its name is invalid.
    """
    name = name_of(path, number, row)
    values: list[int] = []
    for side in SIDES:
        value = row.get(side, "")
        if not is_given(row, side):
            raise UnisalError(f"{path}: box {name!r}: no {side}")
        if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,20}\s*", value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or abs(value) > MAX_PIXELS:
            raise UnisalError(
                f"{path}: box {name!r}: {side} is {shortened(value)}, not a whole number of pixels"
            )
        values.append(value)
    box = Box(*values)
    if box.width < 1 or box.height < 1:
        raise UnisalError(f"{path}: box {name!r}: {box.width}x{box.height} is empty")
    return Region(name, box)


def check_names(path: Path, names: Iterable[str]) -> None:
    """Raises UnisalError if two boxes of a file have the same name."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UnisalError(f"{path}: two boxes are called {twice[0]!r}")


def shortened(value: Any) -> str:
    """Formats a value for messages; truncates long values."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
