"""The held-out stimuli's scores: before and after, the centre prior, other people, the paired difference."""

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
from unisal_jax.evaluate.run import EvaluateOptions, Maps, evaluate
from unisal_jax.evaluate.sources import FrameTruth, Group, ScoringData, closing_frames, mean_truth
from unisal_jax.predict.model import SaliencyModel

Document = dict[str, Any]
"""An evaluation as `unisal evaluate --json` writes it."""

PROTOCOL = "unisal"
# `unisal evaluate`'s own default, so that it gives the same numbers.
SEED = 1
# The training split's mean map is taken of at most so many frames, spread evenly.
_PRIOR_FRAMES = 20_000
# Other people's scores are taken of as many frames as make so many maps of one person's fixations.
_PEOPLES_MAPS = 1_500


def prior_map(training: ScoringData) -> np.ndarray:
    """The centre prior: the training stimuli's mean map, [H, W]."""
    return mean_truth(thinned(training, _PRIOR_FRAMES))


def score_network(
    path: Path,
    data: ScoringData,
    model: SaliencyModel,
    domain: Domain,
    stride: int | None,
    prior: np.ndarray,
    about: Mapping[str, str],
    baselines: tuple[str, ...] = (),
) -> Document:
    """Scores a network.

    Args:
      path: JSON file that is written.
      data: the held-out stimuli.
      model: whose maps to score.
      domain: whose parameters to use.
      stride: frame stride of videos; None for images.
      prior: the centre prior, the baseline of information gain.
      about: facts for the file.
      baselines: to score beside it.

    Raises:
      UnisalError: the data cannot be read, or the file cannot be written.
    """
    maps = NetworkMaps(model, data, domain, stride=stride)
    return _scored(path, data, maps, prior, baselines, {**about, "domain": domain.name})


def score_people(path: Path, data: ScoringData, prior: np.ndarray) -> Document | None:
    """Scores each person's fixations by the others', the ceiling of a prediction; on a part of many frames.

    Returns:
      The evaluation, whose baseline `inter_observer` counts; None where people are not known.

    Raises:
      UnisalError: as `score_network`.
    """
    truths = (group.truth(0) for group in data.groups[:5])
    people = max((len(np.unique(truth.observers[truth.observers >= 0])) for truth in truths), default=0)
    if people < 2:
        return None
    part = thinned(data, max(1, _PEOPLES_MAPS // people))
    return _scored(path, part, _Flat(), prior, ("inter_observer",), {})


def stored(path: Path) -> Document | None:
    """What a finished evaluation left; None if there is none.

    Raises:
      UnisalError: the file is damaged.
    """
    return read_json(path, "an evaluation") if path.exists() else None


def per_stimulus(document: Document) -> dict[str, dict[str, float]]:
    """Each stimulus's scores, by its name."""
    found: dict[str, dict[str, float]] = document.get("per_image") or document.get("per_video") or {}
    return found


@dataclasses.dataclass(frozen=True)
class Difference:
    """After minus before of one score.

    Attributes:
      mean: over the stimuli that have both.
      ci: its 95% interval, bootstrapped over these; NaN of a single one.
      stimuli: how many there are.
    """

    mean: float
    ci: tuple[float, float]
    stimuli: int


def differences(before: Document, after: Document) -> dict[str, Difference]:
    """The paired difference of each score that both have."""
    found = {}
    for name in SCORES:
        pairs = paired(before, after, name)
        if pairs:
            values = [new - old for old, new in pairs.values()]
            ci = bootstrap_ci(values, seed=SEED) if len(values) > 1 else (math.nan, math.nan)
            found[name] = Difference(float(np.mean(values)), ci, len(values))
    return found


def paired(before: Document, after: Document, name: str) -> dict[str, tuple[float, float]]:
    """By stimulus, its score (before, after), of those that have both."""
    old, new = per_stimulus(before), per_stimulus(after)
    return {
        each: (old[each][name], new[each][name])
        for each in sorted(old.keys() & new.keys())
        if name in old[each] and name in new[each]
    }


def thinned(data: ScoringData, most: int) -> ScoringData:
    """At most about `most` frames of the data, spread evenly: some of the images, or frames of each video."""
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
    """Maps that say nothing, where baselines alone are scored."""

    def maps(self, group: Group) -> Iterator[np.ndarray]:
        """One for each frame."""
        for index in range(len(group.frame_names)):
            size: Size = group.truth(index).size
            yield np.ones(size, np.float32)


def _scored(
    path: Path,
    data: ScoringData,
    maps: Maps,
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
