"""SR Research's EyeLink: text files that `edf2asc` converts from recordings.

Sources of the format: EyeLink 1000 Plus user manual, 4.9 "The ASC File Format" (`EFIX <eye> <start> <end>
<duration> <x> <y> <pupil>`, samples `<time> <x> <y> <pupil>`, or `<time> <xl> <yl> <pl> <xr> <yr> <pr>` of
both eyes, a dot where the eye was lost), and EyeLink Data Viewer's manual, "Protocol for EyeLink Data to
Viewer Integration" (`TRIALID`, `!V IMGLOAD`, `!V VFRAME`, `!V TRIAL_VAR`, an offset before a message's text).
Times are in milliseconds, positions pixels of the screen from its upper left corner.

A trial's stimulus is what `!V IMGLOAD` or `!V VFRAME` name, else the first file name of an image or video
in its messages. It was shown from `SYNCTIME`, or from a message such as "image_onset", else from the
recording's start.
"""

import re

import numpy as np

from unisal_jax.gaze.columns import counted
from unisal_jax.gaze.eyes import BOTH, choose, mean_of_samples, merge_fixations
from unisal_jax.gaze.formats.asc_lines import Lines
from unisal_jax.gaze.head import Head
from unisal_jax.gaze.recording import Recording
from unisal_jax.tables import open_lines

_LINE = re.compile(r"\*\* CONVERTED FROM |[SE](?:FIX|SACC|BLINK) +[LR]\s|MSG\t\d|START\t\d")


def fits(head: Head) -> bool:
    """Whether the file is such a text file."""
    return sum(_LINE.match(line) is not None for line in head.lines) >= 2


def read(head: Head, eye: str) -> Recording:
    """Reads fixations, or samples of a file that was converted without events."""
    file = Lines(head.path)
    with open_lines(head.path, "surrogateescape") as lines:
        for line in lines:
            file.take(line)
    file.flush()
    notes = list(file.number.notes())
    if file.cut:
        notes.append(f"{counted(file.cut, 'line')} cut off, skipped")
    if file.is_open:
        notes.append("ends in the middle of a recording (no END): its last fixation may be missing")
    if len(file.screens) > 1:
        sizes = ", ".join(f"{width}x{height}" for height, width in sorted(file.screens))
        notes.append(f"holds screens of several sizes, {sizes}; none is used")
    if file.events:
        trial, is_right, start, duration, x, y = np.asarray(file.events).reshape(-1, 6).T
        eyes = choose(head.path, eye, {"right" if right else "left" for right in set(is_right)})
        if eyes == "mean":
            rows, start, end, x, y = merge_fixations(trial, is_right > 0, start, start + duration, x, y)
            trial, duration = trial[rows], end - start
        else:
            is_eye = is_right == (eyes == "right")
            trial, start, duration, x, y = (values[is_eye] for values in (trial, start, duration, x, y))
    else:
        trial, start, xl, yl, xr, yr = np.asarray(file.samples).reshape(-1, 6).T
        recorded = {name for name, one in (("left", xl), ("right", xr)) if np.isfinite(one).any()}
        eyes = choose(head.path, eye, recorded)
        duration = np.full(len(trial), np.nan)
        pick = {
            "left": lambda left, right: left,
            "right": lambda left, right: right,
            "mean": mean_of_samples,
        }[eyes]
        x, y = pick(xl, xr), pick(yl, yr)
    if eyes == "mean":
        notes.append(BOTH)
    return _recording(head, file, trial.astype(int), (start, duration, x, y), notes)


def _recording(
    head: Head, file: Lines, trial: np.ndarray, numbers: tuple[np.ndarray, ...], notes: list[str]
) -> Recording:
    start, duration, x, y = numbers
    stimuli: list[str] = []
    onset = np.empty(len(trial))
    for number, count in zip(*np.unique(trial, return_counts=True), strict=True):
        part = slice(len(stimuli), len(stimuli) + int(count))
        names, onset[part] = file.trials[number].shown(start[part])
        stimuli += names
    has_name = np.array([bool(name) for name in stimuli], bool)
    # If no trial names its stimulus, all may have the same.
    is_unnamed = ~has_name & has_name.any()
    # Keep a fixation that lasts into the stimulus; its start is negative.
    is_before = (start + np.nan_to_num(duration) <= onset) & (start < onset) & ~is_unnamed
    keep = np.flatnonzero(~is_unnamed & ~is_before)
    unsynced = {number for number in trial[keep].tolist() if np.isnan(file.trials[number].onset)}
    if unsynced:
        notes.append(
            f"{counted(len(unsynced), 'trial')} without SYNCTIME: times count from the recording's start"
        )
    dropped = dict(file.counts) | {
        "before the stimulus": int(is_before.sum()),
        "no stimulus named": int(is_unnamed.sum()),
    }
    return Recording(
        path=str(head.path),
        format="eyelink_asc",
        kind="fixations" if file.events else "samples",
        space="screen",
        screen=next(iter(file.screens)) if len(file.screens) == 1 else None,
        stimuli=[stimuli[row] for row in keep.tolist()],
        observers=[file.observer] * len(keep),
        trials=[str(number) for number in trial[keep].tolist()],
        start=(start - onset)[keep],
        duration=duration[keep],
        clock="stimulus",
        x=x[keep],
        y=y[keep],
        dropped={reason: count for reason, count in dropped.items() if count},
        notes=tuple(notes),
    )
