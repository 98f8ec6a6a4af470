"""Released images: the bytes to store, and the pixels in them, checked to be whole."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from unisal_jax.media.images import map_to_grey, open_encoded, orientation, read_image

# Strong enough to matter, weak enough that reading a release stays the slower part.
_PNG_EFFORT = 3

# Where a PNG's header says how many bits a sample has.
_PNG_DEPTH = 24


def read_rgb(path: Path) -> tuple[bytes, np.ndarray]:
    """A frame as it is to be stored, and as pixels.

    PNG and JPEG files of 8-bit RGB keep their bytes. Others (grey, palette, alpha, 16 bits, lying on
    their side) become a PNG of the same pixels, so that every decoder sees the same image.

    Returns:
        (encoded bytes, uint8 RGB [H, W, 3]).

    Raises:
        UnisalError: no such file, or not a whole image.
    """
    # The whole image is decoded although its bytes are what is stored: a cut-off file shows now,
    # not in the middle of a training run.
    pixels = read_image(path)
    data = path.read_bytes()
    return (data if _is_plain(data, "RGB") else encode_png(pixels)), pixels


def grey_to_store(path: Path | None, pixels: np.ndarray) -> tuple[bytes, np.ndarray]:
    """A saliency map as it is to be stored, with 8 bits.

    PNG and JPEG files of 8-bit grey keep their bytes. Of more bits, the map is scaled to its peak.

    Args:
        path: the map's file; None where it is made from fixations.
        pixels: what is in it, [H, W], from `read_map` of the clip's truth.

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
    """Encodes uint8 [H, W, 3] or [H, W] without loss."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=_PNG_EFFORT)
    return buffer.getvalue()


def _is_plain(data: bytes, mode: str) -> bool:
    """Whether every decoder gives the same 8-bit image of this mode, upright, for these bytes."""
    with open_encoded(data, "the image") as image:
        return (
            image.mode == mode
            and (image.format == "JPEG" or (image.format == "PNG" and data[_PNG_DEPTH] == 8))
            and "transparency" not in image.info
            and orientation(image) == 1
        )
