"""Pictures of densities for people: heat colours, heat over the image, the two side by side."""

import cv2
import numpy as np

from unisal_jax.errors import UnisalError
from unisal_jax.media.arrays import as_density, as_frames
from unisal_jax.media.images import row_strips

_GREY = np.arange(256, dtype=np.uint8)
# Turbo, because the order of its hues reads at once over any photo (inferno is lost on skin and
# flowers), without its two dark ends: a peak must not be darker than what surrounds it.
_TURBO_PART = np.rint(np.linspace(40, 228, 256)).astype(np.uint8)
_HEAT = cv2.cvtColor(cv2.applyColorMap(_TURBO_PART[:, None], cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)[:, 0]

# The heat's weight is (density / peak) to this power. Below 1, so that the outskirts of a peak already
# show their colour; a weight of zero leaves the picture as it is where nobody looks.
_WEIGHT_POWER = 0.5


def heat_colours(density: np.ndarray) -> np.ndarray:
    """Colours a density, float [H, W] >= 0 of any scale: uint8 RGB [H, W, 3].

    From blue at 0 over green and yellow to red at the peak. A map of zeros is blue.
    """
    return _look_up(density_levels(density), _HEAT)


def overlay(image: np.ndarray, density: np.ndarray, opacity: float = 0.7) -> np.ndarray:
    """Lays a density's heat over its image, so that the picture stays as it is where nobody looks.

    Args:
        image: uint8 RGB [H, W, 3].
        density: float [H, W] >= 0, of any scale, or its `density_levels`.
        opacity: how far the heat covers the image at the density's peak, 0 to 1.

    Returns:
        uint8 RGB [H, W, 3].

    Raises:
        UnisalError: they are no such arrays, or differ in size.
    """
    image, levels = as_frames(image, 3, "image"), density_levels(density)
    if image.shape != (*levels.shape, 3):
        raise UnisalError(f"image of shape {image.shape} and density of shape {levels.shape} do not match")
    # Everything that depends on the density alone is worked out for its 256 levels, not for each pixel.
    weight = opacity * (_GREY / 255.0) ** _WEIGHT_POWER
    heat = np.rint(_HEAT * weight[:, None]).astype(np.uint8)
    kept = np.repeat(np.rint(255 * (1 - weight)).astype(np.uint8)[:, None], 3, axis=1)
    laid = np.empty(image.shape, np.uint8)
    for rows in row_strips(*levels.shape):
        dimmed = cv2.multiply(image[rows], _look_up(levels[rows], kept), scale=1 / 255)
        cv2.add(dimmed, _look_up(levels[rows], heat), dst=laid[rows])
    return laid


def density_panel(image: np.ndarray, density: np.ndarray) -> np.ndarray:
    """Image, grey density and overlay side by side: uint8 RGB [H, 3 W, 3] of inputs as in `overlay`."""
    image, levels = as_frames(image, 3, "image"), density_levels(density)
    grey = np.repeat(levels[..., None], 3, axis=2)
    return np.concatenate([image, grey, overlay(image, levels)], axis=1)


def density_levels(density: np.ndarray) -> np.ndarray:
    """The density over its peak in 256 levels, uint8 [H, W]. Levels stay as they are."""
    if getattr(density, "dtype", None) == np.uint8:
        return np.asarray(density)
    density = as_density(density)
    peak = float(density.max())
    return cv2.convertScaleAbs(density, alpha=255 / peak if peak > 0 else 0)


def _look_up(levels: np.ndarray, table: np.ndarray) -> np.ndarray:
    """table[levels] for uint8 levels [H, W] and a table [256, 3]: uint8 [H, W, 3]."""
    return cv2.LUT(cv2.merge([levels] * 3), table[None])
