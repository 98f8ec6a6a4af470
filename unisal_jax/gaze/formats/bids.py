"""BIDS: `_physio.tsv.gz` of an eye tracker, and the older `_eyetrack.tsv.gz`, with columns named in JSON.

The Brain Imaging Data Structure, "Physiological recordings" with `PhysioType` "eyetrack" (BEP020). A file
holds one eye, with columns `timestamp`, `x_coordinate`, `y_coordinate`. `_physioevents.tsv.gz` beside it
holds the tracker's events, including fixations; the position of a fixation is the mean of its samples.
`_events.tsv` holds onset and duration of each stimulus (`stim_file`), in seconds.
"""

import re
from typing import Any

import numpy as np

from unisal_jax.errors import UnisalError
from unisal_jax.gaze.columns import above_zero, mean_by, read_columns
from unisal_jax.gaze.eyes import BOTH, choose, mean_of_samples
from unisal_jax.gaze.formats.bids_files import fixations_of, number_in, screen_of, sidecar, what_was_shown
from unisal_jax.gaze.head import Head
from unisal_jax.gaze.recording import Recording

_NAME = re.compile(r".+_(?:physio|eyetrack)\.tsv(?:\.gz)?", re.IGNORECASE)
_EVENTS = re.compile(r".+_physioevents\.tsv(?:\.gz)?", re.IGNORECASE)
_X = re.compile(r"(?:eye(?P<number>[12])_)?x[_-]coordinate|xpos_(?P<side>left|right)")
_TIMES = ("timestamp", "time", "eye_timestamp")
_SECONDS = {"s": 1.0, "second": 1.0, "ms": 1e-3, "millisecond": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6}
_SECONDS |= {"microsecond": 1e-6, "ns": 1e-9, "nanosecond": 1e-9}
_SPACES = {"": "screen", "pixel": "screen", "px": "screen", "normalized": "screen_fraction"}

_LONGEST_FIXATION = 20.0
"""In seconds. Durations with a median above this are in milliseconds."""


def fits(head: Head) -> bool:
    """Whether the file's JSON describes positions of an eye."""
    if _EVENTS.fullmatch(head.path.name):
        return True
    return _NAME.fullmatch(head.path.name) is not None and bool(_eyes(_columns(sidecar(head.path))))


def read(head: Head, eye: str) -> Recording:
    """Reads fixations if the tracker's events are beside the file, else samples."""
    if _EVENTS.fullmatch(head.path.name):
        raise UnisalError(f"{head.path}: holds events; pass the _physio file, whose events are read with it")
    about = sidecar(head.path)
    eyes = _eyes(_columns(about))
    if not eyes:
        raise UnisalError(f"{head.path}: no 'x_coordinate' among the Columns of its JSON file")
    space, screen = _space(head, about, next(iter(eyes.values()))), screen_of(head.path)
    ticks, x, y, notes = _positions(head, about, eyes, eye)
    if str(about.get("EnvironmentCoordinates", "top-left")) == "bottom-left":
        if screen is None and space == "screen":
            raise UnisalError(f"{head.path}: y goes up, and no JSON file has the ScreenResolution")
        y = (screen[0] if screen and space == "screen" else 1.0) - y
    unit, first = _unit(head, about, ticks), ticks[0] if len(ticks) else 0.0
    # Events have the same zero as StartTime, or use the tracker's clock; always in seconds.
    is_own = sidecar(head.path, "events").get("OnsetSource") == "timestamp"
    began = first * unit if is_own else number_in(about, "StartTime") or 0.0
    start = began + (ticks - first) * unit
    duration, dropped, kind = np.full(len(start), np.nan), dict[str, int](), "samples"
    found = fixations_of(head.path)
    if found:
        onset, duration, dropped = found
        duration = duration * (1e-3 if np.nanmedian(duration) > _LONGEST_FIXATION else 1.0)
        times, start, kind = start, start[0] + (onset - first) * unit, "fixations"
        begin, end = np.searchsorted(times, (start, start + duration))
        group = np.repeat(np.arange(len(start)), end - begin)
        rows = np.arange(len(group)) - np.repeat(np.cumsum(end - begin) - end, end - begin)
        x, y = (mean_by(group, values[rows], len(start)) for values in (x, y))
    names, since, trial = what_was_shown(head.path, start)
    keep = trial > 0
    if not keep.any():
        keep[:] = True
        notes += ("no stim_file in an _events.tsv beside it: what was shown is not told",)
    subject = re.match(r"sub-[^_]+", head.path.name)
    return Recording(
        path=str(head.path),
        format="bids",
        kind=kind,
        space=space,
        screen=screen,
        stimuli=[names[row] for row in np.flatnonzero(keep).tolist()],
        observers=[subject[0] if subject else ""] * int(keep.sum()),
        trials=[str(number or "") for number in trial[keep].tolist()],
        start=(start - since)[keep] * 1e3,
        duration=duration[keep] * 1e3,
        clock="stimulus" if trial.any() else "recording",
        x=x[keep],
        y=y[keep],
        dropped=above_zero(dropped | {"no stimulus on the screen": np.sum(~keep)}),
        notes=notes,
    )


def _columns(about: dict[str, Any]) -> tuple[str, ...]:
    names = about.get("Columns")
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _eyes(names: tuple[str, ...]) -> dict[str, str]:
    """Returns the column of x by eye; the eye is "" in a file with one."""
    matches = [match for name in names if (match := _X.fullmatch(name))]
    sides = {"1": "left", "2": "right", None: ""}
    return {match["side"] or sides[match["number"]]: match[0] for match in matches}


def _space(head: Head, about: dict[str, Any], column: str) -> str:
    system = str(about.get("SampleCoordinateSystem", "gaze-on-screen"))
    if system != "gaze-on-screen":
        raise UnisalError(f"{head.path}: its SampleCoordinateSystem is {system!r}, not 'gaze-on-screen'")
    told = about.get(column)
    units = told.get("Units") if isinstance(told, dict) else None
    units = str(
        units or about.get("SampleCoordinateUnits") or about.get("SampleCoordinateUnit") or ""
    ).lower()
    space = _SPACES.get(units.removesuffix("s"))
    if space is None:
        raise UnisalError(f"{head.path}: the unit of {column!r} is {units!r}, not pixels of the screen")
    return space


def _positions(
    head: Head, about: dict[str, Any], eyes: dict[str, str], eye: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    """Returns timestamps, x and y of the samples, and notes."""
    names = _columns(about)
    # Uncompressed tables have a header.
    has_header = head.names[: len(names)] == names
    table = Head(head.path, head.lines, names, "\t")
    places = {"time": table.find(*_TIMES)}
    for side, name in eyes.items():
        places[f"x{side}"] = table.find(name)
        places[f"y{side}"] = table.need(
            name.replace("x", "y", 1), remedy="it must be among its JSON's Columns"
        )
    columns = read_columns(table, {}, places, header=has_header)
    numbers, notes = columns.numbers, columns.notes
    ticks = numbers["time"] if places["time"] is not None else np.arange(len(columns), dtype=float)
    recorded = eyes.keys() - {""} or {str(about.get("RecordedEye", "")).lower()} & {"left", "right"}
    chosen = choose(head.path, eye, set(recorded))
    if len(eyes) == 1:
        (side,) = eyes
        x, y = numbers[f"x{side}"], numbers[f"y{side}"]
    elif chosen == "mean":
        notes += (BOTH,)
        x, y = (mean_of_samples(numbers[f"{axis}left"], numbers[f"{axis}right"]) for axis in "xy")
    else:
        x, y = numbers[f"x{chosen}"], numbers[f"y{chosen}"]
    rows = np.flatnonzero(np.isfinite(ticks))
    rows = rows[np.argsort(ticks[rows], kind="stable")]
    return ticks[rows], x[rows], y[rows], notes


def _unit(head: Head, about: dict[str, Any], ticks: np.ndarray) -> float:
    """Returns the unit of the timestamps in seconds, from the JSON or the sampling rate."""
    for column in _TIMES:
        told = about.get(column)
        unit = str(told.get("Units", "")).strip().lower() if isinstance(told, dict) else ""
        unit = unit if unit in _SECONDS else unit.removesuffix("s")
        if unit in _SECONDS:
            return _SECONDS[unit]
    rate, steps = number_in(about, "SamplingFrequency"), np.diff(ticks)
    if rate is None or not rate > 0 or not (steps > 0).any():
        raise UnisalError(
            f"{head.path}: its JSON file has neither Units of 'timestamp' nor a SamplingFrequency"
        )
    return 1 / (float(np.median(steps[steps > 0])) * rate)
