"""Plausibility checks of an import. Each returns lines to print; none stops the import."""

from collections.abc import Iterator

import numpy as np

from unisal_jax.gaze.contrast import contrast_doubts
from unisal_jax.gaze.geometry import per_cm, to_screen
from unisal_jax.gaze.imports import OFF_SCREEN, OFF_STIMULUS, TWICE, Import
from unisal_jax.gaze.rows import Fixations, groups
from unisal_jax.gaze.settings import Settings

# Shares of all fixations.
_IN_ONE_CORNER, _MANY_DROPPED = 0.9, 0.2
# Points within this share of the screen, from its upper left corner, suggest that the screen was smaller.
_SMALLER_SCREEN = 0.8
# Usual range of the median fixation duration in ms: 200 to 400 in scenes (Rayner 1998), with a wide margin.
_SHORTEST, _LONGEST = 80.0, 1000.0
# An observer below these shares of the usual value is reported.
_FEW, _ELSEWHERE = 1 / 3, 1 / 3
# Minimum number of people and fixations for a comparison, and maximum number of scenes.
_MIN_PEOPLE, _MIN_FIXATIONS = 3, 10
_MAX_SCENES = 500
# Below this NSS of the others' density, people do not look at the same things.
_AGREED = 0.3
_NAMES_SHOWN = 5
# Tolerance for non-square pixels, above which sides in cm and in pixels do not match.
_SQUARE = 0.03


def find_doubts(found: Import, settings: Settings) -> list[str]:
    """Returns a line for each thing that looks wrong."""
    once = found.fixations.once()
    sizes = np.array([stimulus.size for stimulus in found.stimuli], np.float64)[once.stimulus]
    across, down = once.x / sizes[:, 1], once.y / sizes[:, 0]
    return [
        *_corner(across, down),
        *_screens(found, settings),
        *_smaller_screen(found),
        *_dropped(found, len(once)),
        *_durations(once.duration),
        *_backwards(found),
        *contrast_doubts(found, settings),
        *_people(found, across, down),
        *_twins(found),
        *_in_two_files(found),
    ]


def _corner(across: np.ndarray, down: np.ndarray) -> Iterator[str]:
    for right, column in ((False, "left"), (True, "right")):
        for below, row in ((False, "upper"), (True, "lower")):
            share = float((((across >= 0.5) == right) & ((down >= 0.5) == below)).mean())
            if share > _IN_ONE_CORNER and len(across) >= _MIN_FIXATIONS:
                yield (
                    f"{share:.0%} of the fixations lie in the {row} {column} quarter of the stimuli: check "
                    "the size of the screen (--screen), where stimuli were shown (--shown), and the units of "
                    "x and y (--coordinates)"
                )


def _screens(found: Import, settings: Settings) -> Iterator[str]:
    told = {file.recording.screen for file in found.files if file.recording.screen}
    if len(told) > 1:
        sizes = ", ".join(f"{width}x{height}" for height, width in sorted(told))
        kept = "--screen is used for all" if settings.screen else "each file's own is used"
        yield f"the files have screens of several sizes, {sizes}; {kept}"
    elif told and settings.screen and settings.screen not in told:
        (height, width) = next(iter(told))
        given = f"{settings.screen[1]}x{settings.screen[0]}"
        yield f"the files have a screen of {width}x{height} pixels, but --screen {given} is used"
    if settings.screen_cm is not None:
        for screen in sorted({file.screen for file in found.files if file.screen}):
            across, down = per_cm(settings.screen_cm, screen)
            if abs(across / down - 1) > _SQUARE:
                yield (
                    f"--screen-cm: {across:.1f} pixels per cm across and {down:.1f} down on a screen of "
                    f"{screen[1]}x{screen[0]} pixels; on most screens the two are equal"
                )


def _smaller_screen(found: Import) -> Iterator[str]:
    for file in found.files:
        if file.screen is None or not file.space.startswith("screen"):
            continue
        height, width = file.screen
        x, y = to_screen(file.recording.x, file.recording.y, file.space, file.screen)
        seen = np.isfinite(x) & np.isfinite(y)
        if int(seen.sum()) < _MIN_FIXATIONS:
            continue
        low, high = np.percentile(np.stack([x[seen] / width, y[seen] / height]), (1, 99), axis=1)
        if (high < _SMALLER_SCREEN).all() and (low < (1 - high) / 2).all():
            yield (
                f"{file.recording.path}: the points fill {high[0]:.0%} by {high[1]:.0%} of a screen of "
                f"{width}x{height}, from its upper left corner: was the screen smaller?"
            )


def _dropped(found: Import, kept: int) -> Iterator[str]:
    for reason, remedy in (
        (OFF_SCREEN, "check the size of the screen (--screen) and the units of x and y (--coordinates)"),
        (OFF_STIMULUS, "check where the stimuli were shown (--shown)"),
    ):
        count = found.dropped.get(reason, 0)
        if count > _MANY_DROPPED * (kept + sum(found.dropped.values())):
            yield f"{count:,} fixations {reason}, and {kept:,} on the stimuli: {remedy}"
    samples, lost = sum(file.samples for file in found.files), sum(file.lost for file in found.files)
    if lost > _MANY_DROPPED * samples:
        yield f"the eye was lost in {lost / samples:.0%} of the samples"
    if found.dropped.get(TWICE):
        yield f"{found.dropped[TWICE]:,} fixations are in two files; they are counted once"


def _backwards(found: Import) -> Iterator[str]:
    for file in found.files:
        if file.backwards:
            yield (
                f"{file.recording.path}: {file.backwards:,} rows are earlier than the row before of the "
                "same viewing, and were sorted by time: was a stimulus shown more than once without a column "
                "that distinguishes the trials?"
            )


def _durations(duration: np.ndarray) -> Iterator[str]:
    known = duration[np.isfinite(duration)]
    if not len(known):
        return
    median = float(np.median(known))
    if not _SHORTEST <= median <= _LONGEST:
        yield (
            f"the median fixation lasts {median:.3g} ms, but 200 to 400 are usual: are the times in another "
            "unit, or is this raw gaze?"
        )


def _people(found: Import, across: np.ndarray, down: np.ndarray) -> Iterator[str]:
    once = found.fixations.once()
    counts = np.bincount(once.observer, minlength=len(found.observers))
    views = np.unique(np.stack([once.observer, once.stimulus, once.viewing]), axis=1)[0]
    viewings = np.bincount(views, minlength=len(found.observers))
    none = [found.observers[i] for i in np.flatnonzero(counts == 0)]
    if none:
        yield f"no fixations remain of {_listed(none)}"
    usual = float(np.median(viewings[viewings > 0]))
    half = [found.observers[i] for i in np.flatnonzero((viewings > 0) & (viewings < usual / 2))]
    if half:
        yield f"fewer than half as many viewings as others: {_listed(half)} (incomplete recordings?)"
    each = counts / np.maximum(viewings, 1)
    middle = float(np.median(each[viewings > 0]))
    few = [found.observers[i] for i in np.flatnonzero((viewings > 0) & (each < _FEW * middle))]
    if few:
        yield f"fewer than a third as many fixations per viewing as others: {_listed(few)}"
    if middle < 2:
        yield f"{middle:.1f} fixations per viewing; people make two to four per second"
    yield from _elsewhere(found, once, across, down)


def _elsewhere(found: Import, once: Fixations, across: np.ndarray, down: np.ndarray) -> Iterator[str]:
    """Reports observers who look where others do not, by the NSS of the others' density."""
    as_is, turned, count = _agreement(once, across, down, len(found.observers))
    enough = count >= _MIN_FIXATIONS
    if int(enough.sum()) < _MIN_PEOPLE:
        return
    as_is, turned = as_is / np.maximum(count, 1), turned / np.maximum(count, 1)
    usual = float(np.median(as_is[enough]))
    if usual < _AGREED:
        return
    for number in np.flatnonzero(enough & (as_is < _ELSEWHERE * usual)):
        told = (
            "; with y flipped, they would agree more"
            if turned[number] > max(2 * as_is[number], usual / 2)
            else ""
        )
        yield (
            f"observer {found.observers[number]} does not look where the others do: NSS {as_is[number]:.2f} "
            f"of their density, where {usual:.2f} is usual{told}"
        )


def _agreement(
    once: Fixations, across: np.ndarray, down: np.ndarray, people: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the sum of NSS over each observer's fixations, the same with y flipped, and their number.

    The density is that of the others' fixations in one scene (an image, or a second of a video), on a grid of
    24x32, blurred by 5% of the width.
    """
    sums, turned, count = np.zeros(people), np.zeros(people), np.zeros(people)
    second = np.where(np.bincount(once.stimulus, once.frame)[once.stimulus] > 0, once.start // 1000, 0)
    second = np.nan_to_num(second)
    scene = np.unique(np.stack([once.stimulus, second.astype(np.int64)]), axis=1, return_inverse=True)[1]
    scenes = groups(scene.ravel())
    blur_y, blur_x = _blur(24), _blur(32)
    for _, rows in scenes[:: max(1, len(scenes) // _MAX_SCENES)]:
        who, person = np.unique(once.observer[rows], return_inverse=True)
        if len(who) < _MIN_PEOPLE:
            continue
        row, column = (down[rows] * 24).astype(int), (across[rows] * 32).astype(int)
        marks = np.zeros((len(who), 24, 32))
        np.add.at(marks, (person, row, column), 1)
        density = blur_y @ marks @ blur_x
        others = density.sum(0) - density
        score = (others - others.mean((1, 2), keepdims=True)) / others.std((1, 2), keepdims=True)
        np.add.at(sums, once.observer[rows], score[person, row, column])
        np.add.at(turned, once.observer[rows], score[person, 23 - row, column])
        np.add.at(count, once.observer[rows], 1)
    return sums, turned, count


def _blur(cells: int) -> np.ndarray:
    """Returns a matrix that applies a Gaussian blur with a standard deviation of 1.6 cells."""
    apart = np.subtract.outer(np.arange(cells), np.arange(cells))
    return np.exp(-0.5 * (apart / 1.6) ** 2)


def _twins(found: Import) -> Iterator[str]:
    """Reports files with the same content."""
    seen: dict[bytes, str] = {}
    for file in found.files:
        recording = file.recording
        content = np.stack([recording.x, recording.y]).tobytes() + "\n".join(recording.stimuli).encode()
        other = seen.setdefault(content, recording.path)
        if other != recording.path and len(recording.x):
            yield f"{recording.path} holds the same points as {other}"


def _in_two_files(found: Import) -> Iterator[str]:
    """Reports observers who see the same stimulus in two files."""
    seen: dict[tuple[str, str], str] = {}
    twice: dict[tuple[str, str], str] = {}
    for file in found.files:
        recording = file.recording
        if file.named_by_file:
            continue
        for pair in set(zip(recording.observers, recording.stimuli, strict=True)):
            if pair[1] in found.unmatched or not pair[1]:
                continue
            if seen.setdefault(pair, recording.path) != recording.path:
                twice.setdefault(pair, recording.path)
    if twice:
        (observer, stimulus), path = min(twice.items())
        yield (
            f"{len(twice):,} pairs of an observer and a stimulus are in two files, such as {observer} and "
            f"{stimulus} in {seen[observer, stimulus]} and {path}: the same recording twice?"
        )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"{'observer' if len(names) == 1 else 'observers'} {', '.join(names[:_NAMES_SHOWN])}{more}"
