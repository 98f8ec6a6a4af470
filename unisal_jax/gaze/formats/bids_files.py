"""Reads the files around a BIDS recording: JSON files, stimuli, and the tracker's events."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from unisal_jax.documents import read_json
from unisal_jax.gaze.columns import LARGEST, read_columns
from unisal_jax.gaze.head import Head, read_head
from unisal_jax.gaze.names import tidy_path

_INSIDE = re.compile(r"(?:sub|ses)-.*|func|beh|eeg|meg|ieeg|physio|pet|nirs|motion|dwi|anat|perf")
"""Folders between a data file and its dataset's root."""


def sidecar(path: Path, suffix: str = "") -> dict[str, Any]:
    """Returns the merged contents of a data file's JSON files, by BIDS' inheritance principle.

    Args:
      path: the data file.
      suffix: suffix of the data file, such as "events"; empty for that of the path.
    """
    *entities, own = path.name.split(".")[0].split("_")
    folders = [path.absolute().parent]
    while _INSIDE.fullmatch(folders[-1].name):
        folders.append(folders[-1].parent)
    merged: dict[str, Any] = {}
    for folder in reversed(folders):
        for file in sorted(folder.glob(f"*{suffix or own}.json"), key=lambda file: file.name.count("_")):
            *needed, found = file.stem.split("_")
            if found == (suffix or own) and set(needed) <= set(entities):
                content = read_json(file, "a JSON file of BIDS")
                merged |= content if isinstance(content, dict) else {}
    return merged


def number_in(about: dict[str, Any], name: str) -> float | None:
    """Returns a number from a JSON file; None if it has none."""
    value = about.get(name)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST
    return float(value) if is_number and value is not None else None


def screen_of(path: Path) -> tuple[int, int] | None:
    """Returns (height, width) of the screen, from the JSON of the events or of the recording."""
    for about in (sidecar(path, "events"), sidecar(path)):
        shown = about.get("StimulusPresentation")
        size = (shown if isinstance(shown, dict) else about).get("ScreenResolution")
        if isinstance(size, list) and len(size) == 2 and all(isinstance(n, int) and n > 0 for n in size):
            return size[1], size[0]
    return None


def what_was_shown(path: Path, times: np.ndarray) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Returns the stimulus at each time, from `stim_file` of the events beside a recording.

    Args:
      path: the recording.
      times: seconds, on the clock of the events.

    Returns:
      names: of the stimuli; "" if none was shown.
      onset: float64 [n], onset of the stimulus in seconds; 0 if none.
      trial: int [n], number of the event, from 1; 0 if none.
    """
    parts = [part for part in path.name.split(".")[0].split("_")[:-1] if not part.startswith("recording-")]
    none = [""] * len(times), np.zeros(len(times)), np.zeros(len(times), int)
    events = path.with_name("_".join([*parts, "events.tsv"]))
    if not events.is_file():
        return none
    head = read_head(events)
    if not head.has("onset", "stim_file"):
        return none
    table = read_columns(
        head,
        {"name": head.find("stim_file")},
        {"onset": head.find("onset"), "duration": head.find("duration")},
    )
    onset, duration, name = table.numbers["onset"], table.numbers["duration"], table.texts["name"]
    rows = np.flatnonzero(np.isfinite(onset) & ~name.among(""))
    rows = rows[np.argsort(onset[rows], kind="stable")]
    if not len(rows):
        return none
    # Without a duration, a stimulus lasts until the next one.
    following = np.append(onset[rows][1:], np.inf)
    end = np.where(duration[rows] > 0, onset[rows] + duration[rows], following)
    place = np.searchsorted(onset[rows], times, side="right") - 1
    is_shown = (place >= 0) & (times < end[place])
    names = [tidy_path(text) for text in name.take(rows)]
    return (
        [names[one] if shown else "" for one, shown in zip(place.tolist(), is_shown.tolist(), strict=True)],
        np.where(is_shown, onset[rows][place], 0.0),
        np.where(is_shown, place + 1, 0),
    )


def fixations_of(path: Path) -> tuple[np.ndarray, np.ndarray, dict[str, int]] | None:
    """Returns the fixations among the tracker's events beside its samples; None if there are none.

    Returns:
      onset: float64 [n], in the unit of the samples' timestamps.
      duration: float64 [n], in the unit of the file.
      others: type -> number of events that are not fixations.
    """
    events = path.with_name(path.name.replace("_physio.", "_physioevents."))
    names = sidecar(events).get("Columns")
    if events == path or not events.is_file() or not isinstance(names, list) or "trial_type" not in names:
        return None
    told = read_head(events)
    head = Head(events, told.lines, tuple(map(str, names)), "\t")
    table = read_columns(
        head,
        {"type": head.find("trial_type")},
        {"onset": head.find("onset"), "duration": head.find("duration")},
        header=told.names[: len(names)] == head.names,
    )
    kind = table.texts["type"]
    onset, duration = table.numbers["onset"], table.numbers["duration"]
    is_fixation = kind.among("fixation") & np.isfinite(onset) & (duration > 0)
    if not is_fixation.any():
        return None
    others = {
        f"{name}s": int(np.sum(kind.codes == code))
        for code, name in enumerate(kind.names)
        if name and name != "fixation"
    }
    return onset[is_fixation], duration[is_fixation], others
