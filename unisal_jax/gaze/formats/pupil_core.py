"""Exports of Pupil Player's surface tracker (Pupil Core).

The files are `fixations_on_surface_NAME.csv` and `gaze_positions_on_surface_NAME.csv`.

A fixation has a row for every frame of the scene camera during which it lasts, with its position on the
surface in that frame; their mean is its position. The surface is the stimulus and named in the file name.

Sources of the columns: Pupil Core's documentation, "Raw data exporter" and "Surface tracker"
(docs.pupil-labs.com/core/software/pupil-player), and Pupil Player's source,
`surface_tracker/background_tasks`. Positions are fractions of the surface, (0, 0) its lower left corner.
Times are in seconds, durations in ms.
"""

import numpy as np

from unisal_jax.gaze.columns import above_zero, counted, mean_by, read_columns
from unisal_jax.gaze.head import Head, SceneCameraError
from unisal_jax.gaze.names import surface_name
from unisal_jax.gaze.recording import Recording

_SURFACE = (
    "export it with the Surface Tracker plugin: positions without a surface are in the scene camera's image"
)

_TRUSTED = 0.6
"""Confidence below which gaze is unreliable, according to Pupil's documentation."""


def fits(head: Head) -> bool:
    """Whether the file is such an export."""
    return head.has("norm_pos_x", "norm_pos_y") or head.has("x_norm", "y_norm", "gaze_timestamp")


def read(head: Head, eye: str) -> Recording:
    """Reads fixations or samples. `eye` has no effect, since Pupil maps both eyes together."""
    del eye
    on_surface = head.need("on_surf", "on_srf", remedy=_SURFACE, error=SceneCameraError)
    reader = _samples if head.has("x_norm") else _fixations
    return reader(head, on_surface, surface_name(head.path.name))


def _fixations(head: Head, on_surface: int, stimulus: str) -> Recording:
    columns = read_columns(
        head,
        {"on": on_surface},
        {
            "id": head.need("fixation_id", "id", remedy="which identifies the rows of a fixation"),
            "start": head.need(
                "start_timestamp", remedy="export the fixations again with a current Pupil Player"
            ),
            "duration": head.find("duration"),
            "x": head.need("norm_pos_x", remedy=_SURFACE),
            "y": head.need("norm_pos_y", remedy=_SURFACE),
        },
    )
    numbers, is_on = columns.numbers, columns.texts["on"].among("true", "1", "1.0")
    is_row = np.isfinite(numbers["id"]) & np.isfinite(numbers["start"])
    ids, first, group = np.unique(numbers["id"][is_row], return_index=True, return_inverse=True)
    rows = np.flatnonzero(is_row)[first]
    x, y = (mean_by(group, np.where(is_on, numbers[axis], np.nan)[is_row], len(ids)) for axis in ("x", "y"))
    was_on = np.bincount(group, is_on[is_row], len(ids)) > 0
    duration = numbers["duration"][rows]
    # Early versions wrote seconds: fixations last longer than 5 ms and shorter than 5 s.
    if np.isfinite(duration).any() and np.nanmedian(duration) < 5:
        duration = duration * 1e3
    order = np.flatnonzero(was_on)[np.argsort(numbers["start"][rows[was_on]], kind="stable")]
    count = len(order)
    return Recording(
        path=str(head.path),
        format="pupil_core",
        kind="fixations",
        space="stimulus_fraction_up",
        screen=None,
        stimuli=[stimulus] * count,
        observers=[""] * count,
        trials=[""] * count,
        start=numbers["start"][rows[order]] * 1e3,
        duration=duration[order],
        clock="recording",
        x=x[order],
        y=y[order],
        dropped=above_zero({"not on the surface": np.sum(~was_on)}),
        notes=columns.notes,
    )


def _samples(head: Head, on_surface: int, stimulus: str) -> Recording:
    columns = read_columns(
        head,
        {"on": on_surface},
        {
            "start": head.need("gaze_timestamp", remedy="export the gaze again with a current Pupil Player"),
            "x": head.need("x_norm", remedy=_SURFACE),
            "y": head.need("y_norm", remedy=_SURFACE),
            "confidence": head.find("confidence"),
        },
    )
    numbers = columns.numbers
    # A sample mapped in two frames of the scene camera appears twice.
    _, rows = np.unique(numbers["start"], return_index=True)
    rows = rows[np.isfinite(numbers["start"][rows])]
    is_sure = ~(numbers["confidence"][rows] < _TRUSTED)
    count, doubtful = len(rows), int(np.sum(~is_sure))
    unsure = counted(doubtful, "sample") if doubtful else ""
    return Recording(
        path=str(head.path),
        format="pupil_core",
        kind="samples",
        space="stimulus_fraction_up",
        screen=None,
        stimuli=[stimulus] * count,
        observers=[""] * count,
        trials=[""] * count,
        start=numbers["start"][rows] * 1e3,
        duration=np.full(count, np.nan),
        clock="recording",
        x=np.where(is_sure, numbers["x"][rows], np.nan),
        y=np.where(is_sure, numbers["y"][rows], np.nan),
        dropped={},
        notes=columns.notes
        + ((f"{unsure} with a confidence below {_TRUSTED} treated as lost",) if unsure else ()),
    )
