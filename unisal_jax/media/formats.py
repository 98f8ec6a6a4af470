"""Formats of images: the suffixes that are read, and by name the common ones that are not."""

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm", ".pbm", ".pnm"}
)
"""Suffixes of image files, in lower case."""

# Pillow knows some fifty formats. The rest are rare, and some of them run other programs.
READ = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM")

_UNREAD_SUFFIXES = {
    ".avif": "AVIF",
    ".avifs": "AVIF",
    ".heic": "HEIC",
    ".heics": "HEIC",
    ".heif": "HEIF",
    ".hif": "HEIF",
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
    if start[4:8] == b"ftyp":
        end = min(int.from_bytes(start[:4], "big"), len(start))
        brands = [start[8:12], *(start[at : at + 4] for at in range(16, end, 4))]
        names = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
        return next((name for name in names if name != "HEIF"), names[0] if names else None)
    return next((name for begin, name in _UNREAD_STARTS.items() if start.startswith(begin)), None)


def unread_line(path: object, name: str) -> str:
    """What to tell of a file of a format that is not read."""
    return f"{path}: {name} images are not read; convert it to JPEG or PNG"
