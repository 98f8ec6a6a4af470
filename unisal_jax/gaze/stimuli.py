"""The images and films that were shown, and the names that trackers give them."""

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

# Exif orientations from here on lie on their side.
_ON_ITS_SIDE = 5


@dataclasses.dataclass(frozen=True)
class Stimulus:
    """An image or a film.

    Attributes:
      path: its file.
      name: what the table of fixations calls it: its file below the folder of all.
      size: (height, width), upright.
      film: whether it is one.
    """

    path: Path
    name: str
    size: Size
    film: bool


def match_stimuli(root: Path, names: Mapping[str, int]) -> tuple[dict[str, Stimulus], int]:
    """The stimulus of each name that a tracker gives, and the number of files that none fits.

    A name fits a file as in a table of fixations (`match_names`); one with folders in front, of any system,
    fits by what comes last too.

    Args:
      root: the folder of all stimuli.
      names: how many rows have each.

    Returns:
      (by name; names that fit no file, as a starting cross's, are left out; files without a name)

    Raises:
      UnisalError: the folder holds no images or videos, a name fits two files, no name fits any, or a file
        that one fits cannot be read.
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
                    f"{root}: {names[name]} rows are on {name!r}, which fits {first} and {second}; keep one"
                )
            if fits[given]:
                chosen[name] = fits[given][0]
    if not chosen:
        some = ", ".join(repr(name) for name in list(names)[:3])
        raise UnisalError(
            f"{root}: none of the {len(names)} stimuli that the tracker names is there, such as {some}; a "
            "stimulus is called as its file, with or without the suffix"
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
