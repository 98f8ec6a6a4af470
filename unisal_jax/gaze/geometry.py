"""Converts positions from the screen to the stimulus, and pixels to degrees of visual angle."""

import dataclasses
import math

import numpy as np

from unisal_jax.domains import Size
from unisal_jax.errors import UnisalError
from unisal_jax.gaze.settings import Settings, Shown


@dataclasses.dataclass(frozen=True)
class Box:
    """Position of a stimulus on the screen, in pixels."""

    left: float
    top: float
    width: float
    height: float


def place(shown: Shown, screen: Size | None, size: Size) -> Box | None:
    """Returns the position of a stimulus on the screen; None if that requires the unknown screen size.

    Args:
      shown: see `Shown`.
      screen: (height, width) in pixels.
      size: (height, width) of the stimulus.
    """
    if not isinstance(shown, str):
        return Box(*shown)
    if screen is None:
        return None
    if shown == "stretch":
        return Box(0.0, 0.0, float(screen[1]), float(screen[0]))
    scale = min(screen[0] / size[0], screen[1] / size[1]) if shown == "fit" else 1.0
    height, width = scale * size[0], scale * size[1]
    return Box((screen[1] - width) / 2, (screen[0] - height) / 2, width, height)


def to_screen(x: np.ndarray, y: np.ndarray, space: str, screen: Size | None) -> tuple[np.ndarray, np.ndarray]:
    """Converts x and y to pixels from the screen's left and upper edge; spaces of the stimulus are unchanged.

    Args:
      x: in any space of the screen.
      y: the same.
      space: one of `SPACES`.
      screen: (height, width) in pixels; may be None only for "screen" and spaces of the stimulus.
    """
    if screen is None:
        return x, y
    height, width = screen
    if space == "screen_fraction":
        return x * width, y * height
    if space == "screen_up":
        return x, height - y
    if space == "screen_centre_up":
        return x + width / 2, height / 2 - y
    return x, y


def to_stimulus(
    x: np.ndarray, y: np.ndarray, space: str, box: Box | None, size: Size
) -> tuple[np.ndarray, np.ndarray]:
    """Converts x and y to pixels of the stimulus from its left and upper edge.

    Args:
      x: of the screen in pixels, or as the stimulus' `space` says.
      y: the same.
      space: see `Recording`.
      box: where the stimulus lay on the screen; not needed where `space` is the stimulus' own.
      size: (height, width) of the stimulus.
    """
    if space.startswith("screen"):
        assert box is not None
        return (x - box.left) * size[1] / box.width, (y - box.top) * size[0] / box.height
    if space == "stimulus":
        return x, y
    if space == "stimulus_fraction_up":
        y = 1.0 - y
    return x * size[1], y * size[0]


def from_stimulus(x: np.ndarray, y: np.ndarray, box: Box, size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Converts pixels of the stimulus to pixels of the screen."""
    return box.left + x * box.width / size[1], box.top + y * box.height / size[0]


def inside(x: np.ndarray, y: np.ndarray, size: Size) -> np.ndarray:
    """Returns which points lie inside a rectangle of this size, bool [n]; False for NaN."""
    return (x >= 0) & (y >= 0) & (x < size[1]) & (y < size[0])


def screen_pixels_per_degree(settings: Settings, screen: Size | None) -> float | None:
    """Returns the screen's pixels per degree of visual angle straight ahead; None if unknown.

    Raises:
      UnisalError: the screen's size in cm is given, but its size in pixels is unknown.
    """
    if settings.pixels_per_degree is not None:
        return settings.pixels_per_degree
    if settings.screen_cm is None or settings.distance_cm is None:
        return None
    if screen is None:
        raise UnisalError("--screen-cm: the screen's size in pixels is unknown; pass --screen WxH")
    across, down = per_cm(settings.screen_cm, screen)
    return math.sqrt(across * down) * 2 * settings.distance_cm * math.tan(math.radians(0.5))


def per_cm(screen_cm: tuple[float | None, float], screen: Size) -> tuple[float, float]:
    """Returns pixels per cm of the screen, across and down; square pixels if the height is unknown."""
    across = screen[1] / screen_cm[1]
    return across, across if screen_cm[0] is None else screen[0] / screen_cm[0]


def stimulus_pixels_per_degree(of_screen: float, box: Box | None, size: Size) -> tuple[float, float]:
    """Returns a stimulus' pixels per degree, across and down; the screen's if its position is unknown."""
    if box is None:
        return of_screen, of_screen
    return of_screen * size[1] / box.width, of_screen * size[0] / box.height
