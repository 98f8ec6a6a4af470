"""What counts as an image and as a density where a program hands one over: whatever NumPy can view."""

from typing import Any

import numpy as np

from unisal_jax.errors import UnisalError, one_line


def as_frames(array: Any, rank: int, what: str) -> np.ndarray:
    """An image, or several of one size, as a NumPy array; of memory that NumPy can view no copy is made.

    Args:
        array: uint8 RGB [height, width, 3], or [N, height, width, 3], in any container that NumPy can view
            or copy: an array of NumPy, JAX or PyTorch, a memory map, a Pillow image, a list of arrays.
        rank: 3 for one image, 4 for several.
        what: the argument, for the error's message.

    Raises:
        UnisalError: it is nothing of that kind.
    """
    found = _as_array(array, what)
    if found.dtype != np.uint8 or found.ndim != rank or found.shape[-1] != 3 or 0 in found.shape[-3:]:
        axes = "[height, width, 3]" if rank == 3 else "[N, height, width, 3]"
        raise UnisalError(f"{what}: {_shown(array, found)}, but uint8 RGB {axes} is needed")
    return found


def as_density(array: Any, what: str = "density") -> np.ndarray:
    """A density as a NumPy array, float32 or float64 [height, width]; containers as for `as_frames`.

    Raises:
        UnisalError: it is not floats of two axes.
    """
    found = _as_array(array, what)
    if found.ndim != 2 or 0 in found.shape or found.dtype.kind != "f":
        raise UnisalError(f"{what}: {_shown(array, found)}, but floats [height, width] are needed")
    # Of native byte order, since OpenCV takes no other.
    return np.ascontiguousarray(found, np.float32 if found.dtype.itemsize <= 4 else np.float64)


def _as_array(array: Any, what: str) -> np.ndarray:
    try:
        return np.asarray(array)
    except Exception as error:
        # Each library has errors of its own for arrays on other devices, deleted or of uneven lists.
        reason = one_line(error)
        raise UnisalError(f"{what}: {type(array).__name__}, which NumPy cannot view ({reason})") from error


def _shown(array: Any, found: np.ndarray) -> str:
    shown = f"{found.dtype} {list(found.shape)}"
    if hasattr(array, "shape"):
        return shown
    return f"{type(array).__name__} of {shown}" if found.ndim else type(array).__name__
