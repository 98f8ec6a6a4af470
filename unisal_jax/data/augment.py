"""Random changes of a training example that hardly change what people look at: mirror, crop, colors."""

import dataclasses

import numpy as np

from unisal_jax.data.clips import below, uniform
from unisal_jax.domains import Size

# Rec. 601, as Pillow's grey images.
_GREY = np.array([0.299, 0.587, 0.114], np.float32)


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How much the examples of a source are changed; the default changes nothing.

    Attributes:
      flip: mirror an example left to right with probability one half.
      crop: the smallest crop's sides over the frame's, 0 to 1; 1 crops nothing.
      jitter: brightness, contrast and saturation are multiplied by factors from 1 - jitter to 1 + jitter.
    """

    flip: bool = False
    crop: float = 1.0
    jitter: float = 0.0


NO_AUGMENTATION = Augmentation()


@dataclasses.dataclass(frozen=True)
class Change:
    """What is done to all frames of one example.

    Attributes:
      mirrored: whether it is mirrored.
      box: top, left, height and width of the crop, in fractions of the frame's sides.
      factors: of brightness, contrast and saturation.
    """

    mirrored: bool = False
    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    factors: tuple[float, float, float] = (1.0, 1.0, 1.0)


def draw(how: Augmentation, *key: int | str) -> Change:
    """The change of the example that `key` names."""
    scale, top, left, *colors = uniform(6, *key, "augment")
    brightness, contrast, saturation = (1 + how.jitter * (2 * color - 1) for color in colors)
    side = 1 - (1 - how.crop) * scale
    return Change(
        how.flip and below(2, *key, "flip") == 1,
        ((1 - side) * top, (1 - side) * left, side, side),
        (brightness, contrast, saturation),
    )


def pixel_box(change: Change, size: Size) -> tuple[slice, slice]:
    """Rows and columns of the crop of an image of `size`; at least one of each."""
    sides = []
    for start, length, pixels in zip(change.box[:2], change.box[2:], size, strict=True):
        count = max(round(length * pixels), 1)
        first = min(round(start * pixels), pixels - count)
        sides.append(slice(first, first + count))
    return sides[0], sides[1]


def cropped_points(points: np.ndarray, size: Size, change: Change) -> tuple[np.ndarray, Size]:
    """The points, int [n, 2] in (row, column), inside the crop, relative to its corner; and its size."""
    rows, columns = pixel_box(change, size)
    start, stop = np.array([rows.start, columns.start]), np.array([rows.stop, columns.stop])
    inside = ((points >= start) & (points < stop)).all(1)
    return points[inside] - start, (rows.stop - rows.start, columns.stop - columns.start)


def recolored(pixels: np.ndarray, change: Change) -> np.ndarray:
    """Pixels, uint8 [H, W, 3], with other brightness, contrast and saturation."""
    if change.factors == (1.0, 1.0, 1.0):
        return pixels
    brightness, contrast, saturation = (np.float32(factor) for factor in change.factors)
    values: np.ndarray = pixels.astype(np.float32)
    grey = (values @ _GREY)[..., None]
    values = grey + saturation * (values - grey)
    mean = grey.mean()
    values = brightness * (mean + contrast * (values - mean))
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
