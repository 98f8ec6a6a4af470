"""AUC-Judd and shuffled AUC, by sorting and counting.

The area under a ROC curve depends only on the order of the predicted values, so maps are not
rescaled, and densities, log-densities and 8-bit maps score the same. The exception is the sampled
shuffled AUC, which has fixed thresholds on the map scaled to 0..1. Pixels are sorted once; counts at
each threshold are looked up. A tie between a fixated and another pixel counts half.

Inputs are `[..., H, W]`, outputs float64 `[...]`, computed by NumPy on the host (JAX arrays are
fetched). A frame without positives or without negatives scores NaN; a constant prediction scores 0.5,
chance level.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from unisal_jax.errors import UnisalError

Seed = int | list[int] | np.random.Generator


def auc_exact(positives: Any, negatives: Any) -> float:
    """The probability that a positive outranks a negative; ties count half (scaled Mann-Whitney U).

    Args:
      positives: `[P]` predicted values at the positives.
      negatives: `[N]` predicted values at the negatives.

    Returns:
      0 to 1; NaN if either is empty.

    Raises:
      UnisalError: a value is NaN.
    """
    positives, negatives = np.asarray(positives), np.sort(np.asarray(negatives), axis=None)
    if not positives.size or not negatives.size:
        return float("nan")
    if np.isnan(negatives[-1]) or np.isnan(positives).any():
        raise UnisalError("the prediction holds NaN")
    below = np.searchsorted(negatives, positives, "left")
    not_above = np.searchsorted(negatives, positives, "right")
    return float((below + not_above).mean() / (2 * negatives.size))


def auc_judd(pred: Any, fixations: Any, *, unique: bool = True) -> np.ndarray:
    """AUC-Judd: fixated pixels against all others, with thresholds at the fixated values only.

    The curve runs through (0, 0), one point per distinct fixated value, and (1, 1), and is linear in
    between. A map with its highest values elsewhere therefore still gets half of the area above the
    highest fixated value: with one fixation the score is at least 0.5. The original code rounds its
    rates to four digits; this function does not.

    Args:
      pred: `[..., H, W]`, any range. Protocols with jitter add it before (`protocols.py`).
      fixations: the same shape: the number of fixations on each pixel.
      unique: count each fixated pixel as one positive (`unisal`, `dhf1k`), instead of each fixation
        (`pysaliency`). The negatives are the pixels without fixations in both cases.

    Returns:
      `[...]`, 0 to 1; NaN without fixations, or if every pixel is fixated.

    Raises:
      UnisalError: the shapes differ, or the prediction holds NaN.
    """
    return _per_frame(lambda p, f: _judd(p, f, unique), pred, fixations)


def auc_all_pixels(pred: Any, fixations: Any) -> np.ndarray:
    """pysaliency's plain `AUC`: every fixation against every pixel; ties count half.

    Args:
      pred: `[..., H, W]`, any range.
      fixations: the same shape: the number of fixations on each pixel; each is a positive.

    Returns:
      `[...]`, 0 to 1; NaN without fixations.

    Raises:
      UnisalError: the shapes differ, or the prediction holds NaN.
    """
    return _per_frame(lambda p, f: auc_exact(_at(p, f), p), pred, fixations)


def s_auc_exact(pred: Any, fixations: Any, others: Any) -> np.ndarray:
    """Exact shuffled AUC: every fixation against every fixation of the other images; ties count half.

    Args:
      pred: `[..., H, W]`, any range.
      fixations: the same shape: the number of fixations on each pixel.
      others: the same for the fixations of all other images, scaled to this image
        (`metrics.count_map` with `source_size`).

    Returns:
      `[...]`, 0 to 1; NaN without fixations or without others.

    Raises:
      UnisalError: the shapes differ, or the prediction holds NaN.
    """
    return _per_frame(lambda p, f, o: auc_exact(_at(p, f), _at(p, o)), pred, fixations, others)


def s_auc_sampled(
    pred: Any, fixations: Any, others: Any, *, splits: int = 100, step: float = 0.1, seed: Seed
) -> np.ndarray:
    """Sampled shuffled AUC, as in the original code and the DHF1K benchmark.

    The map is scaled to 0..1. The score is the mean over random splits of the area under a curve with
    thresholds `step` apart. The negatives of a split are drawn without replacement from the fixated
    pixels of the other frames, as many as there are fixated pixels here (or all, if fewer). The area
    depends only on the number of negatives between two thresholds, so these numbers are drawn for all
    splits at once, from a multivariate hypergeometric distribution.

    Args:
      pred: `[..., H, W]`, any range.
      fixations: the same shape, nonzero where fixated.
      others: the same shape, nonzero where other frames are fixated (`unisal`: 10 random frames).
      splits: number of random splits.
      step: distance between thresholds, which are 0, step, ... up to below the largest drawn value.
      seed: seed of the splits; the frames of a batch draw from one stream, in order.

    Returns:
      `[...]`, 0 to 1; NaN without fixations or without others.

    Raises:
      UnisalError: the shapes differ, or the prediction holds NaN.
    """
    rng = np.random.default_rng(seed)
    return _per_frame(lambda p, f, o: _sampled(p, f, o, splits, step, rng), pred, fixations, others)


def _judd(pred: np.ndarray, fixations: np.ndarray, unique: bool) -> float:
    fixated = _fixated(fixations)
    negatives = pred.size - fixated.size
    if not fixated.size or not negatives:
        return float("nan")
    _minimum(pred)  # raises for NaN, which the comparison below would drop
    values, weights = pred.ravel()[fixated], fixations.ravel()[fixated].astype(np.int64)
    # Pixels below the lowest threshold do not count; for a good map that is half of the sorting.
    pixels = pred[pred >= values.min()]
    pixels.sort()
    order = np.argsort(values)
    values, weights = values[order], np.ones_like(weights) if unique else weights[order]
    first = np.flatnonzero(np.concatenate([[True], values[1:] > values[:-1]]))
    thresholds = values[first]
    hits = weights.sum() - np.concatenate([[0], np.cumsum(weights)])[first]
    above = pixels.size - np.searchsorted(pixels, thresholds, "left")
    false_alarms = above - (values.size - first)
    return _area(hits[::-1] / weights.sum(), false_alarms[::-1] / negatives)


def _sampled(
    pred: np.ndarray,
    fixations: np.ndarray,
    others: np.ndarray,
    splits: int,
    step: float,
    rng: np.random.Generator,
) -> float:
    positives, candidates = (pred.ravel()[_fixated(m)] for m in (fixations, others))
    if not positives.size or not candidates.size:
        return float("nan")
    # Use float64 even for a float32 map: the thresholds are not exactly representable in either, and
    # each value must fall on the same side of them as in the definition.
    low, high = float(_minimum(pred)), float(pred.max())
    span = (high - low) or 1.0
    positives, candidates = ((v.astype(np.float64) - low) / span for v in (positives, candidates))

    # The thresholds i * step end below the largest drawn value v, at i < ceil(v / step); a value v
    # passes those with i * step <= v. The two conditions differ if v lies exactly on a threshold, so
    # the classes encode both: 2 * passed - 1 if v lies on a threshold, else 2 * passed.
    grid = np.arange(int(np.ceil(1 / step)) + 1) * step

    def classes(values: np.ndarray) -> np.ndarray:
        passed = np.searchsorted(grid, values, "right")
        on_threshold = np.ceil(values / step).astype(np.intp) < passed
        return np.bincount(2 * passed - on_threshold, minlength=2 * grid.size + 1)

    mine = classes(positives)
    drawn = min(positives.size, candidates.size)
    # The time to draw depends on the number of classes, and most are empty.
    available = classes(candidates)
    theirs = np.zeros((splits, available.size), np.intp)
    theirs[:, available > 0] = rng.multivariate_hypergeometric(available[available > 0], drawn, size=splits)
    occupied = (theirs + mine) > 0
    top = 2 * grid.size - occupied[:, ::-1].argmax(axis=1)
    # Class 2k lies between thresholds k - 1 and k and uses the first k thresholds. Class 2k - 1 lies on
    # threshold k - 1, which is not below it, and uses the first k - 1.
    used = np.arange(grid.size) < (top // 2)[:, None]
    hits = np.where(used, _passing(mine, grid.size) / positives.size, 0.0)
    false_alarms = np.where(used, _passing(theirs, grid.size) / drawn, 0.0)
    return float(np.mean(_area(hits[:, ::-1], false_alarms[:, ::-1])))


def _passing(classes: np.ndarray, thresholds: int) -> np.ndarray:
    """The number of values that pass each of n thresholds, from counts by class `[..., 2 n + 1]`."""
    from_top = classes[..., ::-1].cumsum(axis=-1)[..., ::-1]
    return from_top[..., 1 : 2 * thresholds : 2]


def _area(hits: np.ndarray, false_alarms: np.ndarray) -> Any:
    """Area under the curve through (0, 0), the points given in ascending order, and (1, 1)."""
    start, end = np.zeros((*hits.shape[:-1], 1)), np.ones((*hits.shape[:-1], 1))
    tp, fp = (np.concatenate([start, rates, end], axis=-1) for rates in (hits, false_alarms))
    return np.trapezoid(tp, fp, axis=-1)


def _at(pred: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The predicted values at the fixations, one per fixation."""
    fixated = _fixated(counts)
    return np.repeat(pred.ravel()[fixated], counts.ravel()[fixated].astype(np.intp))


def _minimum(pred: np.ndarray) -> Any:
    """The minimum; raises if any value is NaN, since the minimum is then NaN."""
    low = pred.min()
    if np.isnan(low):
        raise UnisalError("the prediction holds NaN")
    return low


def _fixated(counts: np.ndarray) -> np.ndarray:
    """Flat indices of the fixated pixels; faster than a mask, as they are few."""
    return np.flatnonzero(counts.astype(bool, copy=False))


def _per_frame(score: Callable[..., float], pred: Any, *maps: Any) -> np.ndarray:
    pred, counts = np.asarray(pred), [np.asarray(m) for m in maps]
    if pred.dtype not in (np.float32, np.float64):
        pred = pred.astype(np.float64)
    for m in counts:
        if m.shape != pred.shape or pred.ndim < 2:
            raise UnisalError(f"prediction {pred.shape} and fixations {m.shape} must share one [..., H, W]")
    frames = zip(*(a.reshape(-1, *a.shape[-2:]) for a in (pred, *counts)), strict=True)
    return np.array([score(*frame) for frame in frames]).reshape(pred.shape[:-2])
