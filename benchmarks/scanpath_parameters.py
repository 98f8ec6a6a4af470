"""Estimates the parameters in `unisal_jax.predict.scanpath.OSIE` from OSIE's 560 training images.

    python -m benchmarks.scanpath_parameters OSIE

OSIE is the folder with `stimuli/` and `fixations.mat`. The parameters of saccades, inhibition and first
fixation maximise the likelihood of the sequences of five of the fifteen observers of each image, given the
density that the released weights predict (SALICON domain). The radius of inhibition is not fitted: the
likelihood increases with it up to about 12 degrees, a third of the image, and is flat beyond (`--radius`).
Durations and the number of fixations are statistics over all observers.

Then it prints the contribution of each part on the 70 test images, which were not used for estimation: bits
per fixation above the density alone, for all observers. Takes five minutes on two cores. `--densities
FILE.npz` keeps the densities between runs; `--test-only` uses the numbers in the code.
"""

import argparse
import dataclasses
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.io
from scipy.optimize import minimize
from tqdm import tqdm

import unisal_jax as unisal
from unisal_jax.evaluate.accumulate import bootstrap_ci
from unisal_jax.media.images import read_image
from unisal_jax.predict import scanpath

SIZE = (600, 800)
GRID = (72, 96)
TRAIN, TEST = slice(0, 560), slice(630, 700)
PEOPLE = slice(0, 15, 3)
MOST_FIXATIONS = 14
# Unbounded values in this order: logarithms, plain numbers and log-odds (`to_parameters`).
GUESS = {
    "start": np.log(4.5),
    "near_weight": np.log(9),
    "near": np.log(0.65),
    "far": np.log(8),
    "horizontal": 0.24,
    "cardinal": 0.24,
    "strength": 1.0,
    "decay": 0.5,
}


@dataclasses.dataclass(frozen=True)
class Image:
    """An image: its density, and (x, y) [n, 2] and durations [n] of each observer, inside the image."""

    density: np.ndarray
    paths: list[np.ndarray]
    durations: list[np.ndarray]


def read(root: Path, densities: Path | None) -> list[Image]:
    """Reads all images, sorted by name."""
    content = scipy.io.loadmat(root / "fixations.mat", simplify_cells=True)["fixations"]
    content = sorted(content, key=lambda image: image["img"])
    if densities is not None and densities.exists():
        maps = dict(np.load(densities))
    else:
        model = unisal.load()
        maps = {
            image["img"]: model.predict(read_image(root / "stimuli" / image["img"]), "salicon")
            for image in tqdm(content, unit="image")
        }
        if densities is not None:
            np.savez(densities, **maps)
    images = []
    for image in content:
        people = []
        for person in image["subjects"]:
            x, y, duration = (
                np.atleast_1d(np.asarray(person[name], float)) for name in ("fix_x", "fix_y", "fix_duration")
            )
            inside = (x >= 0) & (x < SIZE[1]) & (y >= 0) & (y < SIZE[0])
            people.append((np.stack([x, y], 1)[inside], duration[inside]))
        images.append(Image(maps[image["img"]], [xy for xy, _ in people], [d for _, d in people]))
    return images


def to_parameters(free: Any, radius: float, xp: Any = np) -> scanpath.Parameters:
    """Converts unbounded values in the order of `GUESS` to parameters."""
    positive = dict(zip(GUESS, xp.exp(free), strict=True))
    share = dict(zip(GUESS, 1 / (1 + xp.exp(-free)), strict=True))
    raw = dict(zip(GUESS, free, strict=True))
    return scanpath.Parameters(
        positive["start"],
        scanpath.Saccade(
            positive["near_weight"], positive["near"], positive["far"], raw["horizontal"], raw["cardinal"]
        ),
        scanpath.Inhibition(share["strength"], radius, share["decay"]),
        1.0,
        1.0,
    )


def fit(images: list[Image], radius: float) -> scanpath.Parameters:
    """Fits the parameters of largest likelihood, for a given radius of inhibition."""
    priors, cells, lengths = [], [], []
    for image in images:
        grid = scanpath._Grid(image.density, scanpath.OSIE, scanpath.DEGREES)
        assert grid.size == GRID
        priors.append(grid.prior.reshape(GRID))
        for xy in image.paths[PEOPLE]:
            rows_columns = np.floor(xy[:MOST_FIXATIONS, ::-1] * GRID / SIZE).astype(np.int32)
            cells.append(np.pad(rows_columns, ((0, MOST_FIXATIONS - len(rows_columns)), (0, 0))))
            lengths.append(min(len(xy), MOST_FIXATIONS))
    prior = jnp.asarray(np.stack(priors), jnp.float32)
    cells_, lengths_ = jnp.asarray(np.stack(cells)), jnp.asarray(lengths)
    of_image = jnp.arange(len(cells)) // len(images[0].paths[PEOPLE])
    middle = [(np.arange(side) - (side - 1) / 2) * scanpath.DEGREES / max(GRID) for side in GRID]
    off_middle = jnp.asarray(middle[0][:, None] ** 2 + middle[1][None, :] ** 2, jnp.float32)

    def loss(free: jax.Array) -> jax.Array:
        parameters = to_parameters(free, radius, jnp)
        saccade, inhibition = scanpath.offset_tables(GRID, scanpath.DEGREES, parameters, jnp)
        assert parameters.inhibition is not None and parameters.start is not None
        decay, start = parameters.inhibition.decay, parameters.start

        def around(table: jax.Array, cell: jax.Array) -> jax.Array:
            return jax.lax.dynamic_slice(table, (GRID[0] - 1 - cell[0], GRID[1] - 1 - cell[1]), GRID)

        @jax.checkpoint
        def path(inputs: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
            image, cell, length = inputs
            first = prior[image] - 0.5 * off_middle / start**2

            def step(state: tuple[jax.Array, jax.Array], at: tuple[jax.Array, jax.Array]) -> tuple:
                logits, inhibited = state
                here, number = at
                gain = logits[here[0], here[1]] - jax.scipy.special.logsumexp(logits)
                before = decay * inhibited
                logits = prior[image] + before + around(saccade, here)
                return (logits, before + around(inhibition, here)), jnp.where(number < length, gain, 0.0)

            _, gains = jax.lax.scan(step, (first, jnp.zeros(GRID)), (cell, jnp.arange(MOST_FIXATIONS)))
            return gains.sum()

        return -jax.lax.map(path, (of_image, cells_, lengths_)).sum() / lengths_.sum()

    gradient = jax.jit(jax.value_and_grad(loss))

    def both(free: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = gradient(jnp.asarray(free, jnp.float32))
        return float(value), np.asarray(slope, np.float64)

    guess = np.array(list(GUESS.values()))
    found = minimize(both, guess, jac=True, method="L-BFGS-B", options={"maxiter": 30, "ftol": 1e-7})
    print(f"radius {radius:g} degrees: {found.fun:.4f} nats per fixation")
    return to_parameters(found.x, radius)


def worth(images: list[Image], parameters: scanpath.Parameters) -> None:
    """Prints bits per fixation above the density alone, with 95% intervals over images."""
    nothing = dataclasses.replace(parameters, start=None, saccade=None, inhibition=None)
    models = {
        "first fixation near the middle": dataclasses.replace(nothing, start=parameters.start),
        "and saccades": dataclasses.replace(parameters, inhibition=None),
        "and inhibition of return": parameters,
        "inhibition of return alone": dataclasses.replace(nothing, inhibition=parameters.inhibition),
    }
    for name, model in models.items():
        gains = []
        for image in images:
            each = [
                scanpath.log_likelihood(image.density, xy, model)
                - scanpath.log_likelihood(image.density, xy, nothing)
                for xy in image.paths
                if len(xy)
            ]
            gains.append(np.concatenate(each).mean() / np.log(2))
        low, high = bootstrap_ci(gains, seed=1)
        print(f"{name:34}{np.mean(gains):7.3f} bits per fixation ({low:.3f} to {high:.3f})")


def main() -> None:
    """Prints the parameters, and the contribution of each part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path)
    parser.add_argument("--densities", type=Path)
    parser.add_argument("--radius", type=float, default=12.0, help="of inhibition of return, in degrees")
    parser.add_argument(
        "--test-only", action="store_true", help="skip the fit and use the numbers in the code"
    )
    args = parser.parse_args()
    images = read(args.root, args.densities)
    parameters = scanpath.OSIE
    if not args.test_only:
        train = images[TRAIN]
        logs = np.log(np.concatenate([d for image in train for d in image.durations]))
        found = fit(train, args.radius)
        parameters = dataclasses.replace(
            found, duration=float(np.exp(np.median(logs))), duration_spread=float(logs.std())
        )
        counts = [len(xy) for image in train for xy in image.paths]
        print(f"fixations: median {np.median(counts):g}, 5% to 95% {np.percentile(counts, [5, 95])}")
    shown = {
        key: f"{value:.3g}"
        for part in (parameters.saccade, parameters.inhibition, parameters)
        for key, value in vars(part).items()
        if isinstance(value, float | np.floating)
    }
    print(shown)
    worth(images[TEST], parameters)


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    main()
