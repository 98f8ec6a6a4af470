"""When the frames of a video are shown: a clock that never begins anew, and whether steps are equal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unisal_jax.documents import rounded

# Steps that differ by no more are equal: containers round times, some of them to a millisecond.
_TICKS, _SECONDS, _SHARE = 2.0, 0.0015, 0.1
# Seconds: a clock that goes back by more begins anew, as where recordings were joined.
_ANEW = 0.5


@dataclass(frozen=True)
class Steps:
    """From one frame of a video to the next, in seconds.

    Attributes:
        shortest, longest, mean: of the steps; the shortest is below 0 where times go back.
        even: the steps are equal, up to what containers round.
    """

    shortest: float
    longest: float
    mean: float
    even: bool

    def to_json(self) -> dict[str, Any]:
        """By name, floats to six digits."""
        return {
            "even": self.even,
            "longest_step": rounded(self.longest),
            "mean_step": rounded(self.mean),
            "shortest_step": rounded(self.shortest),
        }


class SteadyClock:
    """The times of a track, which go on where the file's own clock begins anew, or says nothing."""

    def __init__(self) -> None:
        self._shift = 0.0
        self._last: float | None = None
        self._next: float | None = None

    def at(self, seconds: float | None, duration: float | None) -> float | None:
        """The time of the next frame or packet, in seconds; None where it cannot be told.

        Args:
            seconds: its time by the file's clock; H.264 in MPEG-PS says it of some frames alone.
            duration: how long it is shown or heard, in seconds, where that is known.
        """
        if seconds is not None:
            shown = seconds + self._shift
            if self._next is not None and shown < self._next - _ANEW:
                self._shift += self._next - shown
                shown = self._next
        elif self._next is not None:
            shown = self._next
        else:
            return None
        # Without a duration, the last step stands for it.
        step = 0.0 if self._last is None else max(shown - self._last, 0.0)
        self._last, self._next = shown, shown + (duration or step)
        return shown


def steps_of(times: Sequence[float], tick: float) -> Steps | None:
    """The steps between frames that are shown at `times`; None where fewer than two times are known.

    Args:
        times: seconds of each frame; NaN where the file does not say.
        tick: what the container rounds times to, in seconds.
    """
    at = np.asarray(times, np.float64)
    known = np.flatnonzero(np.isfinite(at))
    if len(known) < 2:
        return None
    each = np.diff(at[known]) / np.diff(known)
    mean = float((at[known[-1]] - at[known[0]]) / (known[-1] - known[0]))
    # Steps that change slowly are all alike, but their frames drift away from those of equal steps.
    drift = np.abs(at[known] - at[known[0]] - mean * (known - known[0])).max()
    slack = max(_TICKS * tick, _SECONDS, _SHARE * mean)
    spread = float(each.max() - each.min())
    even = spread <= slack and drift <= max(mean, slack)
    return Steps(float(each.min()), float(each.max()), mean, bool(even))
