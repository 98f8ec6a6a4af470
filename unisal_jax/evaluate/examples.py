"""Example frames for a report: image, truth and prediction of the best, median and worst frame."""

from collections.abc import Callable, Iterator

import cv2
import numpy as np

from unisal_jax.domains import Size
from unisal_jax.errors import UnisalError
from unisal_jax.evaluate.metrics import to_density
from unisal_jax.evaluate.results import Example, MethodScores
from unisal_jax.evaluate.sources import Group, ScoringData, closing_frames

# Longer side in pixels, enough for three images side by side on a high-density desktop screen.
_EXAMPLE_SIDE = 640


def choose_examples(
    data: ScoringData,
    maps: Callable[[Group], Iterator[np.ndarray | UnisalError]],
    scored: MethodScores,
    name: str,
) -> tuple[Example, ...]:
    """Chooses the best, median and worst frame by the score `name`, and predicts them again.

    Args:
      data: what was scored.
      maps: yields the predicted maps of a group's frames, in order.
      scored: the predictions' scores.
      name: name of the score.

    Raises:
      UnisalError: an image, its truth or its map cannot be read.
    """
    ranked = sorted(
        (row for row in scored.frames if not np.isnan(row.scores[name])), key=lambda row: row.scores[name]
    )
    if not ranked:
        return ()
    groups = {group.id: group for group in data.groups}
    examples = []
    # With fewer than three frames, later entries replace earlier ones: the last frame is the best.
    places = {0: "worst", len(ranked) // 2: "median", len(ranked) - 1: "best"}
    for place in sorted(places, reverse=True):
        title, row = places[place], ranked[place]
        group = groups[row.group]
        with closing_frames(group) as frames:
            image = next((frame for number, frame in enumerate(frames, 1) if number == row.frame), None)
        if image is None:
            raise UnisalError(f"{group.id}: frame {row.frame} is missing, but has ground truth")
        image = shrunk(image)
        pred = next(each for number, each in enumerate(maps(group), 1) if number == row.frame)
        if isinstance(pred, UnisalError):
            raise pred
        truth, pred = (
            resized_density(each, (image.shape[0], image.shape[1]))
            for each in (group.truth(row.frame - 1).map, pred)
        )
        examples.append(Example(title, row.group, row.frame, row.scores, image, truth, pred))
    return tuple(examples)


def shrunk(image: np.ndarray) -> np.ndarray:
    """uint8 RGB [H, W, 3], shrunk to the size of an example."""
    shrink = min(1.0, _EXAMPLE_SIDE / max(image.shape[:2]))
    size = tuple(max(1, round(side * shrink)) for side in image.shape[1::-1])
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA) if shrink < 1 else image


def resized_density(pixels: np.ndarray, size: Size) -> np.ndarray:
    """A map of any size as a density [*size], to overlay on an image of that size."""
    density = to_density(pixels)
    if density.shape != size:
        smaller = density.shape[0] >= size[0] and density.shape[1] >= size[1]
        interpolation = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        density = cv2.resize(density, size[::-1], interpolation=interpolation)
    return density
