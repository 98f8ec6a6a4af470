"""Similarity of sequences of fixations: string edit and time-delay embedding distances, and statistics.

Definitions follow FixaTons (Zanca et al., arXiv 1802.02534): the string edit distance after Brandt and
Stark (J. Cogn. Neurosci. 9(1), 1997), the time-delay embedding after Wang et al. (CVPR 2011). Paths are float
[n, 2], (x, y) in pixels of an image whose `size` is (height, width).
"""

import math
from collections.abc import Sequence

import numpy as np

from unisal_jax.domains import Size

# Cells per side of the grid whose cells are the letters of the string edit distance.
GRID = 5
# Successive fixations in one vector of the time-delay embedding.
WINDOW = 3
# Distance to an earlier fixation that counts as a return, relative to the longer side: 2 degrees in OSIE.
NEAR = 0.06

Paths = Sequence[np.ndarray]


def string_edit(first: Paths, second: Paths, size: Size) -> np.ndarray:
    """Normalised string edit distances of all pairs, float64 [len(first), len(second)], 0 to 1.

    Each fixation becomes the letter of its cell in a 5x5 grid. The distance is the smallest number of letters
    to insert, delete or replace, divided by the length of the longer string; NaN for two empty paths.
    """
    letters = [_letters(path, size) for path in (*first, *second)]
    longest = max((len(each) for each in letters), default=0)
    lengths = np.array([len(each) for each in letters], np.int64)
    padded = np.array([np.pad(each, (0, longest - len(each)), constant_values=-1) for each in letters])
    padded = padded.reshape(len(letters), longest)
    a, b = padded[: len(first)], padded[len(first) :]
    ends_a, ends_b = np.meshgrid(lengths[: len(first)], lengths[len(first) :], indexing="ij")
    # For all pairs at once: row j holds the distance between the first i and the first j letters.
    before = np.tile(np.arange(longest + 1)[:, None, None], (1, len(first), len(second)))
    found = np.where(ends_a == 0, ends_b, 0).astype(float)
    for i in range(1, longest + 1):
        now = np.empty_like(before)
        now[0] = i
        for j in range(1, longest + 1):
            replaced = before[j - 1] + (a[:, i - 1, None] != b[None, :, j - 1])
            now[j] = np.minimum(replaced, 1 + np.minimum(before[j], now[j - 1]))
        rows, columns = np.nonzero(ends_a == i)
        found[rows, columns] = now[ends_b[rows, columns], rows, columns]
        before = now
    with np.errstate(invalid="ignore"):
        return found / np.maximum(ends_a, ends_b)


def time_delay_embedding(first: Paths, second: Paths, size: Size) -> np.ndarray:
    """Time-delay embedding distances of all pairs, float64 [len(first), len(second)].

    Every three successive fixations of the first path are matched with the nearest three of the second, by
    the Euclidean distance of their six coordinates in units of the longer side of the image. The result is
    the mean distance divided by 3. It is not symmetric. NaN if a path has fewer than three fixations.
    """
    windows_a, windows_b = ([_windows(path, size) for path in side] for side in (first, second))
    found = np.full((len(first), len(second)), math.nan)
    for row, mine in enumerate(windows_a):
        for column, theirs in enumerate(windows_b):
            if len(mine) and len(theirs):
                apart = np.linalg.norm(mine[:, None] - theirs[None], axis=2)
                found[row, column] = apart.min(axis=1).mean() / WINDOW
    return found


def saccade_length(path: np.ndarray, size: Size) -> float:
    """Mean distance between successive fixations relative to the longer side; NaN for one fixation."""
    if len(path) < 2:
        return math.nan
    return float(np.linalg.norm(np.diff(path, axis=0), axis=1).mean() / max(size))


def return_share(path: np.ndarray, size: Size) -> float:
    """Share of returning fixations among those from the third on; NaN for fewer than three fixations.

    A fixation returns if it lies within 0.06 longer sides of an earlier one, but not of the previous one:
    then the gaze has not left.
    """
    if len(path) < 3:
        return math.nan
    near = np.linalg.norm(path[:, None] - path[None], axis=2) < NEAR * max(size)
    back = [near[i, : i - 1].any() and not near[i, i - 1] for i in range(2, len(path))]
    return float(np.mean(back))


def _letters(path: np.ndarray, size: Size) -> np.ndarray:
    across, down = (np.clip(np.floor(path[:, k] * GRID / size[1 - k]), 0, GRID - 1) for k in (0, 1))
    return (across + GRID * down).astype(np.int64)


def _windows(path: np.ndarray, size: Size) -> np.ndarray:
    """Every `WINDOW` successive fixations as a row, [n - WINDOW + 1, 2 * WINDOW]."""
    count = max(0, len(path) - WINDOW + 1)
    scaled = np.asarray(path, float) / max(size)
    return np.stack([scaled[k : k + count] for k in range(WINDOW)], axis=1).reshape(count, 2 * WINDOW)
