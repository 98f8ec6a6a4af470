"""Image formats: the suffixes that can be read, and names of common formats that cannot."""

from importlib.machinery import PathFinder
from importlib.util import find_spec

_HEIC_SUFFIXES, _AVIF_SUFFIXES = frozenset({".heic", ".heif", ".hif"}), frozenset({".avif", ".avifs"})

# Formats whose decoder is not installed.
_MISSING: set[str] = set()
if find_spec("pillow_heif") is None:
    _MISSING |= {"HEIC", "HEIF"}
_pillow = find_spec("PIL")
# Checked without importing Pillow, since finding inputs needs no codec.
if _pillow is None or PathFinder.find_spec("PIL._avif", _pillow.submodule_search_locations) is None:
    _MISSING.add("AVIF")

IMAGE_SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm", ".pbm", ".pnm"),
        *(() if "AVIF" in _MISSING else _AVIF_SUFFIXES),
        *(() if "HEIC" in _MISSING else _HEIC_SUFFIXES),
    }
)
"""Suffixes of image files, in lower case. Includes HEIC if pillow-heif is installed."""

# Pillow supports about fifty formats. The others are rare, and some of them run other programs.
BY_PILLOW = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM")
IN_BOXES = ("AVIF", "HEIC", "HEIF")
READ = (*BY_PILLOW, *IN_BOXES)

_UNREAD_SUFFIXES = {
    **dict.fromkeys(_AVIF_SUFFIXES - IMAGE_SUFFIXES, "AVIF"),
    **dict.fromkeys(_HEIC_SUFFIXES - IMAGE_SUFFIXES, "HEIC"),
    ".heics": "HEIC sequence",
    ".j2k": "JPEG 2000",
    ".jp2": "JPEG 2000",
    ".jxl": "JPEG XL",
    ".psd": "PSD",
    **dict.fromkeys((".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2"), "camera raw"),
}

_UNREAD_STARTS = {
    b"\x00\x00\x00\x0cJXL \r\n\x87\n": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"\x00\x00\x00\x0cjP  \r\n\x87\n": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"8BPS": "PSD",
}

# Brands of a HEIF container. mif1 and msf1 do not define how its images are coded.
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "HEIC"),
    **dict.fromkeys((b"mif1", b"msf1"), "HEIF"),
}


def unread_by_suffix(suffix: str) -> str | None:
    """Returns the name of the image format with this suffix if it cannot be read, else None."""
    return _UNREAD_SUFFIXES.get(suffix.lower())


def unread_by_start(start: bytes) -> str | None:
    """Returns the name of a file's image format if it is known but cannot be read, else None.

    Args:
      start: the first 64 bytes of the file, or more.
    """
    in_boxes = box_format(start)
    if in_boxes is not None:
        return in_boxes if in_boxes in _MISSING else None
    return next((name for begin, name in _UNREAD_STARTS.items() if start.startswith(begin)), None)


def box_format(start: bytes) -> str | None:
    """Returns "AVIF", "HEIC" or "HEIF" for such a container, None for any other file.

    Args:
      start: the first 64 bytes of the file, or more.
    """
    if start[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(start[:4], "big"), len(start))
    brands = [start[8:12], *(start[at : at + 4] for at in range(16, end, 4))]
    names = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
    return next((name for name in names if name != "HEIF"), names[0] if names else None)


def extra_line(name: str) -> str | None:
    """Returns a line saying what to install for a format that cannot be read; None if nothing helps."""
    return f"{name} images {_remedy(name)}" if name in _MISSING else None


def unread_line(what: object, name: str, verb: str = "") -> str:
    """Returns the error message for a format that cannot be read.

    Args:
      what: the file, or a folder of such files.
      name: the format.
      verb: how a folder relates to the files, such as "holds"; empty for a file.
    """
    which = f"{verb} {name} images, which" if verb else f"{name} images"
    other = f"cannot be read; convert {'them' if verb else 'it'} to JPEG or PNG"
    return f"{what}: {which} {_remedy(name) if name in _MISSING else other}"


def _remedy(name: str) -> str:
    if name == "AVIF":
        return "require a Pillow with AVIF; install it with: pip install --force-reinstall pillow"
    # Imported late, since the import takes as long as `--help`.
    from unisal_jax.packages import install_command

    return f"require pillow-heif; install it with: {install_command('heif')}"
