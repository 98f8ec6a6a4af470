"""Moves a window within one shot like a camera operator: stands still, pans at constant speed, or follows.

All three are tried, as in Google's AutoFlip, and the calmest path that keeps nearly as much attention as
following is chosen. Following tracks the path of the most attention (`track.py`) with the L1-optimal camera
path of M. Grundmann, V. Kwatra, I. Essa: Auto-Directed Video Stabilization with Robust L1 Optimal Camera
Paths (CVPR 2011): a path within a band, made of segments at rest, of constant speed and of constant
acceleration. It is the solution of a linear program with bounded acceleration.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from unisal_jax.apps.boxes import Box, window_shares
from unisal_jax.apps.steady import steady_path
from unisal_jax.apps.track import best_path, best_place
from unisal_jax.domains import Size

# Types of paths, calmest first. A free path is not smoothed.
STILL, PAN, FOLLOW, FREE = KINDS = ("still", "pan", "follow", "free")

# Positions of the window along the image's longer side.
_GRID = 128
# Maximum speed of the window, in longer sides per second.
_MAX_SPEED = 1.0
# Maximum acceleration, in longer sides per second squared.
MAX_ACCELERATION = 2.0
# Holding a must-keep box in one frame is worth all attention of a hundred frames; cutting one costs half.
_BOX_HELD, _BOX_CUT = 100.0, 50.0
# Paths stay in a band of positions that lose at most this share of attention against the followed path.
_BAND = 0.03
# Attention in the central part of the window, this share of its sides, counts double: an operator leaves room
# around a subject, and a subject at the rim is cut.
_MIDDLE = 0.6
# How much less attention a calmer path may keep than the followed path: on average, and in the worst second.
_LESS, _LESS_IN_A_SECOND = 0.02, 0.04
# Candidate end positions of a pan along each axis.
_PAN_ENDS = 24
# Number of previous positions that a continued path takes into account.
_BEFORE = 3


class Frame(NamedTuple):
    """What a camera stores of a frame.

    Attributes:
      attention: share of attention in the window at each position, float32 [rows, columns].
      framed: the same, with less weight for attention near the window's rim.
      boxes: must-keep boxes.
    """

    attention: np.ndarray
    framed: np.ndarray
    boxes: tuple[Box, ...]


class Camera:
    """Moves a window of one size through the shots of a video.

    Attributes:
      window: (height, width) of the window.
      tops, lefts: the grid of positions in pixels, ascending, int.

    Args:
      size: (height, width) of the frames.
      window: (height, width) of the window, at most `size`.
      fps: frames per second.
      smoothness: cost of speed, in shares of attention times squared seconds; 0 for each frame's best
        position.
    """

    def __init__(self, size: Size, window: Size, fps: float, smoothness: float):
        self.window, self._size = window, size
        self._longest, self._fps, self._smoothness = max(size), fps, smoothness
        self.tops, self.lefts = (
            _grid(side - part, self._longest) for side, part in zip(size, window, strict=True)
        )
        self._prices = self._price(self.tops), self._price(self.lefts)
        self._path: np.ndarray | None = None
        self._place: tuple[int, int] | None = None

    def frame(self, sums: np.ndarray, boxes: tuple[Box, ...]) -> Frame:
        """Returns a frame from the integral image of its density, of any size, and its must-keep boxes."""
        attention = window_shares(sums, self._size, self.window, self.tops, self.lefts)
        # There is no rim along a side that the window spans completely.
        middle = [
            part if part == side else max(1, round(part * _MIDDLE))
            for part, side in zip(self.window, self._size, strict=True)
        ]
        tops, lefts = (
            places + (part - inner) // 2
            for places, part, inner in zip((self.tops, self.lefts), self.window, middle, strict=True)
        )
        inside = window_shares(sums, self._size, (middle[0], middle[1]), tops, lefts)
        framed = (attention + inside) / 2
        return Frame(attention.astype(np.float32), framed.astype(np.float32), boxes)

    def cut(self) -> None:
        """Starts a new shot with the next frames."""
        self._path = self._place = None

    def plan(self, frames: Sequence[Frame], count: int) -> tuple[np.ndarray, str]:
        """Plans the path through some frames and fixes its beginning.

        Args:
          frames: the frames, which continue those fixed before unless `cut` was called.
          count: number of frames to fix; the shot ends if these are all.

        Returns:
          (top, left) of the window in pixels, float [count, 2], and the type of path.
        """
        target, path, kind = self._plan(frames, last=count == len(frames))
        path = path[:count]
        self._path = path[-_BEFORE:] if self._path is None else np.concatenate([self._path, path])[-_BEFORE:]
        self._place = int(target[count - 1, 0]), int(target[count - 1, 1])
        return path, kind

    def _plan(self, frames: Sequence[Frame], last: bool) -> tuple[np.ndarray, np.ndarray, str]:
        """Returns the followed grid positions, int [frames, 2], and the results of `plan` for all frames."""
        scores = np.stack([self._scores(frame) for frame in frames])
        target = np.array(best_path(scores, *self._prices, start=self._place))
        places = self.tops, self.lefts
        targets = np.stack([at[target[:, axis]] for axis, at in enumerate(places)], -1).astype(np.float64)
        if self._smoothness == 0:
            return target, targets, FREE
        still = self._still(frames, scores)
        if len(frames) <= _BEFORE and self._path is None:
            return target, (targets[:1] if still is None else still).repeat(len(frames), 0), STILL
        follow = self._follow(frames, scores, target, last)
        held, kept = self._held(frames, follow), self._along(scores, targets)
        second = min(len(frames), math.ceil(self._fps))

        def will_do(path: np.ndarray) -> bool:
            less = kept - self._along(scores, path)
            worst = np.convolve(less, np.full(second, 1 / second), "valid").max()
            calm = less.mean() <= _LESS and worst <= _LESS_IN_A_SECOND
            return bool(calm and (self._held(frames, path) >= held).all())

        if still is not None and will_do(still := still.repeat(len(frames), 0)):
            return target, still, STILL
        if last and self._path is None and will_do(pan := self._pan(scores, targets)):
            return target, pan, PAN
        # If more frames follow, the path comes to rest at the end, so that it can be continued.
        return target, follow, FOLLOW

    def attention(self, frame: Frame, top: int, left: int) -> float:
        """Returns the share of attention in the window at a position, 0 to 1.

        It is exact on the grid and cubically interpolated in between, within 1e-4 for densities as smooth as
        the network's.
        """
        share = float(_weights(top, self.tops) @ frame.attention @ _weights(left, self.lefts))
        return min(max(share, 0.0), 1.0)

    def _price(self, places: np.ndarray) -> np.ndarray:
        """Returns the cost of moving by 0, 1, 2, ... positions between two frames."""
        most = len(places) - 1
        step = places[-1] / max(most, 1) / self._longest
        free = self._smoothness == 0 or most == 0
        reach = most if free else min(most, math.ceil(_MAX_SPEED / (step * self._fps)))
        return self._smoothness * (np.arange(reach + 1) * step * self._fps) ** 2

    def _scores(self, frame: Frame) -> np.ndarray:
        """Returns the score of a frame at all positions: framed attention plus the value of boxes."""
        if not frame.boxes:
            return frame.framed
        return frame.framed + box_scores(frame.boxes, self.window, self.tops, self.lefts)

    def _still(self, frames: Sequence[Frame], scores: np.ndarray) -> np.ndarray | None:
        """Returns the best position [1, 2] to stand still; None if the camera is moving."""
        if self._path is not None:
            return self._path[-1:] if np.ptp(self._path, 0).max() < 1e-3 else None
        row, column = best_place(scores.sum(0, dtype=np.float64))
        place = np.array([[self.tops[row], self.lefts[column]]], np.float64)
        ranges = [self._range(box) for frame in frames for box in self._boxes_at(frame, *place[0])]
        if ranges:
            place = np.clip(
                place, np.max(ranges, 0)[0], np.maximum(np.min(ranges, 0)[1], np.max(ranges, 0)[0])
            )
        return place

    def _follow(
        self, frames: Sequence[Frame], scores: np.ndarray, target: np.ndarray, last: bool
    ) -> np.ndarray:
        """Returns the L1-optimal path within the band around a target, grid positions [frames, 2]."""
        every = np.arange(len(frames))
        along = scores[every, target[:, 0], :], scores[every, :, target[:, 1]]
        bands = {1: _band(along[0], target[:, 1], self.lefts), 0: _band(along[1], target[:, 0], self.tops)}
        whole = np.array([[0, 0], [self.tops[-1], self.lefts[-1]]])
        ranges = np.tile(whole[None], (len(frames), 1, 1)).astype(np.float64)
        for number, frame in enumerate(frames):
            at = self.tops[target[number, 0]], self.lefts[target[number, 1]]
            for box in self._boxes_at(frame, *at):
                ranges[number] = np.clip(ranges[number], *self._range(box))
        paths = []
        for axis, places in enumerate((self.tops, self.lefts)):
            before = np.empty(0) if self._path is None else self._path[:, axis]
            acceleration = MAX_ACCELERATION / self._fps**2
            path = steady_path(
                bands[axis] / self._longest,
                ranges[:, :, axis] / self._longest,
                places[-1] / self._longest,
                self._fps,
                acceleration,
                before / self._longest,
                not last,
            )
            paths.append(path * self._longest)
        return np.clip(np.stack(paths, -1), 0, [self.tops[-1], self.lefts[-1]])

    def _range(self, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """Returns the least and greatest (top, left) of windows in the image that hold a box."""
        first, side = np.array([box.top, box.left]), np.array([box.height, box.width])
        least = np.maximum(first + side - self.window, 0)
        return least, np.maximum(np.minimum(first, [self.tops[-1], self.lefts[-1]]), least)

    def _boxes_at(self, frame: Frame, top: int, left: int) -> list[Box]:
        """Returns the boxes that the window holds at a grid position, or less than one position away."""
        slack = [int(np.diff(places).max(initial=0)) for places in (self.tops, self.lefts)]
        height, width = self.window
        return [
            box
            for box in frame.boxes
            if box.height <= height
            and box.width <= width
            and box.top >= top - slack[0]
            and box.top + box.height <= top + height + slack[0]
            and box.left >= left - slack[1]
            and box.left + box.width <= left + width + slack[1]
        ]

    def _held(self, frames: Sequence[Frame], path: np.ndarray) -> np.ndarray:
        """Returns how many boxes the window holds completely in each frame."""
        counts = np.zeros(len(frames), int)
        for number, (frame, (top, left)) in enumerate(zip(frames, path.round().astype(int), strict=True)):
            whole = Box(int(left), int(top), self.window[1], self.window[0])
            counts[number] = sum(whole.holds(box) for box in frame.boxes)
        return counts

    def _pan(self, scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Returns the best pan at constant speed between candidate positions, one axis after the other."""
        count = len(scores)
        time = np.linspace(0, 1, count)
        line = np.stack([np.poly1d(np.polyfit(time, each, 1))(time) for each in targets.T], -1)
        for axis, places in ((0, self.tops), (1, self.lefts)):
            if len(places) == 1:
                line[:, axis] = 0
                continue
            ends = np.unique(np.linspace(0, places[-1], min(_PAN_ENDS, len(places))))
            starts, stops = (each.ravel() for each in np.meshgrid(ends, ends))
            fastest = _MAX_SPEED * self._longest * count / self._fps
            possible = np.abs(stops - starts) <= fastest
            lines = starts[possible] + np.outer(time, (stops - starts)[possible])
            other = (self.lefts, self.tops)[axis]
            across = np.clip(np.interp(line[:, 1 - axis], other, np.arange(len(other))).round(), 0, None)
            each = np.arange(count), across.astype(int)
            values = scores[each[0], :, each[1]] if axis == 0 else scores[each[0], each[1], :]
            totals = _look_up(values, lines, places).sum(0)
            line[:, axis] = lines[:, totals.argmax()]
        return line

    def _along(self, scores: np.ndarray, path: np.ndarray) -> np.ndarray:
        """Returns the scores at the grid positions nearest to a path, [frames]."""
        near = [
            np.interp(path[:, axis], places, np.arange(len(places))).round().astype(int)
            for axis, places in enumerate((self.tops, self.lefts))
        ]
        return scores[np.arange(len(scores)), near[0], near[1]].astype(np.float64)


def _grid(free: int, longest: int) -> np.ndarray:
    """Returns evenly spaced positions from 0 to `free`, in whole pixels."""
    step = math.ceil(longest / _GRID)
    return np.linspace(0, free, math.ceil(free / step) + 1).round().astype(int)


def box_scores(boxes: Sequence[Box], window: Size, tops: np.ndarray, lefts: np.ndarray) -> np.ndarray:
    """Returns what must-keep boxes add to the attention in a window at each position, [tops, lefts].

    Boxes that exceed the window by less than the step between positions count as held.
    """
    scores = np.zeros((len(tops), len(lefts)), np.float32)
    for box in boxes:
        sides = (box.top, box.height), (box.left, box.width)
        rows, columns = (
            _inside(places, part, *side)
            for places, part, side in zip((tops, lefts), window, sides, strict=True)
        )
        share = rows[:, None] * columns[None]
        if box.height > window[0] or box.width > window[1]:
            scores += _BOX_HELD * share  # too large for the window: keep as much as possible
        else:
            scores += _BOX_HELD * (share == 1) - _BOX_CUT * ((share > 0) & (share < 1))
    return scores


def _inside(places: np.ndarray, part: int, first: int, length: int) -> np.ndarray:
    """Returns the share of a box's side that lies in the window at each position, [n]."""
    step = np.diff(places).max(initial=1)
    inside = np.minimum(places + part, first + length) - np.maximum(places, first)
    share = np.clip(inside / length, 0, 1)
    return np.where((inside > length - step) & (length <= part), 1.0, share)


def _band(scores: np.ndarray, target: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Returns the range of positions around its target in each frame, in pixels, float [frames, 2]."""
    every = np.arange(len(scores))
    bad = scores < scores[every, target][:, None] - _BAND
    at = np.arange(len(places))
    low = np.where(bad & (at < target[:, None]), at + 1, 0).max(1)
    high = np.where(bad & (at > target[:, None]), at - 1, len(places) - 1).min(1)
    return places[np.stack([low, high], -1)].astype(np.float64)


def _look_up(values: np.ndarray, lines: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Returns values [frames, places] along lines [frames, lines] in pixels, at the nearest positions."""
    index = np.interp(lines.ravel(), places, np.arange(len(places))).round().astype(int)
    return np.take_along_axis(values, index.reshape(lines.shape), 1)


def _weights(at: int, places: np.ndarray) -> np.ndarray:
    """Returns the weights of cubic Lagrange interpolation between the four nearest positions."""
    first = int(np.clip(np.searchsorted(places, at) - 2, 0, max(len(places) - 4, 0)))
    near = slice(first, first + 4)
    weights = np.zeros(len(places))
    gaps = places[near, None] - places[None, near] + np.eye(len(places[near]))
    steps = np.where(np.eye(len(gaps), dtype=bool), 1, at - places[None, near])
    weights[near] = (steps / gaps).prod(1)
    return weights
