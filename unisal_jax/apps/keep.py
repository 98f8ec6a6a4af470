"""Must-keep boxes, which a crop must not cut."""

from pathlib import Path

from unisal_jax.apps.boxes import Box
from unisal_jax.apps.moving import check_moving_regions, read_moving_regions
from unisal_jax.apps.regions import Region
from unisal_jax.domains import Size
from unisal_jax.errors import UnisalError


class KeepBoxes:
    """Must-keep boxes of an image or a video.

    Args:
      path: a file of still or moving regions, see `read_moving_regions`.

    Raises:
      UnisalError: no such file, or it has another format.
    """

    def __init__(self, path: Path):
        self._path = path
        self._regions = read_moving_regions(path)

    def check(self, size: Size) -> None:
        """Raises UnisalError if a box does not fit frames of this (height, width)."""
        try:
            check_moving_regions(self._regions, size)
        except UnisalError as error:
            raise UnisalError(f"{self._path}: {error}") from error

    def at(self, number: int, seconds: float | None, size: Size) -> tuple[Box, ...]:
        """Returns the boxes of a frame, clipped to it.

        Args:
          number: of the frame, from 1.
          seconds: its display time; None if unknown.
          size: its (height, width).
        """
        boxes = (
            region.box if isinstance(region, Region) else region.box_at(number, seconds)
            for region in self._regions
        )
        return tuple(part for box in boxes if box is not None and (part := box.clipped(size)) is not None)
