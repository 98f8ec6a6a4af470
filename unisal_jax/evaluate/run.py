"""Scores predictions and baselines on a dataset under a protocol, and counts what is left out."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from unisal_jax.domains import Size
from unisal_jax.errors import UnisalError
from unisal_jax.evaluate import information_gain as baselines
from unisal_jax.evaluate.examples import choose_examples
from unisal_jax.evaluate.information_gain import CannotFit, fit_centre_gaussian, inter_observer_maps
from unisal_jax.evaluate.protocols import (
    SCORES,
    draw_frames,
    draw_other_frames,
    frame_faults,
    get_protocol,
    score_frame,
)
from unisal_jax.evaluate.protocols import (
    Protocol as ScoreProtocol,
)
from unisal_jax.evaluate.results import Evaluation, FrameScores, MethodScores
from unisal_jax.evaluate.sources import FrameTruth, Group, ScoringData
from unisal_jax.limits import MAX_HELD_FIXATIONS

# The centre prior is fitted to at most this many frames, spread evenly over the data.
_CENTRE_FRAMES = 1000
_CENTRE_SIZE = (360, 640)
# Overhead of keeping the fixations of a frame, in units of fixations.
_KEPT_FRAME = 20
# For the exact shuffled AUC: fixations counted at once, and pixels of counts kept in memory.
_COUNTED_AT_ONCE, _COUNTS_HELD = 2_000_000, 24_000_000
# Blur of the inter-observer maps, about a degree of visual angle in most experiments.
OBSERVER_BLUR = 0.03


class MapSource(Protocol):
    """A method to score."""

    def maps(self, group: Group) -> Iterator[np.ndarray | UnisalError]:
        """Yields the maps of a group's frames in order, or an error in place of a map that is unavailable."""


@dataclasses.dataclass(frozen=True)
class EvaluateOptions:
    """How to score.

    Attributes:
      protocol: name of the protocol.
      baselines: which of `results.BASELINES` to score as well.
      prior: density to use as the centre prior and the baseline of information gain, such as a training
        set's mean map; None to fit a Gaussian to the fixations of the scored data. Without baselines,
        nothing is fitted and there is no information gain.
      examples: keep the best, median and worst frame for the report.
      skip_errors: skip frames whose truth or map cannot be read, and groups whose frames cannot be read.
      seed: random seed of the sampled scores, the jitter and the intervals.
      observer_blur: standard deviation of the inter-observer maps, as a fraction of the width.
    """

    protocol: str = "unisal"
    baselines: tuple[str, ...] = ("centre_prior", "uniform")
    prior: np.ndarray | None = None
    examples: bool = False
    skip_errors: bool = False
    seed: int = 0
    observer_blur: float = OBSERVER_BLUR


def evaluate(
    data: ScoringData,
    predictions: MapSource,
    options: EvaluateOptions,
    about: dict[str, Any],
    notes: tuple[str, ...] = (),
) -> Evaluation:
    """Scores predictions and baselines on a dataset.

    Args:
      data: the dataset.
      predictions: the method to score.
      options: how to score.
      about: facts for the report.
      notes: further lines for the report.

    Raises:
      UnisalError: the data or a prediction cannot be read (unless errors are skipped), or nothing
        remains to score.
    """
    protocol = get_protocol(options.protocol)
    context = _Context(data, protocol, options)
    methods = [_Method("prediction", data, protocol, options)]
    methods += [_Method(name, data, protocol, options) for name in context.baselines]
    skipped: list[str] = []
    chosen = _chosen_frames(data, protocol, options.seed)
    total = sum(len(group.frame_names) for group in data.groups)
    with tqdm(total=total, unit="frame", disable=None) as progress:
        for number, group in enumerate(data.groups):
            try:
                rows = _score_group(
                    number, group, predictions, methods, context, chosen[number], skipped, progress
                )
            except UnisalError as error:
                if not options.skip_errors:
                    raise
                skipped.append(str(error))
                continue
            # Only complete groups count: part of a video would be another video.
            for method in methods:
                method.take(rows[method.name])
    if not methods[0].rows:
        raise UnisalError(f"{data.name}: nothing could be scored" + (f" ({skipped[0]})" if skipped else ""))
    found = tuple(method.result() for method in methods if method.rows)
    by = "nss" if "nss" in found[0].mean else "cc"
    examples = choose_examples(data, predictions.maps, found[0], by) if options.examples else ()
    notes = (*data.notes, *notes, *context.notes)
    return Evaluation(protocol.name, data.kind, about, found, examples, tuple(skipped), notes, by)


@dataclasses.dataclass(frozen=True)
class _Frame:
    """A frame to score, with everything that its scores require besides a map."""

    group: str
    number: int
    truth: FrameTruth
    fixations: np.ndarray
    others: np.ndarray | None
    prior: np.ndarray | None
    seed: list[int]
    protocol: ScoreProtocol

    def score(self, pred: np.ndarray, gt: np.ndarray | None, fixations: np.ndarray) -> FrameScores:
        """Scores a map; a map of another size is resized and counted."""
        try:
            scores = score_frame(
                self.protocol,
                pred,
                gt,
                fixations,
                others=self.others,
                baseline=self.prior,
                seed=self.seed,
                resize=True,
            )
        except UnisalError as error:
            raise UnisalError(f"{self.group}, frame {self.number}: {error}") from error
        faults = (*frame_faults(pred, gt, fixations, self.others), *self.truth.faults)
        if self.prior is None:
            faults = (*faults, "no_centre_prior")
        if pred.shape != fixations.shape:
            faults = (*faults, "resized_prediction")
        return FrameScores(self.group, self.number, scores, faults)


class _Context:
    """Data that the scores of a frame require: fixations of other frames, and the centre prior.

    Attributes:
      baselines: the baselines that can be scored.
      notes: a line on each baseline that cannot.
    """

    def __init__(self, data: ScoringData, protocol: ScoreProtocol, options: EvaluateOptions):
        self._data, self._protocol, self.options = data, protocol, options
        self._counts = [len(group.frame_names) for group in data.groups]
        self._last_prior = np.zeros((0, 0))
        self._kept: dict[tuple[int, int], tuple[np.ndarray, Size]] = {}
        self._room = MAX_HELD_FIXATIONS
        self._all: dict[Size, np.ndarray] = {}
        self.baselines = options.baselines
        self.notes: tuple[str, ...] = ()
        self.gaussian = None
        if options.prior is None and options.baselines:
            try:
                self.gaussian = fit_centre_gaussian(self._spread())
            except CannotFit as error:
                self.baselines = tuple(name for name in options.baselines if name != "centre_prior")
                self.notes = (f"{error}; left out this baseline and IG",)

    def frame(self, group: int, index: int) -> _Frame:
        """Frame `index` of group `group`, both counted from 0."""
        truth = self._data.groups[group].truth(index)
        return _Frame(
            self._data.groups[group].id,
            index + 1,
            truth,
            truth.counts(),
            self._others(group, index, truth.size),
            self._prior(truth.size),
            [self.options.seed, group, index],
            self._protocol,
        )

    def _prior(self, size: Size) -> np.ndarray | None:
        """The centre prior at a size, [H, W], summing to 1; recomputed only if the size changes."""
        if self.gaussian is None and self.options.prior is None:
            return None
        if self._last_prior.shape != size:
            if self.gaussian is not None:
                self._last_prior = baselines.centre_prior(size, self.gaussian)
            else:
                self._last_prior = baselines.mean_map([self.options.prior], size)
        return self._last_prior

    def _others(self, group: int, frame: int, size: Size) -> np.ndarray | None:
        """Counts of other frames' fixations at a size, [H, W]; None if there are no other frames."""
        if len(self._data.groups) < 2:
            return None
        if self._protocol.sampled_s_auc:
            drawn = draw_other_frames(self._counts, [self.options.seed, group, frame])
            return _summed_counts((self._others_fixations(*other) for other in drawn), size)
        own = (self._others_fixations(group, index) for index in range(self._counts[group]))
        return self._all_fixations(size) - _summed_counts(own, size)

    def _all_fixations(self, size: Size) -> np.ndarray:
        """Counts of all frames' fixations at a size, [H, W]; cached for as many sizes as fit."""
        if size not in self._all:
            total = _summed_counts(
                (
                    self._others_fixations(number, index)
                    for number, count in enumerate(self._counts)
                    for index in range(count)
                ),
                size,
            )
            while self._all and sum(each.size for each in self._all.values()) + total.size > _COUNTS_HELD:
                del self._all[next(iter(self._all))]
            self._all[size] = total
        return self._all[size]

    def _fixations(self, group: int, index: int) -> np.ndarray:
        """Fixations of a frame [n, 2], (row, column) as fractions of the sides; cached while they fit."""
        found = self._kept.get((group, index))
        if found is None:
            truth = self._data.groups[group].truth(index)
            found = truth.points, truth.size
            if self._room >= len(truth.points) + _KEPT_FRAME:
                self._room -= len(truth.points) + _KEPT_FRAME
                self._kept[group, index] = found
        points, size = found
        return (points + 0.5) / np.asarray(size)

    def _others_fixations(self, group: int, index: int) -> np.ndarray:
        """`_fixations`, or none if they cannot be read, so that the frame being scored is not skipped."""
        try:
            return self._fixations(group, index)
        except UnisalError:
            if not self.options.skip_errors:
                raise
            return np.zeros((0, 2))

    def _spread(self) -> Iterable[np.ndarray]:
        """Yields fixation counts of frames spread evenly over the data."""
        total = sum(self._counts)
        ends = np.cumsum(self._counts)
        for flat in np.unique(np.linspace(0, total - 1, min(total, _CENTRE_FRAMES)).astype(int)):
            group = int(np.searchsorted(ends, flat, side="right"))
            try:
                fixations = self._fixations(group, int(flat - (ends[group] - self._counts[group])))
            except UnisalError:
                if not self.options.skip_errors:
                    raise
                continue
            yield _counts_at(fixations, _CENTRE_SIZE)


def _counts_at(points: np.ndarray, size: Size) -> np.ndarray:
    """Counts [H, W] of points [n, 2], (row, column) as fractions of the sides."""
    at = np.minimum((points * np.asarray(size)).astype(np.int64), np.asarray(size) - 1)
    return np.bincount(at[:, 0] * size[1] + at[:, 1], minlength=size[0] * size[1]).reshape(size)


def _summed_counts(frames: Iterable[np.ndarray], size: Size) -> np.ndarray:
    """`_counts_at` summed over frames, int64 [H, W]."""
    total = np.zeros(size, np.int64)
    points: list[np.ndarray] = []
    waiting = 0
    for each in frames:
        points.append(each)
        waiting += len(each)
        # Count many frames at once, as each count costs a whole map, but not all, to bound the memory.
        if waiting > _COUNTED_AT_ONCE:
            total += _counts_at(np.concatenate(points), size)
            points, waiting = [], 0
    return total + _counts_at(np.concatenate(points), size) if points else total


class _Method:
    """Collects one method's scores."""

    def __init__(self, name: str, data: ScoringData, protocol: ScoreProtocol, options: EvaluateOptions):
        self.name, self._protocol, self._options = name, protocol, options
        self.rows: list[FrameScores] = []

    def take(self, rows: list[FrameScores]) -> None:
        """Adds a group's frames."""
        self.rows += rows

    def result(self) -> MethodScores:
        """Means, intervals and counts."""
        over = self._protocol.mean_over
        return MethodScores.of(self.name, self.rows, SCORES, over, self._options.seed)


def _score_group(
    number: int,
    group: Group,
    predictions: MapSource,
    methods: list[_Method],
    context: _Context,
    chosen: set[int],
    skipped: list[str],
    progress: tqdm,
) -> dict[str, list[FrameScores]]:
    """The scores of a group's frames by every method."""
    rows: dict[str, list[FrameScores]] = {method.name: [] for method in methods}
    count = 0
    for index, pred in enumerate(predictions.maps(group)):
        count += 1
        if index >= len(group.frame_names):
            raise UnisalError(f"{group.id}: has more frames than ground truth ({len(group.frame_names)})")
        progress.update()
        if index not in chosen:
            continue
        try:
            if isinstance(pred, UnisalError):
                raise pred
            frame = context.frame(number, index)
        except UnisalError as error:
            if not context.options.skip_errors:
                raise
            skipped.append(str(error))
            continue
        for method in methods:
            if method.name == "inter_observer":
                found = _inter_observer(frame, context.options.observer_blur)
            elif method.name == "centre_prior" and frame.prior is not None:
                found = frame.score(frame.prior, frame.truth.map, frame.fixations)
            elif method.name == "uniform":
                found = frame.score(baselines.uniform(frame.truth.size), frame.truth.map, frame.fixations)
            else:
                found = frame.score(pred, frame.truth.map, frame.fixations)
            rows[method.name] += [] if found is None else [found]
    if count < len(group.frame_names):
        raise UnisalError(f"{group.id}: has {count} frames, but ground truth for {len(group.frame_names)}")
    return rows


def _inter_observer(frame: _Frame, blur: float) -> FrameScores | None:
    """Mean score of each observer's fixations by the map of the others; None for fewer than two observers."""
    truth = frame.truth
    people = np.unique(truth.observers[truth.observers >= 0])
    if len(people) < 2:
        return None
    one_each = [
        dataclasses.replace(truth, points=truth.points[truth.observers == person]).counts()
        for person in people
    ]
    maps = inter_observer_maps(np.stack(one_each), blur * truth.size[1])
    rows = [frame.score(density, None, own) for density, own in maps]
    if not rows:
        return None
    columns = {name: [row.scores[name] for row in rows if not np.isnan(row.scores[name])] for name in SCORES}
    means = {name: float(np.mean(column)) if column else float("nan") for name, column in columns.items()}
    return dataclasses.replace(rows[0], scores=means, faults=())


def _chosen_frames(data: ScoringData, protocol: ScoreProtocol, seed: int) -> list[set[int]]:
    """The frames of each group to score: all, unless the protocol samples."""
    counts = [len(group.frame_names) for group in data.groups]
    starts = np.cumsum([0, *counts])
    chosen: list[set[int]] = [set() for _ in counts]
    for flat in draw_frames(int(starts[-1]), protocol, seed):
        group = int(np.searchsorted(starts, flat, side="right")) - 1
        chosen[group].add(int(flat - starts[group]))
    return chosen
