"""Lists a folder's images and parses camera names, by name only. Nothing here imports a codec."""

import re
from pathlib import Path

from natsort import natsorted, ns

from unisal_jax.errors import UnisalError
from unisal_jax.files import list_folder
from unisal_jax.media.formats import IMAGE_SUFFIXES

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".wmv", ".flv", ".ogv"}
)
"""Suffixes of video files, in lower case."""


def list_images(folder: Path) -> list[Path]:
    """Returns the image files directly in a folder, by suffix and in natural order, without hidden files.

    Natural order compares numbers by value: frame2.png comes before frame10.png.

    Raises:
      UnisalError: the folder cannot be read.
    """
    found = [
        entry for entry in list_folder(folder) if entry.suffix.lower() in IMAGE_SUFFIXES and entry.is_file()
    ]
    # list_folder is sorted, so names that natsort considers equal (1.png, 01.png) keep a fixed order.
    return natsorted(found, key=lambda entry: entry.name, alg=ns.PATH)


def camera_number(text: str) -> int | None:
    """Returns N of "camera:N"; None if the text does not name a camera.

    Raises:
      UnisalError: "camera:" is not followed by a number.
    """
    if not text.startswith("camera:"):
        return None
    if not re.fullmatch(r"camera:[0-9]{1,4}", text):
        raise UnisalError(f"{text}: not a camera; give its number, such as camera:0")
    return int(text.removeprefix("camera:"))
