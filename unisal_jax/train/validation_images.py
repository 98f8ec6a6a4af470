"""Validation images: input, ground truth and prediction side by side."""

import cv2
import numpy as np

from unisal_jax.data.examples import Arrays
from unisal_jax.media.overlay import overlay

# Height of a row in pixels. The width of its three images follows from the target's aspect ratio.
_ROW_HEIGHT = 180
_ROWS = 4


def validation_sheet(arrays: Arrays, log_density: np.ndarray) -> np.ndarray:
    """One row per example, four at most: the middle frame, and the ground truth and the prediction over it.

    Args:
      arrays: a validation batch.
      log_density: [B, T, H, W], the prediction for it.

    Returns:
      uint8 RGB [rows * 180, 3 * width, 3].
    """
    height, width = arrays.maps.shape[-2:]
    size = round(_ROW_HEIGHT * width / height), _ROW_HEIGHT
    middle = arrays.frames.shape[1] // 2
    rows = []
    for example in range(min(_ROWS, len(log_density))):
        frame = cv2.resize(arrays.frames[example, middle], size, interpolation=cv2.INTER_AREA)
        density = np.exp(np.asarray(log_density[example, middle], np.float32))
        maps = (arrays.maps[example, middle].astype(np.float32), density)
        heats = [overlay(frame, cv2.resize(each, size, interpolation=cv2.INTER_AREA)) for each in maps]
        rows.append(np.concatenate([frame, *heats], axis=1))
    return np.concatenate(rows)
