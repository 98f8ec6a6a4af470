"""Paths of least motion within a band, by linear programming: see `camera.py`."""

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from unisal_jax.errors import UnisalError

# Grundmann et al.'s weights of speed, acceleration and its change, at their 30 frames a second.
_WEIGHTS, _RATE = (10.0, 1.0, 100.0), 30.0
# What a unit outside of the band costs in a frame: as much as moving by it does, so that what leaves and
# comes back within two frames is not followed. Where it costs most, only the bounded acceleration leads out.
_OUTSIDE, _OUTSIDE_STRICT = 10.0, 1000.0


def steady_path(
    band: np.ndarray,
    strict: np.ndarray,
    free: float,
    fps: float,
    most: float,
    before: np.ndarray,
    rest: bool,
) -> np.ndarray:
    """The path with the least sum of speed, acceleration and its change, in absolute values.

    Args:
      band: (lowest, highest) position wanted in each frame, float [frames, 2].
      strict: where being outside of the band costs most, bool [frames].
      free: the path stays between 0 and this.
      fps: frames a second.
      most: the greatest second difference of the path.
      before: positions of up to three frames before, which the path continues; such that it can.
      rest: the path's last step is 0.
    Returns:
      Positions, float [frames].
    """
    if free == 0:
        return np.zeros(len(band))
    known = len(before)
    count = known + len(band)
    differences = [sparse.identity(count, format="csr")]
    for order in range(min(len(_WEIGHTS), count - 1)):
        step = sparse.diags([-1.0, 1.0], [0, 1], shape=(count - order - 1, count - order))
        differences.append(step @ differences[-1])
    # Variables: the positions, how far each is outside, and the absolute values of the differences.
    blocks = [[differences[0], -differences[0]], [-differences[0], -differences[0]]]
    outside = np.concatenate([np.zeros(known), np.where(strict, _OUTSIDE_STRICT, _OUTSIDE)])
    prices = [np.zeros(count), outside * _RATE / fps]
    most_of = [np.full(count, free), np.full(count, np.inf)]
    for order, each in enumerate(differences[1:], 1):
        rows = each.shape[0]
        padding = [None] * order
        for sign in (1.0, -1.0):
            blocks.append([sign * each, *padding, -sparse.identity(rows)])
        prices.append(np.full(rows, _WEIGHTS[order - 1] * (fps / _RATE) ** order))
        most_of.append(np.full(rows, most if order == 2 else np.inf))
    if rest:
        most_of[2][-1] = 0
    width = len(differences) + 1
    matrix = sparse.bmat([row + [None] * (width - len(row)) for row in blocks], format="csc")
    low, high = (np.concatenate([before, band[:, side]]) for side in (0, 1))
    limits = np.concatenate([high, -low, np.zeros(matrix.shape[0] - 2 * count)])
    least, greatest = np.zeros(matrix.shape[1]), np.concatenate(most_of)
    least[:known] = greatest[:known] = before
    solved = linprog(
        np.concatenate(prices), matrix, limits, bounds=np.stack([least, greatest], -1), method="highs-ds"
    )
    if solved.x is None:
        raise UnisalError(f"the window's path: {solved.message}")
    return solved.x[known:count]
