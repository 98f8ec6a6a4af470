"""Reads released images: the bytes to store and their pixels, checked to be undamaged."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from unisal_jax.media.images import map_to_grey, open_encoded, orientation, read_image

# PNG compression level: low enough that reading a release remains the bottleneck.
_PNG_EFFORT = 3

# Offset of the bit depth in a PNG file.
_PNG_DEPTH = 24


def read_rgb(path: Path) -> tuple[bytes, np.ndarray]:
    """Reads a frame, as bytes to store and as pixels.

    The bytes of 8-bit RGB PNG and JPEG files are not changed. Others (grey, palette, alpha, 16 bits, rotated
    by EXIF) are converted to a PNG with the same pixels, so that every decoder returns the same image.

    Returns:
      (encoded bytes, uint8 RGB [H, W, 3]).

    Raises:
      UnisalError: no such file, or the image is damaged.
    """
    # Decodes the whole image although its bytes are stored, to detect truncated files before training.
    pixels = read_image(path)
    data = path.read_bytes()
    return (data if _is_plain(data, "RGB") else encode_png(pixels)), pixels


def grey_to_store(path: Path | None, pixels: np.ndarray) -> tuple[bytes, np.ndarray]:
    """Converts a saliency map to bytes to store, with 8 bits.

    The bytes of 8-bit grey PNG and JPEG files are not changed. A map with more bits is scaled to its peak.

    Args:
      path: the map's file; None if it is made from fixations.
      pixels: its values, [H, W], from `read_map` of the clip's truth.

    Returns:
      (encoded bytes, uint8 [H, W]).
    """
    if pixels.dtype != np.uint8:
        pixels = map_to_grey(pixels.astype(np.float64))
    elif path is not None and path.suffix.lower() != ".mat":
        data = path.read_bytes()
        if _is_plain(data, "L"):
            return data, pixels
    return encode_png(pixels), pixels


def encode_png(pixels: np.ndarray) -> bytes:
    """Encodes uint8 [H, W, 3] or [H, W] as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=_PNG_EFFORT)
    return buffer.getvalue()


def _is_plain(data: bytes, mode: str) -> bool:
    """Whether every decoder returns the same upright 8-bit image of this mode for these bytes."""
    with open_encoded(data, "the image") as image:
        return (
            image.mode == mode
            and (image.format == "JPEG" or (image.format == "PNG" and data[_PNG_DEPTH] == 8))
            and "transparency" not in image.info
            and orientation(image) == 1
        )
