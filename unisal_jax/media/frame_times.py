"""Display times of video frames: a clock without resets, and whether the steps are equal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unisal_jax.documents import rounded

# Steps that differ by at most this are equal: containers round times, some of them to a millisecond.
_TICKS, _SECONDS, _SHARE = 2.0, 0.0015, 0.1
# A clock that goes back by more than this has been reset, as where recordings were joined. In seconds.
_RESET = 0.5


@dataclass(frozen=True)
class Steps:
    """Steps between consecutive frames of a video, in seconds.

    Attributes:
      shortest, longest, mean: of the steps; the shortest is negative if times go back.
      even: whether the steps are equal up to rounding by the container.
    """

    shortest: float
    longest: float
    mean: float
    even: bool

    def to_json(self) -> dict[str, Any]:
        """Returns the values by name, floats rounded to six digits."""
        return {
            "even": self.even,
            "longest_step": rounded(self.longest),
            "mean_step": rounded(self.mean),
            "shortest_step": rounded(self.shortest),
        }


class SteadyClock:
    """Times of a track that continue where the file's clock is reset or missing."""

    def __init__(self) -> None:
        self._shift = 0.0
        self._last: float | None = None
        self._next: float | None = None

    def at(self, seconds: float | None, duration: float | None) -> float | None:
        """Returns the time of the next frame or packet, in seconds; None if it is unknown.

        Args:
          seconds: its time by the file's clock; H.264 in MPEG-PS gives it only for some frames.
          duration: how long it is displayed or played, in seconds, if known.
        """
        if seconds is not None:
            shown = seconds + self._shift
            if self._next is not None and shown < self._next - _RESET:
                self._shift += self._next - shown
                shown = self._next
        elif self._next is not None:
            shown = self._next
        else:
            return None
        # Without a duration, use the last step.
        step = 0.0 if self._last is None else max(shown - self._last, 0.0)
        self._last, self._next = shown, shown + (duration or step)
        return shown


def steps_of(times: Sequence[float], tick: float) -> Steps | None:
    """Returns the steps between frames displayed at `times`; None if fewer than two times are known.

    Args:
      times: seconds of each frame; NaN if unknown.
      tick: unit to which the container rounds times, in seconds.
    """
    at = np.asarray(times, np.float64)
    known = np.flatnonzero(np.isfinite(at))
    if len(known) < 2:
        return None
    each = np.diff(at[known]) / np.diff(known)
    mean = float((at[known[-1]] - at[known[0]]) / (known[-1] - known[0]))
    # Steps that change slowly are similar, but the frames drift away from equally spaced ones.
    drift = np.abs(at[known] - at[known[0]] - mean * (known - known[0])).max()
    slack = max(_TICKS * tick, _SECONDS, _SHARE * mean)
    spread = float(each.max() - each.min())
    even = spread <= slack and drift <= max(mean, slack)
    return Steps(float(each.min()), float(each.max()), mean, bool(even))
