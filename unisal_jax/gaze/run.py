"""Imports trackers' files and reports on the result."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unisal_jax.gaze.doubts import find_doubts
from unisal_jax.gaze.imports import Import, import_recordings
from unisal_jax.gaze.inputs import read_files
from unisal_jax.gaze.report import describe
from unisal_jax.gaze.settings import Settings


def import_files(paths: Sequence[Path], root: Path, settings: Settings) -> tuple[Import, dict[str, Any]]:
    """Reads trackers' files and maps their fixations to stimuli.

    Args:
      paths: files, and folders of files.
      root: the folder of the stimuli.
      settings: the settings of the import.

    Returns:
      (the fixations, the report of `report.describe`)

    Raises:
      UnisalError: as for `read_files` and `import_recordings`.
    """
    recordings, notes = read_files(paths, settings)
    found = import_recordings(recordings, root, settings)
    return found, describe(found, settings, notes, find_doubts(found, settings))
