"""Dense saliency scores: KLD, CC, SIM and NSS.

Maps are `[..., H, W]` and scores `[...]`, NumPy or JAX, also under `jax.jit` and `jax.vmap`. They
are computed in the maps' own precision: give float64 for the last digits; of float32 maps a score
is good to about 1e-7. The protocols' different definitions are keyword options here; `protocols.py`
says which protocol takes which.

The same edges everywhere, whatever a protocol's own code does there:

- a prediction need not be a density: it is shifted if it has negative values and divided by its
  sum, and an all-zero one counts as uniform;
- a constant prediction says nothing, so its NSS and CC are 0, chance level (pysaliency does so;
  the others divide 0 by 0);
- a frame without fixations has no NSS, a ground truth without mass has no KLD, CC or SIM, and a
  constant one has no CC: NaN, for the caller to leave out and count.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from unisal_jax.errors import UnisalError

# No pixel of a density counts less. It is the least normal float32, so no density that float32 can
# hold is altered, while a zero in an 8-bit map costs 126 bits in a logarithm instead of infinity.
DENSITY_FLOOR = float(np.finfo(np.float32).tiny)

# The benchmarks' MATLAB `eps`, and the rounded one that pysaliency takes over from MIT.
MATLAB_EPS = float(np.finfo(np.float64).eps)
MIT_EPS = 2.2204e-16

# NumPy works through a map in runs of so many pixels: their temporaries (75 KB) stay in the cache,
# where whole-map ones cost several times the arithmetic in page faults. Below 10,000 also because
# OpenBLAS gives longer dot products to threads, whose start alone costs more.
_RUN = 9600


def count_map(
    points: Any, size: tuple[int, int], *, source_size: tuple[int, int] | None = None
) -> np.ndarray:
    """How many fixations fall on each pixel.

    Args:
      points: `[N, 2]` fixations as (row, column), 0-based pixels; fractions are cut off.
      size: (height, width) of the map.
      source_size: the size of the image that the points refer to, if another: they are scaled to
        `size` first and then cut off, as pysaliency does for other images' fixations.

    Returns:
      `[H, W]` uint32; a pixel fixated twice holds 2.

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
    """Maps as densities: shifted if negative, divided by their sum, uniform if that is zero.

    No pixel is left below `DENSITY_FLOOR` (1.2e-38), so that logarithms are finite.

    Args:
      maps: `[..., H, W]`, any range.
      rescale: take the minimum off in any case, so that the least value becomes 0. Over the sum,
        this equals min-max scaling first (SIM in the DHF1K benchmark).

    Returns:
      `[..., H, W]`, positive, each map summing to 1.
    """
    xp, shape, (pixels,) = _pixels(maps)
    dtype = _precision(xp, pixels)
    density, _ = _density_of(xp, pixels, dtype, rescale)
    return density(pixels.astype(dtype)).reshape(shape)


def density_at(pixels: np.ndarray, at: np.ndarray) -> np.ndarray:
    """`to_density` of a map `[H, W]`, at the pixels `at` of the flat map alone: no more maps are made."""
    _, _, (flat,) = _pixels(pixels)
    dtype = _precision(np, flat)
    density, _ = _density_of(np, flat, dtype)
    return density(flat[at].astype(dtype))


def kld(pred: Any, gt: Any, *, eps: float = 0.0) -> Any:
    """Kullback-Leibler divergence of the ground truth from the prediction, in nats (lower is better).

    `sum gt log(gt / p)` over the densities of both (paper, section 3.4, and `unisal`); with `eps`
    `sum gt log(eps + gt / (p + eps))`, as the benchmarks have it.

    Args:
      pred: `[..., H, W]`, a density or any map.
      gt: the same shape, a density or any map.
      eps: 0 for `unisal`: then only `DENSITY_FLOOR` keeps a zero in the prediction from infinity.

    Returns:
      `[...]`; NaN where the ground truth has no mass.

    Raises:
      UnisalError: the shapes differ.
    """
    return dense_scores(pred, gt, names=("kld",), kld_eps=eps)["kld"]


def cc(pred: Any, gt: Any) -> Any:
    """Pearson's correlation of the two maps over their pixels, -1 to 1.

    Args:
      pred: `[..., H, W]`, any range.
      gt: the same shape.

    Returns:
      `[...]`; 0 where the prediction is constant, NaN where the ground truth is.

    Raises:
      UnisalError: the shapes differ.
    """
    return dense_scores(pred, gt, names=("cc",))["cc"]


def sim(pred: Any, gt: Any, *, rescale: bool = False) -> Any:
    """Similarity: the sum of the smaller of the two densities; 0 (disjoint) to 1 (equal).

    Args:
      pred: `[..., H, W]`, a density or any map.
      gt: the same shape.
      rescale: min-max scale both before they are summed to one (`dhf1k`).

    Returns:
      `[...]`; NaN where the ground truth has no mass.

    Raises:
      UnisalError: the shapes differ.
    """
    return dense_scores(pred, gt, names=("sim",), sim_rescale=rescale)["sim"]


def nss(pred: Any, fixations: Any, *, ddof: int = 1, unique: bool = True) -> Any:
    """Normalised scanpath saliency: the standardised prediction's mean at the fixations.

    Args:
      pred: `[..., H, W]`, any range.
      fixations: the same shape: how many fixations fall on each pixel (0 and 1 if binary).
      ddof: 1 for the unbiased standard deviation (`unisal`, `dhf1k`), 0 for the population's
        (`pysaliency`).
      unique: count a pixel once however often it was fixated; else every fixation (`pysaliency`).

    Returns:
      `[...]` in standard deviations; NaN without fixations, 0 where the prediction is constant.

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
    """Several of the scores in one pass over the maps, each as its own function defines it.

    Args:
      pred: `[..., H, W]`, a density or any map.
      gt: the same shape; KLD, CC and SIM need it.
      fixations: the same shape; NSS needs it.
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
        # CC and NSS do not depend on the maps' scale, and a density's mean is known. Augmented, here
        # and above, is in place in NumPy.
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
        # A product of two roots: a density's summed squares are small enough for their own product
        # to leave float32's range.
        spread = xp.sqrt(total["xx"]) * xp.sqrt(total["yy"])
        r = total["xy"] / xp.where(pred_constant | gt_constant, 1.0, spread)
        scores["cc"] = xp.where(gt_constant, xp.nan, xp.where(pred_constant, 0.0, r))
    if "nss" in names:
        mean, none = _mean_at(xp, pred, rest.pop(0), dtype, unique_fixations)
        # A map of one pixel is constant, and its spread of no use.
        std = xp.sqrt(total["xx"] / max(number - nss_ddof, 1))
        z = (pred_density(mean[..., None])[..., 0] - 1 / number) / xp.where(pred_constant, 1.0, std)
        scores["nss"] = xp.where(none, xp.nan, xp.where(pred_constant, 0.0, z))
    return scores


def array_namespace(*arrays: Any) -> Any:
    """`jax.numpy` if any of the arrays is JAX's (or traced), else `numpy`."""
    return jnp if any(isinstance(a, jax.Array) for a in arrays) else np


def _pixels(*maps: Any) -> tuple[Any, tuple[int, ...], list[Any]]:
    """The maps' namespace, their one shape `[..., H, W]`, and they as `[..., H * W]`."""
    xp = array_namespace(*maps)
    arrays = [xp.asarray(m) for m in maps]
    shape = arrays[0].shape
    if len(shape) < 2 or any(a.shape != shape for a in arrays):
        shapes = ", ".join(str(a.shape) for a in arrays)
        raise UnisalError(f"a prediction and what it is scored on must share one [..., H, W]: {shapes}")
    return xp, shape, [a.reshape(*shape[:-2], -1) for a in arrays]


def _precision(xp: Any, *maps: Any) -> Any:
    """The type to compute in: the maps' own, float32 at least; for integers NumPy's float64."""
    dtype = xp.result_type(*(m.dtype for m in maps))
    if xp.issubdtype(dtype, xp.floating):
        return xp.promote_types(dtype, xp.float32)
    return np.float64 if xp is np else jnp.float32


def _by_runs(xp: Any, sums: Callable[..., dict[str, Any]], *maps: Any) -> dict[str, Any]:
    """`sums`, by name, of the maps' pixels `[..., N]`: of all at once in JAX, by runs in NumPy."""
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
    """`to_density` of these maps `[..., N]`, to apply to all of their pixels or to a run of them.

    Also, `[...]`, whether each map has one value only: by its values, since a rounded mean leaves a
    constant map a spread of 1e-22.
    """
    low = pixels.min(-1, keepdims=True).astype(dtype)
    high = pixels.max(-1, keepdims=True).astype(dtype)
    shift = low if rescale else xp.minimum(low, 0)
    # Without mass, a constant map: one over it, so that each pixel's share is 1 of N. Seen by its
    # values, since a rounded sum need not be zero.
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
    """The maps' mean over the fixations, 0 without any, and where there are none; `[...]` each."""
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
    """Sum of the products. Not JAX's vecdot, which accelerators may run in lower precision."""
    return np.vecdot(a, b) if xp is np else (a * b).sum(-1)
