"""Compares two images and writes the result as JSON and images; shared with the comparison of videos."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unisal_jax.apps.boxes import integral, share
from unisal_jax.apps.compare import Comparison, compare
from unisal_jax.apps.compare_images import Mark, difference, lay_out, side_by_side
from unisal_jax.apps.moving import MovingRegion, check_moving_regions
from unisal_jax.apps.regions import Region
from unisal_jax.domains import Domain, Size
from unisal_jax.errors import UnisalError
from unisal_jax.media.images import read_image, write_png
from unisal_jax.media.sources import MediaSource
from unisal_jax.predict.model import SaliencyModel


@dataclasses.dataclass(frozen=True)
class Pair:
    """The two inputs of a comparison.

    Attributes:
      a, b: two images, or two videos.
      regions_a: boxes in pixels of A; only those of videos may move.
      regions_b: boxes with the same names in pixels of B; None to use those of A.
    """

    a: MediaSource
    b: MediaSource
    regions_a: Sequence[Region | MovingRegion] = ()
    regions_b: Sequence[Region | MovingRegion] | None = None

    @property
    def titles(self) -> tuple[str, str]:
        """The titles above A and B: the name of the file, or of the folder of frames."""
        a, b = (
            source.name if Path(source.path).is_dir() else Path(source.path).name
            for source in (self.a, self.b)
        )
        return f"A   {a}", f"B   {b}"

    @property
    def both(self) -> tuple[Sequence[Region | MovingRegion], Sequence[Region | MovingRegion]]:
        """The boxes of A, and those of B."""
        return self.regions_a, self.regions_a if self.regions_b is None else self.regions_b

    def check(self, size_a: Size, size_b: Size) -> None:
        """Checks that the boxes fit images of these sizes, (height, width).

        Raises:
          UnisalError: a box leaves its image, or B has another size than A but no boxes of its own.
        """
        if self.regions_a and self.regions_b is None and size_a != size_b:
            raise UnisalError(
                f"{self.b.path}: has {_shown(size_b)} pixels, but {self.a.path} has {_shown(size_a)}; boxes "
                "are in pixels, so pass those of B with --boxes-b"
            )
        for source, regions, size in zip((self.a, self.b), self.both, (size_a, size_b), strict=True):
            try:
                check_moving_regions(regions, size)
            except UnisalError as error:
                raise UnisalError(f"{source.path}: {error}") from error

    def notes(self, size_a: Size, size_b: Size) -> list[str]:
        """Returns notes on images of these sizes, (height, width), one line each."""
        if size_a == size_b:
            return []
        shown = f"{_shown(size_a)} and {_shown(size_b)}"
        return [f"A and B have different sizes, {shown}; B's map is resized to A's size"]


@dataclasses.dataclass(frozen=True)
class Compared:
    """The result of a comparison.

    Attributes:
      comparison: of the images, or of the means of the videos.
      content: for JSON: `about`, the entries of `Comparison.to_json` with the boxes' pixels, and `frames` for
        videos that are compared frame by frame.
      notes: what the user should know, one line each.
    """

    comparison: Comparison
    content: dict[str, Any]
    notes: list[str]


def image_paths(out: Path) -> list[Path]:
    """Returns the files that `compare_images` writes."""
    return [out / "side_by_side.png", out / "difference.png"]


def compare_images(
    model: SaliencyModel, domain: Domain, pair: Pair, input_size: Size | None, out: Path | None
) -> Compared:
    """Compares two images and, if `out` is given, writes `image_paths`.

    Args:
      model: predicts the densities.
      domain: the domain whose parameters are used.
      pair: the images.
      input_size: the network's input (height, width); None to choose it by aspect ratio.
      out: an existing folder; None to write no images.

    Raises:
      UnisalError: an image cannot be read or written, or a box leaves its image.
    """
    image_a, image_b = read_image(pair.a.path), read_image(pair.b.path)
    size_a, size_b = image_a.shape[:2], image_b.shape[:2]
    pair.check(size_a, size_b)
    density_a, density_b = (model.predict(image, domain, input_size) for image in (image_a, image_b))
    regions_a, regions_b = ([each for each in side if isinstance(each, Region)] for side in pair.both)
    found = compare(density_a, density_b, regions_a, regions_b)
    if out is not None:
        by_name = {region.name: region for region in regions_b}
        ordered = [by_name[region.name] for region in regions_a]
        layout, densities = lay_out(size_a, size_b), (density_a, density_b)
        if regions_a:
            marks = [
                [Mark(region.box, shown_share(region.name, share(sums, region.box))) for region in side]
                for sums, side in zip(map(integral, densities), (regions_a, ordered), strict=True)
            ]
        else:
            marks = [
                [Mark(point, f"{point.attention:.0%}") for point in side]
                for side in (found.focal_a, found.focal_b)
            ]
        changes = [
            Mark(region.box, shown_change(box.name, box.change))
            for region, box in zip(ordered, found.boxes, strict=True)
        ]
        paths = image_paths(out)
        write_png(paths[0], side_by_side(layout, (image_a, image_b), densities, pair.titles, marks))
        write_png(paths[1], difference(layout, image_b, densities, "From A to B", changes))
    content = {"about": about(pair, "images", domain, size_a, size_b), **found.to_json()}
    add_boxes(content, pair)
    return Compared(found, content, pair.notes(size_a, size_b))


def about(pair: Pair, compared: str, domain: Domain, size_a: Size, size_b: Size) -> dict[str, Any]:
    """Returns the JSON entry about a comparison; `compared` is "images", "frames" or "means"."""
    return {
        "a": Path(pair.a.path).name,
        "b": Path(pair.b.path).name,
        "compared": compared,
        "domain": domain.name,
        "size": {"a": list(size_a), "b": list(size_b)},
    }


def add_boxes(content: dict[str, Any], pair: Pair) -> None:
    """Adds the positions of still boxes in A and in B to JSON."""
    for entry in content["boxes"]:
        for key, regions in zip(("box_a", "box_b"), pair.both, strict=True):
            region = next(each for each in regions if each.name == entry["name"])
            if isinstance(region, Region):
                entry[key] = region.box.to_json()


def shown_share(name: str, attention: float) -> str:
    """Returns the label of a box."""
    return f"{name}   {attention:.1%}"


def shown_change(name: str, change: float | None) -> str:
    """Returns the label of a box in the difference image, in percentage points."""
    return name if change is None else f"{name}   {100 * change:+z.1f}"


def _shown(size: Size) -> str:
    return f"{size[1]}x{size[0]}"
