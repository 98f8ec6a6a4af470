"""Writes the fixations of an import as a table, or passes them to `prepare own`."""

import math
from pathlib import Path

import numpy as np

from unisal_jax.data.layouts.fixation_tables import Gaze, Table
from unisal_jax.files import text_file
from unisal_jax.gaze.imports import Import

# Decimal places: a thousandth of a pixel, and of a millisecond.
_DIGITS = 3


def write_table(path: Path, found: Import) -> None:
    """Writes a CSV table of fixations.

    Columns: stimulus, observer, x, y, start and duration (ms); frame (from 0; empty on images) if there are
    videos; trial if there are repeated viewings. Rows are sorted by stimulus, observer, trial, frame and
    start. `prepare own --table` reads the table and ignores columns that it does not use.

    Raises:
      UnisalError: the file cannot be written.
    """
    rows = found.fixations
    films = any(stimulus.film for stimulus in found.stimuli)
    trials = bool((rows.viewing > 1).any())
    names = [_quoted(stimulus.name) for stimulus in found.stimuli]
    observers = [_quoted(name) for name in found.observers]
    sizes = np.array([stimulus.size for stimulus in found.stimuli])[rows.stimulus]
    # Rounding must not move a point beyond the edge.
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
    """Returns the same fixations for `own.scan_points`."""
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
    """Formats numbers without trailing zeros; empty for NaN."""
    # Adding 0 turns -0 into 0.
    digits = np.round(values, _DIGITS) + 0.0
    return ["" if math.isnan(value) else f"{value:.{_DIGITS}f}".rstrip("0").rstrip(".") for value in digits]


def _quoted(text: str) -> str:
    """Formats a name as a CSV field; line breaks become spaces."""
    text = " ".join(text.splitlines())
    return f'"{text.replace(chr(34), 2 * chr(34))}"' if any(c in text for c in ',;"\t') else text
