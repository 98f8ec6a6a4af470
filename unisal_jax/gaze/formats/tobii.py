"""Data exports (TSV) of Tobii Pro Lab, and the similar ones of Tobii Studio.

A row is a sample of the tracker, about 60 to 1200 per second. A fixation has a row for each of its samples:
rows with the same `Eye movement type index` belong together. The stimulus' onset is the first row that names
it.

Sources of the columns: Tobii Pro Lab's user manual, "Data export", and its help pages on the export's format
(connect.tobii.com); the spellings of several versions, with units in brackets or in the name ("[DACS px]",
"(MCSnorm)"), as in published exports. DACS is the display, from its upper left corner; MCS is the stimulus,
in pixels or, normalized, from 0 to 1. Without MCS, "Presented Media position" and "width" give the position
of the stimulus on the display. Times are in milliseconds, in newer versions in microseconds; if the name does
not say, they are compared with the durations, which are always in milliseconds.

Glasses: gaze is in the scene camera's video, except for columns such as `Mapped fixation X [NAME]`, which are
in pixels of the snapshot of that name.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from unisal_jax.errors import UnisalError
from unisal_jax.gaze.columns import Columns, Text, above_zero, mean_by, read_columns, runs
from unisal_jax.gaze.head import Head, SceneCameraError, column_key
from unisal_jax.gaze.recording import Recording

_TIMES = ("Recording timestamp", "Recording timestamp [ms]", "Recording timestamp [μs]", "RecordingTimestamp")
_TYPES = ("Eye movement type", "GazeEventType")
_INDICES = ("Eye movement type index", "FixationIndex")
_STIMULI = ("Presented Stimulus name", "Presented Media name", "MediaName")
_OBSERVERS = ("Participant name", "ParticipantName")
_SPACES = {
    "stimulus_fraction": ("{} (MCSnorm)", "{} [MCS norm]"),
    "stimulus": ("{} [MCS px]", "{} (MCSpx)"),
    "screen": ("{}", "{} [DACS px]", "{} (DACSpx)", "{} (ADCSpx)"),
}
_POINTS = {"mean": "Gaze point {}", "left": "Gaze point left {}", "right": "Gaze point right {}"}
_MEDIA = {
    "media_left": "Presented Media position X",
    "media_top": "Presented Media position Y",
    "media_width": "Presented Media width",
    "media_height": "Presented Media height",
}
_MEDIA_FORMS = ("{}", "{} (DACSpx)", "{} [DACS px]", "{} [px]")
_MAPPED = re.compile(r"mapped fixation x \[(.+)\]", re.IGNORECASE)
_GLASSES = ("gyro x", "accelerometer x")
_EXPORT = "select it in Pro Lab under Analyze > Data export"

_DROPPED = {
    "": "no eye movement type",
    "saccade": "saccades",
    "unclassified": "unclassified",
    "eyesnotfound": "eyes not found",
}

_LONGEST_STEP_MS = 200.0
"""Trackers record at least five samples per second."""


def fits(head: Head) -> bool:
    """Whether the file has two of the groups of columns of such an export; `read` reports missing ones."""
    told = [head.find(*names) is not None for names in (_TIMES, _TYPES, _STIMULI)]
    told.append(any(_pairs(head, point) for point in ("Fixation point {}", *_POINTS.values())))
    return sum(told) >= 2 or (told[0] and bool(_snapshots(head)))


def read(head: Head, eye: str) -> Recording:
    """Reads fixations, or gaze points if the export has no fixations.

    Args:
      eye: applies to gaze points; fixations are Tobii's own, of the eyes selected for its filter.
    """
    head.need(*_TIMES, remedy=_EXPORT)
    snapshots = _snapshots(head)
    if snapshots:
        return _joined([_on_snapshot(head, name) for name in snapshots])
    pairs = _pairs(head, "Fixation point {}")
    notes: tuple[str, ...] = ()
    is_fixations = bool(pairs) and head.find(*_TYPES) is not None
    if not is_fixations:
        missing = "Eye movement type" if pairs else "Fixation point X"
        notes = (f"no column {missing!r}: gaze points instead of Tobii's own fixations; {_EXPORT}",)
        pairs = _pairs(head, _POINTS[eye])
        if not pairs:
            raise UnisalError(f"{head.path}: no column {_POINTS[eye].format('X')!r}; {_EXPORT}")
    while True:
        space, x, y = pairs.pop(0)
        columns = _read(head, x, y)
        if not pairs or np.isfinite(columns.numbers["x"]).any():
            _check_screen(head, columns)
            return _recording(head, space, columns, is_fixations, notes + columns.notes)


def _snapshots(head: Head) -> list[str]:
    """Returns the names of the snapshots to which a glasses project maps fixations."""
    return [match[1] for name in head.names if (match := _MAPPED.fullmatch(name.strip(' "')))]


def _on_snapshot(head: Head, name: str) -> Recording:
    """Reads the fixations on one snapshot, which may cover only a part of a recording."""
    x, y = (head.need(f"Mapped fixation {axis} [{name}]", remedy=_EXPORT) for axis in "XY")
    columns = _read(
        head,
        x,
        y,
        head.need(f"Mapped eye movement type [{name}]", remedy=_EXPORT),
        head.need(f"Mapped eye movement type index [{name}]", remedy=_EXPORT),
    )
    everywhere = Text(np.ones(len(columns), np.int32), ["", name])
    columns = dataclasses.replace(columns, texts=columns.texts | {"stimulus": everywhere})
    found = _recording(head, "stimulus", columns, True, columns.notes)
    ruled_out = {reason: count for reason, count in found.dropped.items() if reason != _DROPPED[""]}
    return dataclasses.replace(found, clock="recording", dropped=ruled_out)


def _joined(parts: Sequence[Recording]) -> Recording:
    """Joins the rows of several snapshots in one file."""
    return dataclasses.replace(
        parts[0],
        stimuli=[name for part in parts for name in part.stimuli],
        observers=[name for part in parts for name in part.observers],
        trials=[name for part in parts for name in part.trials],
        start=np.concatenate([part.start for part in parts]),
        duration=np.concatenate([part.duration for part in parts]),
        x=np.concatenate([part.x for part in parts]),
        y=np.concatenate([part.y for part in parts]),
        dropped=dict(sum((Counter(part.dropped) for part in parts), Counter[str]())),
    )


def _check_screen(head: Head, columns: Columns) -> None:
    """Raises SceneCameraError if gaze of glasses is not mapped to a snapshot."""
    is_glasses = columns.texts["media"].codes.any() or any(
        column_key(name).startswith(_GLASSES) for name in head.names
    )
    if is_glasses and not columns.texts["stimulus"].codes.any():
        raise SceneCameraError(
            f"{head.path}: no column 'Mapped fixation X [...]', so its positions are in the scene camera's "
            "video; map the gaze to snapshots in Pro Lab, and export it with the mapped fixations"
        )


def _pairs(head: Head, point: str) -> list[tuple[str, int, int]]:
    """Returns space and columns of x and y, best first: in the stimulus' own coordinates."""
    found = []
    for space, forms in _SPACES.items():
        names = [form.format(name) for name in (point, point.replace(" ", "")) for form in forms]
        x, y = (head.find(*(name.format(axis) for name in names)) for axis in "XY")
        if x is not None and y is not None:
            found.append((space, x, y))
    return found


def _read(head: Head, x: int, y: int, kind: int | None = None, index: int | None = None) -> Columns:
    """Reads the columns; those of the eye movement's type and number are given, or found by name."""
    return read_columns(
        head,
        {
            "stimulus": head.find(*_STIMULI),
            "observer": head.find(*_OBSERVERS),
            "recording": head.find("Recording name", "RecordingName"),
            "type": head.find(*_TYPES) if kind is None else kind,
            "media": head.find("Recording media name"),
            "sensor": head.find("Sensor"),
            "event": head.find("Event"),
        },
        {
            "time": head.find(*_TIMES),
            "x": x,
            "y": y,
            "index": head.find(*_INDICES) if index is None else index,
            "duration": head.find(
                "Gaze event duration",
                "Gaze event duration [ms]",
                "Eye movement event duration",
                "Eye movement event duration [ms]",
                "GazeEventDuration",
            ),
            "height": head.find("Recording resolution height", "Recording resolution height [px]"),
            "width": head.find("Recording resolution width", "Recording resolution width [px]"),
        }
        | {name: head.find(*(form.format(told) for form in _MEDIA_FORMS)) for name, told in _MEDIA.items()},
    )


def _recording(
    head: Head, space: str, columns: Columns, is_fixations: bool, notes: tuple[str, ...]
) -> Recording:
    texts, numbers = columns.texts, columns.numbers
    # Skip rows of the mouse, other sensors and events.
    is_gaze = texts["sensor"].among("", "eye tracker") & np.isfinite(numbers["time"])
    is_gaze &= texts["event"].among("") | ~texts["type"].among("") | np.isfinite(numbers["x"])
    rows = np.flatnonzero(is_gaze)
    who = texts["observer"].codes[rows], texts["recording"].codes[rows]
    shown, viewing = runs(*who, texts["stimulus"].codes[rows])
    if is_fixations:
        places = ("index",) if np.isfinite(numbers["index"]).any() else ("x", "y")
        first, run = runs(*who, texts["type"].codes[rows], *(numbers[place][rows] for place in places))
        last = np.append(first[1:], len(rows)) - 1
        kept = np.flatnonzero(texts["type"].among("fixation")[rows[first]])
        dropped = {
            _DROPPED.get(name.lower(), f"eye movement type {name!r}"): int(count)
            for name, count in zip(
                texts["type"].names,
                np.bincount(texts["type"].codes[rows[first]], minlength=len(texts["type"].names)),
                strict=True,
            )
            if count and name.lower() != "fixation"
        }
    else:
        first = last = run = kept = np.arange(len(rows))
        dropped = {}
    has_stimulus = texts["stimulus"].codes[rows[first[kept]]] != 0
    is_calibration = texts["stimulus"].among("eyetracker calibration")[rows[first[kept]]]
    if has_stimulus.any():
        dropped |= above_zero(
            {"no stimulus on the screen": np.sum(~has_stimulus), "calibration": np.sum(is_calibration)}
        )
        kept = kept[has_stimulus & ~is_calibration]
    taken, ends = rows[first[kept]], rows[last[kept]]
    time = numbers["time"] * _milliseconds(head, numbers, taken, is_fixations)
    duration = numbers["duration"][taken] if is_fixations else np.full(len(taken), np.nan)
    if is_fixations and not np.isfinite(duration).any():
        duration = time[ends] - time[taken]
        notes += ("no column 'Gaze event duration': from each fixation's first row to its last",)
    if is_fixations and len(rows) and np.isin(shown, first[kept]).all():
        notes += ("rows of fixations alone: times count from each stimulus' first fixation, not its onset",)
    x, y = (mean_by(run, numbers[axis][rows], len(first))[kept] for axis in "xy")
    space, x, y = _on_media(space, x, y, [numbers[name][taken] for name in _MEDIA])
    space, screen, x, y = _on_screen(space, x, y, numbers["height"], numbers["width"], taken)
    if space == "screen_fraction":
        notes += ("screens of several sizes: each fixation in fractions of its own",)
    return Recording(
        path=str(head.path),
        format="tobii",
        kind="fixations" if is_fixations else "samples",
        space=space,
        screen=screen,
        stimuli=texts["stimulus"].take(taken),
        observers=texts["recording" if head.find(*_OBSERVERS) is None else "observer"].take(taken),
        trials=[str(number) for number in (viewing[first[kept]] + 1).tolist()],
        start=time[taken] - time[rows[shown]][viewing[first[kept]]],
        duration=duration,
        clock="stimulus",
        x=x,
        y=y,
        dropped=dropped,
        notes=notes,
    )


def _on_media(
    space: str, x: np.ndarray, y: np.ndarray, media: list[np.ndarray]
) -> tuple[str, np.ndarray, np.ndarray]:
    """Returns space and coordinates; fractions of the stimulus if every row holds its position on the screen.

    Args:
      media: left and upper edge, width and height in pixels of the screen.
    """
    left, top, width, height = media
    if space != "screen" or not (np.isfinite(left + top) & (width > 0) & (height > 0)).all() or not len(x):
        return space, x, y
    return "stimulus_fraction", (x - left) / width, (y - top) / height


def _on_screen(
    space: str, x: np.ndarray, y: np.ndarray, heights: np.ndarray, widths: np.ndarray, rows: np.ndarray
) -> tuple[str, tuple[int, int] | None, np.ndarray, np.ndarray]:
    """Returns space, screen and coordinates; fractions if a file has screens of several sizes."""
    sizes = set(zip(heights[rows].tolist(), widths[rows].tolist(), strict=True))
    sizes = {size for size in sizes if size[0] > 0 and size[1] > 0}
    if len(sizes) > 1 and space == "screen":
        return "screen_fraction", None, x / widths[rows], y / heights[rows]
    height, width = sizes.pop() if len(sizes) == 1 else (0, 0)
    return space, (int(height), int(width)) if height else None, x, y


def _milliseconds(head: Head, numbers: dict[str, np.ndarray], rows: np.ndarray, is_fixations: bool) -> float:
    """Returns the unit of time in milliseconds."""
    name = column_key(head.names[head.need(*_TIMES, remedy=_EXPORT)])
    if "[" in name:
        return 1.0 if "[ms]" in name else 1e-3
    steps = np.diff(numbers["time"][rows])
    step = np.median(steps[steps > 0]) if (steps > 0).any() else 0.0
    durations = numbers["duration"][rows] if is_fixations else np.array([])
    longest = 100 * np.nanmedian(durations) if np.isfinite(durations).any() else _LONGEST_STEP_MS
    return 1e-3 if step > longest else 1.0
