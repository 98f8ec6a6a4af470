"""Finds the images and videos that were shown, by the names in trackers' files."""

import dataclasses
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from unisal_jax.data.layouts.fixation_tables import match_names
from unisal_jax.data.layouts.own import stimuli_files
from unisal_jax.domains import Size
from unisal_jax.errors import UnisalError
from unisal_jax.media.images import open_image, orientation
from unisal_jax.media.video import VIDEO_SUFFIXES, open_video

# EXIF orientations from this on swap height and width.
_ON_ITS_SIDE = 5


@dataclasses.dataclass(frozen=True)
class Stimulus:
    """An image or a video.

    Attributes:
      path: its file.
      name: its name in the table of fixations: the path relative to the folder of stimuli.
      size: (height, width), upright.
      film: whether it is a video.
    """

    path: Path
    name: str
    size: Size
    film: bool


def match_stimuli(root: Path, names: Mapping[str, int]) -> tuple[dict[str, Stimulus], int]:
    """Matches the names in trackers' files with the files of stimuli.

    A name matches a file as in a table of fixations (`match_names`). For a name with folders, of any
    operating system, the last component may match as well.

    Args:
      root: the folder of all stimuli.
      names: number of rows by name.

    Returns:
      The stimulus of each name, without names that match no file (such as a fixation cross), and the number
      of files without a name.

    Raises:
      UnisalError: the folder holds no images or videos, a name matches two files, no name matches a file, or
        a matching file cannot be read.
    """
    paths = [path for some in stimuli_files(root).values() for path in some]
    if not paths:
        raise UnisalError(f"{root}: holds no images or videos")
    chosen: dict[str, Path] = {}
    for candidates in (_whole(names), _last(names)):
        missing = {name: given for name, given in candidates.items() if name not in chosen}
        fits = match_names(root, paths, missing.values())
        for name, given in missing.items():
            if len(fits[given]) > 1:
                first, second = (os.path.relpath(path, root) for path in fits[given][:2])
                raise UnisalError(
                    f"{root}: {names[name]} rows are on {name!r}, which is {first} or {second}; keep one"
                )
            if fits[given]:
                chosen[name] = fits[given][0]
    if not chosen:
        some = ", ".join(repr(name) for name in list(names)[:3])
        raise UnisalError(
            f"{root}: holds none of the {len(names)} stimuli that the tracker names, such as {some}; a file "
            "must have the name of its stimulus, with or without the suffix"
        )
    read = {path: _stimulus(root, path) for path in sorted(set(chosen.values()))}
    return {name: read[path] for name, path in chosen.items()}, len(paths) - len(read)


def _whole(names: Iterable[str]) -> dict[str, str]:
    return {name: name.replace("\\", "/") for name in names}


def _last(names: Iterable[str]) -> dict[str, str]:
    return {name: name.replace("\\", "/").rsplit("/", 1)[-1] for name in names}


def _stimulus(root: Path, path: Path) -> Stimulus:
    film = path.suffix.lower() in VIDEO_SUFFIXES
    if film:
        with open_video(path) as video:
            size = video.size
    else:
        with open_image(path) as image:
            width, height = image.size
            size = (width, height) if orientation(image) >= _ON_ITS_SIDE else (height, width)
    return Stimulus(path, Path(os.path.relpath(path, root)).as_posix(), size, film)
