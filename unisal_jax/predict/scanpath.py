"""Scanpaths: sequences of fixations sampled from a density, with a saccade prior and inhibition of return.

A simple baseline model with four parts. The probability that the next fixation is at x is proportional to

    density(x) * saccade(x - current) * product over earlier fixations, age k: (1 - s * G(x))**(decay**k)

where `saccade` is how much more often people make a saccade of that length and direction than random pairs of
fixations on the same density, and G is a Gaussian with a peak of 1 around an earlier fixation. The current
fixation has age 0. It is inhibited only in models without a saccade prior, since the prior covers its
surroundings. The first fixation is sampled from the density times a Gaussian at the centre. Durations do not
depend on the location.

Inhibition of return is Itti, Koch and Niebur's (IEEE PAMI 20(11), 1998); the joint prior on lengths and
directions of saccades is after Le Meur and Liu (Vision Research 116, 2015). `OSIE` holds the numbers, which
`python -m benchmarks.scanpath_parameters` estimates.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from unisal_jax.domains import Size
from unisal_jax.errors import UnisalError
from unisal_jax.limits import MAX_FIXATIONS
from unisal_jax.media.arrays import as_density

# Cells on the longer side of the sampling grid: each a third of a degree in OSIE.
SIDE = 96
# Maximum number of weights held at once.
_BLOCK = 4_000_000
# Minimum share of the density that inhibition leaves.
_LEAST_LEFT = 1e-9
_MOST_DEGREES = 180


@dataclasses.dataclass(frozen=True)
class Saccade:
    """The saccade prior: how much more often people make a saccade than random pairs of fixations would.

    For a length of d degrees in direction a it is (near_weight * exp(-d / near) + exp(-d / far)) times
    exp(horizontal * cos(2 a) + cardinal * cos(4 a)). Only ratios matter.
    """

    near_weight: float
    near: float
    far: float
    horizontal: float
    cardinal: float


@dataclasses.dataclass(frozen=True)
class Inhibition:
    """Inhibition of return.

    Attributes:
      strength: share of the density lost at the centre of a fixation, 0 to 1.
      radius: standard deviation of the Gaussian, in degrees.
      decay: factor by which the logarithm of the loss shrinks with each further fixation, 0 to 1.
    """

    strength: float
    radius: float
    decay: float


@dataclasses.dataclass(frozen=True)
class Parameters:
    """Parameters of the scanpath model. Parts that are None are omitted.

    Attributes:
      start: standard deviation of the central Gaussian for the first fixation, in degrees.
      saccade: the saccade prior.
      inhibition: inhibition of return.
      duration: median of the durations, in milliseconds.
      duration_spread: standard deviation of their natural logarithm.
    """

    start: float | None
    saccade: Saccade | None
    inhibition: Inhibition | None
    duration: float
    duration_spread: float


OSIE = Parameters(
    start=4.48,
    saccade=Saccade(near_weight=9.09, near=0.626, far=7.81, horizontal=0.243, cardinal=0.234),
    inhibition=Inhibition(strength=0.8, radius=12.0, decay=0.563),
    duration=191.0,
    duration_spread=0.559,
)
"""Estimated from the scanpaths of OSIE's 560 training images, with the density of the released weights."""

FIXATIONS = 9
"""Fixations per scanpath: OSIE's median within three seconds."""

DEGREES = 100 / 3
"""Degrees of visual angle of an image's longer side: OSIE has 800 pixels at 24 pixels per degree."""


@dataclasses.dataclass(frozen=True, eq=False)
class Scanpaths:
    """Scanpaths over one image.

    Attributes:
      xy: float64 [paths, fixations, 2], (x, y) in pixels of the density; 0 is the left or upper edge.
      durations: float64 [paths, fixations], in milliseconds.
    """

    xy: np.ndarray
    durations: np.ndarray


def draw_scanpaths(
    density: ArrayLike,
    count: int = 5,
    fixations: int = FIXATIONS,
    seed: int | Sequence[int] = 1,
    parameters: Parameters = OSIE,
    degrees: float = DEGREES,
) -> Scanpaths:
    """Samples scanpaths from a density with the baseline model of this module.

    The same density, arguments and seed give the same scanpaths. The first ones do not depend on `count`.

    Args:
      density: float [H, W] >= 0 of any scale, such as `SaliencyModel.predict` returns.
      count: number of scanpaths.
      fixations: number of fixations of each.
      seed: a non-negative integer, or several.
      parameters: of the model.
      degrees: visual angle of the longer side for the viewer.

    Raises:
      UnisalError: the density is not such an array, or a number is out of range.
    """
    density = as_density(density)
    check_numbers(count, fixations, degrees)
    height, width = density.shape
    grid = _Grid(density, parameters, degrees)
    random = _random(seed, (count, fixations, 4))
    xy = np.empty((count, fixations, 2))
    together = max(1, _BLOCK // grid.prior.size)
    for first in range(0, count, together):
        chosen = random[first : first + together]
        cells = np.empty((len(chosen), fixations), np.int64)
        state = grid.start(len(chosen))
        for step in range(fixations):
            cells[:, step] = _choose(state.weights(), chosen[:, step, 0])
            state.move(cells[:, step])
        rows, columns = np.divmod(cells, grid.size[1])
        places = np.stack([columns, rows], axis=-1) + chosen[..., 1:3]
        # The upper end of a cell belongs to the next cell, and that of the last cell lies outside the image.
        scaled = places * (width / grid.size[1], height / grid.size[0])
        xy[first : first + together] = np.minimum(scaled, np.nextafter([width, height], 0))
    normal = ndtri(np.clip(random[..., 3], 2.0**-53, None))
    durations = parameters.duration * np.exp(parameters.duration_spread * normal)
    return Scanpaths(xy, durations)


def log_likelihood(
    density: ArrayLike,
    xy: ArrayLike,
    parameters: Parameters = OSIE,
    degrees: float = DEGREES,
) -> np.ndarray:
    """Returns the natural logarithm of the probability of each fixation, given the previous ones.

    The probability is that of the cell in a grid with `SIDE` cells on the longer side. The difference
    between two models on the same density does not depend on the resolution of the grid.

    Args:
      density: float [H, W] >= 0 of any scale.
      xy: [n, 2], (x, y) in pixels of the density, inside it.
      parameters: of the model.
      degrees: as for `draw_scanpaths`.

    Returns:
      float64 [n]; -inf where a fixation is impossible under the model.

    Raises:
      UnisalError: the density is not such an array, or a fixation lies outside it.
    """
    density = as_density(density)
    check_numbers(1, 1, degrees)
    grid = _Grid(density, parameters, degrees)
    xy = np.asarray(xy, np.float64).reshape(-1, 2)
    if not ((xy >= 0) & (xy < density.shape[::-1])).all():
        raise UnisalError("scanpath: a fixation lies outside the density")
    places = np.floor(xy[:, ::-1] * np.asarray(grid.size) / density.shape).astype(np.int64)
    state = grid.start(1)
    found = np.empty(len(xy))
    for step, (row, column) in enumerate(places):
        weights = state.weights()[0]
        cell = row * grid.size[1] + column
        with np.errstate(divide="ignore"):
            found[step] = np.log(weights[cell] / weights.sum())
        state.move(np.array([cell]))
    return found


def offset_tables(size: Size, degrees: float, parameters: Parameters, xp: Any = np) -> tuple[Any, Any]:
    """Computes the logarithms of the saccade prior and of inhibition around a fixation.

    Args:
      size: (height, width) of the grid.
      degrees: visual angle of its longer side.
      parameters: of the model.
      xp: numpy, or jax.numpy for gradients.

    Returns:
      Two arrays [2 * height - 1, 2 * width - 1], indexed by the offset from the fixation, which is at the
      centre; None for a part that is omitted.
    """
    cell = degrees / max(size)
    down = np.arange(1 - size[0], size[0])[:, None] * cell
    right = np.arange(1 - size[1], size[1])[None, :] * cell
    length, angle = np.hypot(down, right), np.arctan2(down, right)
    saccade = inhibition = None
    if parameters.saccade is not None:
        s = parameters.saccade
        by_length = xp.log(s.near_weight * xp.exp(-length / s.near) + xp.exp(-length / s.far))
        by_angle = s.horizontal * np.cos(2 * angle) + s.cardinal * np.cos(4 * angle)
        saccade = by_length + by_angle * (length > 0)
    if parameters.inhibition is not None:
        i = parameters.inhibition
        # Keep it above 0, so that a scanpath can continue where only one cell has weight.
        left = xp.maximum(1 - i.strength * xp.exp(-0.5 * (length / i.radius) ** 2), _LEAST_LEFT)
        inhibition = xp.log(left)
    return saccade, inhibition


class _Grid:
    """A density on the sampling grid.

    Attributes:
      size: (height, width) in cells.
      prior: logarithm of the density in each cell, float64 [cells].
    """

    def __init__(self, density: np.ndarray, parameters: Parameters, degrees: float):
        scale = min(1.0, SIDE / max(density.shape))
        height, width = (max(1, round(side * scale)) for side in density.shape)
        self.size: Size = height, width
        summed: np.ndarray = density.astype(np.float64)
        if self.size != density.shape:
            summed = cv2.resize(summed, self.size[::-1], interpolation=cv2.INTER_AREA)
        total = summed.sum()
        if not (summed >= 0).all() or not 0 < total < math.inf:
            raise UnisalError("density: must be finite, not negative, and not zero everywhere")
        with np.errstate(divide="ignore"):
            self.prior = np.log(summed.ravel() / total)
        self.parameters = parameters
        self.saccade, self.inhibition = offset_tables(self.size, degrees, parameters)
        self.first = self.prior
        if parameters.start is not None:
            cell = degrees / max(self.size)
            down, right = ((np.arange(side) - (side - 1) / 2) * cell for side in self.size)
            distance = (down[:, None] ** 2 + right[None, :] ** 2).ravel()
            self.first = self.prior - 0.5 * distance / parameters.start**2

    def start(self, paths: int) -> "_State":
        """Returns the state before the first fixation."""
        return _State(self, paths)

    def around(self, table: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """Looks up a table of offsets for all cells, given the fixated cells: [paths, cells]."""
        height, width = self.size
        rows, columns = np.divmod(cells, width)
        return np.stack(
            [
                table[height - 1 - row : 2 * height - 1 - row, width - 1 - column : 2 * width - 1 - column]
                for row, column in zip(rows, columns, strict=True)
            ]
        ).reshape(len(cells), -1)


class _State:
    """The state of scanpaths being sampled."""

    def __init__(self, grid: _Grid, paths: int):
        self._grid = grid
        self._inhibited = np.zeros((paths, 1))
        self._logits = np.broadcast_to(grid.first, (paths, len(grid.first)))

    def weights(self) -> np.ndarray:
        """Returns the weight of each cell to be the next one, [paths, cells], with a peak of 1."""
        weights: np.ndarray = np.exp(self._logits - self._logits.max(axis=1, keepdims=True))
        return weights

    def move(self, cells: np.ndarray) -> None:
        """Adds the next fixation of each path, int [paths]."""
        grid = self._grid
        before = now = self._inhibited
        if grid.inhibition is not None and grid.parameters.inhibition is not None:
            before = grid.parameters.inhibition.decay * self._inhibited
            self._inhibited = now = before + grid.around(grid.inhibition, cells)
        # A saccade prior already covers the surroundings of the current fixation.
        self._logits = grid.prior + (now if grid.saccade is None else before)
        if grid.saccade is not None:
            self._logits += grid.around(grid.saccade, cells)


def _choose(weights: np.ndarray, random: np.ndarray) -> np.ndarray:
    """Samples a cell for each path, int64 [paths], from one random number in [0, 1) per path."""
    sums = np.cumsum(weights, axis=1)
    # Keep it below the total despite rounding, so that a cell without weight is never chosen.
    at = np.minimum(random * sums[:, -1], np.nextafter(sums[:, -1], 0))
    return np.array([np.searchsorted(row, value, side="right") for row, value in zip(sums, at, strict=True)])


def _random(seed: int | Sequence[int], shape: tuple[int, ...]) -> np.ndarray:
    """Returns random numbers in [0, 1). Uses raw bits, which are the same in every release of NumPy."""
    try:
        return np.random.Generator(np.random.PCG64(seed)).random(shape)
    except (TypeError, ValueError) as error:
        raise UnisalError(f"seed: {seed!r} is not a non-negative integer or a list of such") from error


def check_numbers(count: int, fixations: int, degrees: float) -> None:
    """Raises UnisalError if a number is out of range; arguments as for `draw_scanpaths`."""
    for name, number in (("count", count), ("fixations", fixations)):
        if not isinstance(number, int | np.integer) or number < 1:
            raise UnisalError(f"{name}: {number!r} is not a positive integer")
    if count * fixations > MAX_FIXATIONS:
        raise UnisalError(f"count: {count} paths of {fixations} fixations are more than {MAX_FIXATIONS:,}")
    if not 0 < degrees <= _MOST_DEGREES:
        raise UnisalError(f"degrees: {degrees!r} is not above 0 and at most {_MOST_DEGREES}")
