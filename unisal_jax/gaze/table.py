"""The fixations of an import as a table, in a file or for `prepare own`."""

import math
from pathlib import Path

import numpy as np

from unisal_jax.data.layouts.fixation_tables import Gaze, Table
from unisal_jax.files import text_file
from unisal_jax.gaze.imports import Import

# Digits behind the point: a thousandth of a pixel, and of a millisecond.
_DIGITS = 3


def write_table(path: Path, found: Import) -> None:
    """Writes stimulus, observer, x, y, start and duration (ms); of films frame (from 0), of repeats trial.

    Rows are sorted by stimulus, observer, trial, frame and start. Frames are empty on images.
    `prepare own --table` reads it and passes over the columns that it does not know.

    Raises:
      UnisalError: it cannot be written.
    """
    rows = found.fixations
    films = any(stimulus.film for stimulus in found.stimuli)
    trials = bool((rows.viewing > 1).any())
    names = [_quoted(stimulus.name) for stimulus in found.stimuli]
    observers = [_quoted(name) for name in found.observers]
    sizes = np.array([stimulus.size for stimulus in found.stimuli])[rows.stimulus]
    # Rounding must not move a point over the edge.
    least = 10.0**-_DIGITS
    columns = [
        [names[number] for number in rows.stimulus],
        [observers[number] for number in rows.observer],
        _texts(np.minimum(rows.x, sizes[:, 1] - least)),
        _texts(np.minimum(rows.y, sizes[:, 0] - least)),
        _texts(rows.start),
        _texts(rows.duration),
    ]
    header = ["stimulus", "observer", "x", "y", "start", "duration"]
    if films:
        header.append("frame")
        columns.append(
            [
                str(frame) if found.stimuli[number].film else ""
                for number, frame in zip(rows.stimulus, rows.frame, strict=True)
            ]
        )
    if trials:
        header.append("trial")
        columns.append([str(number) for number in rows.viewing])
    with text_file(path) as file:
        file.write(",".join(header) + "\n")
        for fields in zip(*columns, strict=True):
            file.write(",".join(fields) + "\n")


def as_table(found: Import) -> Table:
    """The same for `own.scan_points`."""
    table = Table(Path(found.files[0].recording.path), {})
    rows = found.fixations
    for number, stimulus in enumerate(found.stimuli):
        mine = np.flatnonzero(rows.stimulus == number)
        gaze = Gaze()
        for row in mine.tolist():
            gaze.add(int(rows.frame[row]), found.observers[rows.observer[row]], rows.x[row], rows.y[row])
        if len(gaze):
            table.gaze[stimulus.name] = gaze
    return table


def _texts(values: np.ndarray) -> list[str]:
    """Numbers without zeros at the end; nothing for what is not known."""
    # Adding 0 makes 0 of -0.
    digits = np.round(values, _DIGITS) + 0.0
    return ["" if math.isnan(value) else f"{value:.{_DIGITS}f}".rstrip("0").rstrip(".") for value in digits]


def _quoted(text: str) -> str:
    """A name as a field of CSV; a line break in it becomes a blank."""
    text = " ".join(text.splitlines())
    return f'"{text.replace(chr(34), 2 * chr(34))}"' if any(c in text for c in ',;"\t') else text
