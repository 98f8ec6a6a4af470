"""Reads image files that hold a map or marked pixels, keeping the stored values.

`images.py` reads images to be displayed, as 8-bit RGB. Here 16-bit and float samples are kept.
"""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, TiffImagePlugin

from unisal_jax.errors import UnisalError
from unisal_jax.limits import MAX_MAP_PIXELS
from unisal_jax.media.formats import IN_BOXES
from unisal_jax.media.images import open_image, turn_upright

# Formats whose colour samples may have 16 bits. Pillow keeps only 8 of them.
_DEEP_FORMATS = ("PNG", "TIFF", "PPM")
# Chunk name of a lossy WebP image in its RIFF file.
_LOSSY_WEBP = b"VP8 "
_TILE_BYTES = 325
_MIN_BLURRED, _GREY_LEVELS = 16, 8


def read_map_image(path: str | Path) -> np.ndarray:
    """Reads an image file as a map: grey samples with their stored values, upright.

    Colour is converted to grey with OpenCV's weights, as in the original implementation; alpha is dropped.

    Args:
      path: an image file of at most `MAX_MAP_PIXELS`.

    Returns:
      [H, W]: uint8 for files with up to 8 bits per sample (1-bit files as 0 and 255); uint16, int32, float32
      or float64 for others.

    Raises:
      UnisalError: no such file, not an image, damaged, or too large.
    """
    path = Path(path)
    deep = _float_tiff(path)
    if deep is not None:
        # OpenCV cannot convert float64 to grey.
        return cv2.cvtColor(deep[..., :3].astype(np.float32), cv2.COLOR_BGR2GRAY) if deep.ndim == 3 else deep
    with open_image(path, MAX_MAP_PIXELS) as image:
        upright = turn_upright(image)
        grey = _grey_samples(upright, image.format)
        if grey is not None:
            return grey
        rgb = np.asarray(_to_rgb(upright))
        if image.format in IN_BOXES:  # OpenCV would decode these without limits
            return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    data = np.frombuffer(path.read_bytes(), np.uint8)
    found = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) if found is None or found.shape != rgb.shape[:2] else found


def read_marks(path: str | Path) -> tuple[np.ndarray, bool]:
    """Reads an image whose non-zero pixels mark fixations, upright.

    Returns:
      (samples, lossy). `samples` is the brightest channel of each pixel, [H, W], with dtypes as in
      `read_map_image`. `lossy` is True if the format is (JPEG, AVIF, HEIC and lossy WebP), so that pixels
      next to a mark may not be 0.

    Raises:
      UnisalError: as for `read_map_image`.
    """
    path = Path(path)
    deep = _float_tiff(path)
    if deep is not None:
        return (deep[..., :3].max(axis=2) if deep.ndim == 3 else deep), False
    with open_image(path, MAX_MAP_PIXELS) as image:
        form = image.format
        upright = turn_upright(image)
        samples = _grey_samples(upright, form)
        if samples is None:
            samples = np.asarray(_to_rgb(upright)).max(axis=2)
    if samples.dtype == np.uint8 and form in _DEEP_FORMATS and not samples.all():
        # Pillow keeps the upper 8 of 16 bits, so a mark of value 1 would become 0.
        data = np.frombuffer(path.read_bytes(), np.uint8)
        deep = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        if deep is not None and deep.dtype == np.uint16 and deep.shape[:2] == samples.shape:
            samples = deep.max(axis=2)
    with path.open("rb") as file:
        lossy = form in ("JPEG", *IN_BOXES) or (form == "WEBP" and _LOSSY_WEBP in file.read(64))
    return samples, lossy


def looks_blurred(samples: np.ndarray) -> bool:
    """Whether an image of marks looks like a blurred map: most marks touch another and have many levels.

    Args:
      samples: [H, W], 0 where there is no mark.
    """
    marks = samples > 0
    number = int(marks.sum())
    if number < _MIN_BLURRED or len(np.unique(samples[marks])) <= _GREY_LEVELS:
        return False
    near = np.zeros_like(marks)
    near[1:] |= marks[:-1]
    near[:-1] |= marks[1:]
    near[:, 1:] |= marks[:, :-1]
    near[:, :-1] |= marks[:, 1:]
    return int((near & marks).sum()) > number // 2


def _grey_samples(image: Image.Image, form: str | None) -> np.ndarray | None:
    """Returns the stored samples of a single-channel image; None for other images."""
    if image.mode == "L":
        return np.array(image)
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8) * 255
    if image.mode.startswith("I;16") or (image.mode == "I" and form in ("PNG", "PPM")):
        # Pillow holds 16-bit PPM (and in old releases PNG) in 32 bits.
        return np.asarray(image).astype(np.uint16)
    return np.array(image) if image.mode in ("I", "F") else None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("P", "PA", "La", "RGBa"):
        # Via RGBA: converting directly to RGB, Pillow warns of palette transparency and rejects premultiplied
        # alpha.
        image = image.convert("RGBA")
    return image.convert("RGB")


def _float_tiff(path: Path) -> np.ndarray | None:
    """Reads a TIFF of samples that Pillow does not support: 64-bit floats, or float colours.

    Returns:
      float32 or float64, [H, W] or BGR(A) [H, W, C]; None for any other file.

    Raises:
      UnisalError: such a TIFF is too large, damaged or cut off.
    """
    try:
        with path.open("rb") as file:
            header = file.read(8)
            if header[:4] not in (b"II*\0", b"MM\0*"):
                return None
            tags = TiffImagePlugin.ImageFileDirectory_v2(header)
            file.seek(tags.next)
            tags.load(file)
        width, height = (
            int(tags.get(TiffImagePlugin.IMAGEWIDTH, 0)),
            int(tags.get(TiffImagePlugin.IMAGELENGTH, 0)),
        )
        bits = tuple(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
        stored = sum(tags.get(TiffImagePlugin.STRIPBYTECOUNTS, ())) + sum(tags.get(_TILE_BYTES, ()))
        floats = set(tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,))) == {3}
    except Exception:
        # Damaged headers raise many types of exceptions; `open_image` reports them.
        return None
    if not floats or set(bits) - {32, 64} or bits == (32,) or len(bits) > 4:
        return None
    if not 0 < width * height * len(bits) <= MAX_MAP_PIXELS:
        raise UnisalError(f"{path}: {width}x{height} is larger than {MAX_MAP_PIXELS / 1e6:g} megapixels")
    data = path.read_bytes()
    # Do not decode overlapping strips: each would be unpacked separately.
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if stored <= len(data) else None
    if found is None or found.shape[:2] != (height, width):
        raise UnisalError(f"{path}: the image is damaged or cut off")
    return found
