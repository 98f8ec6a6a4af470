"""Plain implementations of the scores, one threshold and one split at a time, as defined.

The tests compare the fast implementations with them, and `benchmarks/metrics.py` their speed. NumPy, one
frame `[H, W]`.
"""

import numpy as np


def scale_to_unit(pred):
    return (pred - pred.min()) / (pred.max() - pred.min())


def auc_judd(pred, counts, unique=True):
    """Like the original, but without rounding the rates to four digits."""
    pred = scale_to_unit(pred)
    fixated = counts > 0
    positives = np.sum(fixated if unique else counts)
    negatives = pred.size - fixated.sum()
    points = [(0.0, 0.0)]
    for threshold in sorted(set(pred[fixated].tolist()), reverse=True):
        above = pred >= threshold
        found = np.sum(np.logical_and(above, fixated))
        hits = found if unique else np.sum(above * counts)
        points.append((hits / positives, (np.sum(above) - found) / negatives))
    points.append((1.0, 1.0))
    tp, fp = zip(*points, strict=True)
    return np.trapezoid(tp, fp)


def auc_pairs(positives, negatives):
    """Each positive against each negative, one positive at a time."""
    wins = [np.mean(negatives < p) + np.mean(negatives == p) / 2 for p in positives]
    return np.mean(wins)


def s_auc_splits(pred, counts, others, *, splits=100, step=0.1, seed=0):
    """The area of each split, which the sampled shuffled AUC averages."""
    rng = np.random.default_rng(seed)
    pred = scale_to_unit(pred)
    positives = pred[counts > 0]
    candidates = np.flatnonzero(others > 0)
    drawn = min(positives.size, candidates.size)
    areas = []
    for _ in range(splits):
        negatives = pred.ravel()[rng.permutation(candidates)[:drawn]]
        tp, fp = [0.0], [0.0]
        for threshold in np.arange(0, max(positives.max(), negatives.max()), step)[::-1]:
            tp.append(np.sum(positives >= threshold) / positives.size)
            fp.append(np.sum(negatives >= threshold) / drawn)
        areas.append(np.trapezoid([*tp, 1.0], [*fp, 1.0]))
    return np.array(areas)


def nss(pred, counts):
    z = (pred - pred.mean()) / pred.std(ddof=1)
    return z[counts > 0].mean()


def cc(pred, gt):
    x, y = pred - pred.mean(), gt - gt.mean()
    return np.mean(x * y) / np.sqrt(np.mean(x**2) * np.mean(y**2))


def sim(pred, gt):
    return np.sum(np.minimum(pred, gt))


def kld(pred, gt):
    return np.sum(gt * (np.log(gt) - np.log(pred)))
