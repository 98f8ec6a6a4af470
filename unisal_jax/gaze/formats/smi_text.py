"""SMI's older text files: events of the IDF Event Detector, and samples of the IDF Converter.

Events are lines `Fixation L <trial> <number> <start> <end> <duration> <x> <y> ...`, as described by the lines
after "Table Header for Fixations:". Samples are a table after comments with ##, `Time Type Trial L POR X [px]
...`, in which rows of type MSG are messages. Times are in microseconds. A message `# Message: NAME` names a
stimulus at its onset. Sources: the headers of the files, and published readers.
"""

import re
from array import array

import numpy as np

from unisal_jax.errors import UnisalError
from unisal_jax.gaze.columns import Numbers, above_zero, counted
from unisal_jax.gaze.eyes import BOTH, choose, mean_of_samples, merge_fixations
from unisal_jax.gaze.head import Head, decoded
from unisal_jax.gaze.names import media_path, tidy_path
from unisal_jax.gaze.recording import Recording
from unisal_jax.limits import MAX_TABLE_ROWS
from unisal_jax.tables import open_lines

_EVENTS = "Table Header for Fixations:"
_MESSAGE = re.compile(r"# Message: *(.*)")
_AREA = re.compile(r"(?:## )?Calibration Area:\s*(\d+)\s+(\d+)")
_SUBJECT = re.compile(r"(?:## )?Subject:\s*(.+)")
_HELD = 5 << 14
"""Number of texts held before they are parsed."""


def fits(head: Head) -> bool:
    """Whether the file is such a text file."""
    return any(line.startswith(_EVENTS) for line in head.lines) or _is_samples(head)


def _is_samples(head: Head) -> bool:
    return head.has("Time", "Type") and head.find("L POR X [px]", "R POR X [px]") is not None


def read(head: Head, eye: str) -> Recording:
    """Reads fixations from a file of events, else samples."""
    is_samples = _is_samples(head)
    rows, shown, file_notes, counts = _lines(head, is_samples)
    notes = list(file_notes)
    start, end = rows[:, 0] / 1e3, rows[:, 1] / 1e3
    if is_samples:
        left, right = rows[:, 1:3], rows[:, 3:5]
        for pair in (left, right):
            # The tracker writes zeros where the eye was lost.
            pair[(pair == 0).all(1)] = np.nan
        recorded = {name for name, pair in (("left", left), ("right", right)) if np.isfinite(pair).any()}
        chosen = choose(head.path, eye, recorded)
        xy = mean_of_samples(left, right) if chosen == "mean" else left if chosen == "left" else right
        x, y, duration = xy[:, 0], xy[:, 1], np.full(len(rows), np.nan)
    else:
        is_right = rows[:, 4] > 0
        recorded = {name for name, is_eye in (("left", ~is_right), ("right", is_right)) if is_eye.any()}
        chosen = choose(head.path, eye, recorded)
        x, y = rows[:, 2], rows[:, 3]
        if chosen == "mean":
            _, start, end, x, y = merge_fixations(np.zeros(len(rows), int), is_right, start, end, x, y)
        else:
            is_eye = is_right == (chosen == "right")
            start, end, x, y = start[is_eye], end[is_eye], x[is_eye], y[is_eye]
        duration = end - start
    if chosen == "mean" and len(recorded) == 2:
        notes.append(BOTH)
    shown.sort()
    onsets = np.array([onset / 1e3 for onset, _ in shown])
    which = np.searchsorted(onsets, start, side="right") - 1
    has_name = np.array([bool(name) for _, name in shown] + [not shown], bool)
    keep = np.flatnonzero(has_name[which])
    names = [shown[place][1] for place in which[keep].tolist()] if shown else [""] * len(keep)
    told = {
        pattern: next((m for line in head.lines if (m := pattern.match(line))), None)
        for pattern in (_AREA, _SUBJECT)
    }
    area, subject = told[_AREA], told[_SUBJECT]
    return Recording(
        path=str(head.path),
        format="smi",
        kind="samples" if is_samples else "fixations",
        space="screen",
        screen=(int(area[2]), int(area[1])) if area else None,
        stimuli=names,
        observers=[subject[1].strip() if subject else ""] * len(keep),
        trials=[str(place + 1) for place in which[keep].tolist()],
        start=start[keep] - (onsets[which[keep]] if shown else 0.0),
        duration=duration[keep],
        clock="stimulus" if shown else "recording",
        x=x[keep],
        y=y[keep],
        dropped=counts | above_zero({"no stimulus on the screen": len(start) - len(keep)}),
        notes=tuple(notes),
    )


def _lines(
    head: Head, is_samples: bool
) -> tuple[np.ndarray, list[tuple[float, str]], tuple[str, ...], dict[str, int]]:
    """Reads all lines of a file.

    Returns:
      rows: float64 [n, 5]. For samples: time, and x and y of both eyes. For fixations: start, end, x, y, and
        whether it is of the right eye.
      shown: onset and name of each stimulus.
      notes, counts: notes on lines that were not read, and numbers of other events.
    """
    values, texts, number = array("d"), list[str](), Numbers()
    shown: list[tuple[float, str]] = []
    counts = {"saccades": 0, "blinks": 0}
    cut = 0
    places = [
        head.find(name) for name in ("Time", "L POR X [px]", "L POR Y [px]", "R POR X [px]", "R POR Y [px]")
    ]
    kind = head.find("Type") or 0
    # Samples exported by BeGaze name the stimulus in each row.
    column, stimulus = head.find("Stimulus") if is_samples else None, ""
    width = 1 + max(place for place in (*places, column, 0) if place is not None)
    with open_lines(head.path, "surrogateescape") as lines:
        for line in lines:
            fields = line.rstrip("\r\n").split("\t")
            if line.startswith("UserEvent") or (is_samples and fields[kind : kind + 1] == ["MSG"]):
                message = _MESSAGE.search(decoded(line))
                name = media_path(message[1]) if message else ""
                (time,) = number.read([fields[0] if is_samples else fields[3] if len(fields) > 3 else ""])
                if name and column is None and np.isfinite(time):
                    shown.append((time, name))
            elif is_samples and fields[kind : kind + 1] == ["SMP"]:
                if len(fields) < width:
                    cut += 1
                    continue
                texts += [fields[place] if place is not None else "" for place in places]
                if column is not None and fields[column] != stimulus:
                    stimulus = fields[column]
                    (time,) = number.read([fields[0]])
                    shown.append((time, tidy_path(decoded(stimulus).strip("- "))))
            elif line.startswith("Fixation ") and not is_samples:
                if len(fields) < 8:
                    cut += 1
                    continue
                texts += [fields[3], fields[4], fields[6], fields[7], str(int(fields[0].endswith("R")))]
            elif line.startswith("Saccade"):
                counts["saccades"] += 1
            elif line.startswith("Blink"):
                counts["blinks"] += 1
            if len(texts) >= _HELD:
                values.extend(number.read(texts))
                texts.clear()
                if len(values) > 5 * MAX_TABLE_ROWS:
                    raise UnisalError(f"{head.path}: more than {MAX_TABLE_ROWS} rows")
    values.extend(number.read(texts))
    notes = (f"{counted(cut, 'line')} cut off, skipped",) if cut else ()
    rows = np.array(values).reshape(-1, 5)
    rows = rows[np.isfinite(rows[:, 0])]
    return rows, shown, notes + number.notes(), {reason: count for reason, count in counts.items() if count}
