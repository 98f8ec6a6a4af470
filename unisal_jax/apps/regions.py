"""How much attention regions of a picture get: boxes from a file, scored on a density."""

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

_SIDES = ("left", "top", "width", "height")

# Characters of a value that a message shows.
_SHOWN = 60


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
      path: a .json file, a list of objects (or such a list under "boxes"), or a .csv file with a header
        (`unisal_jax.tables`). Both give `left`, `top`, `width` and `height` in whole pixels, and may give
        a `name`; without one a box is called by its number, from 1.
    Raises:
      UnisalError: there is no such file, it is not of this form, a box is empty, or two have one name.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".json", ".csv"):
        raise UnisalError(f"{path}: boxes are a .json or .csv file")
    rows = _read_json(path) if suffix == ".json" else read_table(path, "a list of boxes", _SIDES)
    regions = [region_of(path, number, row) for number, row in enumerate(rows, 1)]
    if not regions:
        raise UnisalError(f"{path}: holds no boxes")
    twice = [name for name, count in Counter(region.name for region in regions).items() if count > 1]
    if twice:
        raise UnisalError(f"{path}: two boxes are called {twice[0]!r}")
    return regions


def _read_json(path: Path) -> list[Any]:
    content = read_json(path, "a list of boxes")
    rows = content.get("boxes") if isinstance(content, dict) else content
    if not isinstance(rows, list):
        raise UnisalError(f'{path}: not a list of boxes (neither a list nor an object with a list "boxes")')
    return rows


def region_of(path: Path, number: int, row: Any) -> Region:
    """The region that a row of a file says; without a name it is called by the row's number."""
    if not isinstance(row, dict):
        raise UnisalError(f"{path}: box {number}: not an object with {', '.join(_SIDES)}")
    name = row.get("name", "")
    if not isinstance(name, str | int | float | None):
        raise UnisalError(f"{path}: box {number}: its name is not text")
    name = str(number if name is None or name == "" else name)
    values: list[int] = []
    for side in _SIDES:
        value = row.get(side, "")
        if value is None or value == "":
            raise UnisalError(f"{path}: box {name!r}: no {side}")
        if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,20}\s*", value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or abs(value) > MAX_PIXELS:
            raise UnisalError(
                f"{path}: box {name!r}: {side} is {_short(value)}, not a whole number of pixels"
            )
        values.append(value)
    box = Box(*values)
    if box.width < 1 or box.height < 1:
        raise UnisalError(f"{path}: box {name!r}: {box.width}x{box.height} is empty")
    return Region(name, box)


def _short(value: Any) -> str:
    """As it is in the file, unless it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
