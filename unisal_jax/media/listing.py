"""What a folder holds and what a name stands for, by names alone: nothing here imports a codec."""

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


def camera_number(text: str) -> int | None:
    """N of "camera:N"; None when the text does not name a camera.

    Raises:
        UnisalError: "camera:" is followed by something else than a number.
    """
    if not text.startswith("camera:"):
        return None
    if not re.fullmatch(r"camera:[0-9]{1,4}", text):
        raise UnisalError(f"{text}: give a camera by its number, as camera:0")
    return int(text.removeprefix("camera:"))
