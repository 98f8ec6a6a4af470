"""Pictures: reading any common file as RGB, the network's resizing, writing maps."""

import contextlib
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from natsort import natsorted, ns
from PIL import ExifTags, Image

from unisal_jax.errors import UnisalError
from unisal_jax.files import atomic_path, cannot_write, list_folder
from unisal_jax.limits import MAX_PIXELS

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm", ".pbm", ".pnm"}
)
"""Suffixes of image files, in lower case."""

# Pillow knows some fifty formats. The rest are rare, and some of them run other programs.
_FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM")
_KINDS = "JPEG, PNG, BMP, TIFF, WebP, GIF or PPM"

# EXIF orientation -> what turns the stored picture upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# warnings.catch_warnings swaps a list of the whole process: two threads must not do it at once.
_WARNINGS_LOCK = threading.Lock()


def read_image(path: str | Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Reads an image file as uint8 RGB [H, W, 3] in 0..255, upright (EXIF orientation applied).

    Alpha is dropped, and the colour below it kept, as the original's reader does. 16-bit samples
    keep their upper 8 bits. Of an animation the first frame is read.

    Args:
        max_pixels: larger pictures are refused from their header, before they take any memory.
            Values above the default have no effect.

    Raises:
        UnisalError: no such file, not an image, cut off or damaged, too large, or samples without a
            known range (floats, 32-bit integers).
    """
    with open_image(path, max_pixels) as image:
        return _to_rgb(Path(path), image)


@contextlib.contextmanager
def open_image(path: str | Path, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """Opens an image file for the caller to decode: every reader of image files goes through here.

    The header is read and checked; no pixel is decoded yet. Decode inside the block and do little else:
    an exception that leaves it is taken for damage of the file.

    Args:
        path: the file; what it holds decides its format, not its suffix.
        max_pixels: as for `read_image`.

    Raises:
        UnisalError: no such file, not an image of a known format, cut off or damaged, too large.
    """
    path = Path(path)
    if not path.is_file():
        raise UnisalError(f"{path}: is a folder, not an image" if path.is_dir() else f"{path}: no such file")
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise UnisalError(f"{path}: the file is empty")
            file.seek(0)
            with _open(path, file, max_pixels) as image:
                yield image
    except UnisalError:
        raise
    except PermissionError as error:
        raise UnisalError(f"{path}: cannot be read ({error.strerror})") from error
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, zlib.error and more
        # for damaged files: there is no common base to name here.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnisalError(f"{path}: the image is damaged or cut off ({reason})") from error


def list_images(folder: Path) -> list[Path]:
    """The image files directly in a folder by their suffix, in natural order; hidden ones left out.

    Natural order reads numbers as numbers: frame2.png comes before frame10.png.

    Raises:
        UnisalError: the folder cannot be read.
    """
    found = [
        entry for entry in list_folder(folder) if entry.suffix.lower() in IMAGE_SUFFIXES and entry.is_file()
    ]
    # Sorted before as well, so that names equal to natsort (1.png, 01.png) keep one order.
    return natsorted(found, key=lambda entry: entry.name, alg=ns.PATH)


def _open(path: Path, file: BinaryIO, max_pixels: int) -> Image.Image:
    """The image with its header read, of an accepted size; no pixel is decoded yet."""
    with _WARNINGS_LOCK, warnings.catch_warnings():
        # Our own bound speaks below, with the path; the other warnings are about metadata.
        warnings.simplefilter("ignore")
        try:
            image = Image.open(file, formats=_FORMATS)
        except Image.UnidentifiedImageError:
            raise UnisalError(f"{path}: not a {_KINDS} of 8 or 16 bits, or its header is damaged") from None
        except Image.DecompressionBombError:
            raise UnisalError(f"{path}: larger than {max_pixels / 1e6:g} megapixels") from None
    if image.width * image.height > max_pixels:
        raise UnisalError(
            f"{path}: {image.width}x{image.height} is larger than {max_pixels / 1e6:g} megapixels"
        )
    return image


def turn_upright(image: Image.Image) -> Image.Image:
    """Decodes an open image and turns it as its EXIF orientation says."""
    image.load()
    turn = _TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _to_rgb(path: Path, image: Image.Image) -> np.ndarray:
    """Decodes to uint8 RGB [H, W, 3], upright."""
    upright = turn_upright(image)
    mode = upright.mode
    if mode.startswith("I;16") or (mode == "I" and image.format in ("PNG", "PPM")):
        # Pillow's own conversion would clip 16 bits at 255 instead of scaling. It holds 16-bit PPM
        # (and old releases PNG) in 32 bits.
        grey = (np.asarray(upright) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if mode in ("F", "I"):
        samples = "floating-point" if mode == "F" else "32-bit"
        raise UnisalError(f"{path}: {samples} samples have no known range; save it with 8 or 16 bits")
    if mode in ("P", "PA", "La", "RGBa"):
        # Directly to RGB, Pillow warns of a palette's transparency and refuses premultiplied alpha.
        upright = upright.convert("RGBA")
    return np.array(upright.convert("RGB"))


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) when there is none that can be read."""
    with _WARNINGS_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return image.getexif().get(ExifTags.Base.Orientation, 1)
        except Exception:
            # The decoders' many exceptions again. The picture itself is whole, so damaged metadata is
            # no reason to refuse it.
            return 1


def resize_frame(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes uint8 RGB [H, W, 3] to uint8 [h, w, 3] as the original does before its network.

    Pillow's Lanczos filter, which widens when it shrinks (antialiases), rounded to uint8. OpenCV's
    INTER_LANCZOS4 does not antialias and gives other numbers.

    Args:
        size: (height, width).
    """
    height, width = size
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def map_to_grey(density: np.ndarray) -> np.ndarray:
    """Scales a density, float [H, W] >= 0, to its peak: uint8 [H, W], rounded down, peak 255.

    Computed in the density's own dtype, as the original computes its pictures of maps. A map of
    zeros stays zeros.
    """
    peak = density.max()
    if peak <= 0:
        return np.zeros(density.shape, np.uint8)
    return (density / peak * 255).astype(np.uint8)


def write_map_png(path: str | Path, density: np.ndarray) -> None:
    """Writes a density, float [H, W] >= 0, as an 8-bit grey PNG scaled to its peak (`map_to_grey`).

    Raises:
        UnisalError: the file cannot be written.
    """
    write_png(path, map_to_grey(density))


def write_png(path: str | Path, image: np.ndarray) -> None:
    """Writes uint8 RGB [H, W, 3] or grey [H, W] as a PNG, whole or not at all.

    Raises:
        UnisalError: the file cannot be written.
    """
    _write(path, lambda file: Image.fromarray(image).save(file, format="PNG"))


def write_npy(path: str | Path, array: np.ndarray) -> None:
    """Writes an array of any shape as .npy, whole or not at all.

    Raises:
        UnisalError: the file cannot be written.
    """
    _write(path, lambda file: np.save(file, array, allow_pickle=False))


def _write(path: str | Path, save: Callable[[BinaryIO], None]) -> None:
    with atomic_path(path) as temporary:
        try:
            with temporary.open("wb") as file:
                save(file)
        except OSError as error:
            raise cannot_write(path, error) from error
