"""Names of images and videos in what trackers write: messages, columns, paths of another machine."""

import re

from unisal_jax.gaze.head import Head, split_line

_SUFFIXES = (
    "jpe?g|jfif|png|bmp|gif|tiff?|webp|pcx|avif|heic|ppm|avi|mp4|m4v|mov|mpe?g|mkv|webm|wmv|flv|xvd|ogv|vcl"
)

_FILE = re.compile(rf'[^"\'<>|*?\r\n]*?\.(?:{_SUFFIXES})(?![\w.])', re.IGNORECASE)

_ELSEWHERE = re.compile(r"^(?:[A-Za-z]:)?(?:\.{0,2}/)*")


def tidy_path(path: str) -> str:
    """A path with slashes, without what leads to it on another machine, such as "..\\" or "C:\\"."""
    return _ELSEWHERE.sub("", path.replace("\\", "/"))


def media_name(text: str) -> str:
    """The first file name of an image or video in a text, tidied, or ""; it has no blanks."""
    parts = re.split(r"[\s=]+|:(?![\\/])", text)
    return next((tidy_path(part.strip('"')) for part in parts if is_media(part)), "")


def media_path(text: str) -> str:
    """A text that is a file name of an image or video, with or without blanks, tidied; else `media_name`."""
    return tidy_path(text.strip('" ')) if is_media(text) else media_name(text)


def is_media(text: str) -> bool:
    """Whether a text is the file name of an image or video, and nothing else."""
    return _FILE.fullmatch(text.strip('" ')) is not None


def media_column(head: Head) -> int | None:
    """The first column that holds names of images or videos in the first lines of a table."""
    for line in head.lines[head.header + 1 :]:
        for place, field in enumerate(split_line(line, head.separator, head.quoted)[: len(head.names)]):
            if is_media(field):
                return place
    return None
