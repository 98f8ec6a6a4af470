"""How alike sequences of fixations are: string edit distance, time-delay embedding distance, and plain facts.

Definitions are those of FixaTons (Zanca et al., arXiv 1802.02534): the string edit distance after Brandt and
Stark (J. Cogn. Neurosci. 9(1), 1997), the time-delay embedding after Wang et al. (CVPR 2011). Paths are float
[n, 2], (x, y) in pixels of an image whose `size` is (height, width).
"""

import math
from collections.abc import Sequence

import numpy as np

from unisal_jax.domains import Size

# Letters of the string edit distance: the image's cells, so many a side.
GRID = 5
# Fixations that a time-delay embedding puts together.
WINDOW = 3
# A return is a fixation so near to an earlier one, as a share of the longer side: 2 degrees in OSIE.
NEAR = 0.06

Paths = Sequence[np.ndarray]


def string_edit(first: Paths, second: Paths, size: Size) -> np.ndarray:
    """Normalised string edit distances of all pairs, float64 [len(first), len(second)], 0 to 1.

    Each fixation becomes the letter of its cell of a 5x5 grid. The distance is the least number of letters
    to be inserted, deleted or replaced, over the length of the longer string; NaN of two empty paths.
    """
    letters = [_letters(path, size) for path in (*first, *second)]
    longest = max((len(each) for each in letters), default=0)
    lengths = np.array([len(each) for each in letters], np.int64)
    padded = np.array([np.pad(each, (0, longest - len(each)), constant_values=-1) for each in letters])
    padded = padded.reshape(len(letters), longest)
    a, b = padded[: len(first)], padded[len(first) :]
    ends_a, ends_b = np.meshgrid(lengths[: len(first)], lengths[len(first) :], indexing="ij")
    # Of all pairs at once: row j holds the distance of the first i letters and the first j.
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
    """Time-delay embedding distances from each of the first to each of the second, float64 [.., ..].

    For each three successive fixations of the first, the three of the second that are nearest: the Euclidean
    distance of the six coordinates, in longer sides of the image, over 3; the mean of these. Not the same
    the other way round. NaN where a path is shorter than three.
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
    """The mean distance from one fixation to the next, in longer sides of the image; NaN of one fixation."""
    if len(path) < 2:
        return math.nan
    return float(np.linalg.norm(np.diff(path, axis=0), axis=1).mean() / max(size))


def return_share(path: np.ndarray, size: Size) -> float:
    """The share of fixations that come back, of those from the third on; NaN of fewer than three.

    One comes back if it lies within 0.06 longer sides of an earlier one, but not of the one just before: such
    a fixation has not left.
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
    """Each so many successive fixations as one row, [n - WINDOW + 1, 2 * WINDOW]."""
    count = max(0, len(path) - WINDOW + 1)
    scaled = np.asarray(path, float) / max(size)
    return np.stack([scaled[k : k + count] for k in range(WINDOW)], axis=1).reshape(count, 2 * WINDOW)
