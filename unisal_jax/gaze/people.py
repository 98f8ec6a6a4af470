"""Names of observers, from the contents or the names of files."""

from collections.abc import Sequence
from pathlib import Path

from unisal_jax.gaze.recording import Recording


def observer_labels(recordings: Sequence[Recording]) -> list[list[str]]:
    """Returns the observer of each row of each file.

    Uses the file's contents, else its name, preceded by its folders if two files have the same name.
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
    """Returns the default name of a file's observers, and the file or folder it comes from."""
    path = Path(recording.path)
    if recording.format != "pupil_core":
        return path.name.split(".")[0] or path.name, path
    # Each file holds one surface: RECORDING/exports/000/surfaces/fixations_on_surface_NAME.csv.
    folder = path.absolute().parent
    while folder.name in ("surfaces", "exports") or folder.parent.name == "exports":
        folder = folder.parent
    return folder.name, folder
