"""Resizing of log-densities."""

import cv2
import numpy as np

from unisal_jax.domains import Size
from unisal_jax.media.images import row_strips


def resize_log_density(log_density: np.ndarray, size: Size) -> np.ndarray:
    """Resizes a log-density and normalises it again.

    Bilinear with half-pixel centres, without antialiasing. This equals resizing the network's output before
    its log-softmax, since the two differ only by a constant.

    Args:
      log_density: float32 [height, width], whose exponential sums to one.
      size: (height, width) of the result.

    Returns:
      A new array, float32 [*size], whose exponential sums to one.
    """
    if log_density.shape == tuple(size):
        return np.array(log_density)
    resized = cv2.resize(log_density, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    peak = resized.max()
    total = sum(np.exp(resized[rows] - peak).sum(dtype=np.float64) for rows in row_strips(*size))
    np.subtract(resized, np.float32(peak + np.log(total)), out=resized)
    return resized
