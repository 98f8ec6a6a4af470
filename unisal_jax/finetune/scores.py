"""Scores of the held-out stimuli: before, after, centre prior, other people, and paired differences."""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unisal_jax.documents import read_json
from unisal_jax.domains import Domain, Size
from unisal_jax.evaluate.accumulate import bootstrap_ci
from unisal_jax.evaluate.predictions import NetworkMaps
from unisal_jax.evaluate.protocols import SCORES
from unisal_jax.evaluate.report import write_json
from unisal_jax.evaluate.run import EvaluateOptions, MapSource, evaluate
from unisal_jax.evaluate.sources import FrameTruth, Group, ScoringData, closing_frames, mean_truth
from unisal_jax.predict.model import SaliencyModel

Document = dict[str, Any]
"""An evaluation, as written by `unisal evaluate --json`."""

PROTOCOL = "unisal"
# The default of `unisal evaluate`, which then gives the same numbers.
SEED = 1
# The mean map of the training split uses at most this many frames, evenly spaced.
_PRIOR_FRAMES = 20_000
# Scores of other people use as many frames as require this many maps of one observer's fixations.
_PEOPLES_MAPS = 1_500


def prior_map(training: ScoringData) -> np.ndarray:
    """The centre prior: the mean map of the training stimuli, [H, W]."""
    return mean_truth(thinned(training, _PRIOR_FRAMES))


def score_model(
    path: Path,
    data: ScoringData,
    model: SaliencyModel,
    domain: Domain,
    stride: int | None,
    prior: np.ndarray,
    about: Mapping[str, str],
    baselines: tuple[str, ...] = (),
) -> Document:
    """Scores a model.

    Args:
      path: JSON file to write.
      data: the held-out stimuli.
      model: the model.
      domain: domain whose parameters to use.
      stride: frame stride of videos; None for images.
      prior: the centre prior, the baseline of information gain.
      about: facts for the file.
      baselines: baselines to score as well.

    Raises:
      UnisalError: the data cannot be read, or the file cannot be written.
    """
    maps = NetworkMaps(model, data, domain, stride=stride)
    return _scored(path, data, maps, prior, baselines, {**about, "domain": domain.name})


def score_people(path: Path, data: ScoringData, prior: np.ndarray) -> Document | None:
    """Scores each observer's fixations by those of the others, a ceiling for predictions; on a sample.

    Returns:
      An evaluation whose baseline `inter_observer` is the result; None if observers are unknown.

    Raises:
      UnisalError: as `score_model`.
    """
    truths = (group.truth(0) for group in data.groups[:5])
    people = max((len(np.unique(truth.observers[truth.observers >= 0])) for truth in truths), default=0)
    if people < 2:
        return None
    part = thinned(data, max(1, _PEOPLES_MAPS // people))
    return _scored(path, part, _Flat(), prior, ("inter_observer",), {})


def stored(path: Path) -> Document | None:
    """The stored result of an evaluation; None if there is none.

    Raises:
      UnisalError: the file is damaged.
    """
    return read_json(path, "an evaluation") if path.exists() else None


def per_stimulus(document: Document) -> dict[str, dict[str, float]]:
    """The scores of each stimulus, by name."""
    found: dict[str, dict[str, float]] = document.get("per_image") or document.get("per_video") or {}
    return found


@dataclasses.dataclass(frozen=True)
class Difference:
    """The difference after minus before of one score.

    Attributes:
      mean: mean over the stimuli with both scores.
      ci: 95% bootstrap interval of the mean; NaN for a single stimulus.
      stimuli: number of stimuli.
    """

    mean: float
    ci: tuple[float, float]
    stimuli: int


def differences(before: Document, after: Document) -> dict[str, Difference]:
    """The paired difference of each score in both evaluations."""
    found = {}
    for name in SCORES:
        pairs = paired(before, after, name)
        if pairs:
            values = [new - old for old, new in pairs.values()]
            ci = bootstrap_ci(values, seed=SEED) if len(values) > 1 else (math.nan, math.nan)
            found[name] = Difference(float(np.mean(values)), ci, len(values))
    return found


def paired(before: Document, after: Document, name: str) -> dict[str, tuple[float, float]]:
    """(before, after) of a score by stimulus, for stimuli with both."""
    old, new = per_stimulus(before), per_stimulus(after)
    return {
        each: (old[each][name], new[each][name])
        for each in sorted(old.keys() & new.keys())
        if name in old[each] and name in new[each]
    }


def thinned(data: ScoringData, most: int) -> ScoringData:
    """About `most` frames of the data or fewer, evenly spaced: some images, or some frames of each video."""
    total = sum(len(group.frame_names) for group in data.groups)
    every = -(-total // most)
    if every <= 1:
        return data
    if data.kind == "image":
        return dataclasses.replace(data, groups=data.groups[::every])
    return dataclasses.replace(data, groups=tuple(_thinned(group, every) for group in data.groups))


def _thinned(group: Group, every: int) -> Group:
    start = min(every // 2, len(group.frame_names) // 2)

    def pixels() -> Iterator[np.ndarray]:
        with closing_frames(group) as frames:
            yield from itertools.islice(frames, start, None, every)

    def truth(index: int) -> FrameTruth:
        return group.truth(start + index * every)

    return dataclasses.replace(group, frame_names=group.frame_names[start::every], pixels=pixels, truth=truth)


class _Flat:
    """Uniform maps, used if only baselines matter."""

    def maps(self, group: Group) -> Iterator[np.ndarray]:
        """Yields a map per frame."""
        for index in range(len(group.frame_names)):
            size: Size = group.truth(index).size
            yield np.ones(size, np.float32)


def _scored(
    path: Path,
    data: ScoringData,
    maps: MapSource,
    prior: np.ndarray,
    baselines: tuple[str, ...],
    about: Mapping[str, str],
) -> Document:
    options = EvaluateOptions(PROTOCOL, baselines, prior, seed=SEED)
    evaluation = evaluate(data, maps, options, {"data": data.name, "split": data.split, **about})
    path.parent.mkdir(exist_ok=True)
    write_json(path, evaluation)
    document: Document = read_json(path, "an evaluation")
    return document
