"""The files of an import: those that are named, and those of a tracker in folders."""

import os
from collections.abc import Iterable
from pathlib import Path

from unisal_jax.errors import UnisalError
from unisal_jax.files import list_folder, walk_folders
from unisal_jax.gaze.head import SceneCameraError, read_head
from unisal_jax.gaze.read import read, recognise
from unisal_jax.gaze.recording import Recording
from unisal_jax.gaze.settings import Settings

# What trackers export, and what a person may take for it, which is told; other files are passed over.
_ENDINGS = (".asc", ".csv", ".gz", ".tsv", ".txt", ".edf", ".xls", ".xlsx", ".zip")
_SHOWN = 3


def read_files(paths: Iterable[Path], settings: Settings) -> tuple[list[Recording], list[str]]:
    """What files, and the trackers' files in folders and below, hold; and notes on what is passed over.

    Raises:
      UnisalError: a file cannot be read or is of no known format, or a folder holds none that is.
    """
    files: dict[str, Path] = {}
    notes, named_twice = [], 0
    listed = set[str]()
    for path in paths:
        found = [path]
        if path.is_dir():
            found, others = _in_folder(path, settings)
            if others:
                more = ", ..." if len(others) > _SHOWN else ""
                notes.append(
                    f"{path}: {len(others)} files of no known tracker ({', '.join(others[:_SHOWN])}{more})"
                )
        for file in found:
            named_twice += os.path.realpath(file) in files
            files.setdefault(os.path.realpath(file), file)
            if path.is_dir():
                listed.add(str(file))
    if named_twice:
        notes.append(f"{named_twice} files are named twice; each is read once")
    recordings, on_scene = [], list[SceneCameraError]()
    for file in files.values():
        try:
            recordings.append(read(file, **settings.read))
        except SceneCameraError as error:
            if str(file) not in listed:
                raise
            on_scene.append(error)
    if on_scene and not recordings:
        raise on_scene[0]
    if on_scene:
        notes.append(f"{len(on_scene)} files of positions in the scene camera's image, left out")
    kept = [each for each in recordings if each.path not in listed or not _beside(each, recordings)]
    if len(kept) < len(recordings):
        notes.append(f"{len(recordings) - len(kept)} files of raw gaze beside files of fixations, left out")
    return kept, notes


def _beside(recording: Recording, others: Iterable[Recording]) -> bool:
    """Whether a file holds raw gaze, and one in its folder the fixations."""
    folder = Path(recording.path).parent
    return recording.kind == "samples" and any(
        other.kind == "fixations" and Path(other.path).parent == folder for other in others
    )


def _in_folder(folder: Path, settings: Settings) -> tuple[list[Path], list[str]]:
    """The files of trackers, and the names of the others with such endings.

    Raises:
      UnisalError: there are none of trackers.
    """
    candidates = [
        file
        for each in walk_folders([folder])
        for file in list_folder(each)
        if file.is_file() and file.name.lower().endswith(_ENDINGS)
    ]
    taken, others, first = [], [], None
    for file in candidates:
        try:
            # A format or columns that are given are of all files.
            (read_head if settings.read.get("format") or settings.read.get("columns") else recognise)(file)
            taken.append(file)
        except UnisalError as error:
            first = first or error
            others.append(os.path.relpath(file, folder))
    if not taken:
        raise UnisalError(
            f"{folder}: holds no file of a known tracker; {f'of {first}' if first else 'see --format'}"
        ) from first
    return taken, others
