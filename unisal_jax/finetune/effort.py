"""Estimates the remaining time of a training, once steps have been timed and when steps become slower."""

import itertools
import statistics
import time
from collections.abc import Callable

from unisal_jax.train.config import TrainConfig

# Time of a step that also trains the encoder, relative to one that does not (OSIE on two cores).
_ENCODER = 1.75
# Steps of a phase before its speed is reported. The first ones compile.
_COMPILING, _TIMED = 2, 5


class Effort:
    """A callback for the number of each finished step; see `train.loop.train`."""

    def __init__(
        self,
        config: TrainConfig,
        per_epoch: int,
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.perf_counter,
    ):
        """Makes a callback.

        Args:
          config: config of the training.
          per_epoch: steps per epoch.
          tell: prints a line.
          clock: returns a time in seconds.
        """
        self._tell, self._clock = tell, clock
        self._total = config.epochs * per_epoch
        frozen = config.epochs if config.optimizer.domain_only else config.optimizer.frozen_encoder_epochs
        self._frozen = min(frozen * per_epoch, self._total)
        self._moving: bool | None = None
        self._times: list[float] = []

    def __call__(self, step: int) -> None:
        moving = step > self._frozen
        if moving != self._moving:
            self._moving, self._times = moving, []
        self._times.append(self._clock())
        if len(self._times) != _COMPILING + _TIMED:
            return
        timed = self._times[_COMPILING - 1 :]
        # The median, as a validation may have run between two steps.
        seconds = statistics.median(late - early for early, late in itertools.pairwise(timed))
        frozen_left = max(self._frozen - step, 0)
        moving_left = self._total - step - frozen_left
        left = seconds * (frozen_left + moving_left * (1 if moving else _ENCODER))
        self._tell(
            f"step {step} of {self._total}: about {minutes(left)} of training left, {seconds:.1f} s per step"
        )


def minutes(seconds: float) -> str:
    """A duration as text: "1 minute", "12 minutes", "2 h 5 min"."""
    count = max(1, round(seconds / 60))
    if count >= 90:
        return f"{count // 60} h {count % 60} min"
    return f"{count} minute{'s' if count > 1 else ''}"
