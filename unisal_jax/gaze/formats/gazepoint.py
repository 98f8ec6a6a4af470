"""Gazepoint Analysis' exports, `User N_all_gaze.csv` and `User N_fixations.csv`.

A fixation has several rows, with growing duration and the mean position so far, so the last valid row of each
`FPOGID` is the fixation. The file name contains the participant.

Sources of the columns: Gazepoint's "Open Gaze API" manual, "Fixation POG", and the table of columns of the
"Eye gaze data for chest X-rays" release (Karargyris et al., Scientific Data 8:92, 2021). `FPOGX` and `FPOGY`
are fractions of the screen, (0, 0) its upper left corner; `FPOGS` and `FPOGD` are in seconds.
"""

import re

import numpy as np

from unisal_jax.gaze.columns import above_zero, read_columns, runs
from unisal_jax.gaze.head import Head, column_key
from unisal_jax.gaze.recording import Recording

_EXPORT = "export the data again from Gazepoint Analysis, with the fixation point of gaze"


def fits(head: Head) -> bool:
    """Whether the file is such an export."""
    return head.has("FPOGX", "FPOGY") or head.has("BPOGX", "BPOGY")


def read(head: Head, eye: str) -> Recording:
    """Reads fixations, or samples if the export has no fixations."""
    is_fixations = head.has("FPOGX", "FPOGD", "FPOGID")
    both = {"mean": "BPOG", "left": "LPOG", "right": "RPOG"}[eye]
    point = "FPOG" if is_fixations else both
    columns = read_columns(
        head,
        {"stimulus": head.find("MEDIA_NAME"), "media": head.find("MEDIA_ID", "DICOM_ID")},
        {
            "x": head.need(f"{point}X", remedy=_EXPORT),
            "y": head.need(f"{point}Y", remedy=_EXPORT),
            "valid": head.find(f"{point}V"),
            "id": head.find("FPOGID") if is_fixations else None,
            "start": head.need("FPOGS", remedy=_EXPORT) if is_fixations else _time(head),
            "duration": head.find("FPOGD") if is_fixations else None,
        },
    )
    numbers = columns.numbers
    stimulus = columns.texts["stimulus" if head.has("MEDIA_NAME") else "media"]
    media = columns.texts["media" if head.has("MEDIA_ID") else "stimulus"].codes
    shown, viewing = runs(media)
    is_valid = ~(numbers["valid"] == 0) & np.isfinite(numbers["start"])
    if is_fixations:
        rows = np.flatnonzero(is_valid & np.isfinite(numbers["id"]))
        first, _ = runs(viewing[rows], numbers["id"][rows])
        taken = rows[np.append(first[1:], len(rows)) - 1] if len(rows) else rows
        whole, _ = runs(viewing, numbers["id"])
        dropped = above_zero({"never valid": len(whole) - len(first)})
        x, y = numbers["x"][taken], numbers["y"][taken]
    else:
        taken, dropped = np.flatnonzero(np.isfinite(numbers["start"])), {}
        x, y = (np.where(is_valid, numbers[axis], np.nan)[taken] for axis in "xy")
    # Gazepoint Analysis restarts the time with each stimulus; other programs may not.
    begins = numbers["start"][shown[1:]] < numbers["start"][shown[1:] - 1]
    observer = re.sub(r"[_ -]*(all_gaze|fixations?)$", "", head.path.stem, flags=re.IGNORECASE)
    return Recording(
        path=str(head.path),
        format="gazepoint",
        kind="fixations" if is_fixations else "samples",
        space="screen_fraction",
        screen=None,
        stimuli=stimulus.take(taken),
        observers=[observer] * len(taken),
        trials=[str(number) for number in (viewing[taken] + 1).tolist()],
        start=numbers["start"][taken] * 1e3,
        duration=numbers["duration"][taken] * 1e3,
        clock="stimulus" if head.has("MEDIA_ID") and begins.all() else "recording",
        x=x,
        y=y,
        dropped=dropped,
        notes=columns.notes,
    )


def _time(head: Head) -> int:
    """Returns the column with seconds; its name may hold a date, as in TIME(2016/03/09 15:46:37.893)."""
    for place, name in enumerate(head.names):
        if re.match(r"time *\(|time$", column_key(name)):
            return place
    return head.need("TIME", remedy=_EXPORT)
