"""Resizes frames, maps and fixations to the network's sizes, pixel for pixel as the original.

The table `TRAINING` lists the settings of each dataset; the functions do not depend on datasets.
"""

import dataclasses
from types import MappingProxyType
from typing import Literal

import numpy as np
from PIL import Image

from unisal_jax.domains import RELEASED_DOMAINS, SIZE_UNIT, Domain, Size, nearest_aspect, size_by_aspect

Fit = Literal["stretch", "height", "cover"]
"""How to fit an image to a size: `stretch` resizes it to exactly this size. `height` resizes it to the
height, and `cover` to the smallest image that covers the size, both keeping the aspect ratio; then the centre
is cropped. An image that is too narrow gets black borders."""


@dataclasses.dataclass(frozen=True)
class Geometry:
    """How to resize a dataset's training examples.

    Attributes:
      fit: how to fit frames, maps and fixations to a size.
      input_sizes: sizes (height, width) to choose from by aspect ratio; None uses the domain's.
      target_scale: ratio of the target size to the input size; None uses the domain's target size.
      keep_fixations: move each fixation to its position in the target. False resizes the map of fixations
        with nearest neighbours, as the original does, which loses some of them when shrinking and duplicates
        some when enlarging.
    """

    fit: Fit = "stretch"
    input_sizes: tuple[Size, ...] | None = None
    target_scale: int | None = None
    keep_fixations: bool = False

    def sizes(self, domain: Domain, frame_size: Size) -> tuple[Size, Size]:
        """(input size, target size), each (height, width), for frames of `frame_size`."""
        size = nearest_aspect(frame_size, self.input_sizes) if self.input_sizes else domain.input_size
        if self.target_scale is None:
            return size, domain.target_size or size
        return size, (size[0] * self.target_scale, size[1] * self.target_scale)


_MIT1003_UNITS = ((8, 13), (9, 13), (9, 12), (12, 9), (13, 9))

# See reference.md, "Input". DHF1K's and SALICON's maps have the target size as released.
TRAINING = MappingProxyType(
    {
        "dhf1k": Geometry(),
        "salicon": Geometry(),
        "hollywood2": Geometry(fit="height", target_scale=1),
        "ucf_sports": Geometry(fit="cover", target_scale=1),
        "mit1003": Geometry(
            input_sizes=tuple((h * SIZE_UNIT, w * SIZE_UNIT) for h, w in _MIT1003_UNITS), target_scale=2
        ),
    }
)

_OWN_DATA = Geometry(keep_fixations=True)
_RELEASED = {domain.name: domain for domain in RELEASED_DOMAINS}


def training_geometry(dataset: str) -> Geometry:
    """The geometry of a released dataset by its name, or that of own data."""
    return TRAINING.get(dataset, _OWN_DATA)


def evaluation_input_size(dataset: str, domain: Domain, frame_size: Size, *, video: bool) -> Size:
    """The input size (height, width) for evaluation on a dataset; frames are stretched to it.

    A released dataset has its own size, which does not depend on the domain. Other images and videos have the
    size that is used for prediction (reference.md, "Input").
    """
    if dataset in _RELEASED:
        return _RELEASED[dataset].input_size
    return domain.video_input_size(frame_size) if video else size_by_aspect(frame_size)


def fit_image(pixels: np.ndarray, size: Size, fit: Fit) -> np.ndarray:
    """Fits an image, uint8 [H, W, 3] or [H, W], to `size` with Pillow's Lanczos filter, as uint8."""
    height, width = _resized(pixels.shape[:2], size, fit)
    if (height, width) != pixels.shape[:2]:
        image = Image.fromarray(pixels)
        pixels = np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))
    if (height, width) == size:
        return pixels
    (rows, to_rows), (columns, to_columns) = _centre(height, size[0]), _centre(width, size[1])
    out = np.zeros((*size, *pixels.shape[2:]), np.uint8)
    out[to_rows, to_columns] = pixels[rows, columns]
    return out


def fit_fixations(points: np.ndarray, source: Size, size: Size, geometry: Geometry) -> np.ndarray:
    """Marks fixations in a map of another size.

    Args:
      points: int [n, 2], (row, column) in pixels of `source`.
      source: (height, width) of the image that the points refer to.
      size: (height, width) of the map.
      geometry: how to fit fixations.

    Returns:
      bool [*size]. Without `keep_fixations`, it equals the binary map of `source` fitted to `size` with
      Pillow's nearest-neighbour filter.
    """
    scaled = _resized(source, size, geometry.fit)
    if geometry.keep_fixations:
        # The pixel that contains the centre of the fixated pixel, in integer arithmetic.
        points = (2 * points.astype(np.int64) + 1) * scaled // (2 * np.asarray(source))
    fixated = np.zeros(scaled if geometry.keep_fixations else source, bool)
    fixated[points[:, 0], points[:, 1]] = True
    if fixated.shape != scaled:
        fixated = fixated.take(_nearest(source[0], scaled[0]), 0).take(_nearest(source[1], scaled[1]), 1)
    if scaled == size:
        return fixated
    (rows, to_rows), (columns, to_columns) = _centre(scaled[0], size[0]), _centre(scaled[1], size[1])
    out = np.zeros(size, bool)
    out[to_rows, to_columns] = fixated[rows, columns]
    return out


def _resized(old: Size, size: Size, fit: Fit) -> Size:
    """The size before the centre is cropped.

    The order of the divisions is the original's: as they round down, another order can be off by one pixel.
    """
    height, width = size
    if fit == "height":
        return height, int(old[1] * height / old[0])
    if fit == "cover":
        aspect = old[1] / old[0]
        if aspect < width / height:
            return int(width / aspect), width
        return height, int(height * aspect)
    return height, width


def _centre(old: int, new: int) -> tuple[slice, slice]:
    """Source and destination slices of a centre crop from `old` to `new` pixels, as torchvision's CenterCrop.

    It rounds the padding at the start down, and the position of the crop half to even.
    """
    if old < new:
        before = (new - old) // 2
        return slice(0, old), slice(before, before + old)
    start = round((old - new) / 2)
    return slice(start, start + new), slice(0, new)


def _nearest(old: int, new: int) -> np.ndarray:
    """The index among `old` pixels that Pillow's nearest-neighbour filter copies to each of `new` pixels.

    It runs Pillow, whose floating-point steps cannot be reproduced otherwise.
    """
    positions = Image.fromarray(np.arange(old, dtype=np.int32)[None])
    return np.asarray(positions.resize((new, 1), Image.Resampling.NEAREST))[0]
