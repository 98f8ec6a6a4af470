"""Means of scores over frames and over videos.

Sums are exact (Shewchuk's non-overlapping partial sums) and rounded once, in `compute`, so the result does
not depend on the order of the frames.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from unisal_jax.errors import UnisalError

# Resampled values that `bootstrap_ci` holds at once: 32 MB of float64.
_BOOTSTRAP_BLOCK = 4_000_000


@dataclass(frozen=True)
class ExactMean:
    """A mean with an exact sum: `partials` do not overlap, so no rounding has occurred."""

    partials: tuple[float, ...] = ()
    count: int = 0

    def add(self, values: Iterable[float]) -> "ExactMean":
        """Returns the mean with these values added.

        Raises:
          UnisalError: a value is NaN or infinite. Callers leave undefined scores out.
        """
        partials, count = list(self.partials), self.count
        for value in values:
            if not math.isfinite(value):
                raise UnisalError(f"cannot average {value}")
            partials = _grow(partials, float(value))
            count += 1
        return ExactMean(tuple(partials), count)

    def merge(self, other: "ExactMean") -> "ExactMean":
        """Returns the mean of the values of both."""
        partials = list(self.partials)
        for partial in other.partials:
            partials = _grow(partials, partial)
        return ExactMean(tuple(partials), self.count + other.count)

    def compute(self) -> float:
        """The mean, correctly rounded; NaN if there are no values."""
        return math.fsum(self.partials) / self.count if self.count else math.nan


@dataclass(frozen=True)
class ScoreSummary:
    """The results of a `ScoreTable`.

    Attributes:
      mean: by score, the mean over frames or over groups; NaN if no frame has the score.
      groups: by group (a video or an image), then by score, the mean over the group's frames.
      frames: by score, the number of frames in the mean.
      left_out: by reason, the number of affected frames.
    """

    mean: dict[str, float]
    groups: dict[str, dict[str, float]]
    frames: dict[str, int]
    left_out: dict[str, int]


@dataclass(frozen=True)
class ScoreTable:
    """Scores by group; a group is a video or a single image.

    Attributes:
      groups: by group, then by score, the mean.
      left_out: by reason, the number of affected frames.
    """

    groups: Mapping[str, Mapping[str, ExactMean]]
    left_out: Mapping[str, int]

    @classmethod
    def of(cls, frames: Iterable[tuple[str, Mapping[str, float], Iterable[str]]]) -> "ScoreTable":
        """Makes a table from frames.

        Args:
          frames: for each frame (name of its video or image; scores by name, where NaN is left out of the
            means; reasons why scores are missing or degenerate, see `protocols.frame_faults`).
        """
        groups: dict[str, dict[str, ExactMean]] = {}
        left_out: dict[str, int] = {}
        for group, scores, reasons in frames:
            means = groups.setdefault(group, {})
            for name, score in scores.items():
                means[name] = means.get(name, ExactMean()).add([] if math.isnan(score) else [score])
            for reason in dict.fromkeys(reasons):
                left_out[reason] = left_out.get(reason, 0) + 1
        return cls(groups, left_out)

    def compute(self, over: Literal["groups", "frames"]) -> ScoreSummary:
        """The means, in sorted order.

        Args:
          over: "groups" gives each video or image the same weight, whatever its number of frames;
            "frames" gives each frame the same weight.
        """
        names = sorted({name for means in self.groups.values() for name in means})
        columns = {
            name: [means[name] for _, means in sorted(self.groups.items()) if name in means] for name in names
        }
        totals = {name: _merged(column) for name, column in columns.items()}
        if over == "groups":
            averages = {
                name: ExactMean().add(mean.compute() for mean in column if mean.count)
                for name, column in columns.items()
            }
        else:
            averages = totals
        return ScoreSummary(
            mean={name: mean.compute() for name, mean in averages.items()},
            groups={
                group: {name: mean.compute() for name, mean in sorted(means.items())}
                for group, means in sorted(self.groups.items())
            },
            frames={name: mean.count for name, mean in totals.items()},
            left_out=dict(sorted(self.left_out.items())),
        )


def bootstrap_ci(
    values: Iterable[float],
    *,
    weights: Iterable[float] | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap confidence interval of a mean over videos or images.

    Args:
      values: `[N]`, one mean per video or image; NaNs are left out.
      weights: `[N]`, the number of frames of each video, if the mean is over frames. Whole videos are
        resampled all the same, since the frames of a video are not independent.
      level: confidence level.
      resamples: number of bootstrap samples.
      seed: random seed.

    Returns:
      (low, high); both NaN if there are no values.

    Raises:
      UnisalError: weights and values differ in number.
    """
    values = np.asarray(list(values), np.float64)
    weights = np.ones_like(values) if weights is None else np.asarray(list(weights), np.float64)
    if weights.shape != values.shape:
        raise UnisalError(f"{values.size} values cannot have {weights.size} weights")
    known = ~np.isnan(values)
    values, weights = values[known], weights[known]
    if not values.size:
        return math.nan, math.nan
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    block = max(1, _BOOTSTRAP_BLOCK // values.size)
    for start in range(0, resamples, block):
        drawn = rng.integers(values.size, size=(min(block, resamples - start), values.size))
        sums = (values * weights)[drawn].sum(axis=1)
        means[start : start + block] = sums / weights[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _grow(partials: list[float], value: float) -> list[float]:
    """Adds a float to non-overlapping partial sums; keeps every rounding error as a partial."""
    kept = []
    for partial in partials:
        if abs(value) < abs(partial):
            value, partial = partial, value
        total = value + partial
        error = partial - (total - value)
        if error:
            kept.append(error)
        value = total
    return [*kept, value]


def _merged(means: Iterable[ExactMean]) -> ExactMean:
    total = ExactMean()
    for mean in means:
        total = total.merge(mean)
    return total
