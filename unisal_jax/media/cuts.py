"""Cuts of a video, found frame by frame without looking ahead.

Two frames belong to one shot if most parts of the second are found again near the same place in the first.
Parts are compared by normalised cross-correlation, which a change of light, a fade or a flash leaves as it
is; the search around the place allows for pans, shake and moving things. A frame begins a new shot if its
similarity is low, and far below that of the frames before: this adaptive threshold (as in PySceneDetect's
AdaptiveDetector, but of past frames alone) allows for noisy, shaken and blurred shots.

Hard cuts are found, also with a blended frame between or through black or white. A dissolve changes little
from frame to frame and is not found, nor is a jump cut that leaves most of the image where it was.
"""

from collections import deque

import cv2
import numpy as np

# Frames are compared at this length of the longer side: a pan by 12% of the width is still in the search.
_LONGER_SIDE = 64
_SHORTEST_SIDE = 12
# Parts along the shorter and the longer side. Larger parts are less often found by chance.
_PARTS = 3, 4
# Pixels that a part may have moved from a frame to the next, along the shorter and the longer side.
_REACH = 5, 8
# Grey levels: a part whose standard deviation is below this holds nothing to find again. Noise of 20 levels a
# pixel at the network's input size is about 3 here.
_DETAIL = 4.0
# A plain part that stays as it was is weak evidence for one shot; its mean may differ by this.
_PLAIN_WEIGHT, _SAME_MEAN = 0.35, 8.0
# Chroma above this has a hue, and hues with a cosine below this are different ones.
_COLOURFUL, _SAME_HUE = 12.0, 0.7
# Parts that were found this well are the same ones, whatever the light.
_FOUND = 0.85
# The similarity of unrelated frames is below 0.53 (60 pairs of photographs); of a blurred pan by three widths
# a second it is mostly above 0.7. A new shot is below both this and a share of the lowest one lately.
_LOW, _SHARE_OF_LATELY = 0.58, 0.75
# Both frames of a cut with a blended frame between are below this share of the lowest one before.
_BLENDED_SHARE = 0.85
# Frames of "lately", and what it is taken for at the start of a shot.
_LATELY, _FIRST = 5, 0.9
# A frame that is like one of so many before is no new shot: light comes back after a flash.
_FLASH = 4


class CutDetector:
    """Tells the first frame of each new shot; takes frames one by one, about a millisecond each."""

    def __init__(self) -> None:
        self._frames: deque[np.ndarray] = deque(maxlen=_FLASH)
        self._similarities: deque[float] = deque(maxlen=_LATELY)

    def add(self, frame: np.ndarray) -> bool:
        """Takes the next frame.

        Args:
          frame: uint8 RGB [height, width, 3], all of one size; the network's input size is enough.

        Returns:
          True if the frame begins a new shot; False for the video's first one. Frames without detail (black,
          white) belong to the shot before. The next one with detail is compared with the last one with it.
        """
        small = _shrink(frame)
        detail = _detail(small)
        if (detail < _DETAIL).all():
            return False
        cut = bool(self._frames) and self._begins_shot(small, detail)
        self._frames.append(small)
        return cut

    def _begins_shot(self, small: np.ndarray, detail: np.ndarray) -> bool:
        similarity = _similarity(self._frames[-1], small, detail)
        lately = list(self._similarities)
        self._similarities.append(similarity)
        limit = _limit(lately)
        cut = similarity < limit
        if not cut and len(lately) >= 2:
            *before, last = lately
            limit = _limit(before)
            cut = max(similarity, last) < _BLENDED_SHARE * min(before)
        older = list(self._frames)[:-1]
        if cut and all(_similarity(frame, small, detail) < limit for frame in reversed(older)):
            self._similarities.clear()
            return True
        return False


def _limit(lately: list[float]) -> float:
    """The similarity below which a frame may begin a new shot."""
    return min(_LOW, _SHARE_OF_LATELY * min(lately, default=_FIRST))


def _shrink(frame: np.ndarray) -> np.ndarray:
    """YCrCb, uint8, the longer side 64 pixels, and upright frames on their side so that all are wide."""
    if frame.shape[0] > frame.shape[1]:
        frame = frame.transpose(1, 0, 2)
    height, width = frame.shape[:2]
    size = _LONGER_SIDE, max(round(height * _LONGER_SIDE / width), _SHORTEST_SIDE)
    return cv2.cvtColor(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2YCrCb)


def _parts(small: np.ndarray) -> np.ndarray:
    """All parts, [rows, columns, height, width, ...], as a view."""
    rows, columns = _PARTS
    height, width = small.shape[0] // rows, small.shape[1] // columns
    whole = small[: rows * height, : columns * width]
    return whole.reshape(rows, height, columns, width, *small.shape[2:]).swapaxes(1, 2)


def _detail(small: np.ndarray) -> np.ndarray:
    """Each part's standard deviation of grey about its best plane, [rows, columns].

    A plane is taken off because slopes are like each other wherever they are.
    """
    grey = _parts(small[..., 0]).astype(np.float32)
    grey -= grey.mean((2, 3), keepdims=True)
    square = (grey**2).mean((2, 3))
    for axis, size in ((2, grey.shape[2]), (3, grey.shape[3])):
        slope = np.linspace(-1, 1, size, dtype=np.float32)
        slope /= np.sqrt((slope**2).mean())
        square -= (grey.mean(5 - axis) @ slope / size) ** 2
    return np.sqrt(np.maximum(square, 0))


def _similarity(old: np.ndarray, new: np.ndarray, detail: np.ndarray) -> float:
    """The weighted median of how well the new frame's parts are found again in the old one, 0 to 1."""
    means, old_means = (_parts(each).mean((2, 3), dtype=np.float32) for each in (new, old))
    height, width = new.shape[0] // _PARTS[0], new.shape[1] // _PARTS[1]
    old_grey, new_grey = np.ascontiguousarray(old[..., 0]), np.ascontiguousarray(new[..., 0])
    found = []
    for row, column in np.argwhere(detail >= _DETAIL).tolist():
        top, left = row * height, column * width
        first, start = max(top - _REACH[0], 0), max(left - _REACH[1], 0)
        matches = cv2.matchTemplate(
            old_grey[first : top + height + _REACH[0], start : left + width + _REACH[1]],
            new_grey[top : top + height, left : left + width],
            cv2.TM_CCOEFF_NORMED,
        )
        _, best, _, (x, y) = cv2.minMaxLoc(matches)
        match = old[first + y : first + y + height, start + x : start + x + width]
        other = _other_hue(np.array(cv2.mean(match)[:3]), means[row, column])
        found.append(0.0 if other else max(best, 0.0))
    plain = detail < _DETAIL
    new_plain, old_plain = means[plain], old_means[plain]
    other = _other_hue(old_plain, new_plain)
    same = ~other & (np.abs(new_plain - old_plain).max(-1, initial=0) < _SAME_MEAN)
    # Plain parts in another light: they change sides with what is found of the others.
    changed = np.median(found) < _FOUND
    values = np.concatenate([found, same[same | other | changed]])
    weights = np.full(len(values), _PLAIN_WEIGHT)
    weights[: len(found)] = 1
    order = np.argsort(values)
    sums = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(sums, sums[-1] / 2)])


def _other_hue(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Whether two colours, YCrCb [..., 3], both have a hue, and these differ: bool [...]."""
    one, two = one[..., 1:] - 128, two[..., 1:] - 128
    lengths = np.linalg.norm(one, axis=-1), np.linalg.norm(two, axis=-1)
    cosine_times = (one * two).sum(-1)
    return (np.minimum(*lengths) > _COLOURFUL) & (cosine_times < _SAME_HUE * lengths[0] * lengths[1])
