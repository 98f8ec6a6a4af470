"""Checks whether the fixations fit the images: fixated places have more contrast than others.

Reinagel and Zador, Natural scene statistics at the centre of gaze, Network 1999. On 50 images of OSIE
(15 people) the mean contrast rank of the fixations is 12 standard errors above that of the fixations with y
flipped, and 6 to 9 above that of the fixations with a wrong position of the stimuli on the screen.
"""

from collections.abc import Iterator

import cv2
import numpy as np

from unisal_jax.domains import Size
from unisal_jax.gaze import geometry
from unisal_jax.gaze.imports import Import
from unisal_jax.gaze.rows import groups
from unisal_jax.gaze.settings import SHOWN, Settings
from unisal_jax.media.images import read_image

_MIN_IMAGES, _MAX_IMAGES = 8, 50
# Number of standard errors from zero at which the sign of a mean is certain.
_SURE = 4.0
# Minimum share of fixations that must lie on the stimulus under an alternative.
_TAKEN = 0.9
# Longer side of a contrast map, in pixels.
_SIDE = 96
_SWAPPED = "swapped"


def contrast_doubts(found: Import, settings: Settings) -> list[str]:
    """Returns a line if an axis seems to be flipped, or stimuli seem to have been shown in another way.

    Requires at least eight images and uses at most 50.
    """
    once = found.fixations.once()
    images = [(n, rows) for n, rows in groups(once.stimulus) if not found.stimuli[n].film]
    if len(images) > _MAX_IMAGES:
        images = [images[i * len(images) // _MAX_IMAGES] for i in range(_MAX_IMAGES)]
    if len(images) < _MIN_IMAGES:
        return []
    gains = dict[str, list[float]]()
    taken = dict[str, list[float]]()
    for number, rows in images:
        stimulus = found.stimuli[number]
        ranks = _contrast_ranks(read_image(stimulus.path))
        x, y = once.x[rows], once.y[rows]
        height, width = stimulus.size
        others = {"y": (x, height - y), "x": (width - x, y)}
        others |= dict(_swapped(found, settings, stimulus.size, x, y))
        others |= dict(_shown_otherwise(found, settings, stimulus.size, x, y))
        for name, (other_x, other_y) in others.items():
            both = geometry.inside(other_x, other_y, stimulus.size)
            taken.setdefault(name, []).append(float(both.mean()))
            if both.any():
                gain = _look_up(ranks, other_x[both], other_y[both], stimulus.size)
                gain -= _look_up(ranks, x[both], y[both], stimulus.size)
                gains.setdefault(name, []).append(float(gain.mean()))
    sure = {
        name: _standard_errors(gain)
        for name, gain in gains.items()
        if len(gain) >= _MIN_IMAGES and np.mean(taken[name]) > _TAKEN
    }
    return list(_lines(sure, gains))


def _lines(sure: dict[str, float], gains: dict[str, list[float]]) -> Iterator[str]:
    """Yields a line for the most probable alternative, if it is certain enough."""
    best = max(sure, key=sure.__getitem__, default=None)
    if best is None or sure[best] < _SURE:
        return
    better = f"{np.mean(np.array(gains[best]) > 0):.0%} of {len(gains[best])} images"
    if best in SHOWN:
        yield (
            f"were the stimuli shown in another way? With --shown {best} the fixations would lie on places "
            f"of more contrast, on {better}"
        )
    elif best == _SWAPPED:
        yield (
            f"x and y may be swapped: swapped back, the fixations would lie on places of more contrast, on "
            f"{better}; see --columns"
        )
    else:
        yield (
            f"{best} may be flipped ({'upside down' if best == 'y' else 'left and right'}): unflipped, the "
            f"fixations would lie on places of more contrast, on {better}; see --coordinates"
        )


def _one_screen(found: Import) -> Size | None:
    """Returns the screen of all files if it is the same and all points are relative to it, else None."""
    (screen, *others) = {file.screen for file in found.files}
    return None if others or not all(file.space.startswith("screen") for file in found.files) else screen


def _swapped(
    found: Import, settings: Settings, size: Size, x: np.ndarray, y: np.ndarray
) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    """Yields the points with x and y swapped, in pixels of the stimulus or of the common screen."""
    spaces, screen = {file.space for file in found.files}, _one_screen(found)
    if spaces == {"stimulus"}:
        yield _SWAPPED, (y, x)
    elif spaces == {"screen"} and screen is not None:
        box = geometry.place(settings.shown, screen, size)
        if box is not None:
            across, down = geometry.from_stimulus(x, y, box, size)
            yield _SWAPPED, geometry.to_stimulus(down, across, "screen", box, size)


def _shown_otherwise(
    found: Import, settings: Settings, size: Size, x: np.ndarray, y: np.ndarray
) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    """Yields the points for stimuli shown in other ways, if all files have the same screen."""
    screen = _one_screen(found)
    if screen is None:
        return
    box = geometry.place(settings.shown, screen, size)
    for shown in SHOWN:
        other = geometry.place(shown, screen, size)
        if box is not None and other is not None and other != box:
            on_screen = geometry.from_stimulus(x, y, box, size)
            yield shown, geometry.to_stimulus(*on_screen, "screen", other, size)


def _standard_errors(gain: list[float]) -> float:
    spread = float(np.std(gain, ddof=1))
    return float(np.mean(gain)) / spread * np.sqrt(len(gain)) if spread > 0 else 0.0


def _look_up(ranks: np.ndarray, x: np.ndarray, y: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    row, column = (
        np.minimum((at * cells / side).astype(np.int64), cells - 1)
        for at, cells, side in zip((y, x), ranks.shape, size, strict=True)
    )
    return ranks[row, column]


def _contrast_ranks(image: np.ndarray) -> np.ndarray:
    """Returns the local contrast at each place of an image, as a rank from 0 to 1, float32 [h, w]."""
    height, width = image.shape[:2]
    scale = _SIDE / max(height, width)
    size = max(1, round(scale * width)), max(1, round(scale * height))
    small = cv2.resize(image, (4 * size[0], 4 * size[1]), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    slope = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    around = cv2.resize(cv2.GaussianBlur(slope, (0, 0), 8), size, interpolation=cv2.INTER_AREA)
    order = around.ravel().argsort(kind="stable").argsort(kind="stable")
    return (order / around.size).reshape(around.shape).astype(np.float32)
