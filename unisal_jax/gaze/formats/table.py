"""Tables with a header: columns are found by common names, or as given with `--columns`.

Coordinates are pixels of the stimulus, as in the tables of `unisal prepare own`. Times are in milliseconds
unless the column's name has another unit, such as "time [s]" or "onset_us".
"""

import re
from collections.abc import Mapping

import numpy as np

from unisal_jax.errors import UnisalError
from unisal_jax.gaze.columns import above_zero, read_columns
from unisal_jax.gaze.head import Head, column_key
from unisal_jax.gaze.names import media_column
from unisal_jax.gaze.recording import Recording

NAMES: dict[str, tuple[str, ...]] = {
    "stimulus": (
        "stimulus",
        "stimuli",
        "image",
        "image_name",
        "imagename",
        "filename",
        "file",
        "img",
        "video",
        "media",
    ),
    "observer": (
        "observer",
        "participant",
        "participant_id",
        "subject",
        "subject_id",
        "subj",
        "sub",
        "user",
        "viewer",
    ),
    "x": ("x", "x_px", "fix_x", "fixation_x", "gaze_x", "x_coordinate", "x [px]", "fixx", "mean_x", "xp"),
    "y": ("y", "y_px", "fix_y", "fixation_y", "gaze_y", "y_coordinate", "y [px]", "fixy", "mean_y", "yp"),
    "time": ("time", "start", "onset", "t", "timestamp", "start_time", "fix_start", "starttime"),
    "duration": ("duration", "dur", "fix_duration", "fixation_duration", "fixdur"),
    "trial": ("trial", "trial_index", "trial_id", "viewing"),
    "validity": ("validity", "valid"),
    "frame": ("frame", "frame_index", "frame_number"),
}
"""Our name of a column -> common names in tables; a unit may follow."""

_UNITS = {"s": 1e3, "sec": 1e3, "secs": 1e3, "seconds": 1e3, "us": 1e-3, "μs": 1e-3, "ns": 1e-6}
_UNIT = re.compile(r"^(.*?)[ _]*[\[(_ ]+(ms|msec|milliseconds|s|sec|secs|seconds|us|μs|ns|px|pixels)[\])]?$")

_SAMPLE_MS = 35.0
"""Rows with a shorter interval are samples: fixations do not follow each other so quickly."""


def fits(head: Head) -> bool:
    """Whether the header has columns that can be recognised by name."""
    places = _places(head, {})
    return {"x", "y"} <= places.keys() and bool({"stimulus", "observer"} & places.keys())


def read(head: Head, eye: str, columns: Mapping[str, str] | None = None) -> Recording:
    """Reads a table.

    Args:
      columns: our name -> the table's, for columns with other names.

    Raises:
      UnisalError: a name is unknown, or a column is missing.
    """
    del eye
    places = _places(head, columns or {})
    for name in ("x", "y"):
        if name not in places:
            raise UnisalError(
                f"{head.path}: no column {name!r} among {_listed(head)}; name it with --columns {name}=NAME"
            )
    if "stimulus" not in places:
        places["stimulus"] = media_column(head)
    table = read_columns(
        head,
        {name: places.get(name) for name in ("stimulus", "observer", "trial", "validity")},
        {name: places.get(name) for name in ("x", "y", "time", "duration", "frame")},
    )
    texts, numbers = table.texts, table.numbers
    is_valid = ~texts["validity"].among("0", "0.0", "false", "no", "invalid")
    rows = np.flatnonzero(is_valid)
    start, duration = (
        numbers[name][rows] * _milliseconds(head, places.get(name)) for name in ("time", "duration")
    )
    is_samples = "duration" not in places and _is_sampled(start)
    notes = ("rows follow one another like samples: read as raw gaze",) if is_samples else ()
    return Recording(
        path=str(head.path),
        format="table",
        kind="samples" if is_samples else "fixations",
        space="stimulus",
        screen=None,
        stimuli=texts["stimulus"].take(rows),
        observers=texts["observer"].take(rows),
        trials=texts["trial"].take(rows),
        start=start,
        duration=duration,
        clock="stimulus",
        x=numbers["x"][rows],
        y=numbers["y"][rows],
        dropped=above_zero({"not valid": np.sum(~is_valid)}),
        notes=table.notes + notes,
        frames=numbers["frame"][rows] if "frame" in places else None,
    )


def _places(head: Head, columns: Mapping[str, str]) -> dict[str, int | None]:
    """Returns our name -> index of the column, for columns that the table has."""
    places: dict[str, int | None] = {}
    bare = {
        _UNIT.sub(r"\1", column_key(name)): place for place, name in reversed(list(enumerate(head.names)))
    }
    for name, others in NAMES.items():
        if name in columns:
            place = head.find(columns[name])
            if place is None:
                raise UnisalError(
                    f"{head.path}: no column {columns[name]!r} (--columns {name}=...) among {_listed(head)}"
                )
            places[name] = place
            continue
        place = head.find(*others)
        place = next((bare[other] for other in others if other in bare), None) if place is None else place
        if place is not None and place not in places.values():
            places[name] = place
    unknown = sorted(columns.keys() - NAMES.keys())
    if unknown:
        raise UnisalError(f"--columns: {unknown[0]!r} is not one of {', '.join(NAMES)}")
    if len({places[name] for name in columns}) < len(columns):
        raise UnisalError(f"{head.path}: --columns gives one column two names")
    keys = [column_key(name) for name in head.names]
    taken = [keys[place] for place in places.values() if place is not None]
    twice = next((key for key in taken if keys.count(key) > 1), None)
    if twice is not None:
        raise UnisalError(f"{head.path}: two columns have the name {twice!r}")
    return places


def _listed(head: Head) -> str:
    shown = ", ".join(repr(name.strip()) for name in head.names[:12])
    return shown + (", ..." if len(head.names) > 12 else "")


def _milliseconds(head: Head, place: int | None) -> float:
    unit = _UNIT.match(column_key(head.names[place])) if place is not None else None
    return _UNITS.get(unit[2], 1.0) if unit else 1.0


def _is_sampled(start: np.ndarray) -> bool:
    # Some programs write the last sample first.
    steps = np.abs(np.diff(start))
    steps = steps[steps > 0]
    return len(steps) > 0 and float(np.median(steps)) < _SAMPLE_MS
