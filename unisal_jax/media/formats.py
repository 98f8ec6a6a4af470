"""Formats of images: the suffixes that are read, and by name the common ones that are not."""

from importlib.machinery import PathFinder
from importlib.util import find_spec

_HEIC_SUFFIXES, _AVIF_SUFFIXES = frozenset({".heic", ".heif", ".hif"}), frozenset({".avif", ".avifs"})

# Formats whose decoder is missing here.
_MISSING: set[str] = set()
if find_spec("pillow_heif") is None:
    _MISSING |= {"HEIC", "HEIF"}
_pillow = find_spec("PIL")
# Looked for without importing Pillow: to find inputs takes no codec.
if _pillow is None or PathFinder.find_spec("PIL._avif", _pillow.submodule_search_locations) is None:
    _MISSING.add("AVIF")

IMAGE_SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm", ".pbm", ".pnm"),
        *(() if "AVIF" in _MISSING else _AVIF_SUFFIXES),
        *(() if "HEIC" in _MISSING else _HEIC_SUFFIXES),
    }
)
"""Suffixes of image files, in lower case; of HEIC where pillow-heif is installed."""

# Pillow knows some fifty formats. The rest are rare, and some of them run other programs.
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

# Brands of a HEIF container. mif1 and msf1 leave open how its images are coded.
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "HEIC"),
    **dict.fromkeys((b"mif1", b"msf1"), "HEIF"),
}


def unread_by_suffix(suffix: str) -> str | None:
    """The name of the image format that a file's suffix stands for, if it is one that is not read."""
    return _UNREAD_SUFFIXES.get(suffix.lower())


def unread_by_start(start: bytes) -> str | None:
    """The name of the image format of a file that begins so, if it is one that is known but not read.

    Args:
        start: the first 64 bytes or more.
    """
    in_boxes = box_format(start)
    if in_boxes is not None:
        return in_boxes if in_boxes in _MISSING else None
    return next((name for begin, name in _UNREAD_STARTS.items() if start.startswith(begin)), None)


def box_format(start: bytes) -> str | None:
    """The format of a file that begins as such a container: AVIF, HEIC or HEIF; None for any other.

    Args:
        start: the first 64 bytes or more.
    """
    if start[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(start[:4], "big"), len(start))
    brands = [start[8:12], *(start[at : at + 4] for at in range(16, end, 4))]
    names = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
    return next((name for name in names if name != "HEIF"), names[0] if names else None)


def extra_line(name: str) -> str | None:
    """What is to be installed for a format that is not read; None where nothing helps."""
    return f"{name} images {_cure(name)}" if name in _MISSING else None


def unread_line(what: object, name: str, verb: str = "") -> str:
    """What to tell of a file, or of a folder that `verb` it, of a format that is not read."""
    which = f"{verb} {name} images, which" if verb else f"{name} images"
    other = f"are not read; convert {'them' if verb else 'it'} to JPEG or PNG"
    return f"{what}: {which} {_cure(name) if name in _MISSING else other}"


def _cure(name: str) -> str:
    if name == "AVIF":
        return "require a Pillow with AVIF; install it with: pip install --force-reinstall pillow"
    # Late: the import takes as long as `--help`.
    from unisal_jax.packages import install_command

    return f"require pillow-heif; install it with: {install_command('heif')}"
