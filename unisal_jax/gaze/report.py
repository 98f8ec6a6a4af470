"""Reports on an import, as text and as JSON."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from unisal_jax.documents import rounded
from unisal_jax.gaze.imports import Import
from unisal_jax.gaze.settings import Settings

_NAMES_SHOWN = 3
# One degree as a share of the width, if unknown: that of OSIE.
_DEGREE_OF_WIDTH = 0.03

_SHOWN_WORDS = {
    "fit": "as large as the screen allows, aspect kept, in the middle",
    "stretch": "over the whole screen",
    "actual": "at their own size, in the middle",
}


def describe(found: Import, settings: Settings, notes: list[str], doubts: list[str]) -> dict[str, Any]:
    """Returns the report for JSON.

    Args:
      found: the import.
      settings: its settings.
      notes: lines on skipped files.
      doubts: lines on what looks wrong.
    """
    rows = found.fixations
    once = rows.once()
    count = len(once)
    views, each = np.unique(
        np.stack([once.stimulus, once.observer, once.viewing]), axis=1, return_counts=True
    )
    dropped = {reason: number for reason, number in found.dropped.items() if number}
    left_out = Counter[str]()
    for file in found.files:
        left_out.update({reason: number for reason, number in file.recording.dropped.items() if number})
    by_stimulus = np.bincount(once.stimulus, minlength=len(found.stimuli))
    by_observer = np.bincount(once.observer, minlength=len(found.observers))
    return {
        "defaults": _defaults(found, settings),
        "dropped": dropped,
        "dropped_share": rounded(sum(dropped.values()) / (count + sum(dropped.values()))),
        "duration_median_ms": _median(once.duration[np.isfinite(once.duration)]),
        "files": [_file(file) for file in found.files],
        "fixations": count,
        "fixations_per_viewing": {"max": int(each.max()), "median": _median(each), "min": int(each.min())},
        "frames_beside": found.frames_beside,
        "left_out_by_files": dict(left_out),
        "looks_wrong": doubts,
        "notes": [*notes, *_notes(found)],
        "observers": {
            name: {"fixations": int(by_observer[i]), "viewings": int((views[1] == i).sum())}
            for i, name in enumerate(found.observers)
        },
        "pixels_per_degree": _pixels_per_degree(found),
        "rows": len(rows),
        "samples": {
            "eye_lost": sum(file.lost for file in found.files),
            "rows": sum(file.samples for file in found.files),
        },
        "stimuli": {
            stimulus.name: {
                "film": stimulus.film,
                "fixations": int(by_stimulus[i]),
                "observers": len(np.unique(views[1][views[0] == i])),
                "size": list(stimulus.size),
            }
            for i, stimulus in enumerate(found.stimuli)
        },
        "stimuli_not_in_folder": found.unmatched,
        "stimuli_not_shown": found.unseen,
        "rows_without_stimulus": found.unnamed,
        "viewings": views.shape[1],
    }


def lines(report: dict[str, Any]) -> list[str]:
    """Returns the report as lines of text."""
    files, per = report["files"], report["fixations_per_viewing"]
    formats = ", ".join(
        f"{name} ({number})" for name, number in Counter(f["format"] for f in files).most_common()
    )
    kinds = Counter(file["kind"] for file in files)
    seen = sum(stimulus["fixations"] > 0 for stimulus in report["stimuli"].values())
    text = [
        f"{_number(len(files), 'file')}: {formats}; {' and '.join(kinds)}",
        f"{_number(len(report['observers']), 'observer')}, {_number(seen, 'stimulus', 'stimuli')}, "
        f"{_number(report['viewings'], 'viewing')}, {_number(report['fixations'], 'fixation')}: "
        f"{per['median']:g} per viewing ({per['min']} to {per['max']})",
    ]
    if report["rows"] != report["fixations"]:
        text.append(f"{report['rows']:,} rows, one for each video frame of a fixation")
    if report["samples"]["rows"]:
        lost, samples = report["samples"]["eye_lost"], report["samples"]["rows"]
        text.append(f"{samples:,} samples of raw gaze, the eye lost in {lost / samples:.1%}")
    reasons = "; ".join(f"{number:,} {reason}" for reason, number in _by_number(report["dropped"]))
    dropped = sum(report["dropped"].values())
    text.append(
        f"dropped: {_number(dropped, 'fixation')} ({report['dropped_share']:.1%})"
        f"{': ' if reasons else ''}{reasons}"
    )
    if report["frames_beside"]:
        text.append(
            f"dropped: {_number(report['frames_beside'], 'frame')} in which a moving fixation was outside "
            "the video"
        )
    if report["left_out_by_files"]:
        some = "; ".join(f"{number:,} {reason}" for reason, number in _by_number(report["left_out_by_files"]))
        text.append(f"rows that the files mark as invalid: {some}")
    absent = report["stimuli_not_in_folder"]
    if absent:
        first = list(absent.items())[:_NAMES_SHOWN]
        some = ", ".join(f"{name!r} ({number:,} rows)" for name, number in first)
        more = ", ..." if len(absent) > _NAMES_SHOWN else ""
        text.append(f"not in the folder of stimuli: {some}{more}")
    if report["rows_without_stimulus"]:
        text.append(f"{report['rows_without_stimulus']:,} rows name no stimulus")
    if report["stimuli_not_shown"]:
        text.append(
            f"{_number(report['stimuli_not_shown'], 'file')} in the folder of stimuli without any row; "
            "`unisal prepare own` would treat them as images without fixations: move them elsewhere"
        )
    degree = report["pixels_per_degree"]
    if degree:
        spread = "" if degree["min"] == degree["max"] else f" ({degree['min']:g} to {degree['max']:g})"
        text.append(f"{degree['median']:g} pixels of a stimulus{spread} per degree")
    text += [f"default: {line}" for line in report["defaults"]]
    text += [f"note: {line}" for line in report["notes"]]
    return text + [f"looks wrong: {line}" for line in report["looks_wrong"]]


def next_command(report: dict[str, Any], stimuli: str, table: str) -> list[str]:
    """Returns the command line that prepares the table for training, as a list of words."""
    degree = report["pixels_per_degree"]
    if degree:
        blur = ["--sigma", "1", "--pixels-per-degree", f"{degree['median']:g}"]
    else:
        widths = [stimulus["size"][1] for stimulus in report["stimuli"].values()]
        blur = ["--sigma", f"{max(1, round(_DEGREE_OF_WIDTH * float(np.median(widths))))}"]
    name = "".join(c if c.isalnum() or c in "_-" else "_" for c in Path(table).name.split(".")[0])
    start = ["unisal", "prepare", "own", "--raw", stimuli, "--table", table]
    return [*start, *blur, "--name", name or "gaze", "--data-dir", "data"]


def _file(file: Any) -> dict[str, Any]:
    recording = file.recording
    return {
        "coordinates": file.space.replace("_", "-"),
        "file": Path(recording.path).name,
        "format": recording.format,
        "kind": recording.kind,
        "notes": list(recording.notes),
        "observers": len(file.observers),
        "rows": len(recording.start),
        "screen": None if file.screen is None else list(file.screen),
    }


def _defaults(found: Import, settings: Settings) -> list[str]:
    """Returns lines on the defaults that were used."""
    files, chosen = found.files, Settings()
    told = []
    if settings.shown == chosen.shown and any(file.space.startswith("screen") for file in files):
        told.append(f"stimuli shown {_SHOWN_WORDS['fit']} (--shown fit)")
    if settings.coordinates is None and any(file.recording.format == "table" for file in files):
        told.append("x and y of a table are in pixels of the stimulus (--coordinates stimulus)")
    by_first = any((settings.clock or file.recording.clock) != "stimulus" for file in files)
    if by_first and settings.onset == chosen.onset:
        told.append("a stimulus appeared with the first row of its viewing (--onset 0)")
    if any(file.samples for file in files) and settings.ivt == chosen.ivt:
        how = settings.ivt
        told.append(
            f"raw gaze slower than {how.velocity:g} degrees/s is a fixation; gaps up to {how.gap:g} ms are "
            f"filled; two at most {how.merge_time:g} ms and {how.merge_degrees:g} degrees apart are one; at "
            f"least {how.minimum:g} ms long (--ivt)"
        )
    if any(file.samples and file.screen is None for file in files) and isinstance(settings.shown, str):
        told.append("where the screen is unknown, --screen-pixels-per-degree is applied to the stimulus")
    if any(file.named_by_file for file in files):
        told.append(
            "observers without a name are named after the file (Pupil Core: the folder of the recording)"
        )
    if any(stimulus.film for stimulus in found.stimuli):
        told.append("a fixation belongs to the frames during whose middle it lasted")
    return told


def _notes(found: Import) -> list[str]:
    """Returns the readers' notes without repetitions, and notes on repeated viewings and observers."""
    each = Counter(note for file in found.files for note in file.recording.notes)
    notes = [
        note if number == len(found.files) else f"{note} ({number} files)" for note, number in each.items()
    ]
    rows = found.fixations
    views = np.stack([rows.stimulus, rows.observer, rows.viewing])[:, rows.viewing > 1]
    again = np.unique(views, axis=1).shape[1]
    if again:
        notes.append(
            f"{_number(again, 'viewing')} by observers who had seen the stimulus before: prepared data do "
            "not distinguish them, and the protocol scanpath treats all of an observer's as one sequence"
        )
    files = Counter(name for file in found.files for name in file.observers)
    several = [name for name, number in files.items() if number > 1]
    if several:
        more = ", ..." if len(several) > _NAMES_SHOWN else ""
        names = ", ".join(several[:_NAMES_SHOWN])
        notes.append(
            f"{_number(len(several), 'observer')} in several files, each treated as one person: {names}{more}"
        )
    return notes


def _pixels_per_degree(found: Import) -> dict[str, float] | None:
    each = [value for file in found.files for value in file.pixels_per_degree.values()]
    if not each:
        return None
    return {
        "max": rounded(max(each), 4),
        "median": rounded(float(np.median(each)), 4),
        "min": rounded(min(each), 4),
    }


def _median(values: np.ndarray) -> float | None:
    return rounded(float(np.median(values))) if len(values) else None


def _by_number(counts: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _number(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"
