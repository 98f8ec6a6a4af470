"""Names of images, videos and surfaces in trackers' files: in messages, columns and foreign paths."""

import re

from unisal_jax.gaze.head import Head, split_line

_SUFFIXES = (
    "jpe?g|jfif|png|bmp|gif|tiff?|webp|pcx|avif|heic|ppm|avi|mp4|m4v|mov|mpe?g|mkv|webm|wmv|flv|xvd|ogv|vcl"
)

_FILE = re.compile(rf'[^"\'<>|*?\r\n]*?\.(?:{_SUFFIXES})(?![\w.])', re.IGNORECASE)

_SURFACE = re.compile(r"_on_surface_?(.+?)\.csv", re.IGNORECASE)

_ELSEWHERE = re.compile(r"^(?:[A-Za-z]:)?(?:\.{0,2}/)*")


def tidy_path(path: str) -> str:
    """Returns a path with slashes and without a leading part such as "..\\" or "C:\\" of another machine."""
    return _ELSEWHERE.sub("", path.replace("\\", "/"))


def media_name(text: str) -> str:
    """Returns the first file name without spaces of an image or video in a text, tidied, or ""."""
    parts = re.split(r"[\s=]+|:(?![\\/])", text)
    return next((tidy_path(part.strip('"')) for part in parts if is_media(part)), "")


def media_path(text: str) -> str:
    """Returns a text that is the name of an image or video, tidied; else its `media_name`."""
    return tidy_path(text.strip('" ')) if is_media(text) else media_name(text)


def is_media(text: str) -> bool:
    """Whether a text is exactly the file name of an image or video."""
    return _FILE.fullmatch(text.strip('" ')) is not None


def surface_name(file: str) -> str:
    """Returns NAME of a file of Pupil Labs, `..._on_surface_NAME.csv`, or ""."""
    found = _SURFACE.search(file)
    return found[1] if found else ""


def media_column(head: Head) -> int | None:
    """Returns the first column with names of images or videos in the first lines of a table."""
    for line in head.lines[head.header + 1 :]:
        for place, field in enumerate(split_line(line, head.separator, head.quoted)[: len(head.names)]):
            if is_media(field):
                return place
    return None
