"""From what a user names (files, folders, globs, cameras) to pictures and videos with output names."""

import glob
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from natsort import natsorted, ns

from unisal_jax.errors import UnisalError
from unisal_jax.media.images import IMAGE_SUFFIXES, list_images
from unisal_jax.media.video import VIDEO_SUFFIXES, camera_number

Kind = Literal["image", "video"]


@dataclass(frozen=True)
class Source:
    """One picture or video to work on.

    Attributes:
        kind: "image" (for `read_image`) or "video" (for `open_video`).
        path: a file; for a video also a folder of frames, or the text "camera:N".
        name: a stem for output files, unique in its list.
    """

    kind: Kind
    path: str | Path
    name: str


def expand_inputs(inputs: Sequence[str], video: bool = False) -> list[Source]:
    """Finds the pictures and videos that the inputs name, in the order given, each once.

    An input is an image or video file (told by its suffix, in any case), a folder of images, a glob
    (in natural order, `**` for any depth) or "camera:N". In folders and globs, hidden files and files
    of other kinds are passed over.

    A source's name is its file's stem ("x" for a/x.jpg). Where two would be the same (upper and lower
    case count as one, as on some disks), each of them gets its suffix ("x_jpg", "x_png"), and where
    that is not enough its folders from the nearest on ("a_x_jpg", "b_x_jpg").

    Args:
        video: a folder of images is one video, not pictures.

    Raises:
        UnisalError: no such file, a kind of file that is not read, a folder without images, a glob
            without a match.
    """
    found: dict[str, tuple[Kind, str | Path]] = {}
    for text in inputs:
        for kind, path in _expand(text, video):
            # The same file reached in two ways is taken once.
            key = path if isinstance(path, str) else os.path.abspath(path)
            found.setdefault(key, (kind, path))
    names = _unique_names([path for _, path in found.values()])
    return [Source(kind, path, name) for (kind, path), name in zip(found.values(), names, strict=True)]


def _expand(text: str, video: bool) -> list[tuple[Kind, str | Path]]:
    if camera_number(text) is not None:
        return [("video", text)]
    # A file whose name holds brackets is a file first.
    if Path(text).exists() or not glob.has_magic(text):
        return _expand_path(Path(text), video)
    matches = [Path(match) for match in natsorted(sorted(glob.glob(text, recursive=True)), alg=ns.PATH)]
    wanted = [path for path in matches if (list_images(path) if path.is_dir() else _kind(path))]
    if not wanted:
        raise UnisalError(f"{text}: no image or video matches")
    return [entry for path in wanted for entry in _expand_path(path, video)]


def _expand_path(path: Path, video: bool) -> list[tuple[Kind, str | Path]]:
    if path.is_dir():
        images = list_images(path)
        if not images:
            raise UnisalError(_no_images(path))
        return [("video", path)] if video else [("image", image) for image in images]
    if not path.exists():
        raise UnisalError(f"{path}: no such file or folder")
    kind = _kind(path)
    if kind is None:
        of_images, of_videos = " ".join(sorted(IMAGE_SUFFIXES)), " ".join(sorted(VIDEO_SUFFIXES))
        raise UnisalError(f"{path}: not an image ({of_images}) nor a video ({of_videos}) by its suffix")
    return [(kind, path)]


def _kind(file: Path) -> Kind | None:
    suffix = file.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return "image"
    return "video" if suffix in VIDEO_SUFFIXES else None


def _no_images(folder: Path) -> str:
    """Says that a folder holds no images, and what was perhaps meant."""
    inner = folder / "images"
    if inner.is_dir():
        return f"{folder}: holds no images itself; did you mean {inner}?"
    if any(entry.suffix.lower() in VIDEO_SUFFIXES for entry in folder.iterdir()):
        return f"{folder}: holds videos but no images; name the videos, or a glob such as '{folder}/*.mp4'"
    return f"{folder}: holds no images"


def _unique_names(paths: list[str | Path]) -> list[str]:
    """One name for each path, longer than the stem only where stems clash."""
    candidates = [_candidates(path) for path in paths]
    level = [0] * len(paths)
    while True:
        names = [options[i] for options, i in zip(candidates, level, strict=True)]
        counts = Counter(name.casefold() for name in names)
        raised = False
        for index, name in enumerate(names):
            if counts[name.casefold()] > 1 and level[index] + 1 < len(candidates[index]):
                level[index] += 1
                raised = True
        if not raised:
            return _number_the_rest(names)


def _candidates(path: str | Path) -> list[str]:
    """Names for a path from the shortest to the longest."""
    if isinstance(path, str):
        return [path.replace(":", "_")]
    # Not resolve(): a link has the name that the user sees.
    whole = Path(os.path.abspath(path))
    # A folder's name may hold dots that begin no suffix.
    names = [whole.name] if whole.is_dir() else [whole.stem, f"{whole.stem}_{whole.suffix[1:]}"]
    for parent in whole.parents:
        if parent.name:
            names.append(f"{parent.name}_{names[-1]}")
    return names


def _number_the_rest(names: list[str]) -> list[str]:
    """Numbers names that are still the same: X.jpg beside x.jpg, or a_b/x.jpg and a/b_x.jpg."""
    taken: set[str] = set()
    unique = []
    for name in names:
        candidate, number = name, 2
        while candidate.casefold() in taken:
            candidate, number = f"{name}_{number}", number + 1
        taken.add(candidate.casefold())
        unique.append(candidate)
    return unique
