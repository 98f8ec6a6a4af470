"""Who looked: the observers' names, from the files or from what the files are called."""

from collections.abc import Sequence
from pathlib import Path

from unisal_jax.gaze.recording import Recording


def observer_labels(recordings: Sequence[Recording]) -> list[list[str]]:
    """The observer of each row of each file.

    By the file's content, else by its name; with the folders before it where two have the same.
    """
    origins = [_origin(recording) for recording in recordings]
    known: dict[str, set[Path]] = {}
    for name, origin in origins:
        known.setdefault(name, set()).add(origin)
    labels = []
    for recording, (name, origin) in zip(recordings, origins, strict=True):
        own = name if len(known[name]) < 2 else (origin.parent / name).as_posix()
        labels.append([label or own for label in recording.observers])
    return labels


def _origin(recording: Recording) -> tuple[str, Path]:
    """What people in a file without names are called, and what is called so: the file or its recording."""
    path = Path(recording.path)
    if recording.format != "pupil_core":
        return path.name.split(".")[0] or path.name, path
    # A file is of one surface: RECORDING/exports/000/surfaces/fixations_on_surface_NAME.csv.
    folder = path.absolute().parent
    while folder.name in ("surfaces", "exports") or folder.parent.name == "exports":
        folder = folder.parent
    return folder.name, folder
