"""Normalisation of pixels for the network input (reference.md, "Input")."""

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

RGB_MEAN = (0.485, 0.456, 0.406)
RGB_STD = (0.229, 0.224, 0.225)

# A NumPy or JAX array.
_Array = TypeVar("_Array", bound=Any)


def normalize(frames: _Array, dtype: npt.DTypeLike = np.float32) -> _Array:
    """Normalises uint8 RGB [..., 3] in 0 to 255, a NumPy or JAX array, to floats in the same array type."""
    return (frames.astype(dtype) / 255 - np.asarray(RGB_MEAN, dtype)) / np.asarray(RGB_STD, dtype)
