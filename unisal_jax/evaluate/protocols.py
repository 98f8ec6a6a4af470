"""Evaluation protocols: which definition of each score to use, and the scores of a frame.

The original code, the DHF1K benchmark's MATLAB code (from MIT) and pysaliency define the same scores
differently, so every evaluation names a protocol. `PROTOCOLS` lists their choices; `metrics.py`,
`auc.py` and `information_gain.py` do the arithmetic.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from scipy import sparse

from unisal_jax.errors import UnisalError
from unisal_jax.evaluate import auc, metrics
from unisal_jax.evaluate.information_gain import information_gain

SCORES = ("auc_judd", "s_auc", "nss", "cc", "sim", "kld", "ig")

_JITTER = 1e-7


@dataclass(frozen=True)
class Protocol:
    """The choices of one protocol.

    Attributes:
      name: as given to `unisal evaluate --protocol`.
      unique_fixations: NSS, AUC-Judd and information gain count each fixated pixel once, instead of
        every fixation.
      nss_ddof: 1 for the unbiased standard deviation, 0 for that of the population.
      kld_eps: constant added to KLD's ratio and its denominator; 0 for the plain definition.
      sim_rescale: min-max scale the maps before SIM.
      jitter: function of (prediction, seed) that AUC-Judd applies to the prediction, or None.
      sampled_s_auc: compute the shuffled AUC by random splits against the fixations of ten other
        frames, instead of exactly against those of all other images.
      resizes: resize a prediction of another size (bicubic) instead of raising an error.
      mean_over: the unit of equal weight in the mean: "groups" (videos or images) or "frames".
      max_frames: largest number of frames in the mean, drawn at random; None for all.
    """

    name: str
    unique_fixations: bool
    nss_ddof: int
    kld_eps: float
    sim_rescale: bool
    jitter: Callable[[np.ndarray, auc.Seed], np.ndarray] | None
    sampled_s_auc: bool
    resizes: bool
    mean_over: Literal["groups", "frames"]
    max_frames: int | None


def unit_jitter(pred: np.ndarray, seed: auc.Seed) -> np.ndarray:
    """The map scaled to 0..1, plus uniform noise of up to 1e-7 to break ties.

    The benchmark adds the noise to maps from 8-bit files. Scaling first ensures that it only breaks ties
    in a density as well, whose values may be as small as the noise.
    """
    pred = np.asarray(pred, np.float64)
    low, high = pred.min(), pred.max()
    return (pred - low) / ((high - low) or 1.0) + _JITTER * np.random.default_rng(seed).random(pred.shape)


def pysaliency_jitter(pred: np.ndarray, seed: auc.Seed) -> np.ndarray:
    """The map plus pysaliency's noise for one image: normal, standard deviation 1e-7, fixed seed.

    The noise affects the AUC-Judd of a density, as in pysaliency: a pixel of a uniform 360x640 density
    is 4e-6. pysaliency continues one random stream over a set's images; this restarts it for each.
    """
    del seed
    return np.asarray(pred, np.float64) + _pysaliency_noise(pred.shape)


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="unisal",
            unique_fixations=True,
            nss_ddof=1,
            kld_eps=0.0,
            sim_rescale=False,
            jitter=None,
            sampled_s_auc=True,
            resizes=False,
            mean_over="groups",
            max_frames=None,
        ),
        Protocol(
            name="dhf1k",
            unique_fixations=True,
            nss_ddof=1,
            kld_eps=metrics.MATLAB_EPS,
            sim_rescale=True,
            jitter=unit_jitter,
            sampled_s_auc=True,
            resizes=True,
            mean_over="frames",
            max_frames=50_000,
        ),
        Protocol(
            name="pysaliency",
            unique_fixations=False,
            nss_ddof=0,
            kld_eps=metrics.MIT_EPS,
            sim_rescale=False,
            jitter=pysaliency_jitter,
            sampled_s_auc=False,
            resizes=False,
            mean_over="frames",
            max_frames=None,
        ),
    )
}


def get_protocol(name: str) -> Protocol:
    """The protocol of this name.

    Raises:
      UnisalError: the name is unknown; the message lists the known ones.
    """
    if name not in PROTOCOLS:
        raise UnisalError(f"unknown protocol {name!r}; choose from {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def score_frame(
    protocol: Protocol,
    pred: Any,
    gt: Any | None,
    fixations: Any | None,
    *,
    others: Any | None = None,
    baseline: Any | None = None,
    seed: auc.Seed = 0,
    resize: bool = False,
) -> dict[str, float]:
    """Computes all scores of a frame under a protocol.

    Args:
      protocol: the definitions to use.
      pred: `[h, w]`, a density or any map; not a log-density.
      gt: `[H, W]` ground-truth density or map, or None.
      fixations: `[H, W]`: the number of fixations on each pixel, or None.
      others: `[H, W]`: the number of fixations of other frames on each pixel (ten random frames for
        the sampled shuffled AUC, all other images for the exact one), or None.
      baseline: `[H, W]` density that information gain is measured against, or None. Only pysaliency
        defines information gain; the other protocols use its formula with their own fixations.
      seed: seed of the sampled shuffled AUC and of the jitter; use another one for each frame.
      resize: resize a prediction of another size even if the protocol does not.

    Returns:
      By name, all of `SCORES`; NaN for scores that the frame's data do not allow (`frame_faults`).

    Raises:
      UnisalError: sizes differ, or the prediction has non-finite values.
    """
    pred = np.asarray(pred)
    if pred.ndim != 2 or not (np.isfinite(pred.min()) and np.isfinite(pred.max())):
        raise UnisalError(f"the prediction {pred.shape} must be [H, W] with finite values")
    targets = {"ground truth": gt, "fixations": fixations, "other fixations": others, "baseline": baseline}
    sizes = {name: np.shape(target) for name, target in targets.items() if target is not None}
    size = next(iter(sizes.values()), pred.shape)
    if any(other != size for other in sizes.values()):
        raise UnisalError("sizes differ: " + ", ".join(f"{name} {shape}" for name, shape in sizes.items()))
    if pred.shape != size:
        if not (protocol.resizes or resize):
            raise UnisalError(f"the prediction is {pred.shape}, but its ground truth {size}")
        pred = resize_bicubic(pred, size)

    dense = [*(("kld", "cc", "sim") if gt is not None else ()), *(("nss",) if fixations is not None else ())]
    unique = protocol.unique_fixations
    if unique and fixations is not None:
        fixations = np.asarray(fixations).astype(bool)
    scores: dict[str, Any] = dict.fromkeys(SCORES, float("nan"))
    scores |= metrics.dense_scores(
        pred,
        gt,
        fixations,
        names=dense,
        kld_eps=protocol.kld_eps,
        sim_rescale=protocol.sim_rescale,
        nss_ddof=protocol.nss_ddof,
        unique_fixations=unique,
    )
    if fixations is not None:
        jittered = protocol.jitter(pred, seed) if protocol.jitter else pred
        scores["auc_judd"] = auc.auc_judd(jittered, fixations, unique=unique)
        if others is not None and protocol.sampled_s_auc:
            scores["s_auc"] = auc.s_auc_sampled(pred, fixations, others, seed=seed)
        elif others is not None:
            scores["s_auc"] = auc.s_auc_exact(pred, fixations, others)
        if baseline is not None:
            scores["ig"] = information_gain(pred, baseline, fixations, unique=unique)
    return {name: float(score) for name, score in scores.items()}


def frame_faults(pred: Any, gt: Any | None, fixations: Any | None, others: Any | None) -> tuple[str, ...]:
    """Names of what is degenerate about a frame, for a report to count.

    "no_fixations" excludes NSS, both AUCs and information gain, "every_pixel_fixated" AUC-Judd,
    "no_other_fixations" the shuffled AUC, "empty_ground_truth" KLD, CC and SIM, and
    "constant_ground_truth" CC. A "constant_prediction" is scored, at chance level. An argument of None
    is not a fault.
    """
    faults = {
        "constant_prediction": np.min(pred) == np.max(pred),
        "empty_ground_truth": gt is not None and not np.any(gt),
        "constant_ground_truth": gt is not None and np.any(gt) and np.min(gt) == np.max(gt),
        "no_fixations": fixations is not None and not np.any(fixations),
        "every_pixel_fixated": fixations is not None and np.all(fixations),
        "no_other_fixations": others is not None and not np.any(others),
    }
    return tuple(name for name, present in faults.items() if present)


def draw_other_frames(
    frame_counts: Sequence[int], seed: auc.Seed, *, videos: int = 10
) -> list[tuple[int, int]]:
    """Draws the frames whose fixations are the negatives of the sampled shuffled AUC.

    As in the original code: one random frame from each of ten different videos (or images) of the
    split, possibly including the video being scored.

    Args:
      frame_counts: number of frames of each video; 1 for an image.
      seed: random seed.
      videos: number of videos to draw; all if there are fewer.

    Returns:
      (video, frame) indices, 0-based.
    """
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(frame_counts))[:videos]
    return [(int(video), int(rng.integers(frame_counts[video]))) for video in chosen]


def draw_frames(total: int, protocol: Protocol, seed: auc.Seed) -> np.ndarray:
    """Sorted indices of the frames that the protocol scores: all, or `max_frames` at random."""
    if protocol.max_frames is None or total <= protocol.max_frames:
        return np.arange(total)
    return np.sort(np.random.default_rng(seed).choice(total, protocol.max_frames, replace=False))


def resize_bicubic(pred: Any, size: tuple[int, int]) -> np.ndarray:
    """Resizes a float map like MATLAB's `imresize`: Keys' cubic (a = -1/2), mirrored at the borders.

    Shrinking widens the kernel (antialiasing). Values may overshoot; they are not clipped.

    Args:
      pred: `[h, w]`.
      size: (height, width) of the result.

    Returns:
      float64 `[H, W]`.
    """
    pred = np.asarray(pred, np.float64)
    if pred.min() == pred.max():
        # Rounding errors of the weights must not add structure to a constant map.
        return np.full(size, pred.flat[0])
    rows, columns = _cubic_weights(pred.shape[0], size[0]), _cubic_weights(pred.shape[1], size[1])
    return np.ascontiguousarray((columns @ (rows @ pred).T).T)


@lru_cache(maxsize=16)
def _cubic_weights(old: int, new: int) -> sparse.csr_array:
    """Weights `[new, old]` of the old pixels in each new one; sparse, as dense ones could take gigabytes."""
    stretch = max(1.0, old / new)
    centres = (np.arange(new) + 0.5) * old / new - 0.5
    first = np.floor(centres - 2 * stretch).astype(np.intp)
    taps = first[:, None] + np.arange(int(np.ceil(4 * stretch)) + 2)
    x = np.abs(centres[:, None] - taps) / stretch
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    values = np.where(x <= 1, near, np.where(x <= 2, far, 0.0))
    values /= values.sum(axis=1, keepdims=True)
    mirrored = taps % (2 * old)
    mirrored = np.minimum(mirrored, 2 * old - 1 - mirrored)
    at = np.broadcast_to(np.arange(new)[:, None], mirrored.shape)
    return sparse.csr_array((values.ravel(), (at.ravel(), mirrored.ravel())), shape=(new, old))


@lru_cache(maxsize=4)
def _pysaliency_noise(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.RandomState(seed=42).randn(*shape) * _JITTER
