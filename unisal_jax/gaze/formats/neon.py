"""Pupil Labs Neon and Invisible: `fixations.csv` and `gaze.csv` exported by Pupil Cloud's enrichments.

Reference Image Mapper and Manual Mapper export pixels of the reference image. Marker Mapper exports fractions
of a surface with (0, 0) at its upper left corner. `sections.csv` beside the file holds the wearer's name.

Sources of the columns: Pupil Labs' documentation, "Export formats" and the page of each enrichment
(docs.pupil-labs.com/neon/pupil-cloud/enrichments). Times are UTC in nanoseconds, durations in
milliseconds.
"""

import numpy as np

from unisal_jax.gaze.columns import above_zero, read_columns
from unisal_jax.gaze.head import Head, SceneCameraError, read_head
from unisal_jax.gaze.recording import Recording

_FLAGS = (
    "{} detected in reference image",
    "{} detected on surface",
    "{} status",
)
_X = {
    "fixation": (
        "fixation {} [px]",
        "fixation {} [normalized]",
        "fixation position on surface {} [normalized]",
    ),
    "gaze": (
        "gaze position in reference image {} [px]",
        "gaze position on surface {} [normalized]",
    ),
}
_TIMES = {"fixation": "start timestamp [ns]", "gaze": "timestamp [ns]"}

_ENRICH = (
    "these are positions in the scene camera's image; download the export of a Reference Image Mapper, "
    "Manual Mapper or Marker Mapper enrichment from Pupil Cloud"
)


def fits(head: Head) -> bool:
    """Whether the file is such an export, or the raw data it was made from."""
    return any(
        head.has(_TIMES[event])
        and head.find(*(name.format("x") for name in (*_X[event], "gaze {} [px]"))) is not None
        for event in _X
    )


def read(head: Head, eye: str) -> Recording:
    """Reads fixations or samples. `eye` has no effect, since Neon exports one gaze for both eyes."""
    del eye
    event = "fixation" if head.has(_TIMES["fixation"]) else "gaze"
    flag = head.need(*(name.format(event) for name in _FLAGS), remedy=_ENRICH, error=SceneCameraError)
    x, y = (head.need(*(name.format(axis) for name in _X[event]), remedy=_ENRICH) for axis in "xy")
    columns = read_columns(
        head,
        {"section": head.find("section id"), "recording": head.find("recording id"), "on": flag},
        {
            "start": head.need(_TIMES[event], remedy=_ENRICH),
            "end": head.find("end timestamp [ns]"),
            "duration": head.find("duration [ms]"),
            "x": x,
            "y": y,
        },
    )
    texts, numbers = columns.texts, columns.numbers
    is_time = np.isfinite(numbers["start"])
    is_on = texts["on"].among("true", "1")
    keep = is_time & is_on if event == "fixation" else is_time
    duration = numbers["duration"]
    if not np.isfinite(duration).any():
        duration = (numbers["end"] - numbers["start"]) / 1e6
    sections = texts["section"].take(keep)
    wearers = _wearers(head)
    recordings = texts["recording"].take(keep)
    return Recording(
        path=str(head.path),
        format="neon",
        kind="fixations" if event == "fixation" else "samples",
        space="stimulus_fraction" if "[normalized]" in head.names[x] else "stimulus",
        screen=None,
        stimuli=[""] * len(sections),
        observers=[wearers.get(pair[0], pair[1]) for pair in zip(sections, recordings, strict=True)],
        trials=sections,
        start=numbers["start"][keep] / 1e6,
        duration=duration[keep],
        clock="recording",
        x=numbers["x"][keep],
        y=numbers["y"][keep],
        dropped=above_zero({"not on the stimulus": np.sum(is_time & ~is_on)}) if event == "fixation" else {},
        notes=columns.notes,
    )


def _wearers(head: Head) -> dict[str, str]:
    """Returns the wearer's name by section, from `sections.csv`; empty if there is no such file."""
    path = head.path.with_name("sections.csv")
    if not path.is_file():
        return {}
    sections = read_head(path)
    if not sections.has("section id", "wearer name"):
        return {}
    columns = read_columns(
        sections,
        {"section": sections.find("section id"), "wearer": sections.find("wearer name")},
        {"start": None},
    ).texts
    every = np.arange(len(columns["section"].codes))
    pairs = zip(columns["section"].take(every), columns["wearer"].take(every), strict=True)
    return {section: wearer for section, wearer in pairs if wearer}
