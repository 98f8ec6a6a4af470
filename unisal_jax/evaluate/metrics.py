"""Dense saliency scores: KLD, CC, SIM and NSS.

Maps are `[..., H, W]` and scores `[...]`, NumPy or JAX arrays, also under `jax.jit` and `jax.vmap`.
Scores are computed in the precision of the maps: float32 maps give about 1e-7, float64 more. Keyword
options select the definitions of the protocols; `protocols.py` says which protocol uses which.

Edge cases are the same under every protocol:

- A prediction need not be a density: it is shifted if it has negative values, and divided by its
  sum. An all-zero prediction counts as uniform.
- A constant prediction has NSS and CC 0, chance level, as in pysaliency. The code of the other
  protocols divides 0 by 0.
- A frame without fixations has no NSS, a ground truth without mass no KLD, CC or SIM, and a constant
  ground truth no CC. These scores are NaN; the caller leaves them out and counts them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from unisal_jax.errors import UnisalError

# Lower bound of a density's pixels. The smallest normal float32: densities that float32 can represent
# stay unchanged, and a zero in an 8-bit map costs 126 bits in a logarithm instead of infinity.
DENSITY_FLOOR = float(np.finfo(np.float32).tiny)

# MATLAB's `eps`, as in the benchmarks, and the rounded value that pysaliency takes from MIT's code.
MATLAB_EPS = float(np.finfo(np.float64).eps)
MIT_EPS = 2.2204e-16

# NumPy processes a map in runs of this many pixels, so that temporaries (75 KB) stay in the cache;
# for whole maps, page faults cost several times the arithmetic. Below 10,000 because OpenBLAS uses
# threads for longer dot products, and starting them costs more than the product.
_RUN = 9600


def count_map(
    points: Any, size: tuple[int, int], *, source_size: tuple[int, int] | None = None
) -> np.ndarray:
    """Counts the fixations on each pixel.

    Args:
      points: `[N, 2]` fixations as (row, column), 0-based pixels; fractions are truncated.
      size: (height, width) of the map.
      source_size: size of the image that the points refer to, if it differs: points are scaled to
        `size` and then truncated, as pysaliency does for fixations of other images.

    Returns:
      uint32 `[H, W]`; a pixel fixated twice holds 2.

    Raises:
      UnisalError: a point lies outside the image.
    """
    points = np.asarray(points, np.float64).reshape(-1, 2)
    if source_size is not None:
        points = points * (np.asarray(size, np.float64) / np.asarray(source_size, np.float64))
    inside = ((points >= 0) & (points < size)).all(axis=1)
    if not inside.all():
        row, column = points[~inside][0]
        raise UnisalError(
            f"fixation (row {row:g}, column {column:g}) lies outside the {size[0]}x{size[1]} image"
        )
    rows, columns = points.astype(np.intp).T
    counts = np.bincount(rows * size[1] + columns, minlength=size[0] * size[1])
    return counts.reshape(size).astype(np.uint32)


def to_density(maps: Any, *, rescale: bool = False) -> Any:
    """Converts maps to densities: shifts negative maps, divides by the sum; a zero map becomes uniform.

    No pixel is below `DENSITY_FLOOR` (1.2e-38), so that logarithms are finite.

    Args:
      maps: `[..., H, W]`, any range.
      rescale: always subtract the minimum. After division by the sum, this equals min-max scaling
        (SIM in the DHF1K benchmark).

    Returns:
      `[..., H, W]`, positive, each map summing to 1.
    """
    xp, shape, (pixels,) = _pixels(maps)
    dtype = _precision(xp, pixels)
    density, _ = _density_of(xp, pixels, dtype, rescale)
    return density(pixels.astype(dtype)).reshape(shape)


def density_at(pixels: np.ndarray, at: np.ndarray) -> np.ndarray:
    """`to_density` of a map `[H, W]` at the flat indices `at` only, without a whole map of temporaries."""
    _, _, (flat,) = _pixels(pixels)
    dtype = _precision(np, flat)
    density, _ = _density_of(np, flat, dtype)
    return density(flat[at].astype(dtype))


def kld(pred: Any, gt: Any, *, eps: float = 0.0) -> Any:
    """Kullback-Leibler divergence of the ground truth from the prediction, in nats (lower is better).

    `sum gt log(gt / p)` over both densities (paper, section 3.4, and protocol `unisal`); with `eps`,
    `sum gt log(eps + gt / (p + eps))`, as in the benchmarks.

    Args:
      pred: `[..., H, W]`, a density or any map.
      gt: the same shape, a density or any map.
      eps: 0 for `unisal`: only `DENSITY_FLOOR` then bounds the cost of a zero in the prediction.

    Returns:
      `[...]`; NaN if the ground truth has no mass.

    Raises:
      UnisalError: the shapes differ.
    """
    return dense_scores(pred, gt, names=("kld",), kld_eps=eps)["kld"]


def cc(pred: Any, gt: Any) -> Any:
    """Pearson's correlation coefficient of the two maps over their pixels, -1 to 1.

    Args:
      pred: `[..., H, W]`, any range.
      gt: the same shape.

    Returns:
      `[...]`; 0 if the prediction is constant, NaN if the ground truth is.

    Raises:
      UnisalError: the shapes differ.
    """
    return dense_scores(pred, gt, names=("cc",))["cc"]


def sim(pred: Any, gt: Any, *, rescale: bool = False) -> Any:
    """Similarity: the sum of the smaller of the two densities; 0 (disjoint) to 1 (equal).

    Args:
      pred: `[..., H, W]`, a density or any map.
      gt: the same shape.
      rescale: min-max scale both maps before normalisation (`dhf1k`).

    Returns:
      `[...]`; NaN if the ground truth has no mass.

    Raises:
      UnisalError: the shapes differ.
    """
    return dense_scores(pred, gt, names=("sim",), sim_rescale=rescale)["sim"]


def nss(pred: Any, fixations: Any, *, ddof: int = 1, unique: bool = True) -> Any:
    """Normalised scanpath saliency: the mean of the standardised prediction at the fixations.

    Args:
      pred: `[..., H, W]`, any range.
      fixations: the same shape: the number of fixations on each pixel (0 and 1 if binary).
      ddof: 1 for the unbiased standard deviation (`unisal`, `dhf1k`), 0 for the population standard
        deviation (`pysaliency`).
      unique: count each fixated pixel once, instead of every fixation (`pysaliency`).

    Returns:
      `[...]` in standard deviations; NaN without fixations, 0 if the prediction is constant.

    Raises:
      UnisalError: the shapes differ.
    """
    options: dict[str, Any] = {"nss_ddof": ddof, "unique_fixations": unique}
    return dense_scores(pred, fixations=fixations, names=("nss",), **options)["nss"]


def dense_scores(
    pred: Any,
    gt: Any = None,
    fixations: Any = None,
    *,
    names: Sequence[str],
    kld_eps: float = 0.0,
    sim_rescale: bool = False,
    nss_ddof: int = 1,
    unique_fixations: bool = True,
) -> dict[str, Any]:
    """Computes several scores in one pass over the maps, each as defined by its own function.

    Args:
      pred: `[..., H, W]`, a density or any map.
      gt: the same shape; required for KLD, CC and SIM.
      fixations: the same shape; required for NSS.
      names: which of "kld", "cc", "sim" and "nss".
      kld_eps: `kld`'s `eps`.
      sim_rescale: `sim`'s `rescale`.
      nss_ddof: `nss`'s `ddof`.
      unique_fixations: `nss`'s `unique`.

    Returns:
      By name, `[...]`.

    Raises:
      UnisalError: the shapes differ.
    """
    xp, _, (pred, *rest) = _pixels(*(m for m in (pred, gt, fixations) if m is not None))
    number, dtype = pred.shape[-1], _precision(xp, pred, *rest[: gt is not None])
    pred_density, pred_constant = _density_of(xp, pred, dtype)
    scores = {}
    if gt is not None:
        gt = rest.pop(0)
        gt_density, gt_constant = _density_of(xp, gt, dtype)
        if sim_rescale:
            (pred_rescaled, _), (gt_rescaled, _) = (
                _density_of(xp, m, dtype, rescale=True) for m in (pred, gt)
            )

    def sums(pred: Any, gt: Any = None) -> dict[str, Any]:
        p, q, found = pred_density(pred), None if gt is None else gt_density(gt), {}
        if "kld" in names and kld_eps:
            ratio = q / (p + kld_eps)
            ratio += kld_eps
            found["kld"] = _inner(xp, q, xp.log(ratio))
        elif "kld" in names:
            found["kld"] = _inner(xp, q, xp.log(q / p))
        if "sim" in names and sim_rescale:
            found["sim"] = xp.minimum(pred_rescaled(pred), gt_rescaled(gt)).sum(-1)
        elif "sim" in names:
            found["sim"] = xp.minimum(p, q).sum(-1)
        # CC and NSS do not depend on the maps' scale, and the mean of a density is known. Augmented
        # assignment, here and above, works in place in NumPy.
        p -= 1 / number
        found["xx"] = _inner(xp, p, p)
        if "cc" in names:
            q -= 1 / number
            found["xy"], found["yy"] = _inner(xp, p, q), _inner(xp, q, q)
        return found

    total = _by_runs(xp, sums, pred) if gt is None else _by_runs(xp, sums, pred, gt)
    for name in ("kld", "sim"):
        if name in names:
            scores[name] = xp.where(gt_constant & (gt[..., 0] == 0), xp.nan, total[name])
    if "cc" in names:
        # The product of two roots, because the product of the two sums of squares can underflow
        # in float32.
        spread = xp.sqrt(total["xx"]) * xp.sqrt(total["yy"])
        r = total["xy"] / xp.where(pred_constant | gt_constant, 1.0, spread)
        scores["cc"] = xp.where(gt_constant, xp.nan, xp.where(pred_constant, 0.0, r))
    if "nss" in names:
        mean, none = _mean_at(xp, pred, rest.pop(0), dtype, unique_fixations)
        # A map of one pixel is constant; its standard deviation is not used.
        std = xp.sqrt(total["xx"] / max(number - nss_ddof, 1))
        z = (pred_density(mean[..., None])[..., 0] - 1 / number) / xp.where(pred_constant, 1.0, std)
        scores["nss"] = xp.where(none, xp.nan, xp.where(pred_constant, 0.0, z))
    return scores


def array_namespace(*arrays: Any) -> Any:
    """`jax.numpy` if any of the arrays is a JAX array (or traced), else `numpy`."""
    return jnp if any(isinstance(a, jax.Array) for a in arrays) else np


def _pixels(*maps: Any) -> tuple[Any, tuple[int, ...], list[Any]]:
    """(array namespace, common shape `[..., H, W]`, the maps as `[..., H * W]`)."""
    xp = array_namespace(*maps)
    arrays = [xp.asarray(m) for m in maps]
    shape = arrays[0].shape
    if len(shape) < 2 or any(a.shape != shape for a in arrays):
        shapes = ", ".join(str(a.shape) for a in arrays)
        raise UnisalError(f"a prediction and what it is scored on must share one [..., H, W]: {shapes}")
    return xp, shape, [a.reshape(*shape[:-2], -1) for a in arrays]


def _precision(xp: Any, *maps: Any) -> Any:
    """The dtype to compute in: that of the maps, at least float32; for integers float64 (JAX: float32)."""
    dtype = xp.result_type(*(m.dtype for m in maps))
    if xp.issubdtype(dtype, xp.floating):
        return xp.promote_types(dtype, xp.float32)
    return np.float64 if xp is np else jnp.float32


def _by_runs(xp: Any, sums: Callable[..., dict[str, Any]], *maps: Any) -> dict[str, Any]:
    """`sums`, by name, over the pixels `[..., N]`: all at once in JAX, in runs in NumPy."""
    dtype = _precision(xp, *maps)
    if xp is jnp:
        return sums(*(m.astype(dtype) for m in maps))
    length = max(1, _RUN * maps[0].shape[-1] // maps[0].size)
    starts = range(0, maps[0].shape[-1], length)
    runs = [
        sums(*(m[..., start : start + length].astype(dtype, copy=False) for m in maps)) for start in starts
    ]
    return {name: np.sum([run[name] for run in runs], axis=0, dtype=np.float64) for name in runs[0]}


def _density_of(xp: Any, pixels: Any, dtype: Any, rescale: bool = False) -> tuple[Callable[[Any], Any], Any]:
    """(`to_density` of maps `[..., N]` as a function of all or some of their pixels, constant).

    `constant`, bool `[...]`, marks maps with a single value. It compares values, since rounding of the
    mean gives a constant map a variance of 1e-22.
    """
    low = pixels.min(-1, keepdims=True).astype(dtype)
    high = pixels.max(-1, keepdims=True).astype(dtype)
    shift = low if rescale else xp.minimum(low, 0)
    # A map without mass becomes uniform: shift it to 1 everywhere. Detected by its values, since a
    # rounded sum need not be zero.
    shift = xp.where(high <= shift, low - 1, shift)
    constant = (high == low)[..., 0]
    if xp is np and not shift.any():
        total = _by_runs(np, lambda m: {"sum": m.sum(-1)}, pixels)["sum"]
        share = (1 / total[..., None]).astype(dtype)
        if (low * share >= DENSITY_FLOOR).all():
            return (lambda m: m * share), constant
    total = _by_runs(xp, lambda m: {"sum": (m - shift).sum(-1)}, pixels)["sum"]
    share = (1 / total[..., None]).astype(dtype)
    return (lambda m: xp.maximum((m - shift) * share, DENSITY_FLOOR)), constant


def _mean_at(xp: Any, pixels: Any, fixations: Any, dtype: Any, unique: bool) -> tuple[Any, Any]:
    """(mean of the maps at the fixations, 0 without fixations; whether there are none), `[...]` each."""
    if xp is jnp:
        weights = (fixations > 0 if unique else fixations).astype(dtype)
        total, count = (pixels.astype(dtype) * weights).sum(-1), weights.sum(-1)
        return total / jnp.where(count > 0, count, 1.0), count == 0
    means, none = np.zeros(pixels.shape[:-1]), np.zeros(pixels.shape[:-1], bool)
    for frame in np.ndindex(none.shape):
        fixated = np.flatnonzero(fixations[frame].astype(bool, copy=False))
        none[frame] = not fixated.size
        if fixated.size:
            weights = None if unique else fixations[frame][fixated]
            means[frame] = np.average(pixels[frame][fixated].astype(np.float64), weights=weights)
    return means, none


def _inner(xp: Any, a: Any, b: Any) -> Any:
    """Sum of products. Avoids JAX's vecdot, which accelerators may compute in lower precision."""
    return np.vecdot(a, b) if xp is np else (a * b).sum(-1)
