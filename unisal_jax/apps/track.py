"""The best path through scores that change with time, and its smoothing; both in bounded memory.

The path is Viterbi's: the sum of its scores less the price of its moves is the largest there is. Memory is
bounded as in decoders of endless codes: the older half of what is held is settled once the younger half is
there to look ahead into, and only paths that go through the settled place go on.
"""

import numpy as np

# Frames of foresight, at least, before a place is settled.
FORESIGHT = 256
# Scores closer than this count as the same: sums of a density carry rounding errors of this order.
_SAME = 1e-9

_Place = tuple[int, int]
Placed = tuple[float, float, np.ndarray]  # (row, column, scores) of a frame
_Moves = tuple[np.ndarray, np.ndarray]


def best_place(scores: np.ndarray) -> _Place:
    """(row, column) of the largest score [rows, columns]; of equal ones the nearest to the middle."""
    rows, columns = np.nonzero(scores >= scores.max() - _SAME)
    middle = (scores.shape[0] - 1) / 2, (scores.shape[1] - 1) / 2
    nearest = np.argmin((rows - middle[0]) ** 2 + (columns - middle[1]) ** 2)
    return int(rows[nearest]), int(columns[nearest])


class BestPath:
    """The path over the places of a grid with the largest sum of scores less prices of moves.

    `add` takes the scores of the next frame, float [rows, columns], all of one shape; `add` and `finish`
    return what is settled, in order: (row, column, the frame's scores). A place is final with `FORESIGHT`
    frames behind it or more, so that only a path whose best start depends on still later frames can
    differ from the best one of all.

    Args:
      row_prices: what a move by 0, 1, ... rows costs from a frame to the next; longer moves cannot be made.
      column_prices: the same for columns. A slanting move costs the sum of both.
    """

    def __init__(self, row_prices: np.ndarray, column_prices: np.ndarray):
        self._prices = row_prices, column_prices
        self._held: list[np.ndarray] = []
        self._moves: list[_Moves] = []
        self._total: np.ndarray | None = None

    def add(self, scores: np.ndarray) -> list[Placed]:
        """Takes a frame's scores; returns the places that this settles, mostly none."""
        if self._total is None:
            self._total = scores.astype(np.float64)
            none = np.zeros(scores.shape, np.int16)
            self._moves.append((none, none))
        else:
            total, row_moves = _step(self._total, self._prices[0], axis=0)
            total, column_moves = _step(total, self._prices[1], axis=1)
            self._moves.append((row_moves, column_moves))
            self._total = total + scores
        self._held.append(scores)
        if len(self._held) < 2 * FORESIGHT:
            return []
        path = _trace_back(self._moves, best_place(self._total))[:FORESIGHT]
        origins = _origins(self._moves[FORESIGHT:])
        goes_on = (origins == np.array(path[-1])).all(-1)
        self._total = np.where(goes_on, self._total - self._total.max(), -np.inf)
        settled: list[Placed] = [(*place, scores) for place, scores in zip(path, self._held, strict=False)]
        del self._held[:FORESIGHT], self._moves[:FORESIGHT]
        return settled

    def finish(self) -> list[Placed]:
        """The places that are left, once the last frame was added."""
        if self._total is None:
            return []
        path = _trace_back(self._moves, best_place(self._total))
        return [(*place, scores) for place, scores in zip(path, self._held, strict=True)]


class Smoothed:
    """A path averaged over `half` frames to both sides with a Hann window: no delay, no overshoot.

    At the ends the mean is over the frames that there are. The scores stay with their frame. `add` and
    `finish` as for `BestPath`.
    """

    def __init__(self, half: int):
        self._half = half
        self._kernel = np.hanning(2 * half + 3)[1:-1]
        self._held: list[Placed] = []
        self._at = 0

    def add(self, placed: Placed) -> list[Placed]:
        """Takes the next place; returns the smoothed one that this settles, if any."""
        self._held.append(placed)
        return [self._settle()] if len(self._held) - self._at > self._half else []

    def finish(self) -> list[Placed]:
        """The places that are left, once the last one was added."""
        return [self._settle() for _ in range(len(self._held) - self._at)]

    def _settle(self) -> Placed:
        at, half = self._at, self._half
        places = np.array([placed[:2] for placed in self._held[: at + half + 1]])
        weights = self._kernel[half - at :][: len(places)]
        row, column = weights @ places / weights.sum()
        scores = self._held[at][2]
        if at == half:
            del self._held[0]
        else:
            self._at += 1
        return float(row), float(column), scores


def _step(total: np.ndarray, prices: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """The best of all moves along an axis to each place: (totals less prices, the moves, int16)."""
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


def _trace_back(moves: list[_Moves], end: _Place) -> list[_Place]:
    """The places of the path that ends here, first frame first."""
    path = [end]
    for row_moves, column_moves in reversed(moves[1:]):
        row, column = path[-1]
        # Columns were moved along last, so they are undone first.
        column -= int(column_moves[row, column])
        path.append((row - int(row_moves[row, column]), column))
    return path[::-1]


def _origins(moves: list[_Moves]) -> np.ndarray:
    """For each last place the (row, column) before all these moves, int [rows, columns, 2]."""
    rows, columns = np.indices(moves[-1][0].shape)
    for row_moves, column_moves in reversed(moves):
        columns = columns - column_moves[rows, columns]
        rows = rows - row_moves[rows, columns]
    return np.stack([rows, columns], -1)
