"""Computes paths of least motion within a band by linear programming; see `camera.py`."""

import numpy as np

from unisal_jax.errors import UnisalError

# Grundmann et al.'s weights of speed, acceleration and jerk, at their 30 frames per second.
_WEIGHTS, _RATE = (10.0, 1.0, 100.0), 30.0
# Cost of a unit outside the band in one frame. It equals the cost of moving by a unit, so that excursions of
# up to two frames are not followed. The strict band is left only where the bounded acceleration requires it.
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
    """Returns the path that minimises the weighted sum of absolute speed, acceleration and jerk.

    Args:
      band: (lowest, highest) desired position in each frame, float [frames, 2].
      strict: the same, with a much higher cost outside.
      free: the path stays between 0 and this.
      fps: frames per second.
      most: maximum absolute second difference of the path.
      before: positions of up to three previous frames, which the path continues.
      rest: whether the path's last step must be 0.

    Returns:
      Positions, float [frames].
    """
    if free == 0:
        return np.zeros(len(band))
    # Imported late, since images do not need it and it takes a quarter of a second.
    from scipy import sparse
    from scipy.optimize import linprog

    known, count = len(before), len(before) + len(band)
    differences = [sparse.identity(count, format="csr")]
    for order in range(min(len(_WEIGHTS), count - 1)):
        step = sparse.diags([-1.0, 1.0], [0, 1], shape=(count - order - 1, count - order))
        differences.append(step @ differences[-1])
    # Variables: the positions, the distance of each outside both bands, and absolute values of differences.
    # (left, above, below): left @ positions - above and below - left @ positions bound such a variable.
    positions = sparse.identity(count)
    blocks, prices, greatest = [], [np.zeros(count)], [np.full(count, free)]
    for wanted, price in ((band, _OUTSIDE), (strict, _OUTSIDE_STRICT)):
        low, high = (np.concatenate([before, wanted[:, side]]) for side in (0, 1))
        blocks.append((positions, high, low))
        prices.append(np.full(count, price * _RATE / fps))
        greatest.append(np.full(count, np.inf))
    for order, each in enumerate(differences[1:], 1):
        rows = each.shape[0]
        blocks.append((each, np.zeros(rows), np.zeros(rows)))
        prices.append(np.full(rows, _WEIGHTS[order - 1] * (fps / _RATE) ** order))
        greatest.append(np.full(rows, most if order == 2 else np.inf))
        if rest and order == 1:
            greatest[-1][-1] = 0
    table, limits = [], []
    for number, (left, above, below) in enumerate(blocks):
        other = [None] * len(blocks)
        other[number] = -sparse.identity(left.shape[0])
        table += [[left, *other], [-left, *other]]
        limits += [above, -below]
    bounds = np.stack([np.zeros(sum(map(len, greatest))), np.concatenate(greatest)], -1)
    bounds[:known] = before[:, None]
    solved = linprog(
        np.concatenate(prices),
        sparse.bmat(table, format="csc"),
        np.concatenate(limits),
        bounds=bounds,
        method="highs-ds",
    )
    if solved.x is None:
        raise UnisalError(f"the window's path: {solved.message}")
    return solved.x[known:count]
