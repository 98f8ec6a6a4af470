"""When the frames of a video are shown: whether they come at equal steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unisal_jax.documents import rounded

# Steps that differ by no more are equal: containers round times, some of them to a millisecond.
_TICKS, _SECONDS, _SHARE = 2.0, 0.0015, 0.1


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
