"""Log-densities brought to another size."""

import cv2
import numpy as np

from unisal_jax.domains import Size
from unisal_jax.media.images import row_strips


def resize_log_density(log_density: np.ndarray, size: Size) -> np.ndarray:
    """Brings a log-density to another size.

    Bilinear with half-pixel centres and no antialiasing, and normalised anew. This equals resizing
    the network's output before its log-softmax, since both only differ by a constant.

    Args:
      log_density: float32 [height, width], whose exponential sums to one.
      size: (height, width) out.

    Returns:
      float32 [*size], an array of its own, whose exponential sums to one.
    """
    if log_density.shape == tuple(size):
        return np.array(log_density)
    resized = cv2.resize(log_density, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    peak = resized.max()
    total = sum(np.exp(resized[rows] - peak).sum(dtype=np.float64) for rows in row_strips(*size))
    np.subtract(resized, np.float32(peak + np.log(total)), out=resized)
    return resized
