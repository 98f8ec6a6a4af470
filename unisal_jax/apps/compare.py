"""Compares two densities: changes of attention in boxes, the shift of attention, and similarity."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from unisal_jax.apps.boxes import integral, share
from unisal_jax.apps.focal import FocalPoint, focal_points
from unisal_jax.apps.regions import Region, check_regions
from unisal_jax.documents import rounded
from unisal_jax.domains import Size
from unisal_jax.errors import UnisalError
from unisal_jax.media.arrays import as_density
from unisal_jax.predict.facts import summarise


@dataclasses.dataclass(frozen=True)
class BoxChange:
    """The attention in a box in A and in B.

    Attributes:
      name: of the box.
      a, b: its share of the attention in each, 0 to 1. For a video, the mean over the frames that contain the
        box, or None if there are none.
    """

    name: str
    a: float | None
    b: float | None

    @property
    def change(self) -> float | None:
        """The share in B minus that in A, -1 to 1; 0.01 is one percentage point."""
        return None if self.a is None or self.b is None else self.b - self.a

    @property
    def relative_change(self) -> float | None:
        """The change divided by the share in A; None if that is 0."""
        return self.change / self.a if self.a and self.change is not None else None

    def to_json(self) -> dict[str, Any]:
        """Returns the values by name, floats rounded to six digits."""
        numbers = {"a": self.a, "b": self.b, "change": self.change, "relative_change": self.relative_change}
        return {"name": self.name, **{key: _rounded(number) for key, number in numbers.items()}}


@dataclasses.dataclass(frozen=True)
class Similarity:
    """Similarity of two densities.

    Attributes:
      cc: Pearson's correlation over the pixels, -1 to 1.
      sim: the overlap of the two, 0 to 1.
      kld: Kullback-Leibler divergence of A from B in nats; 0 if they are equal.
    """

    cc: float
    sim: float
    kld: float

    def to_json(self) -> dict[str, float]:
        """Returns the values by name, floats rounded to six digits."""
        return {name: rounded(number) for name, number in dataclasses.asdict(self).items()}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The comparison of A and B.

    Attributes:
      boxes: the change in each region.
      similarity: of the densities, after resizing B's to A's size.
      centre_a, centre_b: (row, column) of the centre of mass, in pixels of each.
      shift: movement of the centre from A to B, (down, right), as shares of height and width.
      focal_a, focal_b: focal points, largest share first.
    """

    boxes: tuple[BoxChange, ...]
    similarity: Similarity
    centre_a: tuple[float, float]
    centre_b: tuple[float, float]
    shift: tuple[float, float]
    focal_a: tuple[FocalPoint, ...]
    focal_b: tuple[FocalPoint, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns the values by name, floats rounded to six digits."""
        centres = {"a": self.centre_a, "b": self.centre_b}
        return {
            "boxes": [box.to_json() for box in self.boxes],
            "centre_of_mass": {
                **{name: {"column": column, "row": row} for name, (row, column) in centres.items()},
                "shift": {"down": rounded(self.shift[0]), "right": rounded(self.shift[1])},
            },
            "focal_points": {
                "a": [point.to_json() for point in self.focal_a],
                "b": [point.to_json() for point in self.focal_b],
            },
            "similarity": self.similarity.to_json(),
        }


def compare(
    density_a: np.ndarray,
    density_b: np.ndarray,
    regions: Sequence[Region] = (),
    regions_b: Sequence[Region] | None = None,
) -> Comparison:
    """Compares where people look in two images, such as two drafts of a page.

    Args:
      density_a: float [H, W] >= 0 of any scale, such as `SaliencyModel.predict` returns; for a video the
        mean (`MeanDensity`).
      density_b: as `density_a`; its size may differ.
      regions: boxes in pixels of A.
      regions_b: boxes with the same names in pixels of B, in any order; None to use those of A.

    Raises:
      UnisalError: a density is not such an array, a box leaves its image, or the names differ.
    """
    density_a, density_b = as_density(density_a, "density_a"), as_density(density_b, "density_b")
    pairs = matched(regions, regions if regions_b is None else regions_b)
    shares = []
    for density, side in ((density_a, [a for a, _ in pairs]), (density_b, [b for _, b in pairs])):
        check_regions(side, (density.shape[0], density.shape[1]))
        sums = integral(density)
        shares.append([share(sums, region.box) for region in side])
    boxes = tuple(BoxChange(a.name, *both) for (a, _), *both in zip(pairs, *shares, strict=True))
    return compare_densities(density_a, density_b, boxes)


def compare_densities(
    density_a: np.ndarray, density_b: np.ndarray, boxes: tuple[BoxChange, ...]
) -> Comparison:
    """Like `compare`, for boxes whose shares are known."""
    (row_a, column_a), (row_b, column_b) = centres = [_centre(each) for each in (density_a, density_b)]
    places = [
        ((row + 0.5) / density.shape[0], (column + 0.5) / density.shape[1])
        for (row, column), density in zip(centres, (density_a, density_b), strict=True)
    ]
    return Comparison(
        boxes,
        similarity(density_a, density_b),
        (row_a, column_a),
        (row_b, column_b),
        (places[1][0] - places[0][0], places[1][1] - places[0][1]),
        tuple(focal_points(density_a)),
        tuple(focal_points(density_b)),
    )


def matched(regions_a: Sequence[Any], regions_b: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Pairs the regions (still or moving) of A and B by name, in the order of A.

    Raises:
      UnisalError: a name appears in only one of them.
    """
    by_name = {region.name: region for region in regions_b}
    for name in (region.name for region in regions_a):
        if name not in by_name:
            raise UnisalError(f"box {name!r}: is given for A but not for B; boxes are matched by name")
    names_a = {region.name for region in regions_a}
    for name in by_name:
        if name not in names_a:
            raise UnisalError(f"box {name!r}: is given for B but not for A; boxes are matched by name")
    return [(region, by_name[region.name]) for region in regions_a]


def similarity(density_a: np.ndarray, density_b: np.ndarray) -> Similarity:
    """Computes the similarity of two densities, float [H, W] >= 0; B's is resized to A's size."""
    from unisal_jax.evaluate.metrics import dense_scores  # imported late, since it imports JAX

    resized = resize_density(density_b, (density_a.shape[0], density_a.shape[1]))
    scores = dense_scores(resized, density_a, names=("cc", "sim", "kld"))
    return Similarity(*(float(scores[name]) for name in ("cc", "sim", "kld")))


def resize_density(density: np.ndarray, size: Size) -> np.ndarray:
    """Resizes a density to (height, width) without ringing or aliasing, keeping its sum."""
    if density.shape == tuple(size):
        return density
    smaller = size[0] * size[1] < density.size
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    resized = cv2.resize(density, (size[1], size[0]), interpolation=how)
    return resized * (density.sum(dtype=np.float64) / resized.sum(dtype=np.float64)).astype(density.dtype)


def losses(boxes: Sequence[BoxChange], points: float) -> list[BoxChange]:
    """Returns the boxes that lose more than `points` percentage points of attention from A to B."""
    return [box for box in boxes if box.change is not None and -100 * box.change > points]


def _centre(density: np.ndarray) -> tuple[float, float]:
    centre = summarise(density)["centre_of_mass"]
    return centre["row"], centre["column"]


def _rounded(number: float | None) -> float | None:
    return None if number is None else rounded(number)
