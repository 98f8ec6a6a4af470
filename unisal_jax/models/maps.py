"""Prior maps from Gaussians, and the small form of the smoothing kernel, for NumPy or JAX arrays."""

from typing import Any

import numpy as np

from unisal_jax.models.architecture import PRIOR_SCALE, SMOOTHING_FACTOR, SMOOTHING_SIZE

_RADIUS = SMOOTHING_SIZE // 2
SMOOTHING_REACH = -(-_RADIUS // SMOOTHING_FACTOR)
"""Cells of 8x8 pixels that the smoothing kernel extends to each side: 3."""


def gaussian_maps(gaussians: Any, size: tuple[int, int]) -> Any:
    """Maps [height, width, map] in (0, 6] from [map, (y, x), (mean, log std)].

    Means are fractions of the image's side. The exponent has the factor 1/2 that equation 1 of the paper
    omits: the authors' code, and so the released weights, have it.

    Args:
      gaussians: a NumPy or JAX array; the maps are of the same kind and dtype.
      size: (height, width).
    """
    xp = gaussians.__array_namespace__()

    def profile(axis: int) -> Any:
        # linspace does not accept symbolic sizes (`export.stablehlo`).
        last = xp.maximum(xp.asarray(size[axis] - 1, dtype=gaussians.dtype), 1)
        at = (xp.arange(size[axis], dtype=gaussians.dtype) / last)[:, None]
        mean, log_std = gaussians[:, axis, 0], gaussians[:, axis, 1]
        return xp.exp(-0.5 * xp.square((at - mean) / xp.exp(log_std)))

    return PRIOR_SCALE * profile(0)[:, None] * profile(1)[None]


def cell_kernel(kernel: Any) -> Any:
    """The 7x7 kernel with 64 outputs, [7, 7, 1, 64], equivalent to `kernel` [41, 41] on an 8x upsampled map.

    A 224x384 map upsampled from 28x48 holds each value 64 times, so the 41x41 kernel reads each up to 64
    times. A 7x7 convolution of the small map computes the same sums: its 64 outputs are the 64 pixels of an
    8x8 cell. That takes 35 times fewer operations (reference.md, "Measured cost").
    """
    side = 2 * SMOOTHING_REACH + 1
    taps = _taps_of_cells().reshape(-1, SMOOTHING_SIZE).astype(kernel.dtype)
    cells = (taps @ kernel @ taps.T).reshape(SMOOTHING_FACTOR, side, SMOOTHING_FACTOR, side)
    # [pixel row, cell row, pixel column, cell column] -> [cell row, cell column, pixel]
    return cells.transpose(1, 3, 0, 2).reshape(side, side, 1, SMOOTHING_FACTOR * SMOOTHING_FACTOR)


def _taps_of_cells() -> np.ndarray:
    """[pixel in its cell, cell offset, kernel weight]: 1 where that weight of that pixel reads that cell."""
    pixel, tap = np.mgrid[:SMOOTHING_FACTOR, -_RADIUS : _RADIUS + 1]
    cell = (pixel + tap) // SMOOTHING_FACTOR
    read: np.ndarray = cell[:, None] == np.arange(-SMOOTHING_REACH, SMOOTHING_REACH + 1)[:, None]
    return read.astype(np.float32)
