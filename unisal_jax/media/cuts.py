"""Detects cuts in a video, frame by frame and without look-ahead.

Two frames belong to the same shot if most blocks of the second match a nearby place in the first. Blocks are
compared by normalised cross-correlation, which is invariant to changes of light, fades and flashes; searching
nearby tolerates pans, shake and moving objects. A frame starts a new shot if its similarity is low, both
absolutely and relative to recent frames. This adaptive threshold (as in PySceneDetect's AdaptiveDetector, but
with past frames only) tolerates noisy, shaken and blurred shots.

Hard cuts are detected, including those with a blended frame in between or through black or white. Dissolves
change little from frame to frame and are not detected, nor are jump cuts that leave most of the image as is.
"""

from collections import deque

import cv2
import numpy as np

# Frames are compared at this length of the longer side. The search covers pans by up to 12% of the width.
_LONGER_SIDE = 64
_SHORTEST_SIDE = 12
# Blocks along the shorter and the longer side. Larger blocks match by chance less often.
_BLOCKS = 3, 4
# Pixels that a block may move between two frames, along the shorter and the longer side.
_REACH = 5, 8
# Grey levels: a block with a lower standard deviation has too little detail to match. Noise of 20 levels per
# pixel at the network's input size is about 3 here.
_DETAIL = 4.0
# An unchanged plain block is weak evidence for the same shot; its mean may differ by this.
_PLAIN_WEIGHT, _SAME_MEAN = 0.35, 8.0
# Chroma above this has a hue; two hues differ if their cosine is below this.
_COLOURFUL, _SAME_HUE = 12.0, 0.7
# Blocks with a match above this are the same, whatever the light.
_FOUND = 0.85
# The similarity of unrelated frames is below 0.53 (60 pairs of photographs); that of a blurred pan at three
# widths per second is mostly above 0.7. A new shot is below both _LOW and a share of the recent minimum.
_LOW, _SHARE_OF_RECENT = 0.58, 0.75
# Both frames of a cut with a blended frame in between are below this share of the previous minimum.
_BLENDED_SHARE = 0.85
# Number of recent similarities, and the value assumed at the start of a shot.
_RECENT, _FIRST = 5, 0.9
# A frame similar to any of this many previous frames is not a new shot: the scene returns after a flash.
_FLASH = 4


class CutDetector:
    """Detects the first frame of each new shot, at about a millisecond per frame."""

    def __init__(self) -> None:
        self._frames: deque[np.ndarray] = deque(maxlen=_FLASH)
        self._similarities: deque[float] = deque(maxlen=_RECENT)

    def add(self, frame: np.ndarray) -> bool:
        """Takes the next frame.

        Args:
          frame: uint8 RGB [height, width, 3], all of one size; the network's input size is enough.

        Returns:
          True if the frame begins a new shot; False for the first frame of the video. Frames without detail
          (black, white) belong to the previous shot and are skipped in comparisons.
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
        recent = list(self._similarities)
        self._similarities.append(similarity)
        limit = _limit(recent)
        cut = similarity < limit
        if not cut and len(recent) >= 2:
            *before, last = recent
            limit = _limit(before)
            cut = max(similarity, last) < _BLENDED_SHARE * min(before)
        older = list(self._frames)[:-1]
        if cut and all(_similarity(frame, small, detail) < limit for frame in reversed(older)):
            self._similarities.clear()
            return True
        return False


def _limit(recent: list[float]) -> float:
    """Returns the similarity below which a frame may begin a new shot."""
    return min(_LOW, _SHARE_OF_RECENT * min(recent, default=_FIRST))


def _shrink(frame: np.ndarray) -> np.ndarray:
    """Shrinks a frame to uint8 YCrCb with a longer side of 64 pixels; transposes portrait to landscape."""
    if frame.shape[0] > frame.shape[1]:
        frame = frame.transpose(1, 0, 2)
    height, width = frame.shape[:2]
    size = _LONGER_SIDE, max(round(height * _LONGER_SIDE / width), _SHORTEST_SIDE)
    return cv2.cvtColor(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2YCrCb)


def _blocks(small: np.ndarray) -> np.ndarray:
    """Returns all blocks, [rows, columns, height, width, ...], as a view."""
    rows, columns = _BLOCKS
    height, width = small.shape[0] // rows, small.shape[1] // columns
    whole = small[: rows * height, : columns * width]
    return whole.reshape(rows, height, columns, width, *small.shape[2:]).swapaxes(1, 2)


def _detail(small: np.ndarray) -> np.ndarray:
    """Returns the standard deviation of each block's grey about its best-fitting plane, [rows, columns].

    The plane is subtracted because gradients match each other everywhere.
    """
    grey = _blocks(small[..., 0]).astype(np.float32)
    grey -= grey.mean((2, 3), keepdims=True)
    square = (grey**2).mean((2, 3))
    for axis, size in ((2, grey.shape[2]), (3, grey.shape[3])):
        slope = np.linspace(-1, 1, size, dtype=np.float32)
        slope /= np.sqrt((slope**2).mean())
        square -= (grey.mean(5 - axis) @ slope / size) ** 2
    return np.sqrt(np.maximum(square, 0))


def _similarity(old: np.ndarray, new: np.ndarray, detail: np.ndarray) -> float:
    """Returns the weighted median of how well the new frame's blocks match the old frame, 0 to 1."""
    means, old_means = (_blocks(each).mean((2, 3), dtype=np.float32) for each in (new, old))
    height, width = new.shape[0] // _BLOCKS[0], new.shape[1] // _BLOCKS[1]
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
    # Plain blocks that changed in brightness alone count only if the other blocks do not match either.
    changed = np.median(found) < _FOUND
    values = np.concatenate([found, same[same | other | changed]])
    weights = np.full(len(values), _PLAIN_WEIGHT)
    weights[: len(found)] = 1
    order = np.argsort(values)
    sums = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(sums, sums[-1] / 2)])


def _other_hue(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Returns whether two colours, YCrCb [..., 3], both have a hue and the hues differ, bool [...]."""
    one, two = one[..., 1:] - 128, two[..., 1:] - 128
    lengths = np.linalg.norm(one, axis=-1), np.linalg.norm(two, axis=-1)
    cosine_times = (one * two).sum(-1)
    return (np.minimum(*lengths) > _COLOURFUL) & (cosine_times < _SAME_HUE * lengths[0] * lengths[1])
