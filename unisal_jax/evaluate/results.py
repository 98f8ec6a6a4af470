"""The results of an evaluation: means, scores of every frame, and example images."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from unisal_jax.evaluate.accumulate import ScoreTable, bootstrap_ci

# Baselines to compare predictions with.
BASELINES = ("centre_prior", "uniform", "inter_observer")


@dataclass(frozen=True)
class FrameScores:
    """The scores of one frame or image.

    Attributes:
      group: the video's or the image's name.
      frame: number within the video, from 1; 1 for an image.
      scores: by score name; NaN for scores that the frame's data do not allow.
      faults: what is degenerate about the frame (`protocols.frame_faults`).
    """

    group: str
    frame: int
    scores: dict[str, float]
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class MethodScores:
    """The scores of one method under one protocol: the predictions, or a baseline.

    Attributes:
      name: `prediction`, `centre_prior`, `uniform`, `mean_map` or `inter_observer`.
      mean: by score; scores that no frame has are left out.
      ci: by score, the bootstrap interval (low, high) of the mean over images or videos; none for a
        single one.
      groups: by video or image, then by score, the mean over its frames.
      frames: the scores of every frame, in order.
      scored: by score, the number of frames in the mean.
      left_out: by reason, the number of affected frames.
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
        """Computes means, intervals and counts.

        Args:
          name: name of the method.
          frames: scores of the frames, in order.
          scores: names of the scores, in the order of the result.
          over: what the means are over; see `ScoreTable.compute`.
          seed: random seed of the intervals.
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
            if np.isfinite(column).sum() > 1  # a single video has no interval
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
    """A frame shown in a report.

    Attributes:
      title: `best`, `median` or `worst`.
      group, frame: as in `FrameScores`.
      scores: scores of the frame.
      image: uint8 RGB [H, W, 3].
      truth, prediction: densities, float [H, W] of the image's size.
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
    """An evaluation: what was scored, how, and the results.

    Attributes:
      protocol: name of the protocol.
      kind: whether the groups are images or videos.
      about: facts for the report, of JSON types: data, domain, weights, input size.
      methods: the predictions, then the baselines.
      examples: best, median and worst frames of the predictions.
      skipped: one line for each input that could not be scored.
      notes: one line for each type of file that was ignored, and for each baseline left out.
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
