"""Image files that hold a map: grey samples as the file stores them, and the pixels that it marks.

`images.py` reads what people look at, as 8-bit RGB. A map is numbers: 16 bits and floats are kept.
"""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, TiffImagePlugin

from unisal_jax.errors import UnisalError
from unisal_jax.limits import MAX_MAP_PIXELS
from unisal_jax.media.formats import IN_BOXES
from unisal_jax.media.images import open_image, turn_upright

# Formats whose colour samples may have 16 bits, of which Pillow keeps 8.
_DEEP_FORMATS = ("PNG", "TIFF", "PPM")
# Where a RIFF file says that it is a WebP image that was compressed with loss.
_LOSSY_WEBP = b"VP8 "
_TILE_BYTES = 325
_MIN_BLURRED, _GREY_LEVELS = 16, 8


def read_map_image(path: str | Path) -> np.ndarray:
    """An image file as a map: grey samples as they are stored, upright.

    Colour is turned to grey with OpenCV's weights, as the original reads maps; alpha is dropped.

    Args:
      path: a file of at most `MAX_MAP_PIXELS`.

    Returns:
      [H, W], uint8 of files with up to 8 bits a sample (1-bit files as 0 and 255), uint16, int32,
      float32 or float64 of others; values as stored.

    Raises:
      UnisalError: no such file, not an image, damaged, or too large.
    """
    path = Path(path)
    deep = _float_tiff(path)
    if deep is not None:
        # OpenCV has no grey of doubles.
        return cv2.cvtColor(deep[..., :3].astype(np.float32), cv2.COLOR_BGR2GRAY) if deep.ndim == 3 else deep
    with open_image(path, MAX_MAP_PIXELS) as image:
        upright = turn_upright(image)
        grey = _grey_samples(upright, image.format)
        if grey is not None:
            return grey
        rgb = np.asarray(_to_rgb(upright))
        if image.format in IN_BOXES:  # which OpenCV would decode without a limit
            return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    data = np.frombuffer(path.read_bytes(), np.uint8)
    found = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) if found is None or found.shape != rgb.shape[:2] else found


def read_marks(path: str | Path) -> tuple[np.ndarray, bool]:
    """The pixels that an image of fixations marks, upright.

    Returns:
      (the brightest sample of each pixel, [H, W], dtypes as of `read_map_image`; whether the file's
      format loses detail, so that pixels beside a mark are not 0: JPEG, AVIF, HEIC and lossy WebP).

    Raises:
      UnisalError: as `read_map_image`.
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
        # Pillow keeps the upper 8 of 16 bits, and a mark of 1 becomes 0.
        data = np.frombuffer(path.read_bytes(), np.uint8)
        deep = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        if deep is not None and deep.dtype == np.uint16 and deep.shape[:2] == samples.shape:
            samples = deep.max(axis=2)
    with path.open("rb") as file:
        lossy = form in ("JPEG", *IN_BOXES) or (form == "WEBP" and _LOSSY_WEBP in file.read(64))
    return samples, lossy


def looks_blurred(samples: np.ndarray) -> bool:
    """Whether marks look like a map: most of them touch another, in more grey levels than counts have.

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
    """The samples of an image that has one channel, as stored; None of any other image."""
    if image.mode == "L":
        return np.array(image)
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8) * 255
    if image.mode.startswith("I;16") or (image.mode == "I" and form in ("PNG", "PPM")):
        # Pillow holds 16-bit PPM (and old releases PNG) in 32 bits.
        return np.asarray(image).astype(np.uint16)
    return np.array(image) if image.mode in ("I", "F") else None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("P", "PA", "La", "RGBa"):
        # Directly to RGB, Pillow warns of a palette's transparency and refuses premultiplied alpha.
        image = image.convert("RGBA")
    return image.convert("RGB")


def _float_tiff(path: Path) -> np.ndarray | None:
    """The samples of a TIFF that Pillow has no mode for: floats of 64 bits, or colours of floats.

    Returns:
      float32 or float64 [H, W] or BGR(A) [H, W, C]; None of any other file, which is no fault here.
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
        # Damaged headers raise many things; `open_image` tells of them.
        return None
    if not floats or set(bits) - {32, 64} or bits == (32,) or len(bits) > 4:
        return None
    if not 0 < width * height * len(bits) <= MAX_MAP_PIXELS:
        raise UnisalError(f"{path}: {width}x{height} is larger than {MAX_MAP_PIXELS / 1e6:g} megapixels")
    data = path.read_bytes()
    # Strips that lie over each other would be unpacked once each.
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if stored <= len(data) else None
    if found is None or found.shape[:2] != (height, width):
        raise UnisalError(f"{path}: the image is damaged or cut off")
    return found
