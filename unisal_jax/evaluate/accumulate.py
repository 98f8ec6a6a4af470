"""Means of scores, over frames and over videos.

Sums are kept exactly (Shewchuk's non-overlapping partial sums) and rounded once, at `compute`: the order of
the frames does not change a digit of the result.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from unisal_jax.errors import UnisalError

# Resampled values held at once by `bootstrap_ci`: 32 MB of float64.
_BOOTSTRAP_BLOCK = 4_000_000


@dataclass(frozen=True)
class ExactMean:
    """A mean whose sum is exact: `partials` do not overlap, so nothing was rounded away."""

    partials: tuple[float, ...] = ()
    count: int = 0

    def add(self, values: Iterable[float]) -> "ExactMean":
        """With these values too.

        Raises:
          UnisalError: one is NaN or infinite. Undefined scores are left out, not averaged.
        """
        partials, count = list(self.partials), self.count
        for value in values:
            if not math.isfinite(value):
                raise UnisalError(f"a mean cannot take in {value}")
            partials = _grow(partials, float(value))
            count += 1
        return ExactMean(tuple(partials), count)

    def merge(self, other: "ExactMean") -> "ExactMean":
        """Of both states' values."""
        partials = list(self.partials)
        for partial in other.partials:
            partials = _grow(partials, partial)
        return ExactMean(tuple(partials), self.count + other.count)

    def compute(self) -> float:
        """The mean, correctly rounded; NaN of no values."""
        return math.fsum(self.partials) / self.count if self.count else math.nan


@dataclass(frozen=True)
class Summary:
    """What a `ScoreTable` holds, computed.

    Attributes:
      mean: by score, over frames or over groups as asked; NaN where no frame had the score.
      groups: by group (a video or an image), then by score, the mean over the group's frames.
      frames: by score, how many frames are in the mean.
      left_out: by reason, how many frames it touched.
    """

    mean: dict[str, float]
    groups: dict[str, dict[str, float]]
    frames: dict[str, int]
    left_out: dict[str, int]


@dataclass(frozen=True)
class ScoreTable:
    """Scores by group, where a group is a video, or an image by itself.

    Attributes:
      groups: by group, then by score, the mean.
      left_out: by reason, how many frames it touched.
    """

    groups: Mapping[str, Mapping[str, ExactMean]]
    left_out: Mapping[str, int]

    @classmethod
    def of(cls, frames: Iterable[tuple[str, Mapping[str, float], Iterable[str]]]) -> "ScoreTable":
        """The table of the frames.

        Args:
          frames: (the video, or the image; scores by name, of which NaN is left out of the means; why scores
            are missing or degenerate, see `protocols.frame_faults`, to be counted) of each.
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

    def compute(self, over: Literal["groups", "frames"]) -> Summary:
        """The means, in sorted order.

        Args:
          over: "groups" weighs each video or image the same, whatever its number of frames;
            "frames" weighs each frame the same.
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
        return Summary(
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
    """Percentile bootstrap interval of a mean over videos or images.

    Args:
      values: `[N]` one mean a video or image; NaNs are left out.
      weights: `[N]` the videos' numbers of frames, where the mean is over frames: whole videos are
        still drawn, since frames of one video are not independent.
      level: how much of the resampled means lies inside.
      resamples: how many times N of the N are drawn with replacement.
      seed: seeds the draws.

    Returns:
      (low, high); both NaN of no values.

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
    """Add a float to non-overlapping partial sums, keeping every rounding error as a partial."""
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
