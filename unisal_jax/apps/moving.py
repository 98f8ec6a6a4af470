"""Boxes that move, come and go along a video, and the files that give them."""

import bisect
import dataclasses
import itertools
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from unisal_jax.apps.boxes import Box
from unisal_jax.apps.regions import (
    SIDES,
    TIMES,
    Region,
    check_names,
    check_regions,
    is_given,
    name_of,
    read_rows,
    region_of,
    shortened,
)
from unisal_jax.domains import Size
from unisal_jax.errors import UnisalError
from unisal_jax.limits import MAX_PIXELS

Unit = Literal["frame", "seconds"]

# Times in tables are rounded, mostly to a millisecond: so much before the first one or after the last one
# is still inside.
_SLACK = 0.001


@dataclasses.dataclass(frozen=True)
class MovingRegion:
    """A box with a name, given at some times of a video.

    Between two times the box moves at an even pace from one place to the other. Before its first time and
    after its last one it is not there.

    Attributes:
      name: of the box.
      unit: what `times` are: frame numbers from 1, or seconds from the first frame.
      times: ascending.
      boxes: one for each time, in pixels; they may leave the image. None: not there from this time on, until
        the next one.
    """

    name: str
    unit: Unit
    times: tuple[float, ...]
    boxes: tuple[Box | None, ...]

    def box_at(self, frame: int, seconds: float | None) -> Box | None:
        """Its box at a frame, in whole pixels; None where it is not there.

        Args:
          frame: its number, from 1.
          seconds: when it is shown, from the first frame on.

        Raises:
          UnisalError: the box is given by seconds, and the frame has none.
        """
        if self.unit == "seconds" and seconds is None:
            raise UnisalError(
                f"box {self.name!r}: given by seconds, but frame {frame} of the video has no time; "
                "give it by frame"
            )
        at = float(frame) if seconds is None or self.unit == "frame" else seconds
        if not self.times[0] - _SLACK <= at <= self.times[-1] + _SLACK:
            return None
        after = bisect.bisect_right(self.times, at)
        before = max(after - 1, 0)
        start, end = self.boxes[before], self.boxes[min(after, len(self.boxes) - 1)]
        if start is None or end is None or after in (0, len(self.times)):
            # The last place before a gap holds until the gap.
            return start
        part = (at - self.times[before]) / (self.times[after] - self.times[before])
        left, top, width, height = (
            math.floor(old + part * (new - old) + 0.5)
            for old, new in zip(dataclasses.astuple(start), dataclasses.astuple(end), strict=True)
        )
        return Box(left, top, width, height)


def read_moving_regions(path: str | Path) -> list[Region | MovingRegion]:
    """Reads the regions of a video from a file.

    Args:
      path: as for `read_regions`; a row may also give `frame` (a whole number from 1) or `seconds` (from the
        first frame on), and then must give a name. Rows of one name are one box, in any order of time. In
        rows with times pixels may have fractions, which are rounded, and a row without any pixels says that
        the box is not there from then on. Where a row has both times, `frame` counts. A row without a time
        is a box that stays where it is.

    Returns:
      In the order in which the names appear.

    Raises:
      UnisalError: as `read_regions`; a time is no such number; a box has two rows of one time, or rows of
        different kinds.
    """
    path = Path(path)
    still: dict[str, list[Region]] = {}
    moving: dict[str, list[tuple[Unit, float, Box | None]]] = {}
    names: dict[str, None] = {}
    for number, row in enumerate(read_rows(path), 1):
        unit = _unit(row)
        if unit is None:
            region = region_of(path, number, row)
            still.setdefault(region.name, []).append(region)
            names[region.name] = None
            continue
        if not is_given(row, "name"):
            raise UnisalError(f"{path}: box {number}: a box given by {unit} must have a name")
        name = name_of(path, number, row)
        place = any(is_given(row, side) for side in SIDES)
        box = region_of(path, number, _rounded(row)).box if place else None
        moving.setdefault(name, []).append((unit, _time(path, name, unit, row[unit]), box))
        names[name] = None
    check_names(path, (each.name for regions in still.values() for each in regions))
    both = next((name for name in still if name in moving), None)
    if both is not None:
        raise UnisalError(f"{path}: box {both!r}: some of its rows have a time, and one has none")
    return [still[name][0] if name in still else _moving(path, name, moving[name]) for name in names]


def check_moving_regions(regions: Iterable[Region | MovingRegion], size: Size) -> None:
    """Refuses boxes that a video does not hold.

    Raises:
      UnisalError: a still box leaves the frames of this (height, width), or a moving one never enters them.
    """
    for region in regions:
        if isinstance(region, Region):
            check_regions([region], size)
        elif not any(box is not None and box.clipped(size) for box in region.boxes):
            raise UnisalError(
                f"box {region.name!r}: all its places lie outside the frames of {size[1]}x{size[0]} "
                "(width x height)"
            )


def _unit(row: dict[str, Any]) -> Unit | None:
    if is_given(row, "frame"):
        return "frame"
    return "seconds" if is_given(row, "seconds") else None


def _time(path: Path, name: str, unit: Unit, value: Any) -> float:
    number = _number(value)
    if unit == "frame" and not (number is not None and number >= 1 and number.is_integer()):
        raise UnisalError(f"{path}: box {name!r}: frame is {shortened(value)}, not a whole number from 1")
    if number is None or number < 0:
        raise UnisalError(f"{path}: box {name!r}: seconds is {shortened(value)}, not a number of 0 or above")
    return number


def _number(value: Any) -> float | None:
    """A finite number, of at most `MAX_PIXELS`, or its text; None of anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) <= MAX_PIXELS else None


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    """A row with pixels in whole numbers, as far as they are numbers."""
    sides = {side: _number(row[side]) for side in SIDES if is_given(row, side)}
    whole = {side: math.floor(number + 0.5) for side, number in sides.items() if number is not None}
    return {**row, **whole}


def _moving(path: Path, name: str, rows: Sequence[tuple[Unit, float, Box | None]]) -> MovingRegion:
    if len({unit for unit, _, _ in rows}) > 1:
        raise UnisalError(f"{path}: box {name!r}: some of its rows have {' and some '.join(TIMES)}")
    ordered = sorted(rows, key=lambda row: row[1])
    for (unit, before, _), (_, after, _) in itertools.pairwise(ordered):
        if before == after:
            raise UnisalError(f"{path}: box {name!r}: two rows of {unit} {before:g}")
    if all(box is None for _, _, box in ordered):
        raise UnisalError(f"{path}: box {name!r}: no row has {', '.join(SIDES)}")
    unit = ordered[0][0]
    return MovingRegion(
        name, unit, tuple(time for _, time, _ in ordered), tuple(box for _, _, box in ordered)
    )
