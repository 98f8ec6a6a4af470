"""Boxes that move, appear and disappear in a video, and the files that define them."""

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

# Tolerance at the first and last time, in seconds: times in tables are rounded, mostly to a millisecond.
_SLACK = 0.001


@dataclasses.dataclass(frozen=True)
class MovingRegion:
    """A named box, given at some times of a video.

    The box moves linearly between two times. It is absent before the first time and after the last.

    Attributes:
      name: of the box.
      unit: unit of `times`: frame numbers from 1, or seconds from the first frame.
      times: ascending.
      boxes: one for each time, in pixels; they may leave the image. None if the box is absent from this time
        until the next.
    """

    name: str
    unit: Unit
    times: tuple[float, ...]
    boxes: tuple[Box | None, ...]

    def box_at(self, frame: int, seconds: float | None) -> Box | None:
        """Returns the box in a frame, in whole pixels; None if it is absent.

        Args:
          frame: number of the frame, from 1.
          seconds: its display time from the first frame; None if unknown.

        Raises:
          UnisalError: the box is given by seconds, and the time is unknown.
        """
        if self.unit == "seconds" and seconds is None:
            raise UnisalError(
                f"box {self.name!r}: is given by seconds, but frame {frame} of the video has no time; "
                "give it by frame"
            )
        at = float(frame) if seconds is None or self.unit == "frame" else seconds
        if not self.times[0] - _SLACK <= at <= self.times[-1] + _SLACK:
            return None
        after = bisect.bisect_right(self.times, at)
        before = max(after - 1, 0)
        start, end = self.boxes[before], self.boxes[min(after, len(self.boxes) - 1)]
        if start is None or end is None or after in (0, len(self.times)):
            # Before a gap, the box stays at its last place.
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
      path: as for `read_regions`. A row may also have `frame` (an integer from 1) or `seconds` (from the
        first frame) and then requires a name. Rows with the same name define one box, in any order. In rows
        with times, pixels may have fractions, which are rounded, and a row without pixels means that the box
        is absent from then on. If a row has both times, `frame` is used. A row without a time defines a still
        box.

    Returns:
      The regions in the order in which the names appear.

    Raises:
      UnisalError: as for `read_regions`; a time is not such a number; a box has two rows with the same time,
        or rows with different units.
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
            raise UnisalError(f"{path}: box {number}: has a time ({unit}), so it must have a name")
        name = name_of(path, number, row)
        place = any(is_given(row, side) for side in SIDES)
        box = region_of(path, number, _rounded(row)).box if place else None
        moving.setdefault(name, []).append((unit, _time(path, name, unit, row[unit]), box))
        names[name] = None
    check_names(path, (each.name for regions in still.values() for each in regions))
    both = next((name for name in still if name in moving), None)
    if both is not None:
        raise UnisalError(f"{path}: box {both!r}: some rows have a time and one has none")
    return [still[name][0] if name in still else _moving(path, name, moving[name]) for name in names]


def check_moving_regions(regions: Iterable[Region | MovingRegion], size: Size) -> None:
    """Checks that boxes fit the frames of a video.

    Raises:
      UnisalError: a still box leaves the frames of this (height, width), or a moving one never enters them.
    """
    for region in regions:
        if isinstance(region, Region):
            check_regions([region], size)
        elif not any(box is not None and box.clipped(size) for box in region.boxes):
            raise UnisalError(
                f"box {region.name!r}: is always outside the frames of {size[1]}x{size[0]} (width x height)"
            )


def _unit(row: dict[str, Any]) -> Unit | None:
    if is_given(row, "frame"):
        return "frame"
    return "seconds" if is_given(row, "seconds") else None


def _time(path: Path, name: str, unit: Unit, value: Any) -> float:
    number = _number(value)
    if unit == "frame" and not (number is not None and number >= 1 and number.is_integer()):
        raise UnisalError(f"{path}: box {name!r}: frame is {shortened(value)}, not an integer from 1")
    if number is None or number < 0:
        raise UnisalError(f"{path}: box {name!r}: seconds is {shortened(value)}, not a number from 0")
    return number


def _number(value: Any) -> float | None:
    """Converts a value to a finite number of at most `MAX_PIXELS`; returns None if it is not one."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) <= MAX_PIXELS else None


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    """Rounds the pixels of a row to integers, as far as they are numbers."""
    sides = {side: _number(row[side]) for side in SIDES if is_given(row, side)}
    whole = {side: math.floor(number + 0.5) for side, number in sides.items() if number is not None}
    return {**row, **whole}


def _moving(path: Path, name: str, rows: Sequence[tuple[Unit, float, Box | None]]) -> MovingRegion:
    if len({unit for unit, _, _ in rows}) > 1:
        raise UnisalError(f"{path}: box {name!r}: some rows have {' and some '.join(TIMES)}; use one of them")
    ordered = sorted(rows, key=lambda row: row[1])
    for (unit, before, _), (_, after, _) in itertools.pairwise(ordered):
        if before == after:
            raise UnisalError(f"{path}: box {name!r}: two rows have {unit} {before:g}")
    if all(box is None for _, _, box in ordered):
        raise UnisalError(f"{path}: box {name!r}: no row has {', '.join(SIDES)}")
    unit = ordered[0][0]
    return MovingRegion(
        name, unit, tuple(time for _, time, _ in ordered), tuple(box for _, _, box in ordered)
    )
