"""Information gain, and the baselines to compare scores with.

Information gain measures how much better a density predicts the fixations than a centre-bias
baseline, in bits per fixation. The baselines are densities `[H, W]` and are scored like a model's:
uniform, a Gaussian fitted to a training set's fixations, a training set's mean map, and the fixations
of the other observers of the same image.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from unisal_jax.errors import UnisalError
from unisal_jax.evaluate.metrics import array_namespace, density_at, to_density


def information_gain(pred: Any, baseline: Any, fixations: Any, *, unique: bool = False) -> Any:
    """Mean over the fixations of `log2 p - log2 baseline`, in bits per fixation.

    Both are first normalised to densities with no pixel below 1.2e-38 (`metrics.to_density`), so a
    fixation where the prediction is zero costs about 109 bits at 360x640 instead of infinity.

    Args:
      pred: `[..., H, W]`, a density or any map.
      baseline: `[H, W]` or the same shape, the baseline's density.
      fixations: the same shape as `pred`: the number of fixations on each pixel.
      unique: count each fixated pixel once.

    Returns:
      `[...]`; NaN without fixations. Negative if the baseline is better.

    Raises:
      UnisalError: the shapes do not match.
    """
    xp = array_namespace(pred, baseline, fixations)
    pred, baseline, fixations = (xp.asarray(a) for a in (pred, baseline, fixations))
    if pred.shape != fixations.shape or baseline.shape not in (pred.shape, pred.shape[-2:]):
        raise UnisalError(
            f"prediction {pred.shape}, baseline {baseline.shape} and fixations {fixations.shape} "
            "must share one [..., H, W]"
        )
    if xp is np and pred.ndim == 2:
        at = np.flatnonzero(fixations)
        if not at.size:
            return np.float64(np.nan)
        gains = np.log2(density_at(pred, at) / density_at(baseline, at))
        return np.average(gains, weights=None if unique else fixations.ravel()[at])
    p, reference = to_density(pred), to_density(baseline)
    weights = (fixations > 0 if unique else fixations).astype(p.dtype)
    count = weights.sum((-2, -1))
    total = (xp.log2(p / reference) * weights).sum((-2, -1))
    return xp.where(count > 0, total / xp.where(count > 0, count, 1.0), xp.nan)


class CannotFit(UnisalError):
    """A Gaussian cannot be fitted to the fixations."""


@dataclass(frozen=True)
class CentreGaussian:
    """An axis-aligned Gaussian over an image, in fractions of its height (y) and width (x)."""

    mean_y: float
    mean_x: float
    std_y: float
    std_x: float


def fit_centre_gaussian(maps: Iterable[Any]) -> CentreGaussian:
    """Fits a Gaussian to the mean and standard deviation of all fixations of a training set.

    Args:
      maps: `[H, W]` each, of any sizes: either the number of fixations on each pixel (each fixation
        has the same weight), or densities (each image has the same weight).

    Raises:
      CannotFit: there are no fixations, or all lie on one row or one column.
    """
    # Total weight, and first and second moments of y and x, at pixel centres.
    moments = np.zeros(5)
    for counts in maps:
        counts = np.asarray(counts, np.float64)
        y, x = ((np.arange(n) + 0.5) / n for n in counts.shape)
        by_row, by_column = counts.sum(1), counts.sum(0)
        moments += [by_row.sum(), by_row @ y, by_row @ y**2, by_column @ x, by_column @ x**2]
    if moments[0] <= 0:
        raise CannotFit("cannot fit a centre prior: there are no fixations")
    _, mean_y, square_y, mean_x, square_x = moments / moments[0]
    # The variance of a single row is a rounding error, not exactly 0.
    variance_y, variance_x = square_y - mean_y**2, square_x - mean_x**2
    if min(variance_y, variance_x) < 1e-12:
        raise CannotFit("cannot fit a centre prior: all fixations lie on one row or column")
    return CentreGaussian(mean_y, mean_x, variance_y**0.5, variance_x**0.5)


def centre_prior(size: tuple[int, int], gaussian: CentreGaussian) -> np.ndarray:
    """The Gaussian as a density of this size, float64 `[H, W]`, summing to 1."""
    y, x = ((np.arange(n) + 0.5) / n for n in size)
    rows = np.exp(-(((y - gaussian.mean_y) / gaussian.std_y) ** 2) / 2)
    columns = np.exp(-(((x - gaussian.mean_x) / gaussian.std_x) ** 2) / 2)
    return to_density(np.outer(rows, columns))


def uniform(size: tuple[int, int]) -> np.ndarray:
    """The uniform density, float64 `[H, W]`, summing to 1."""
    return np.full(size, 1.0 / (size[0] * size[1]))


def mean_map(maps: Iterable[Any], size: tuple[int, int]) -> np.ndarray:
    """The mean density of a training set; each image has the same weight.

    Args:
      maps: `[H, W]` each, of any sizes: ground-truth maps of any range.
      size: (height, width) of the result; maps are resized bilinearly.

    Returns:
      `[H, W]` float64, summing to 1.

    Raises:
      UnisalError: there are no maps.
    """
    total, number = np.zeros(size), 0
    for number, density in enumerate(maps, start=1):  # noqa: B007 - counts the maps, used below
        total += to_density(cv2.resize(to_density(density), size[::-1], interpolation=cv2.INTER_LINEAR))
    if not number:
        raise UnisalError("a mean map requires at least one map")
    return total / number


def gaussian_map(counts: Any, sigma: float) -> np.ndarray:
    """Fixations blurred into a density: the sum of a Gaussian at each fixation.

    The Gaussian is not truncated (OpenCV and SciPy truncate at 3 to 4 sigma, which leaves zeros). The
    part outside the image is cut off before the map is normalised.

    Args:
      counts: `[H, W]`: the number of fixations on each pixel.
      sigma: the standard deviation in pixels.

    Returns:
      `[H, W]` float64, summing to 1; uniform without fixations.
    """
    counts = np.asarray(counts, np.float64)
    rows, columns = np.flatnonzero(counts.any(axis=1)), np.flatnonzero(counts.any(axis=0))
    # The Gaussian is separable and few rows and columns are fixated: two small matrix products suffice.
    across = counts[np.ix_(rows, columns)] @ _profiles(columns, counts.shape[1], sigma)
    return to_density(_profiles(rows, counts.shape[0], sigma).T @ across)


def inter_observer_maps(counts: Any, sigma: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Leave-one-out baseline: the other observers' fixations as a prediction of one observer's.

    Args:
      counts: `[observers, H, W]`: the number of fixations of each observer on each pixel.
      sigma: standard deviation of the blur in pixels; usually one degree of visual angle.

    Yields:
      For each observer with fixations, if others have fixations too: the others' density `[H, W]`
      (`gaussian_map`), and the observer's own counts `[H, W]` to score it on.
    """
    counts = np.asarray(counts)
    everyone = counts.sum(axis=0)
    for own in counts:
        others = everyone - own
        if own.any() and others.any():
            yield gaussian_map(others, sigma), own


def _profiles(centres: np.ndarray, length: int, sigma: float) -> np.ndarray:
    """`[centres, length]`: an unnormalised Gaussian around each centre."""
    return np.exp(-(((np.arange(length) - centres[:, None]) / sigma) ** 2) / 2)
