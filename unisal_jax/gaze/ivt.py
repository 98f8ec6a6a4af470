"""Finds fixations in raw gaze with a velocity threshold (I-VT).

Salvucci and Goldberg, Identifying fixations and saccades in eye-tracking protocols, ETRA 2000; with gap
filling, merging and minimum duration as in Olsen, The Tobii I-VT fixation filter, 2012. Smooth pursuit below
the threshold is not distinguished from fixations.
"""

import dataclasses

import numpy as np

from unisal_jax.gaze.settings import Ivt


@dataclasses.dataclass(frozen=True, eq=False)
class Events:
    """Fixations in raw gaze.

    Attributes:
      of_row: int64 [n], the fixation of each sample, ascending; -1 for none, and where the eye was lost.
      start: float64 [m], ms, in the order of the samples.
      duration: float64 [m], ms.
      too_short: number of fixations dropped because they were shorter than the minimum.
    """

    of_row: np.ndarray
    start: np.ndarray
    duration: np.ndarray
    too_short: int


def find_fixations(time: np.ndarray, x: np.ndarray, y: np.ndarray, viewing: np.ndarray, how: Ivt) -> Events:
    """Finds the fixations of each viewing.

    Args:
      time: float64 [n], ms, not descending within a viewing.
      x: float64 [n], degrees; NaN where the eye was lost.
      y: float64 [n], degrees; NaN where the eye was lost.
      viewing: int [n], number of the viewing; the rows of a viewing are consecutive.
      how: thresholds.
    """
    count = len(time)
    if count == 0:
        return Events(np.zeros(0, np.int64), np.zeros(0), np.zeros(0), 0)
    step = np.diff(time)
    alike = np.diff(viewing) == 0
    ordinary = step[alike & (step > 0)]
    interval = float(np.median(ordinary)) if len(ordinary) else 0.0
    # Some trackers write no rows while the eye is lost, so a long step is a gap too. This also applies if the
    # sampling interval itself is longer than a gap: such sparse samples contain no fixations.
    part = np.concatenate([[0], np.cumsum(~alike | (step > how.gap))])
    seen = np.isfinite(x) & np.isfinite(y)
    x, y = (_fill(time, values, viewing, how.gap) for values in (x, y))
    slow = _velocity(time, x, y, part, interval, how.window) < how.velocity
    run = _runs(slow, part)
    first, last = _ends(run)
    start, end = time[first], time[last] + interval
    run = _merged(run, start, end, _centres(run, x, y), viewing[first], how)
    first, last = _ends(run)
    start, duration = time[first], time[last] + interval - time[first]
    long = (duration >= how.minimum) & (np.bincount(run[(run >= 0) & seen], minlength=len(start)) > 0)
    number = np.where(long, np.cumsum(long) - 1, -1)
    of_row = np.where((run >= 0) & seen, number[run], -1) if len(number) else run
    return Events(of_row, start[long], duration[long], int((~long).sum()))


def _fill(time: np.ndarray, values: np.ndarray, viewing: np.ndarray, gap: float) -> np.ndarray:
    """Fills short gaps by linear interpolation in time."""
    seen = np.flatnonzero(np.isfinite(values))
    if not 0 < len(seen) < len(values):
        return values
    at = np.searchsorted(seen, np.arange(len(values)))
    before, after = seen[np.maximum(at - 1, 0)], seen[np.minimum(at, len(seen) - 1)]
    between = (at > 0) & (at < len(seen)) & ~np.isfinite(values)
    short = between & (viewing[before] == viewing[after]) & (time[after] - time[before] <= gap)
    share = (time - time[before]) / np.maximum(time[after] - time[before], 1e-9)
    return np.where(short, values[before] + share * (values[after] - values[before]), values)


def _velocity(
    time: np.ndarray, x: np.ndarray, y: np.ndarray, part: np.ndarray, interval: float, window: float
) -> np.ndarray:
    """Returns degrees per second over a window around each sample; NaN if the eye was lost."""
    rows = np.arange(len(time))
    begins = np.searchsorted(part, part, "left")
    ends = np.searchsorted(part, part, "right") - 1
    steps = max(1, round(window / interval)) if interval > 0 else 1
    seen = np.isfinite(x) & np.isfinite(y)
    low = np.maximum(rows - steps // 2, begins)
    high = np.minimum(rows + steps - steps // 2, ends)
    # At an edge or next to a gap, use the available half of the window; with a single step, the previous one.
    low, high = np.where(seen[low], low, rows), np.where(seen[high], high, rows)
    previous = np.maximum(rows - 1, begins)
    low = np.where((low == high) & seen[previous], previous, low)
    passed = time[high] - time[low]
    moved = np.hypot(x[high] - x[low], y[high] - y[low])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(seen & (passed > 0), 1000 * moved / passed, np.nan)


def _runs(slow: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Returns the number of the uninterrupted run of each slow sample, from 0; -1 for other samples."""
    continues = np.zeros(len(slow), bool)
    continues[1:] = slow[1:] & slow[:-1] & (part[1:] == part[:-1])
    return np.where(slow, np.cumsum(slow & ~continues) - 1, -1)


def _ends(run: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first and last row of each run."""
    rows = np.flatnonzero(run >= 0)
    numbers = run[rows]
    count = numbers[-1] + 1 if len(rows) else 0
    return (
        rows[np.searchsorted(numbers, np.arange(count), "left")],
        rows[np.searchsorted(numbers, np.arange(count), "right") - 1],
    )


def _centres(run: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    inner = run >= 0
    count = np.bincount(run[inner])
    return np.stack([np.bincount(run[inner], values[inner]) / count for values in (x, y)], 1)


def _merged(
    run: np.ndarray, start: np.ndarray, end: np.ndarray, centres: np.ndarray, viewing: np.ndarray, how: Ivt
) -> np.ndarray:
    """Merges runs that are close in time and space."""
    if len(start) < 2:
        return run
    near = np.hypot(*np.diff(centres, axis=0).T) <= how.merge_degrees
    joined = near & (start[1:] - end[:-1] <= how.merge_time) & (np.diff(viewing) == 0)
    number = np.concatenate([[0], np.cumsum(~joined)])
    return np.where(run >= 0, number[run], -1)
