"""Attention in boxes over the frames of a video, with a few numbers per frame."""

import csv
import dataclasses
import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from unisal_jax.apps.boxes import Box, integral, share
from unisal_jax.apps.moving import MovingRegion
from unisal_jax.apps.regions import Region
from unisal_jax.documents import rounded
from unisal_jax.errors import UnisalError
from unisal_jax.files import text_file
from unisal_jax.media.arrays import as_density

_COLUMNS = ("frame", "seconds", "name", "attention", "relative", "left", "top", "width", "height")


@dataclasses.dataclass(frozen=True)
class FrameScore:
    """The score of a region in one frame.

    Attributes:
      name: of the region.
      box: the part of its box inside the image.
      attention: share of the density inside, 0 to 1.
      relative: mean density inside relative to a uniform density; 1 is what a uniform gaze would give.
    """

    name: str
    box: Box
    attention: float
    relative: float


class RegionCurves:
    """Scores a video's densities one by one, storing eight bytes per frame and region.

    Args:
      regions: regions with different names.

    Attributes:
      times: of the frames so far, in seconds; NaN if unknown.
      attention: by name, the share in each frame so far, 0 to 1; NaN if the box is not in the image.
    """

    def __init__(self, regions: Sequence[Region | MovingRegion]):
        self._regions = tuple(regions)
        self.times = array("d")
        self.attention = {region.name: array("d") for region in regions}
        if len(self.attention) < len(self._regions):
            raise UnisalError("regions: two have the same name")
        self._relative = dict.fromkeys(self.attention, 0.0)

    def add(self, density: np.ndarray, seconds: float | None = None) -> list[FrameScore]:
        """Scores the next frame.

        Args:
          density: float [H, W] >= 0 of any scale; it is not stored.
          seconds: display time from the first frame; None if unknown.

        Returns:
          A score for each region that is in the image in this frame.

        Raises:
          UnisalError: the density is not such an array, or a box is given by seconds and the time is unknown.
        """
        sums = integral(density)
        size = sums.shape[0] - 1, sums.shape[1] - 1
        self.times.append(math.nan if seconds is None else seconds)
        scores = []
        for region in self._regions:
            place = region.box_at(len(self.times), seconds)
            box = place.clipped(size) if place else None
            if box is None:
                self.attention[region.name].append(math.nan)
                continue
            attention = share(sums, box)
            relative = attention * size[0] * size[1] / box.area
            self.attention[region.name].append(attention)
            self._relative[region.name] += relative
            scores.append(FrameScore(region.name, box, attention, relative))
        return scores

    def mean(self, name: str) -> float | None:
        """Returns the mean share over the frames that contain a region; None if there are none."""
        known = self._known(name)
        return float(known.mean()) if known.size else None

    def frames_json(self) -> list[dict[str, Any]]:
        """Returns each frame's number, time, and shares by name, without absent boxes."""
        names = list(self.attention)
        rows = zip(self.times, *self.attention.values(), strict=True)
        return [
            {
                "attention": {
                    name: rounded(each) for name, each in zip(names, shares, strict=True) if each == each
                },
                "frame": number,
                **({} if seconds != seconds else {"seconds": round(seconds, 6)}),
            }
            for number, (seconds, *shares) in enumerate(rows, 1)
        ]

    def summary(self) -> list[dict[str, Any]]:
        """Returns a summary of each region over the frames that contain it, for JSON.

        `attention` and `relative` are means over these `frames`, or None if there are none. `highest` is the
        frame with the largest share. `rank` is 1 for the largest mean.
        """
        means = {name: self.mean(name) for name in self.attention}
        found = []
        for name, mean in means.items():
            count = int(self._known(name).size)
            entry: dict[str, Any] = {"attention": None, "frames": count, "name": name, "relative": None}
            if mean is not None:
                best = int(np.nanargmax(self.attention[name]))
                seconds = self.times[best]
                entry["attention"] = rounded(mean)
                entry["relative"] = rounded(self._relative[name] / count)
                entry["highest"] = {
                    "attention": rounded(self.attention[name][best]),
                    "frame": best + 1,
                    **({} if math.isnan(seconds) else {"seconds": round(seconds, 6)}),
                }
            entry["rank"] = 1 + sum(other is not None and other > (mean or 0) for other in means.values())
            found.append(entry)
        return found

    def _known(self, name: str) -> np.ndarray:
        shares = np.array(self.attention[name])
        return shares[~np.isnan(shares)]


def region_curves(
    densities: Iterable[np.ndarray],
    regions: Sequence[Region | MovingRegion],
    times: Sequence[float] | None = None,
) -> Iterator[list[FrameScore]]:
    """Scores regions in each frame of a video.

    Args:
      densities: float [H, W] >= 0 of any scale, one at a time.
      regions: still or moving boxes with different names, in pixels of the densities. Parts outside the image
        are ignored.
      times: of the frames, in seconds from the first; required for boxes given by seconds. May grow while the
        densities are read, as `VideoReader.times` does.

    Yields:
      For each frame, a score for each region that is in the image.

    Raises:
      UnisalError: as for `RegionCurves.add`.
    """
    curves = RegionCurves(regions)
    for number, density in enumerate(map(as_density, densities)):
        yield curves.add(density, None if times is None else known_time(times[number]))


def known_time(seconds: float) -> float | None:
    """Converts a time of `VideoReader.times`: None for NaN."""
    return None if math.isnan(seconds) else seconds


@contextmanager
def curves_table(path: Path) -> Iterator["CurvesTable"]:
    """Opens a CSV file for scores by frame, which is written atomically."""
    with text_file(path) as file:
        yield CurvesTable(csv.writer(file, lineterminator="\n"))


class CurvesTable:
    """Writes a row for each frame and region in the image."""

    def __init__(self, writer: Any):
        self._writer = writer
        writer.writerow(_COLUMNS)

    def write(self, frame: int, seconds: float | None, scores: Iterable[FrameScore]) -> None:
        """Adds a frame, by its number from 1."""
        shown = "" if seconds is None else round(seconds, 6)
        for score in scores:
            shares = rounded(score.attention), rounded(score.relative)
            self._writer.writerow([frame, shown, score.name, *shares, *dataclasses.astuple(score.box)])
