"""How much attention regions of a picture get: boxes from a file, scored on a density."""

import csv
import dataclasses
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unisal_jax.apps.boxes import Box, integral, share
from unisal_jax.domains import Size
from unisal_jax.errors import UnisalError
from unisal_jax.media.arrays import as_density

_SIDES = ("left", "top", "width", "height")


@dataclasses.dataclass(frozen=True)
class Region:
    """A box with a name."""

    name: str
    box: Box


@dataclasses.dataclass(frozen=True)
class RegionScore:
    """What a region gets.

    Attributes:
      name, box: of the region.
      attention: share of the density inside, 0 to 1.
      relative: mean density inside over that of a uniform density; 1 is what an even gaze would give.
      peak: (row, column) of the largest density inside, in pixels of the whole picture.
      peak_relative: the density there over that of a uniform density.
      rank: 1 for the largest attention; regions with the same share the lower number.
    """

    name: str
    box: Box
    attention: float
    relative: float
    peak: tuple[int, int]
    peak_relative: float
    rank: int

    def to_json(self) -> dict[str, Any]:
        """By name, floats to six digits."""
        return {
            "attention": _rounded(self.attention),
            "box": self.box.to_json(),
            "name": self.name,
            "peak": {
                "column": self.peak[1],
                "relative": _rounded(self.peak_relative),
                "row": self.peak[0],
            },
            "rank": self.rank,
            "relative": _rounded(self.relative),
        }


def score_regions(density: np.ndarray, regions: Sequence[Region]) -> list[RegionScore]:
    """Scores regions, which may overlap, on a density.

    Args:
      density: float [H, W] >= 0 of any scale, such as `SaliencyModel.predict` gives.
      regions: boxes in pixels of the density.
    Returns:
      A score a region, in the same order.
    Raises:
      UnisalError: the density is no such array, or a box leaves it.
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
    """Raises UnisalError, naming the first box that leaves a picture of this (height, width)."""
    for region in regions:
        if not region.box.fits(size):
            box = region.box
            raise UnisalError(
                f"box {region.name!r}: columns {box.left} to {box.left + box.width - 1}, rows {box.top} to "
                f"{box.top + box.height - 1} leave the picture of {size[1]}x{size[0]} (width x height)"
            )


def mean_density(densities: Iterable[np.ndarray]) -> tuple[np.ndarray, int]:
    """The mean of a video's densities, float64 [H, W], and how many they are; one is held at a time.

    Raises:
      UnisalError: there are none.
    """
    total, count = np.zeros(()), 0
    for density in densities:
        total = total + density.astype(np.float64)
        count += 1
    if count == 0:
        raise UnisalError("densities: there are none")
    return total / count, count


def read_regions(path: str | Path) -> list[Region]:
    """Reads regions from a file.

    Args:
      path: a .json file, a list of objects (or such a list under "boxes"), or a .csv file with a header.
        Both give `left`, `top`, `width` and `height` in whole pixels, and may give a `name`; without one
        a box is called by its number, from 1.
    Raises:
      UnisalError: there is no such file, it is not of this form, a box is empty, or two have one name.
    """
    path = Path(path)
    readers = {".json": _read_json, ".csv": _read_csv}
    if path.suffix.lower() not in readers:
        raise UnisalError(f"{path}: boxes are a .json or .csv file")
    try:
        # The mark that spreadsheets put before UTF-8 is no part of the first column's name.
        rows = readers[path.suffix.lower()](path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UnisalError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, csv.Error, RecursionError) as error:
        raise UnisalError(f"{path}: not a list of boxes ({error})") from error
    regions = [_region(path, number, row) for number, row in enumerate(rows, 1)]
    if not regions:
        raise UnisalError(f"{path}: holds no boxes")
    names = [region.name for region in regions]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UnisalError(f"{path}: two boxes are called {twice[0]!r}")
    return regions


def _read_json(text: str) -> list[Any]:
    content = json.loads(text)
    rows = content.get("boxes") if isinstance(content, dict) else content
    if not isinstance(rows, list):
        raise ValueError('neither a list nor an object with a list "boxes"')
    return rows


def _read_csv(text: str) -> list[Any]:
    rows = csv.DictReader(text.splitlines(), skipinitialspace=True, strict=True)
    return [{str(key).strip(): value for key, value in row.items()} for row in rows]


def _region(path: Path, number: int, row: Any) -> Region:
    if not isinstance(row, dict):
        raise UnisalError(f"{path}: box {number}: not an object with {', '.join(_SIDES)}")
    name = str(row.get("name") or number)
    values: list[int] = []
    for side in _SIDES:
        value = row.get(side)
        if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]+\s*", value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise UnisalError(f"{path}: box {name!r}: {side} is {value!r}, not a whole number")
        values.append(value)
    box = Box(*values)
    if box.width < 1 or box.height < 1:
        raise UnisalError(f"{path}: box {name!r}: {box.width}x{box.height} is empty")
    return Region(name, box)


def _rounded(number: float) -> float:
    return float(f"{number:.6g}")
