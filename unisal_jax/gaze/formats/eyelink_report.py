"""Fixation reports of SR Research's EyeLink Data Viewer: one row per fixation, a dot for a missing value.

Sources of the columns: EyeLink Data Viewer's user manual, "Fixation Report", and published reports. The
column that names the image is a trial variable and depends on the experiment. Positions are pixels of the
screen from its upper left corner; `CURRENT_FIX_START` is in milliseconds from the start of the trial.
"""

import numpy as np

from unisal_jax.gaze.columns import above_zero, read_columns
from unisal_jax.gaze.eyes import BOTH, choose, merge_fixations
from unisal_jax.gaze.head import Head
from unisal_jax.gaze.names import media_column, tidy_path
from unisal_jax.gaze.recording import Recording

_REPORT = "add it to the report's output variables in Data Viewer"

_IMAGES = ("IMAGE", "IMAGE_FILE", "IMAGE_NAME", "IMG", "STIMULUS", "PICTURE", "VIDEO", "MOVIE")


def fits(head: Head) -> bool:
    """Whether the file is such a report."""
    return head.find("CURRENT_FIX_X", "CURRENT_FIX_Y", "CURRENT_FIX_DURATION") is not None


def read(head: Head, eye: str) -> Recording:
    """Reads the fixations; the means of both eyes if the report has both."""
    image = head.find(*_IMAGES)
    columns = read_columns(
        head,
        {
            "stimulus": media_column(head) if image is None else image,
            "observer": head.find("RECORDING_SESSION_LABEL", "SESSION_LABEL", "DATA_FILE"),
            "trial": head.find("TRIAL_INDEX", "TRIAL_LABEL"),
            "eye": head.find("EYE_REPORTED", "EYE_USED"),
        },
        {
            "x": head.need("CURRENT_FIX_X", remedy=_REPORT),
            "y": head.need("CURRENT_FIX_Y", remedy=_REPORT),
            "start": head.find("CURRENT_FIX_START"),
            "duration": head.find("CURRENT_FIX_DURATION"),
        },
    )
    texts, numbers, notes = columns.texts, columns.numbers, columns.notes
    start, duration, x, y = (numbers[name] for name in ("start", "duration", "x", "y"))
    if not head.has("CURRENT_FIX_START"):
        notes += (f"no column 'CURRENT_FIX_START', so no times; {_REPORT}",)
    is_known = np.isfinite(x) & np.isfinite(y)
    recorded = {name for name in ("left", "right") if texts["eye"].among(name)[is_known].any()}
    chosen = choose(head.path, eye, recorded)
    is_chosen = is_known & (texts["eye"].among(chosen) if len(recorded) == 2 and chosen != "mean" else True)
    rows = np.flatnonzero(is_chosen)
    start, duration, x, y = start[rows], duration[rows], x[rows], y[rows]
    if len(recorded) == 2 and chosen == "mean":
        notes += (BOTH,)
        group = (
            texts["observer"].codes[rows] * np.int64(len(texts["trial"].names)) + texts["trial"].codes[rows]
        )
        is_right = texts["eye"].among("right")[rows]
        kept, start, end, x, y = merge_fixations(group, is_right, start, start + duration, x, y)
        rows, duration = rows[kept], end - start
    return Recording(
        path=str(head.path),
        format="eyelink_report",
        kind="fixations",
        space="screen",
        screen=None,
        stimuli=[tidy_path(name) for name in texts["stimulus"].take(rows)],
        observers=texts["observer"].take(rows),
        trials=texts["trial"].take(rows),
        start=start,
        duration=duration,
        clock="stimulus",
        x=x,
        y=y,
        dropped=above_zero({"no position": np.sum(~is_known)}),
        notes=(
            *notes,
            "times count from the trial's start in Data Viewer, which may lie before the stimulus",
        ),
    )
