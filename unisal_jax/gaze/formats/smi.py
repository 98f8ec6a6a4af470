"""SMI: tables of events or samples exported by BeGaze, and text files of older programs.

Sources of the columns: SMI's BeGaze manual, "Export", and published files. An event has `Category`, `Event
Start Trial Time [ms]`, `Fixation Position X [px]`; with glasses a fixation is a "Visual Intake". A sample has
`RecordingTime [ms]`, `Point of Regard Right X [px]`, `Category Right`. Positions are pixels of the screen
from its upper left corner, "-" if missing. `smi_text` reads the text files.
"""

import numpy as np

from unisal_jax.gaze.columns import Columns, above_zero, read_columns, runs
from unisal_jax.gaze.eyes import BOTH, choose, mean_of_samples, merge_fixations
from unisal_jax.gaze.formats import smi_text
from unisal_jax.gaze.head import Head
from unisal_jax.gaze.recording import Recording

_EXPORT = "add it to the export's columns in BeGaze"

_EVENT = ("Event Start Trial Time [ms]", "Event Start Raw Time [ms]", "Fixation Start [ms]")
_X = tuple(
    f"{name} {{}}{unit}"
    for name in ("Fixation Position", "Visual Intake Position", "Position", "Location")
    for unit in (" [px]", "")
)
_POINT = "Point of Regard {} {} [px]"
_FIXATION = ("fixation", "visual intake")
_KNOWN = {"": "no category", "-": "no category", "saccade": "saccades", "blink": "blinks"}


def fits(head: Head) -> bool:
    """Whether the file is such an export."""
    return (
        smi_text.fits(head)
        or head.find(*_EVENT, *(name.format("X") for name in _X[:3:2])) is not None
        or any(head.find(_POINT.format(eye, "X")) is not None for eye in ("Left", "Right", "Binocular"))
    )


def read(head: Head, eye: str) -> Recording:
    """Reads fixations, or samples if the export holds samples."""
    if smi_text.fits(head):
        return smi_text.read(head, eye)
    return (_events if head.find(*_EVENT) is not None else _samples)(head, eye)


def _texts(head: Head) -> dict[str, int | None]:
    return {
        "stimulus": head.find("Stimulus"),
        "observer": head.find("Participant", "Participant Name", "Subject"),
        "trial": head.find("Trial"),
    }


def _events(head: Head, eye: str) -> Recording:
    columns = read_columns(
        head,
        _texts(head)
        | {
            "type": head.find("Category", "Event Type"),
            "eye": head.find("Eye L/R", "Eye"),
        },
        {
            "x": head.need(*(name.format("X") for name in _X), remedy=_EXPORT),
            "y": head.need(*(name.format("Y") for name in _X), remedy=_EXPORT),
            "start": head.need(*_EVENT, remedy=_EXPORT),
            "end": head.find("Event End Trial Time [ms]", "Event End Raw Time [ms]"),
            "duration": head.find("Event Duration [ms]", "Fixation Duration [ms]"),
        },
    )
    texts, numbers, notes = columns.texts, columns.numbers, columns.notes
    is_fixation = texts["type"].among(*_FIXATION, "fixation l", "fixation r")
    # An export of only fixations has no category.
    is_fixation |= texts["type"].among("") & np.isfinite(numbers["x"])
    recorded = {name for name in ("left", "right") if texts["eye"].among(name, name[0])[is_fixation].any()}
    chosen = choose(head.path, eye, recorded)
    if len(recorded) == 2 and chosen != "mean":
        is_chosen = texts["eye"].among(chosen, chosen[0])
    else:
        is_chosen = np.ones(len(columns), bool)
    rows = np.flatnonzero(is_fixation & is_chosen)
    duration = np.where(
        np.isnan(numbers["duration"]), numbers["end"] - numbers["start"], numbers["duration"]
    )[rows]
    start, x, y = (numbers[name][rows] for name in ("start", "x", "y"))
    if len(recorded) == 2 and chosen == "mean":
        notes += (BOTH,)
        is_right = texts["eye"].among("right", "r")[rows]
        group = _group(columns, rows)
        kept, start, end, x, y = merge_fixations(group, is_right, start, start + duration, x, y)
        rows, duration = rows[kept], end - start
    dropped = {
        _KNOWN.get(name.lower(), f"category {name!r}"): int(np.sum(texts["type"].codes[~is_fixation] == code))
        for code, name in enumerate(texts["type"].names)
    }
    is_trial_time = "Trial" in head.names[head.need(*_EVENT, remedy=_EXPORT)]
    return _recording(
        head, "fixations", columns, rows, (start, duration, x, y), notes, dropped, is_trial_time
    )


def _group(columns: Columns, rows: np.ndarray) -> np.ndarray:
    """int [rows]: the viewing of each, of the same observer, stimulus and trial."""
    group = np.zeros(len(rows), np.int64)
    for name in ("observer", "stimulus", "trial"):
        group = group * len(columns.texts[name].names) + columns.texts[name].codes[rows]
    return group


def _samples(head: Head, eye: str) -> Recording:
    places = {
        name: tuple(head.find(_POINT.format(name.title(), axis)) for axis in "XY")
        for name in ("left", "right", "binocular")
    }
    numbers = {
        f"{name}{axis}": place
        for name, pair in places.items()
        for axis, place in zip("xy", pair, strict=True)
    }
    columns = read_columns(
        head,
        _texts(head) | {"type": head.find("Category Binocular", "Category Right", "Category Left")},
        numbers | {"start": head.need("RecordingTime [ms]", "Recording Time [ms]", remedy=_EXPORT)},
    )
    values, notes = columns.numbers, columns.notes
    for name in ("left", "right", "binocular"):
        # BeGaze writes zeros where the eye was lost.
        is_lost = (values[f"{name}x"] == 0) & (values[f"{name}y"] == 0)
        for axis in "xy":
            values[f"{name}{axis}"][is_lost] = np.nan
    rows = np.flatnonzero(np.isfinite(values["start"]) & ~columns.texts["type"].among("separator"))
    recorded = {name for name in ("left", "right") if np.isfinite(values[f"{name}x"]).any()}
    chosen = choose(head.path, eye, recorded)
    if chosen == "mean" and np.isfinite(values["binocularx"]).any():
        x, y = values["binocularx"][rows], values["binoculary"][rows]
    elif chosen == "mean":
        notes += (BOTH,) if len(recorded) == 2 else ()
        x, y = (mean_of_samples(values[f"left{axis}"], values[f"right{axis}"])[rows] for axis in "xy")
    else:
        x, y = values[f"{chosen}x"][rows], values[f"{chosen}y"][rows]
    start = values["start"][rows]
    first, viewing = runs(*(columns.texts[name].codes[rows] for name in ("observer", "stimulus", "trial")))
    if len(rows):
        start = start - start[first][viewing]
    duration = np.full(len(rows), np.nan)
    return _recording(head, "samples", columns, rows, (start, duration, x, y), notes, {}, True)


def _recording(
    head: Head,
    kind: str,
    columns: Columns,
    rows: np.ndarray,
    numbers: tuple[np.ndarray, ...],
    notes: tuple[str, ...],
    dropped: dict[str, int],
    is_trial_time: bool,
) -> Recording:
    start, duration, x, y = numbers
    texts = columns.texts
    return Recording(
        path=str(head.path),
        format="smi",
        kind=kind,
        space="screen",
        screen=None,
        stimuli=texts["stimulus"].take(rows),
        observers=texts["observer"].take(rows),
        trials=texts["trial"].take(rows),
        start=start,
        duration=duration,
        clock="stimulus" if is_trial_time else "recording",
        x=x,
        y=y,
        dropped=above_zero(dropped),
        notes=notes,
    )
