"""Images: reads common formats as RGB, resizes for the network, and writes maps."""

import contextlib
import io
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, TiffImagePlugin

from unisal_jax.errors import UnisalError, one_line
from unisal_jax.files import atomic_path
from unisal_jax.limits import (
    MAX_HELD_BYTES,
    MAX_METADATA_BYTES,
    MAX_PIXELS,
    MAX_SIDE,
)
from unisal_jax.media import formats, screening
from unisal_jax.media.box_images import BoxImage, open_box_image
from unisal_jax.media.formats import IMAGE_SUFFIXES
from unisal_jax.media.listing import list_images

__all__ = [
    "IMAGE_SUFFIXES",
    "decoding_bytes",
    "list_images",
    "map_to_grey",
    "open_encoded",
    "open_image",
    "orientation",
    "read_image",
    "read_profile",
    "resize_frame",
    "row_strips",
    "to_rgb",
    "turn_upright",
    "write_map_png",
    "write_npy",
    "write_png",
]

_KINDS = "JPEG, PNG, BMP, TIFF, WebP, GIF, PPM, AVIF or HEIC"

# EXIF orientation -> the transpose that makes the stored image upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# warnings.catch_warnings changes global state, so only one thread may use it at a time.
_WARNINGS_LOCK = threading.Lock()


# TIFF tags.
_TIFF_ORIENTATION, _STRIP_BYTES, _TILE_WIDTH, _TILE_HEIGHT, _TILE_BYTES = 274, 279, 322, 323, 325
# Tolerance, since blank tiles may share their bytes.
_TIFF_SLACK_BYTES = 64 << 20

# Maximum number of bytes passed to a decoder at once; the time limit is checked in between.
_PIECE_BYTES = 4096


STRIP_PIXELS = 1 << 22
"""Maximum number of pixels in a strip of rows, unless one row is longer."""


def row_strips(height: int, width: int) -> Iterator[slice]:
    """Yields slices of rows with at most `STRIP_PIXELS`, to process a large image without copying it."""
    rows = max(1, STRIP_PIXELS // width)
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))


def read_image(path: str | Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Reads an image file as uint8 RGB [H, W, 3] in 0..255, upright (EXIF orientation applied).

    Alpha is dropped and the colour below it kept, as in the original implementation. 16-bit samples
    keep their upper 8 bits. For an animation, reads the first frame.

    Args:
      path: the image file.
      max_pixels: larger images are rejected by their header, before memory is allocated. Values above the
        default have no effect.

    Raises:
      UnisalError: no such file, not an image, cut off or damaged, too large, or samples without a
        known range (floats, 32-bit integers).
    """
    with open_image(path, max_pixels) as image:
        return _decoded(path, image)


def to_rgb(image: Image.Image, name: str) -> np.ndarray:
    """What `read_image` makes of a file, of an image that a program has opened, or made, with Pillow.

    Of an animation the frame that it is at is taken. The limits of size are for files alone.

    Args:
      name: what errors call it.

    Raises:
      UnisalError: damaged, or samples without a known range.
    """
    with _faults(name):
        return _decoded(name, image)


def read_profile(path: str | Path) -> bytes:
    """Returns the ICC profile of an RGB image file, at most 1 MiB; empty if there is none.

    Profiles for grey or CMYK samples are ignored, since they do not apply to the RGB of `read_image`.

    Raises:
      UnisalError: as for `read_image`, if the header shows it.
    """
    with open_image(path) as image:
        profile = image.info.get("icc_profile") or b""
    return profile if len(profile) <= MAX_METADATA_BYTES and profile[16:20] == b"RGB " else b""


def decoding_bytes(path: str | Path) -> int:
    """Returns the peak memory in bytes that `read_image` takes for this file, estimated from the header.

    Raises:
      UnisalError: as for `read_image`, if the header shows it.
    """
    with open_image(path) as image:
        return _decoding_bytes(image)


@contextlib.contextmanager
def open_image(path: str | Path, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """Opens an image file for the caller to decode. All readers of image files use this function.

    The header is read and checked; no pixel is decoded yet. Decode inside the block and do little else: any
    exception that leaves the block is reported as damage of the file. Metadata other than EXIF, XMP and the
    ICC profile is dropped, as are these if they are damaged or large. `turn_upright` applies the EXIF
    orientation.

    Args:
      path: the file; its content decides its format, not its suffix.
      max_pixels: as for `read_image`.

    Raises:
      UnisalError: no such file, not an image of a known format, cut off or damaged, too large, or it takes
        too long to read.
    """
    path = Path(path)
    if not path.is_file():
        raise UnisalError(f"{path}: is a folder, not an image" if path.is_dir() else f"{path}: no such file")
    try:
        file = path.open("rb")
    except OSError as error:
        raise UnisalError(f"{path}: cannot be read ({error.strerror})") from error
    with file, _opened(path, file, max_pixels) as image:
        yield image


@contextlib.contextmanager
def open_encoded(data: bytes, name: str, kinds: Sequence[str] = formats.READ) -> Iterator[Image.Image]:
    """Opens an encoded image in memory; otherwise like `open_image`.

    Args:
      data: the encoded image.
      name: its name in error messages.
      kinds: allowed formats, of `formats.READ`.
    """
    with _opened(name, io.BytesIO(data), MAX_PIXELS, kinds) as image:
        yield image


@contextlib.contextmanager
def _opened(
    name: str | Path, file: BinaryIO, max_pixels: int, kinds: Sequence[str] = formats.READ
) -> Iterator[Image.Image]:
    with _faults(name):
        start = file.read(64)
        if not start:
            raise UnisalError(f"{name}: the file is empty")
        unread = formats.unread_by_start(start)
        if unread:
            raise UnisalError(formats.unread_line(name, unread))
        form = formats.box_format(start)
        if form is not None and form in kinds:
            image: Image.Image = open_box_image(name, file, form)
            _check_size(name, image, max_pixels)
        else:
            image = _open(name, file, max_pixels, kinds)
        with image:
            yield image


@contextlib.contextmanager
def _faults(name: str | Path) -> Iterator[None]:
    """Makes a UnisalError of whatever decoding raises."""
    try:
        yield
    except UnisalError:
        raise
    except screening.Excess as error:
        raise UnisalError(f"{name}: {error}; the image is damaged or malicious") from None
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, zlib.error and more for
        # damaged files, without a common base.
        reason = one_line(error)
        raise UnisalError(f"{name}: the image is damaged or cut off ({reason})") from error


def _open(name: str | Path, file: BinaryIO, max_pixels: int, kinds: Sequence[str]) -> Image.Image:
    """Opens an image with Pillow and checks its size; no pixel is decoded yet."""
    screened, metadata = screening.screen(file, screening.deadline())
    with _WARNINGS_LOCK, warnings.catch_warnings():
        # Our own check of the size comes below, with the name; the other warnings are about metadata.
        warnings.simplefilter("ignore")
        try:
            by_pillow = [kind for kind in kinds if kind not in formats.IN_BOXES]
            image = Image.open(screened, formats=by_pillow)  # type: ignore[arg-type]
        except Image.UnidentifiedImageError:
            raise UnisalError(f"{name}: not a {_KINDS} of 8 or 16 bits, or its header is damaged") from None
        except Image.DecompressionBombError:
            raise UnisalError(f"{name}: is larger than {max_pixels / 1e6:g} megapixels") from None
    if 0 < metadata.scan_layers < len(image.getbands()):
        # With one scan per layer, libjpeg decodes the file like a progressive one.
        image.info["progressive"] = 1
    _check_size(name, image, max_pixels)
    if image.format == "TIFF":
        _check_tiff_blocks(image, screened)
    screened.end_of_header()
    for key in ("exif", "xmp", "icc_profile"):
        if value := getattr(metadata, key):
            image.info[key] = value
    image.decodermaxblock = _PIECE_BYTES  # type: ignore[attr-defined]
    return image


def _check_size(name: str | Path, image: Image.Image, max_pixels: int) -> None:
    size = f"{image.width}x{image.height}"
    if _pixels(image) > max_pixels:
        raise UnisalError(f"{name}: {size} is larger than {max_pixels / 1e6:g} megapixels")
    if max(image.size) > MAX_SIDE:
        raise UnisalError(f"{name}: {size} has a side of more than {MAX_SIDE:,} pixels")
    if (needed := _decoding_bytes(image)) > MAX_HELD_BYTES:
        raise UnisalError(
            f"{name}: decoding {size} in this format takes {needed / 1e9:.1f} GB, above the limit of "
            f"{MAX_HELD_BYTES / 1e9:.1f}; save it smaller, or as a PNG or baseline JPEG"
        )


def _pixels(image: Image.Image) -> int:
    """Returns the number of decoded pixels; a crop may show fewer."""
    return image.coded_pixels if isinstance(image, BoxImage) else image.width * image.height


def _decoding_bytes(image: Image.Image) -> int:
    """Returns the peak memory in bytes of decoding an open image to RGB."""
    if isinstance(image, BoxImage):
        # The decoder's process holds the image in three forms (decoder, Pillow, bytes), this one as bytes.
        return 13 * image.coded_pixels + 2 * image.file_bytes
    pixels = image.width * image.height
    # Pillow's image, and the RGB array made from it.
    each = 4 + 3
    if image.format == "WEBP":
        # Pillow's image, two canvases of the animation decoder, and the frame as bytes.
        each = 4 + 4 + 2 * 4
    elif image.format == "JPEG" and image.info.get("progressive"):
        # libjpeg holds all coefficients, two bytes each, until the last scan.
        layers = [(down, across) for _, down, across, _ in image.layer]  # type: ignore[attr-defined]
        full = max(down for down, _ in layers) * max(across for _, across in layers)
        each = max(each, 4 + round(sum(2 * down * across for down, across in layers) / max(full, 1)))
    elif image.format == "TIFF":
        # Pillow rotates into a second image.
        turned = image.tag_v2.get(_TIFF_ORIENTATION, 1) != 1  # type: ignore[attr-defined]
        return max(each * pixels, (8 if turned else 4) * pixels + _tiff_block_bytes(image))
    return each * pixels


def _tiff_block_bytes(image: Image.Image) -> int:
    """Returns the unpacked size in bytes of a TIFF's largest strip or tile; libtiff holds one at a time."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    bits = tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))
    sample = max(bits) if isinstance(bits, tuple) else bits
    if _TILE_WIDTH in tags:
        pixels = tags[_TILE_WIDTH] * tags.get(_TILE_HEIGHT, 0)
    else:
        rows = tags.get(TiffImagePlugin.ROWSPERSTRIP, image.height)
        pixels = image.width * min(rows, image.height)
    return pixels * tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1) * -(-sample // 8)


def _check_tiff_blocks(image: Image.Image, file: screening.ScreenedFile) -> None:
    """Rejects overlapping strips or tiles, since libtiff reads each completely and has no time limit."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    counts = tags.get(_TILE_BYTES, tags.get(_STRIP_BYTES, ()))
    total = sum(counts) if isinstance(counts, tuple) else counts
    if total > 2 * file.seek(0, 2) + _TIFF_SLACK_BYTES:
        raise screening.Excess("its strips are larger than the file")


def turn_upright(image: Image.Image) -> Image.Image:
    """Decodes an open image and applies its EXIF orientation."""
    image.load()
    turn = _TURNS.get(orientation(image))
    return image if turn is None else image.transpose(turn)


def _decoded(path: str | Path, image: Image.Image) -> np.ndarray:
    """Decodes to uint8 RGB [H, W, 3], upright."""
    image.load()
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        samples = "floating-point" if image.mode == "F" else "32-bit"
        raise UnisalError(f"{path}: {samples} samples have no known range; save it with 8 or 16 bits")
    turn = orientation(image)
    width, height = image.size
    rgb = np.empty((width, height, 3) if turn >= 5 else (height, width, 3), np.uint8)
    # Write rows directly to their places in the upright image, which avoids a rotated copy.
    stored = _as_stored(rgb, turn)
    for rows in row_strips(height, width):
        stored[rows] = _strip(image, rows.start, rows.stop)
    return rgb


def _strip(image: Image.Image, top: int, bottom: int) -> np.ndarray:
    """Returns rows of a decoded image as uint8 RGB [rows, W, 3], or grey [rows, W, 1]."""
    strip = image if bottom - top == image.height else image.crop((0, top, image.width, bottom))
    if strip.mode == "I" or strip.mode.startswith("I;16"):
        # Pillow's conversion would clip 16 bits at 255 instead of scaling. Pillow holds 16-bit PPM (and in
        # old releases PNG) in 32 bits.
        return (np.asarray(strip) >> 8).astype(np.uint8)[..., None]
    if strip.mode in ("P", "PA", "La", "RGBa"):
        # Via RGBA: converting directly to RGB, Pillow warns of palette transparency and rejects premultiplied
        # alpha.
        strip = strip.convert("RGBA")
    return np.asarray(strip if strip.mode == "RGB" else strip.convert("RGB"))


def _as_stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """Returns a view of an upright image with the rows and columns in the file's order."""
    turned = {
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright,
        6: upright[:, ::-1],
        7: upright[::-1, ::-1],
        8: upright[::-1],
    }.get(orientation, upright)
    return turned.transpose(1, 0, 2) if orientation >= 5 else turned


def orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation of an open image, 1 to 8; 1 (upright) if there is none.

    Always 1 for TIFF, AVIF and HEIC, since their decoders apply the orientation.
    """
    if image.format == "TIFF" or isinstance(image, BoxImage):
        return 1
    exif, xmp = (image.info.get(key) or b"" for key in ("exif", "xmp"))
    return screening.orientation_of(exif, xmp)


def resize_frame(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes uint8 RGB [H, W, 3] to uint8 [h, w, 3], as the original does before its network.

    Uses Pillow's Lanczos filter, which antialiases when shrinking, rounded to uint8. OpenCV's INTER_LANCZOS4
    does not antialias and gives other values.

    Args:
      image: uint8 RGB [H, W, 3].
      size: (height, width).

    Returns:
      A new array.
    """
    height, width = size
    if image.shape[:2] == (height, width):
        return np.array(image)  # the same result as Pillow's, without converting twice
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def map_to_grey(density: np.ndarray) -> np.ndarray:
    """Scales a density, float [H, W] >= 0, to its peak: uint8 [H, W], rounded down, peak 255.

    Computed in the density's dtype, as in the original implementation. A map of zeros stays zero.
    """
    peak = density.max()
    if peak <= 0:
        return np.zeros(density.shape, np.uint8)
    grey = np.empty(density.shape, np.uint8)
    for rows in row_strips(*density.shape):
        grey[rows] = density[rows] / peak * 255
    return grey


def write_map_png(path: str | Path, density: np.ndarray) -> None:
    """Writes a density, float [H, W] >= 0, as an 8-bit grey PNG scaled to its peak (`map_to_grey`).

    Raises:
      UnisalError: the file cannot be written.
    """
    write_png(path, map_to_grey(density))


def write_png(path: str | Path, image: np.ndarray, profile: bytes = b"") -> None:
    """Writes uint8 RGB [H, W, 3] or grey [H, W] as a PNG, atomically.

    Args:
      path: the file to write.
      image: the pixels.
      profile: ICC profile of the colours (`read_profile`); empty for none.

    Raises:
      UnisalError: the file cannot be written.
    """
    options = {"icc_profile": profile} if profile else {}
    _write(path, lambda file: Image.fromarray(image).save(file, format="PNG", **options))


def write_npy(path: str | Path, array: np.ndarray) -> None:
    """Writes an array of any shape as .npy, atomically.

    Raises:
      UnisalError: the file cannot be written.
    """
    _write(path, lambda file: np.save(file, array, allow_pickle=False))


def _write(path: str | Path, save: Callable[[BinaryIO], None]) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        save(file)
