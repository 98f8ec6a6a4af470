"""Converts recordings to fixations on stimuli."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from natsort import natsorted

from unisal_jax.domains import Size
from unisal_jax.errors import UnisalError
from unisal_jax.gaze import geometry, ivt
from unisal_jax.gaze.films import frame_edges, frames_of
from unisal_jax.gaze.people import observer_labels
from unisal_jax.gaze.recording import Recording
from unisal_jax.gaze.rows import Fixations, groups, in_order, joined, without_copies
from unisal_jax.gaze.settings import Settings
from unisal_jax.gaze.stimuli import Stimulus, match_stimuli
from unisal_jax.limits import MAX_TABLE_ROWS

# Reasons why a fixation is not in the table.
LOST, FIRST = "the tracker lost the eye", "the first of its viewing (--drop-first)"
OFF_SCREEN, OFF_STIMULUS = "off the screen", "beside the stimulus"
NO_TIME, NO_FRAME = "without a time, on a film", "on a frame that the film does not have"
BEFORE, AFTER = "before the stimulus was shown", "after the film's last frame"
TWICE, SHORT = "in two files", "shorter than the least duration (--ivt minimum)"


# Bounds of valid numbers: pixels, and ms (system clocks count from 1970).
_FARTHEST, _LATEST = 1e9, 1e14

# Samples, and the fixation of each sample (`ivt.Events.of_row`).
_Gaze = tuple[Fixations, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class FileFacts:
    """Facts about one imported file.

    Attributes:
      recording: the reader's result.
      space: of its x and y, from the reader or the settings.
      screen: (height, width) of its screen; None if unknown.
      observers: the observers in it.
      named_by_file: whether the observers are named after the file, since it does not name them.
      samples: number of samples of raw gaze on known stimuli; 0 for files with fixations.
      lost: number of these without the eye.
      backwards: number of rows whose time is before that of the previous row of the same viewing.
      pixels_per_degree: of each stimulus, by its number; empty if the screen's is unknown.
    """

    recording: Recording
    space: str
    screen: Size | None
    observers: tuple[str, ...]
    named_by_file: bool
    samples: int
    lost: int
    backwards: int
    pixels_per_degree: dict[int, float]


@dataclasses.dataclass(frozen=True, eq=False)
class Import:
    """The fixations of all files, and facts about the import.

    Attributes:
      fixations: sorted by stimulus, observer, viewing, frame and start.
      stimuli: the stimuli that were shown.
      observers: names, in natural order.
      files: the facts about each file.
      dropped: reason -> number of fixations that are not in `fixations`.
      frames_beside: number of video frames dropped because the eye, while following something, was outside
        the video.
      unmatched: name -> number of rows of stimuli that are not in the folder.
      unnamed: number of rows that name no stimulus.
      unseen: number of files in the folder without any row.
    """

    fixations: Fixations
    stimuli: tuple[Stimulus, ...]
    observers: tuple[str, ...]
    files: tuple[FileFacts, ...]
    dropped: dict[str, int]
    frames_beside: int
    unmatched: dict[str, int]
    unnamed: int
    unseen: int


def import_recordings(recordings: Sequence[Recording], root: Path, settings: Settings) -> Import:
    """Maps recordings to the stimuli in a folder.

    Args:
      recordings: one per file.
      root: the folder of the stimuli, `--raw` of `prepare own`.
      settings: the settings of the import.

    Raises:
      UnisalError: no stimulus matches, a screen or scale is needed but unknown, or no fixation remains.
    """
    names = Counter[str]()
    for recording in recordings:
        names.update(_stimulus_names(recording, settings))
    unnamed = names.pop("", 0)
    if not names:
        raise UnisalError(f"{recordings[0].path}: no row is on a stimulus")
    matched, unseen = match_stimuli(root, names)
    stimuli = natsorted(set(matched.values()), key=lambda stimulus: stimulus.name)
    number = {stimulus.path: i for i, stimulus in enumerate(stimuli)}
    labels = observer_labels(recordings)
    observers = natsorted({label for some in labels for label in some})
    place = _Places(
        tuple(stimuli),
        {name: number[stimulus.path] for name, stimulus in matched.items()},
        {label: i for i, label in enumerate(observers)},
        settings,
        {},
    )
    dropped, parts, files, beside, taken = Counter[str](), [], [], 0, 0
    for recording, own in zip(recordings, labels, strict=True):
        part, facts, lost_frames = _import_one(_bounded(recording), own, place, dropped)
        part = dataclasses.replace(part, fixation=part.fixation + taken, viewing=part.viewing + taken)
        taken += len(recording.start)
        parts.append(part)
        files.append(facts)
        beside += lost_frames
        if sum(map(len, parts)) > MAX_TABLE_ROWS:
            raise UnisalError(
                f"{recording.path}: more than {MAX_TABLE_ROWS} fixations in this and earlier files"
            )
    together, dropped[TWICE] = without_copies(parts)
    together = in_order(together)
    if not len(together):
        reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.most_common() if count)
        raise UnisalError(
            f"{recordings[0].path}: no fixations on the stimuli in {root} ({reasons or 'the file has none'})"
        )
    return Import(
        together,
        tuple(stimuli),
        tuple(observers),
        tuple(files),
        dict(dropped),
        beside,
        {name: names[name] for name in natsorted(names) if name not in matched},
        unnamed,
        unseen,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Places:
    """Data shared by all files: stimuli, numbers of names, and frame times of videos read so far."""

    stimuli: tuple[Stimulus, ...]
    stimulus_number: dict[str, int]
    observer_number: dict[str, int]
    settings: Settings
    films: dict[int, np.ndarray]

    def edges(self, stimulus: int) -> np.ndarray:
        if stimulus not in self.films:
            self.films[stimulus] = frame_edges(self.stimuli[stimulus].path, self.settings.fps)
        return self.films[stimulus]


def _stimulus_names(recording: Recording, settings: Settings) -> Sequence[str]:
    """Returns the name of each row's stimulus; `settings.stimulus` if the file names none."""
    if any(recording.stimuli):
        return recording.stimuli
    if settings.stimulus is None:
        raise UnisalError(f"{recording.path}: names no stimulus; pass --stimulus NAME")
    return [settings.stimulus] * len(recording.stimuli)


def _bounded(recording: Recording) -> Recording:
    """Replaces implausible numbers in a recording by NaN."""

    def within(values: np.ndarray, low: float, high: float) -> np.ndarray:
        return np.where((values >= low) & (values <= high), values, np.nan)

    return dataclasses.replace(
        recording,
        start=within(recording.start, -_LATEST, _LATEST),
        duration=within(recording.duration, 0.0, _LATEST),
        x=within(recording.x, -_FARTHEST, _FARTHEST),
        y=within(recording.y, -_FARTHEST, _FARTHEST),
    )


def _import_one(
    recording: Recording, labels: list[str], place: _Places, dropped: Counter[str]
) -> tuple[Fixations, FileFacts, int]:
    """Imports one file; counts its other fixations in `dropped`."""
    settings = place.settings
    count = len(recording.start)
    names = _stimulus_names(recording, settings)
    stimulus = np.fromiter((place.stimulus_number.get(name, -1) for name in names), np.int64, count)
    observer = np.fromiter((place.observer_number[label] for label in labels), np.int64, count)
    trial = _numbers(recording.trials)
    viewing = _viewings(stimulus, observer, trial)
    rows = np.flatnonzero(stimulus >= 0)
    rows = rows[np.argsort(viewing[rows], kind="stable")]
    backwards = int(((np.diff(recording.start[rows]) < 0) & (np.diff(viewing[rows]) == 0)).sum())
    rows = rows[np.lexsort((recording.start[rows], viewing[rows]))]
    space = settings.coordinates or recording.space
    screen = settings.screen or recording.screen
    boxes = _boxes(recording.path, np.unique(stimulus[rows]), space, screen, place)
    per_degree = geometry.screen_pixels_per_degree(settings, screen)
    degrees = {
        number: geometry.stimulus_pixels_per_degree(per_degree, box, place.stimuli[number].size)
        for number, box in boxes.items()
        if per_degree is not None
    }
    x, y = _on_stimuli(recording, stimulus, space, screen, boxes, place)
    start = _from_onset(recording, rows, viewing, settings)
    # Rows with a frame number are points on frames, not samples in time.
    samples = recording.kind == "samples" and recording.frames is None
    found = Fixations(
        stimulus[rows],
        observer[rows],
        viewing[rows],
        rows,
        np.zeros(len(rows), np.int64),
        start,
        recording.duration[rows],
        x[rows],
        y[rows],
    )
    lost = int((~np.isfinite(found.x + found.y)).sum())
    gaze: _Gaze | None = None
    if samples:
        if rows.size and not degrees:
            raise UnisalError(
                f"{recording.path}: holds only raw gaze, and finding fixations requires degrees per second; "
                "pass --screen-cm and --distance-cm, or --screen-pixels-per-degree (about 40 for a 24-inch "
                "screen of 1920x1080 at 65 cm)"
            )
        found, gaze = _events(found, degrees, settings.ivt, dropped)
    found = _on_the_stimulus(found, screen, boxes, place, dropped)
    found, beside = _on_frames(found, gaze, recording.frames, place, dropped)
    people = natsorted(set(labels))
    facts = FileFacts(
        recording,
        space,
        screen,
        tuple(people),
        not any(recording.observers),
        len(rows) if samples else 0,
        lost if samples else 0,
        backwards,
        {number: float(np.sqrt(across * down)) for number, (across, down) in degrees.items()},
    )
    return found, facts, beside


def _numbers(names: Sequence[str]) -> np.ndarray:
    """Numbers the names in order of appearance."""
    known: dict[str, int] = {}
    return np.fromiter((known.setdefault(name, len(known)) for name in names), np.int64, len(names))


def _viewings(*parts: np.ndarray) -> np.ndarray:
    """Returns the number of each row's viewing, which is its first row in the file."""
    together = np.zeros(len(parts[0]), np.int64)
    for part in parts:
        together = together * (part.max(initial=0) + 2) + part + 1
        together = np.unique(together, return_inverse=True)[1]
    first = np.unique(together, return_index=True)[1]
    return first[together]


def _boxes(
    path: str, numbers: np.ndarray, space: str, screen: Size | None, place: _Places
) -> dict[int, geometry.Box | None]:
    """Returns the position of each stimulus on the screen."""
    shown = place.settings.shown
    boxes = {int(n): geometry.place(shown, screen, place.stimuli[n].size) for n in numbers}
    on_screen = space.startswith("screen")
    if (on_screen and None in boxes.values()) or (on_screen and space != "screen" and screen is None):
        raise UnisalError(
            f"{path}: holds no screen size in pixels, or several; pass --screen WxH, such as 1920x1080"
        )
    return boxes


def _on_stimuli(
    recording: Recording,
    stimulus: np.ndarray,
    space: str,
    screen: Size | None,
    boxes: dict[int, geometry.Box | None],
    place: _Places,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns x and y of each row in pixels of its stimulus."""
    x, y = geometry.to_screen(recording.x, recording.y, space, screen)
    on_x, on_y = np.full(len(x), np.nan), np.full(len(x), np.nan)
    for number, mine in groups(stimulus):
        if number >= 0:
            size = place.stimuli[number].size
            on_x[mine], on_y[mine] = geometry.to_stimulus(x[mine], y[mine], space, boxes[number], size)
    return on_x, on_y


def _from_onset(
    recording: Recording, rows: np.ndarray, viewing: np.ndarray, settings: Settings
) -> np.ndarray:
    """Returns times from the stimulus' onset; for other clocks, from the first row of the viewing."""
    start = recording.start[rows]
    if (settings.clock or recording.clock) != "stimulus" and len(rows):
        _, first, of_row = np.unique(viewing[rows], return_index=True, return_inverse=True)
        start = start - start[first][of_row]
    return start - settings.onset


def _events(
    gaze: Fixations, degrees: dict[int, tuple[float, float]], how: ivt.Ivt, dropped: Counter[str]
) -> tuple[Fixations, _Gaze]:
    """Finds fixations in raw gaze and the samples of each; counts those that are too short."""
    scale = np.ones((len(gaze), 2))
    for number, rows in groups(gaze.stimulus):
        scale[rows] = degrees[number]
    events = ivt.find_fixations(gaze.start, gaze.x / scale[:, 0], gaze.y / scale[:, 1], gaze.viewing, how)
    inner = np.flatnonzero(events.of_row >= 0)
    member = events.of_row[inner]
    weight = np.bincount(member)
    first = inner[np.searchsorted(member, np.arange(len(events.start)))]
    means = [np.bincount(member, values[inner]) / weight for values in (gaze.x, gaze.y)]
    found = gaze.take(first)
    found = dataclasses.replace(found, start=events.start, duration=events.duration, x=means[0], y=means[1])
    dropped[SHORT] += events.too_short
    return found, (gaze, events.of_row)


def _on_the_stimulus(
    found: Fixations,
    screen: Size | None,
    boxes: dict[int, geometry.Box | None],
    place: _Places,
    dropped: Counter[str],
) -> Fixations:
    """Returns the fixations on the stimuli; counts the others."""
    seen = np.isfinite(found.x) & np.isfinite(found.y)
    first = np.zeros(len(found), bool)
    if place.settings.drop_first and seen.any():
        rows = np.flatnonzero(seen)
        first[rows[np.unique(found.viewing[rows], return_index=True)[1]]] = True
    on_screen, on_stimulus = np.zeros((2, len(found)), bool)
    for number, rows in groups(found.stimulus):
        size, box = place.stimuli[number].size, boxes[number]
        x, y = found.x[rows], found.y[rows]
        on_stimulus[rows] = geometry.inside(x, y, size)
        on_screen[rows] = True
        if box is not None and screen is not None:
            x, y = geometry.from_stimulus(x, y, box, size)
            on_screen[rows] = geometry.inside(x, y, screen)
    kept = seen & ~first & on_stimulus
    dropped[LOST] += int((~seen).sum())
    dropped[FIRST] += int(first.sum())
    dropped[OFF_SCREEN] += int((seen & ~first & ~on_stimulus & ~on_screen).sum())
    dropped[OFF_STIMULUS] += int((seen & ~first & ~on_stimulus & on_screen).sum())
    return found.take(kept)


def _on_frames(
    found: Fixations,
    gaze: _Gaze | None,
    frames: np.ndarray | None,
    place: _Places,
    dropped: Counter[str],
) -> tuple[Fixations, int]:
    """Expands fixations on videos to a row per frame; also returns the number of frames outside the video.

    Args:
      found: the fixations.
      gaze: the samples in which the fixations were found, and the fixation of each. With them, the position
        on a frame is that at the middle of the frame's time, not the mean position of the fixation.
      frames: float64, frame number of each row of the file; None to assign frames by time.
      place: data shared by all files.
      dropped: counts of dropped fixations by reason.
    """
    parts, beside = [], 0
    for number, rows in groups(found.stimulus):
        mine = found.take(rows)
        before = (mine.start < 0) & (mine.start + np.nan_to_num(mine.duration) <= 0)
        dropped[BEFORE] += int(before.sum())
        mine = mine.take(~before)
        if place.stimuli[number].film:
            edges = place.edges(number)
            if frames is not None:
                told = frames[mine.fixation] - place.settings.first_frame
                known = (told >= 0) & (told < len(edges) - 1) & (told == np.floor(told))
                dropped[NO_FRAME] += int((~known).sum())
                mine = mine.take(known)
                parts.append(dataclasses.replace(mine, frame=told[known].astype(np.int64)))
                continue
            timed = np.isfinite(mine.start)
            dropped[NO_TIME] += int((~timed).sum())
            mine = mine.take(timed)
            after = mine.start >= edges[-1]
            dropped[AFTER] += int(after.sum())
            mine = mine.take(~after)
            index, frame = frames_of(mine.start, mine.duration, edges)
            mine = dataclasses.replace(mine.take(index), frame=frame)
            if gaze is not None:
                mine = _followed(mine, *gaze, edges)
                inside = geometry.inside(mine.x, mine.y, place.stimuli[number].size)
                beside += int((~inside).sum())
                mine = mine.take(inside)
        parts.append(mine)
    return joined(parts) if parts else found, beside


def _followed(rows: Fixations, gaze: Fixations, of_sample: np.ndarray, edges: np.ndarray) -> Fixations:
    """Moves the rows of a video to the position of the eye at the middle of each frame's time."""
    event_of = dict(zip(gaze.fixation.tolist(), of_sample.tolist(), strict=True))
    middles = (edges[:-1] + edges[1:]) / 2
    x, y = rows.x.copy(), rows.y.copy()
    seen = np.flatnonzero(of_sample >= 0)
    members = of_sample[seen]
    for sample, mine in groups(rows.fixation):
        event = event_of[sample]
        low, high = np.searchsorted(members, [event, event + 1])
        samples = seen[low:high]
        at = middles[rows.frame[mine]]
        x[mine] = np.interp(at, gaze.start[samples], gaze.x[samples])
        y[mine] = np.interp(at, gaze.start[samples], gaze.y[samples])
    return dataclasses.replace(rows, x=x, y=y)
