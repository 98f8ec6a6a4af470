"""Must-keep boxes from a table."""

import re
from collections import defaultdict
from pathlib import Path

import numpy as np

from unisal_jax.apps.boxes import Box
from unisal_jax.apps.regions import Region, check_regions, region_of
from unisal_jax.domains import Size
from unisal_jax.errors import UnisalError
from unisal_jax.tables import read_table


class KeepBoxes:
    """Must-keep boxes of a picture or a video.

    Args:
      path: a table (`unisal_jax.tables`) with `left`, `top`, `width` and `height` in whole pixels, and for
        boxes of a video `frame` (from 1) or `seconds`. Boxes with the same `name` are one thing, which
        moves evenly from each of its rows to the next. A row without a name holds for its frame alone.
        Without a column for the time all boxes hold always.
    Raises:
      UnisalError: no such file, or it is not of this form.
    """

    def __init__(self, path: Path):
        self._path = path
        self._regions: list[Region] = []
        self._tracks: dict[str, dict[float, Box]] = defaultdict(dict)
        self.by: str | None = None
        for number, line in enumerate(
            read_table(path, "a table of boxes to keep", ("left", "top", "width", "height")), 1
        ):
            region = region_of(path, number, line)
            self._regions.append(region)
            self.by = next((column for column in ("frame", "seconds") if column in line), None)
            time = self._time(number, line[self.by]) if self.by else 0.0
            # A name of blanks: no name in a table has them.
            name = region.name if line["name"] and self.by else f" {number}"
            if time in self._tracks[name]:
                raise UnisalError(f"{path}: box {region.name!r}: two rows of one name have one time")
            self._tracks[name][time] = region.box
        if not self._regions:
            raise UnisalError(f"{path}: holds no boxes")

    def check(self, size: Size) -> None:
        """Raises UnisalError for a box that leaves frames of this (height, width)."""
        try:
            check_regions(self._regions, size)
        except UnisalError as error:
            raise UnisalError(f"{self._path}: {error}") from error

    def at(self, number: int, seconds: float, step: float) -> tuple[Box, ...]:
        """The boxes of a frame: its number from 0, when it is shown, and the seconds to the next."""
        if self.by is None:
            return tuple(region.box for region in self._regions)
        time, half = (number + 1, 0.5) if self.by == "frame" else (seconds, step / 2)
        boxes = (_between(track, time, half) for track in self._tracks.values())
        return tuple(box for box in boxes if box is not None)

    def _time(self, number: int, text: str) -> float:
        whole = self.by == "frame"
        if not re.fullmatch(r"[0-9]{1,12}" if whole else r"[0-9]{1,12}(\.[0-9]{1,12})?", text) or (
            whole and int(text) < 1
        ):
            wanted = "a whole number from 1" if whole else "a number of 0 or above"
            raise UnisalError(f"{self._path}: box {number}: {self.by} is {text[:60]!r}, not {wanted}")
        return float(text)


def _between(track: dict[float, Box], time: float, half: float) -> Box | None:
    """A box at a time: evenly between its rows, and for half a frame around the first and the last one."""
    times = sorted(track)
    if not times[0] - half <= time < times[-1] + half:
        return None
    sides = np.array(
        [[getattr(track[each], side) for side in ("left", "top", "width", "height")] for each in times]
    )
    return Box(*(round(float(np.interp(time, times, side))) for side in sides.T))
