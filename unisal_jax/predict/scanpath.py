"""Scanpaths: sequences of fixations drawn from a density, with a prior on saccades and inhibition of return.

A stated baseline, of four parts. The next fixation is at x with a probability in proportion to

    density(x) * saccade(x - current) * product over earlier fixations, age k: (1 - s * G(x))**(decay**k)

where `saccade` says how much more often people make a saccade of that length and direction than chance
pairs of fixations on the same density would, and G is a Gaussian around an earlier fixation with a peak of
1. The current fixation has age 0; it is inhibited only where there is no prior on saccades, which says what
is around it. The first fixation is drawn from the density times a Gaussian in the middle. Durations do not
depend on the place.

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

# Cells on the longer side of the grid that fixations are drawn on: a third of a degree each in OSIE.
SIDE = 96
# Numbers of weights that are held at once.
_BLOCK = 4_000_000
# What inhibition leaves of a density at the least.
_LEAST_LEFT = 1e-9
_MOST_DEGREES = 180


@dataclasses.dataclass(frozen=True)
class Saccade:
    """How much more often people make a saccade than chance pairs of fixations would.

    For a length of d degrees in the direction a it is (near_weight * exp(-d / near) + exp(-d / far)) times
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
      strength: share of the density that the centre of a fixation loses, 0 to 1.
      radius: standard deviation of its Gaussian, in degrees.
      decay: from one fixation to the next the logarithm of the loss shrinks to this share, 0 to 1.
    """

    strength: float
    radius: float
    decay: float


@dataclasses.dataclass(frozen=True)
class Parameters:
    """A model of scanpaths. A part that is None is left out.

    Attributes:
      start: standard deviation of the Gaussian in the middle for the first fixation, in degrees.
      saccade: the prior on saccades.
      inhibition: of return.
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
"""Estimated from the sequences of OSIE's 560 training images, with the density of the released weights."""

FIXATIONS = 9
"""Fixations of a path: the median of OSIE's, in three seconds."""

DEGREES = 100 / 3
"""Degrees of visual angle on the longer side of an image: OSIE's 800 pixels, of which 24 are a degree."""


@dataclasses.dataclass(frozen=True, eq=False)
class Scanpaths:
    """Paths over one image.

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
    """Draws sequences of fixations from a density: a stated baseline, see the module.

    The same density, arguments and seed give the same numbers. The first paths do not depend on how many
    follow.

    Args:
      density: float [H, W] >= 0 of any scale, such as `SaliencyModel.predict` gives.
      count: number of paths.
      fixations: of each path.
      seed: not negative, or several such numbers.
      parameters: of the model.
      degrees: of visual angle that the longer side takes up for the viewer.

    Raises:
      UnisalError: the density is no such array, or a number is out of range.
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
        # A cell's upper end is the next cell's lower one, and the image's is outside.
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
    """The natural logarithm of the probability of each fixation of a path, given those before it.

    Of the cell that it lies in, of a grid with `SIDE` cells on the longer side; a difference of two models on
    one density does not depend on the grid's fineness.

    Args:
      density: float [H, W] >= 0 of any scale.
      xy: [n, 2], (x, y) in pixels of the density, inside of it.
      parameters: of the model.
      degrees: as for `draw_scanpaths`.

    Returns:
      float64 [n]; -inf where the model holds a fixation impossible.

    Raises:
      UnisalError: the density is no such array, or a fixation lies outside of it.
    """
    density = as_density(density)
    check_numbers(1, 1, degrees)
    grid = _Grid(density, parameters, degrees)
    xy = np.asarray(xy, np.float64).reshape(-1, 2)
    if not ((xy >= 0) & (xy < density.shape[::-1])).all():
        raise UnisalError("scanpath: a fixation lies outside of the density")
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
    """What a fixation does to the cells around it: logarithms of the prior on saccades, and of inhibition.

    Args:
      size: of the grid, (height, width).
      degrees: on its longer side.
      parameters: of the model.
      xp: NumPy, or JAX's, for gradients.

    Returns:
      Two arrays [2 * height - 1, 2 * width - 1] by the offset from the fixation, which is the middle; None
      for a part that is left out.
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
        # Above 0, so that a path goes on where there is one place alone.
        left = xp.maximum(1 - i.strength * xp.exp(-0.5 * (length / i.radius) ** 2), _LEAST_LEFT)
        inhibition = xp.log(left)
    return saccade, inhibition


class _Grid:
    """A density as it is drawn from.

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
            raise UnisalError("density: must be finite, nowhere below 0, and somewhere above")
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
        """The state before the first fixation."""
        return _State(self, paths)

    def around(self, table: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """What a table of offsets says of every cell, for fixations in these cells: [paths, cells]."""
        height, width = self.size
        rows, columns = np.divmod(cells, width)
        return np.stack(
            [
                table[height - 1 - row : 2 * height - 1 - row, width - 1 - column : 2 * width - 1 - column]
                for row, column in zip(rows, columns, strict=True)
            ]
        ).reshape(len(cells), -1)


class _State:
    """Paths as far as they have come."""

    def __init__(self, grid: _Grid, paths: int):
        self._grid = grid
        self._inhibited = np.zeros((paths, 1))
        self._logits = np.broadcast_to(grid.first, (paths, len(grid.first)))

    def weights(self) -> np.ndarray:
        """Of each cell to be the next one, [paths, cells], with a peak of 1."""
        weights: np.ndarray = np.exp(self._logits - self._logits.max(axis=1, keepdims=True))
        return weights

    def move(self, cells: np.ndarray) -> None:
        """Takes the paths' next fixations, int [paths]."""
        grid = self._grid
        before = now = self._inhibited
        if grid.inhibition is not None and grid.parameters.inhibition is not None:
            before = grid.parameters.inhibition.decay * self._inhibited
            self._inhibited = now = before + grid.around(grid.inhibition, cells)
        # What happens around the current place is in the prior on saccades, where there is one.
        self._logits = grid.prior + (now if grid.saccade is None else before)
        if grid.saccade is not None:
            self._logits += grid.around(grid.saccade, cells)


def _choose(weights: np.ndarray, random: np.ndarray) -> np.ndarray:
    """A cell for each path, int64 [paths], by a number from 0 to 1 of each."""
    sums = np.cumsum(weights, axis=1)
    # Below the total, whatever is rounded: a cell without weight is never chosen.
    at = np.minimum(random * sums[:, -1], np.nextafter(sums[:, -1], 0))
    return np.array([np.searchsorted(row, value, side="right") for row, value in zip(sums, at, strict=True)])


def _random(seed: int | Sequence[int], shape: tuple[int, ...]) -> np.ndarray:
    """Numbers from 0 to 1, below 1. Made of raw bits, which no release of NumPy changes."""
    try:
        return np.random.Generator(np.random.PCG64(seed)).random(shape)
    except (TypeError, ValueError) as error:
        raise UnisalError(f"seed: {seed!r} is not a whole number of 0 or above, nor several") from error


def check_numbers(count: int, fixations: int, degrees: float) -> None:
    for name, number in (("count", count), ("fixations", fixations)):
        if not isinstance(number, int | np.integer) or number < 1:
            raise UnisalError(f"{name}: {number!r} is not a whole number above 0")
    if count * fixations > MAX_FIXATIONS:
        raise UnisalError(f"count: {count} paths of {fixations} fixations are more than {MAX_FIXATIONS:,}")
    if not 0 < degrees <= _MOST_DEGREES:
        raise UnisalError(f"degrees: {degrees!r} is not above 0 and at most {_MOST_DEGREES}")
