"""Augmentation of training examples that hardly changes where people look: mirroring, cropping, colors."""

import dataclasses

import cv2
import numpy as np

from unisal_jax.data.clips import below, uniform
from unisal_jax.domains import Size

# Rec. 601 luma, as in Pillow's greyscale images.
_GREY = np.array([0.299, 0.587, 0.114], np.float32)


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """The augmentation of a source's examples; the default changes nothing.

    Attributes:
      flip: mirror an example left to right with probability 0.5.
      crop: minimum sides of a crop, as a fraction of the frame's, 0 to 1; 1 disables cropping.
      jitter: multiply brightness, contrast and saturation by factors from 1 - jitter to 1 + jitter.
      sigma: standard deviation of the Gaussian that the maps were made with, as a fraction of the frame's
        height. It is used to recompute the maps of crops. None crops the frame's map, which enlarges the
        blur.
    """

    flip: bool = False
    crop: float = 1.0
    jitter: float = 0.0
    sigma: float | None = None


# Height at which maps are compared; maximum RMS difference of equal maps, as a fraction of the peak; blurs to
# try.
_COMPARED, _LIKE = 120, 0.02
_BLURS = tuple(0.01 * 1.15**step for step in range(20))
# Radius at which a Gaussian is cut off, in standard deviations.
_REACH = 4

NO_AUGMENTATION = Augmentation()


@dataclasses.dataclass(frozen=True)
class Change:
    """The changes to all frames of one example.

    Attributes:
      mirrored: whether to mirror it.
      box: top, left, height and width of the crop, as fractions of the frame's sides.
      factors: factors of brightness, contrast and saturation.
    """

    mirrored: bool = False
    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    factors: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @property
    def cropped(self) -> bool:
        """Whether the example is cropped."""
        return self.box[2:] != (1.0, 1.0)


def draw(how: Augmentation, *key: int | str) -> Change:
    """Draws the change of the example with this key."""
    scale, top, left, *colors = uniform(6, *key, "augment")
    brightness, contrast, saturation = (1 + how.jitter * (2 * color - 1) for color in colors)
    side = 1 - (1 - how.crop) * scale
    return Change(
        how.flip and below(2, *key, "flip") == 1,
        ((1 - side) * top, (1 - side) * left, side, side),
        (brightness, contrast, saturation),
    )


def pixel_box(change: Change, size: Size) -> tuple[slice, slice]:
    """Rows and columns of the crop in an image of `size`; at least one of each."""
    sides = []
    for start, length, pixels in zip(change.box[:2], change.box[2:], size, strict=True):
        count = max(round(length * pixels), 1)
        first = min(round(start * pixels), pixels - count)
        sides.append(slice(first, first + count))
    return sides[0], sides[1]


def cropped_points(points: np.ndarray, size: Size, change: Change) -> tuple[np.ndarray, Size]:
    """The points, int [n, 2] as (row, column), that are inside the crop, relative to it; and its size."""
    rows, columns = pixel_box(change, size)
    start, stop = np.array([rows.start, columns.start]), np.array([rows.stop, columns.stop])
    inside = ((points >= start) & (points < stop)).all(1)
    return points[inside] - start, (rows.stop - rows.start, columns.stop - columns.start)


def redrawn(points: np.ndarray, size: Size, change: Change, target: Size, sigma: float) -> np.ndarray:
    """Computes the map of a crop from fixations, as a crop of the frame's map would have too large a blur.

    Args:
      points: int [n, 2], (row, column) of all fixations in the frame.
      size: (height, width) of the frame.
      change: the change with the crop.
      target: (height, width) of the map.
      sigma: standard deviation of the Gaussian as a fraction of the map's height.

    Returns:
      uint8 [*target], with a peak of 255 if a fixation is near.
    """
    rows, columns = pixel_box(change, size)
    start, sides = (rows.start, columns.start), (rows.stop - rows.start, columns.stop - columns.start)
    # Stretching a frame to the target stretches its Gaussians too.
    deviations = sigma * target[0], sigma * size[0] / size[1] * target[1]
    border = int(np.ceil(_REACH * max(deviations)))  # fixations outside the crop affect it too
    places = np.floor((points + 0.5 - start) * target / sides).astype(np.int64) + border
    shape = (target[0] + 2 * border, target[1] + 2 * border)
    counts = np.zeros(shape, np.float32)
    inside = ((places >= 0) & (places < shape)).all(1)
    np.add.at(counts, tuple(places[inside].T), 1)
    blurred = cv2.GaussianBlur(counts, (0, 0), sigmaX=deviations[1], sigmaY=deviations[0])
    density = blurred[border : border + target[0], border : border + target[1]]
    return np.rint(density * (255 / max(float(density.max()), 1e-12))).astype(np.uint8)


def blur_of(density: np.ndarray, points: np.ndarray, size: Size) -> float | None:
    """The `sigma` with which `redrawn` computes this map from these points; None if there is none.

    Args:
      density: uint8 [H, W], the map of the whole frame.
      points: int [n, 2], (row, column) of all fixations.
      size: (height, width) of their frame.
    """
    height, width = density.shape
    small = (min(_COMPARED, height), max(round(min(_COMPARED, height) * width / height), 1))
    wanted = cv2.resize(density, small[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
    peak = float(wanted.max())
    if not len(points) or peak == 0:
        return None

    def error(sigma: float) -> float:
        drawn = redrawn(points, size, Change(), small, sigma) * (peak / 255)
        return float(np.sqrt(np.square(drawn - wanted).mean()) / peak)

    coarse = min(_BLURS, key=error)
    best = min((coarse * 1.02**step for step in range(-6, 7)), key=error)
    return best if error(best) < _LIKE else None


def recolored(pixels: np.ndarray, change: Change) -> np.ndarray:
    """Changes brightness, contrast and saturation of pixels, uint8 [H, W, 3]."""
    if change.factors == (1.0, 1.0, 1.0):
        return pixels
    brightness, contrast, saturation = (np.float32(factor) for factor in change.factors)
    values: np.ndarray = pixels.astype(np.float32)
    grey = (values @ _GREY)[..., None]
    values = grey + saturation * (values - grey)
    mean = grey.mean()
    values = brightness * (mean + contrast * (values - mean))
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
