"""What an evaluation has found: the means, every frame's scores, and some images to look at."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from unisal_jax.evaluate.accumulate import ScoreTable, bootstrap_ci

# What predictions can be compared with.
BASELINES = ("centre_prior", "uniform", "inter_observer")


@dataclass(frozen=True)
class FrameScores:
    """One frame's (or image's) scores.

    Attributes:
      group: the video's or the image's name.
      frame: number in its video, from 1; 1 for an image.
      scores: by score name; NaN where the frame lacks what the score needs.
      faults: what is degenerate about it (`protocols.frame_faults`).
    """

    group: str
    frame: int
    scores: dict[str, float]
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class MethodScores:
    """One method under one protocol: the predictions, or a baseline.

    Attributes:
      name: `prediction`, `centre_prior`, `uniform`, `mean_map` or `inter_observer`.
      mean: by score; a score that no frame had is left out.
      ci: by score, the bootstrap interval (low, high) of the mean over images or videos; none of one alone.
      groups: by video or image, then by score, the mean over its frames.
      frames: every frame's scores, in order.
      scored: by score, how many frames are in the mean.
      left_out: by reason, how many frames it touched.
    """

    name: str
    mean: dict[str, float]
    ci: dict[str, tuple[float, float]]
    groups: dict[str, dict[str, float]]
    frames: tuple[FrameScores, ...]
    scored: dict[str, int]
    left_out: dict[str, int]

    @classmethod
    def of(
        cls,
        name: str,
        frames: Sequence[FrameScores],
        scores: Iterable[str],
        over: Literal["groups", "frames"],
        seed: int,
    ) -> "MethodScores":
        """Means, intervals and counts of frames.

        Args:
          name: the method's.
          frames: in order.
          scores: names of the scores, in the order of the result.
          over: what the means are over, see `ScoreTable.compute`.
          seed: of the intervals.
        """
        table = ScoreTable.of((frame.group, frame.scores, frame.faults) for frame in frames)
        summary = table.compute(over)
        known = [score for score in scores if summary.frames.get(score)]
        frames_of: dict[str, int] = {}
        for frame in frames:
            frames_of[frame.group] = frames_of.get(frame.group, 0) + 1
        weights = None if over == "groups" else [frames_of[group] for group in summary.groups]
        columns = {score: [found.get(score, np.nan) for found in summary.groups.values()] for score in known}
        ci = {
            score: bootstrap_ci(column, weights=weights, seed=seed)
            for score, column in columns.items()
            if np.isfinite(column).sum() > 1  # one video says nothing of another
        }
        groups = {
            group: {score: found[score] for score in known if not np.isnan(found.get(score, np.nan))}
            for group, found in summary.groups.items()
        }
        return cls(
            name,
            {score: summary.mean[score] for score in known},
            ci,
            groups,
            tuple(frames),
            {score: summary.frames[score] for score in known},
            summary.left_out,
        )


@dataclass(frozen=True)
class Example:
    """A frame to look at.

    Attributes:
      title: `best`, `median` or `worst`.
      group, frame: which one, as in `FrameScores`.
      scores: its scores.
      image: uint8 RGB [H, W, 3].
      truth, prediction: densities float [H, W] of the image's size.
    """

    title: str
    group: str
    frame: int
    scores: dict[str, float]
    image: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray


@dataclass(frozen=True)
class Evaluation:
    """An evaluation: what was scored, how, and what came out.

    Attributes:
      protocol: its name.
      kind: whether the groups are images or videos.
      about: facts to show and keep: data, domain, weights, input size; of JSON types.
      methods: the predictions first, then the baselines.
      examples: best, median and worst frames of the predictions.
      skipped: one line for each input that could not be scored.
      notes: one line for each kind of file that was passed over, and for a baseline that fell away.
      examples_by: name of the score that the examples were chosen by.
    """

    protocol: str
    kind: Literal["image", "video"]
    about: dict[str, Any]
    methods: tuple[MethodScores, ...]
    examples: tuple[Example, ...] = ()
    skipped: tuple[str, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())
    examples_by: str = ""
