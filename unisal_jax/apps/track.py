"""Finds the best path through time-varying scores with the Viterbi algorithm on a grid."""

from collections.abc import Sequence

import numpy as np

# Scores closer than this are equal: sums of a density have rounding errors of this order.
_SAME = 1e-9

Place = tuple[int, int]
_Moves = tuple[np.ndarray, np.ndarray]


def best_place(scores: np.ndarray) -> Place:
    """Returns (row, column) of the largest score [rows, columns]; ties go to the nearest to the centre."""
    rows, columns = np.nonzero(scores >= scores.max() - _SAME)
    middle = (scores.shape[0] - 1) / 2, (scores.shape[1] - 1) / 2
    nearest = np.argmin((rows - middle[0]) ** 2 + (columns - middle[1]) ** 2)
    return int(rows[nearest]), int(columns[nearest])


def best_path(
    scores: Sequence[np.ndarray] | np.ndarray,
    row_prices: np.ndarray,
    column_prices: np.ndarray,
    start: Place | None = None,
) -> list[Place]:
    """Finds the path over grid positions with the largest sum of scores minus costs of moves.

    Args:
      scores: of each frame, float [rows, columns].
      row_prices: cost of moving by 0, 1, ... rows between two frames; longer moves are not allowed.
      column_prices: the same for columns. A diagonal move costs the sum of both.
      start: position in the frame before the first; None for any.

    Returns:
      (row, column) of each frame.
    """
    shape = scores[0].shape
    none = np.zeros(shape, np.int16)
    total = np.zeros(shape)
    if start is not None:
        total[:] = -np.inf
        total[start] = 0
    moves = []
    for number, each in enumerate(scores):
        if number == 0 and start is None:
            moves.append((none, none))
        else:
            total, row_moves = _step(total, row_prices, axis=0)
            total, column_moves = _step(total, column_prices, axis=1)
            moves.append((row_moves, column_moves))
        total = total + each
    return _trace_back(moves, best_place(total))


def _step(total: np.ndarray, prices: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the best move along an axis to each position: (totals minus costs, the moves, int16)."""
    old = np.moveaxis(total, axis, 0)
    best, moves = old - prices[0], np.zeros(old.shape, np.int16)
    for move in range(1, len(prices)):
        for here, there, signed in (
            (slice(move, None), slice(None, -move), move),
            (slice(None, -move), slice(move, None), -move),
        ):
            came = old[there] - prices[move]
            better = came > best[here] + _SAME
            best[here][better] = came[better]
            moves[here][better] = signed
    return np.moveaxis(best, 0, axis), np.moveaxis(moves, 0, axis)


def _trace_back(moves: list[_Moves], end: Place) -> list[Place]:
    """Returns the positions of the path that ends at `end`, from the first frame."""
    path = [end]
    for row_moves, column_moves in reversed(moves[1:]):
        row, column = path[-1]
        # Column moves were applied last, so undo them first.
        column -= int(column_moves[row, column])
        path.append((row - int(row_moves[row, column]), column))
    return path[::-1]
