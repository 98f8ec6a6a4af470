"""Finds and reads the files of an import: files named by the user, and trackers' files in folders."""

import os
from collections.abc import Iterable
from pathlib import Path

from unisal_jax.errors import UnisalError
from unisal_jax.files import list_folder, walk_folders
from unisal_jax.gaze.head import SceneCameraError, read_head
from unisal_jax.gaze.names import surface_name
from unisal_jax.gaze.read import read, recognise
from unisal_jax.gaze.recording import Recording
from unisal_jax.gaze.settings import Settings

# Endings of trackers' exports, and of files that may be mistaken for them, which are reported. Files with
# other endings are skipped.
_ENDINGS = (".asc", ".csv", ".gz", ".tsv", ".txt", ".edf", ".xls", ".xlsx", ".zip")
_SHOWN = 3


def read_files(paths: Iterable[Path], settings: Settings) -> tuple[list[Recording], list[str]]:
    """Reads files, and the trackers' files in folders and their subfolders.

    Returns:
      The recordings, and notes on what was skipped.

    Raises:
      UnisalError: a file cannot be read or has no known format, a folder holds no tracker's file, or
        `settings.stimulus` would be used for several surfaces.
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
                    f"{path}: {len(others)} files skipped, as no format matches "
                    f"({', '.join(others[:_SHOWN])}{more})"
                )
        for file in found:
            named_twice += os.path.realpath(file) in files
            files.setdefault(os.path.realpath(file), file)
            if path.is_dir():
                listed.add(str(file))
    if named_twice:
        notes.append(f"{named_twice} files were given twice; each is read once")
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
        notes.append(f"{len(on_scene)} files skipped: positions in the scene camera's image")
    kept = [each for each in recordings if each.path not in listed or not _beside(each, recordings)]
    if len(kept) < len(recordings):
        skipped = len(recordings) - len(kept)
        notes.append(f"{skipped} files skipped: raw gaze beside a file of its fixations")
    return kept, [*notes, *_check_surfaces(kept, settings.stimulus)]


def _check_surfaces(recordings: Iterable[Recording], stimulus: str | None) -> list[str]:
    """Checks that one `--stimulus` does not stand for several surfaces or reference images.

    Returns:
      A note if several files of Neon may be of different surfaces.

    Raises:
      UnisalError: the names of the files show that they are of different surfaces.
    """
    if stimulus is None:
        return []
    unnamed = [each for each in recordings if each.format == "neon" and not any(each.stimuli)]
    surfaces = {surface_name(Path(each.path).name): each.path for each in unnamed}
    if len(surfaces) > 1:
        first, second = list(surfaces.values())[:2]
        raise UnisalError(
            f"{second}: is of another surface than {first}, but --stimulus names one stimulus; import each "
            "surface separately"
        )
    if len(unnamed) < 2 or any(surfaces):
        return []
    return [f"{len(unnamed)} files of Neon name no surface; --stimulus {stimulus} is used for all of them"]


def _beside(recording: Recording, others: Iterable[Recording]) -> bool:
    """Whether a file holds raw gaze, and another one in its folder the fixations on the same surface."""

    def source(each: Recording) -> tuple[Path, str]:
        path = Path(each.path)
        return path.parent, surface_name(path.name)

    return recording.kind == "samples" and any(
        other.kind == "fixations" and source(other) == source(recording) for other in others
    )


def _in_folder(folder: Path, settings: Settings) -> tuple[list[Path], list[str]]:
    """Returns the trackers' files in a folder, and the names of other files with such endings.

    Raises:
      UnisalError: the folder holds no tracker's file.
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
            # A format or columns given by the user apply to all files.
            (read_head if settings.read.get("format") or settings.read.get("columns") else recognise)(file)
            taken.append(file)
        except UnisalError as error:
            first = first or error
            others.append(os.path.relpath(file, folder))
    if not taken:
        raise UnisalError(f"{folder}: holds no file of a known format; {first or 'see --format'}") from first
    return taken, others
