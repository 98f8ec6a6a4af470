"""AUC-Judd and shuffled AUC, by sorting and counting.

An area under the ROC curve depends on the prediction only through its order, so no map is
rescaled here and densities, log-densities and 8-bit maps score alike (the sampled shuffled AUC
alone has fixed thresholds, on the map scaled to 0..1). Pixels are sorted once, and each
threshold's counts are looked up; ties between a fixated and another pixel count half.

`[..., H, W]` in, float64 `[...]` out, NumPy on the host (JAX arrays are fetched). NaN where a
frame has no positives or no negatives; a constant prediction scores 0.5, chance level.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from unisal_jax.errors import UnisalError

Seed = int | list[int] | np.random.Generator


def auc_exact(positives: Any, negatives: Any) -> float:
    """The chance that a positive outranks a negative, ties counted half (Mann-Whitney's U, scaled).

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

    The curve runs through (0, 0), one point per distinct fixated value and (1, 1), and is linear
    in between, so a map whose highest values all lie elsewhere still gets half of what is above
    the highest fixated value: with one fixation the score is 0.5 at least. The original code
    rounds its rates to four digits; this does not.

    Args:
      pred: `[..., H, W]`, any range. Benchmarks that jitter it do so before (`protocols.py`).
      fixations: the same shape: how many fixations fall on each pixel.
      unique: a pixel fixated often is one positive (`unisal`, `dhf1k`); else each fixation is one
        (`pysaliency`). The negatives are the unfixated pixels in both.

    Returns:
      `[...]`, 0 to 1; NaN without fixations, or where every pixel is fixated.

    Raises:
      UnisalError: the shapes differ, or the prediction holds NaN.
    """
    return _per_frame(lambda p, f: _judd(p, f, unique), pred, fixations)


def auc_all_pixels(pred: Any, fixations: Any) -> np.ndarray:
    """pysaliency's plain `AUC`: every fixation against every pixel, ties counted half.

    Args:
      pred: `[..., H, W]`, any range.
      fixations: the same shape: how many fixations fall on each pixel; each is a positive.

    Returns:
      `[...]`, 0 to 1; NaN without fixations.

    Raises:
      UnisalError: the shapes differ, or the prediction holds NaN.
    """
    return _per_frame(lambda p, f: auc_exact(_at(p, f), p), pred, fixations)


def s_auc_exact(pred: Any, fixations: Any, others: Any) -> np.ndarray:
    """Exact shuffled AUC: every fixation against every fixation of the other images, ties half.

    Args:
      pred: `[..., H, W]`, any range.
      fixations: the same shape: how many fixations fall on each pixel.
      others: the same for the fixations of all other images, scaled to this one
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
    """Shuffled AUC as the original code and the DHF1K benchmark sample it.

    On the map scaled to 0..1, the mean over random splits of the area under a curve with its
    thresholds `step` apart. A split's negatives are as many of the others' fixated pixels as there
    are fixated pixels here (or all, if fewer), drawn without replacement. A split's area depends on
    them only through how many fall between two thresholds, so these counts are drawn at once for
    all splits, from the multivariate hypergeometric law that such draws follow.

    Args:
      pred: `[..., H, W]`, any range.
      fixations: the same shape, nonzero where fixated.
      others: the same shape, nonzero where other frames are (`unisal`: 10 random ones).
      splits: how many random splits.
      step: distance of the thresholds, which are 0, step, ... below the greatest drawn value.
      seed: seeds the splits; a batch's frames draw from one stream, in order.

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
    _minimum(pred)  # refuses NaN, which would drop out of the comparison below
    values, weights = pred.ravel()[fixated], fixations.ravel()[fixated].astype(np.int64)
    # Nothing below the lowest threshold counts: half of a good map need not be sorted.
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
    # In float64 also for a float32 map: the thresholds are not representable in either, and a
    # value must fall on the same side of them as in the definition.
    low, high = float(_minimum(pred)), float(pred.max())
    span = (high - low) or 1.0
    positives, candidates = ((v.astype(np.float64) - low) / span for v in (positives, candidates))

    # The thresholds i * step stop below the greatest drawn value v, at i < ceil(v / step); a value
    # passes those with i * step <= v. The two differ where v lies on a threshold itself, so values
    # are classed by both: class 2 * passed - 1 if v lies on one, else 2 * passed.
    grid = np.arange(int(np.ceil(1 / step)) + 1) * step

    def classes(values: np.ndarray) -> np.ndarray:
        passed = np.searchsorted(grid, values, "right")
        on_threshold = np.ceil(values / step).astype(np.intp) < passed
        return np.bincount(2 * passed - on_threshold, minlength=2 * grid.size + 1)

    mine = classes(positives)
    drawn = min(positives.size, candidates.size)
    # Most classes are empty, and the draw's time goes by their number.
    available = classes(candidates)
    theirs = np.zeros((splits, available.size), np.intp)
    theirs[:, available > 0] = rng.multivariate_hypergeometric(available[available > 0], drawn, size=splits)
    occupied = (theirs + mine) > 0
    top = 2 * grid.size - occupied[:, ::-1].argmax(axis=1)
    # Class 2k lies between thresholds k - 1 and k, class 2k - 1 on threshold k - 1, which is not
    # below it: their greatest thresholds are the first k and the first k - 1.
    used = np.arange(grid.size) < (top // 2)[:, None]
    hits = np.where(used, _passing(mine, grid.size) / positives.size, 0.0)
    false_alarms = np.where(used, _passing(theirs, grid.size) / drawn, 0.0)
    return float(np.mean(_area(hits[:, ::-1], false_alarms[:, ::-1])))


def _passing(classes: np.ndarray, thresholds: int) -> np.ndarray:
    """From counts by class, `[..., 2 n + 1]`, how many values pass each of the n thresholds."""
    from_top = classes[..., ::-1].cumsum(axis=-1)[..., ::-1]
    return from_top[..., 1 : 2 * thresholds : 2]


def _area(hits: np.ndarray, false_alarms: np.ndarray) -> Any:
    """Area under the curve through (0, 0), the points given in ascending order, and (1, 1)."""
    start, end = np.zeros((*hits.shape[:-1], 1)), np.ones((*hits.shape[:-1], 1))
    tp, fp = (np.concatenate([start, rates, end], axis=-1) for rates in (hits, false_alarms))
    return np.trapezoid(tp, fp, axis=-1)


def _at(pred: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The predicted values at the fixations, one for each."""
    fixated = _fixated(counts)
    return np.repeat(pred.ravel()[fixated], counts.ravel()[fixated].astype(np.intp))


def _minimum(pred: np.ndarray) -> Any:
    """The least value, which is NaN if any is: the quickest way to see one."""
    low = pred.min()
    if np.isnan(low):
        raise UnisalError("the prediction holds NaN")
    return low


def _fixated(counts: np.ndarray) -> np.ndarray:
    """Flat indices of the fixated pixels: found, and read, sooner than by a mask where they are few."""
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
