"""Converts images and densities that callers pass to arrays of one type."""

import os
import re
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from unisal_jax.errors import UnisalError, one_line
from unisal_jax.media.images import read_image, row_strips, to_rgb
from unisal_jax.media.listing import VIDEO_SUFFIXES

ImageLike: TypeAlias = str | os.PathLike[str] | Image.Image | ArrayLike
"""A path, a Pillow image or an array, see `as_image`."""

# Schemes have at least two letters, unlike Windows drives.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/|data:")


def as_image(given: Any, what: str = "image") -> np.ndarray:
    """Returns an image as uint8 RGB [height, width, 3], without a copy if it already has this form.

    Args:
      given: the path of an image file, read by `read_image`; a Pillow image of any mode that `read_image`
        supports, whose EXIF orientation is applied; or an array of uint8 in 0 to 255 or of floats in 0 to 1,
        [height, width] or [height, width, 1, 3 or 4 channels]: grey, RGB or RGBA. Alpha is dropped, and the
        colour below it kept. The array is of NumPy, JAX, PyTorch on the CPU, or any other container that
        NumPy can view or copy.
      what: name of the argument, for the message.

    Raises:
      UnisalError: the argument is none of these; the file cannot be read; floats are NaN or outside 0 to 1;
        channels come first; or the argument is a URL.
    """
    if isinstance(given, (str, os.PathLike)):
        path = _local(given, what)
        try:
            return read_image(path)
        except UnisalError:
            if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file():
                raise UnisalError(f"{path}: is a video, not an image; predict_video reads videos") from None
            raise
    if isinstance(given, Image.Image):
        return to_rgb(given, what)
    return _rgb(given, 3, what)


def as_images(given: Any, what: str = "images") -> np.ndarray:
    """Returns images of the same size as uint8 RGB [N, height, width, 3].

    Args:
      given: a list or tuple of images as for `as_image`; or an array [N, height, width, 1, 3 or 4 channels]
        of the types and containers as for `as_image`.
      what: name of the argument, for the message.

    Raises:
      UnisalError: the argument is none of these, the list is empty, or the sizes differ.
    """
    if not isinstance(given, (list, tuple)):
        return _rgb(given, 4, what)
    images = [as_image(each, f"{what}[{number}]") for number, each in enumerate(given)]
    sizes = {f"{image.shape[0]}x{image.shape[1]}": None for image in images}
    if len(sizes) != 1:
        raise UnisalError(
            f"{what}: sizes {', '.join(sizes)}, but images of one size are required"
            if sizes
            else f"{what}: an empty list"
        )
    return np.stack(images)


def as_density(array: Any, what: str = "density") -> np.ndarray:
    """Returns a density as a NumPy array, float32 or float64 [height, width]; containers as for `as_image`.

    Raises:
      UnisalError: the argument is not a two-dimensional array of floats.
    """
    found = _as_array(array, what)
    if found.ndim != 2 or 0 in found.shape or found.dtype.kind != "f":
        raise UnisalError(f"{what}: {_shown(array, found)}, but floats [height, width] are needed")
    # In native byte order, which OpenCV requires.
    return np.ascontiguousarray(found, np.float32 if found.dtype.itemsize <= 4 else np.float64)


def _local(path: str | os.PathLike[str], what: str) -> Path:
    if _URL.match(os.fspath(path)) and not os.path.exists(path):
        # Do not print the URL: it may hold a password.
        raise UnisalError(f"{what}: URLs cannot be read; download the file, then pass its path")
    return Path(path)


def _rgb(array: Any, rank: int, what: str) -> np.ndarray:
    """Converts an array of one image (rank 3) or several (rank 4) to uint8 RGB."""
    found = _as_array(array, what)
    shown = f"{what}: {_shown(array, found)}"
    if found.dtype != np.uint8 and found.dtype.kind != "f":
        raise UnisalError(f"{shown}, but uint8 (0 to 255) or floats (0 to 1) are required")
    pixels = found[..., None] if found.ndim == 2 and rank == 3 else found
    if pixels.ndim != rank:
        axes = (
            "[height, width], or [height, width, channels]" if rank == 3 else "[N, height, width, channels]"
        )
        raise UnisalError(f"{shown}, but {axes} is required")
    if 0 in pixels.shape[-3:]:
        raise UnisalError(f"{shown}, which holds no pixels")
    channels = pixels.shape[-1]
    if channels not in (1, 3, 4):
        if pixels.shape[-3] in (1, 3, 4):
            raise UnisalError(
                f"{shown}, whose channels come first; move them with numpy.moveaxis(image, -3, -1)"
            )
        raise UnisalError(
            f"{shown}, but 1 (grey), 3 (RGB) or 4 (RGBA) channels are required, on the last axis"
        )
    pixels = pixels[..., :3]
    if pixels.dtype != np.uint8:
        pixels = _to_uint8(pixels, shown)
    if channels == 1:
        return np.repeat(pixels, 3, axis=-1)
    return np.ascontiguousarray(pixels) if channels == 4 else pixels


def _to_uint8(pixels: np.ndarray, shown: str) -> np.ndarray:
    """Converts floats in 0 to 1, [..., height, width, channels], to the nearest of 256 levels."""
    found = np.empty(pixels.shape, np.uint8)
    for index in np.ndindex(pixels.shape[:-3]):
        for rows in row_strips(*pixels.shape[-3:-1]):
            with np.errstate(over="ignore"):
                levels = pixels[index][rows].astype(np.float32) * 255
            low, high = levels.min(), levels.max()
            # Tolerate rounding errors around 0 and 1, and reject NaN.
            if not (low >= -0.5 and high < 255.5):
                held = "NaN" if np.isnan(low) else f"{low / 255:.4g} to {high / 255:.4g}"
                raise UnisalError(
                    f"{shown} with values of {held}, but floats from 0 to 1 are required (or uint8, 0 to 255)"
                )
            found[index][rows] = np.rint(levels, out=levels)
    return found


def _as_array(array: Any, what: str) -> np.ndarray:
    try:
        return np.asarray(array)
    except Exception as error:
        # Libraries raise different exceptions for arrays on other devices, deleted arrays and ragged lists.
        reason = one_line(error)
        raise UnisalError(f"{what}: {type(array).__name__}, which NumPy cannot view ({reason})") from error


def _shown(array: Any, found: np.ndarray) -> str:
    shown = f"{found.dtype} {list(found.shape)}"
    if hasattr(array, "shape"):
        return shown
    return f"{type(array).__name__} of {shown}" if found.ndim else type(array).__name__
