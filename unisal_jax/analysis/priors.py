"""Gaussian prior maps, initial and learned (paper, Figures 3c and 5c)."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from unisal_jax.analysis import plots
from unisal_jax.analysis.context import Context, title_of
from unisal_jax.analysis.results import Analysis, NamedFigure, Table
from unisal_jax.models.architecture import PRIORS, initial_gaussians
from unisal_jax.models.config import UnisalConfig
from unisal_jax.models.maps import gaussian_maps
from unisal_jax.weights.store import load_weights

_SIZE = (36, 48)
# A learned map is framed if its similarity to its initial map (SIM: the sum of the pixelwise minimum of
# both, each scaled to sum to 1) is below this.
DEVIATES_BELOW = 0.75


def analyse(context: Context) -> Analysis:
    """The 16 initial maps, and how much training changed them in each domain."""
    weights = load_weights(context.weights)
    config, variables = weights.config, weights.variables
    figure, axes = plots.grid(2, PRIORS // 2, 1.2, 1.0)
    for number, (axis, prior) in enumerate(zip(axes.flat, _maps(initial_gaussians()), strict=True)):
        plots.show(axis, prior, str(number + 1), vmin=0, vmax=6)
    shares = _shares(variables, config)
    rows = tuple(
        (str(number + 1), *(float(share[number]) for share in shares.values())) for number in range(PRIORS)
    )
    table = Table(
        "shares",
        "Similarity (SIM) of each learned map to its initial map (1: unchanged)",
        ("map", *map(title_of, shares)),
        rows,
    )
    return Analysis(
        "Gaussian prior maps (Figure 3c)",
        f"Weights: {context.weights}. The analysis `retrospective` shows the learned maps (Figure 5c).",
        (NamedFigure("initial", "The 16 initial prior maps; the peak of each is 6 (Figure 3c).", figure),),
        (table,),
        {"gaussians": {name: value.tolist() for name, value in _gaussians(variables, config).items()}},
    )


def compare_priors(variables: Mapping[str, Any], config: UnisalConfig) -> NamedFigure:
    """A figure with a row of initial maps and a row of learned maps per domain; changed maps are framed."""
    shares = _shares(variables, config)
    figure, axes = plots.grid(1 + len(shares), PRIORS, 0.6, 0.5)
    rows = {"start": _maps(initial_gaussians())}
    rows |= {name: _maps(value) for name, value in _gaussians(variables, config).items()}
    for row, (name, maps) in enumerate(rows.items()):
        for column, prior in enumerate(maps):
            plots.show(axes[row, column], prior, str(column + 1) if not row else "", vmin=0, vmax=6)
            if name in shares and shares[name][column] < DEVIATES_BELOW:
                plots.frame(axes[row, column], "#56B4E9")
        plots.label_row(axes[row, 0], title_of(name))
    return NamedFigure(
        "priors",
        f"Initial and learned prior maps; framed if the similarity (SIM) to the initial map is below "
        f"{DEVIATES_BELOW:.0%} (Figure 5c).",
        figure,
    )


def _gaussians(variables: Mapping[str, Any], config: UnisalConfig) -> dict[str, np.ndarray]:
    return {d.name: np.asarray(variables[d.name]["prior_maps"]["gaussians"]) for d in config.domains}


def _maps(gaussians: np.ndarray) -> np.ndarray:
    """[map, height, width]."""
    return np.moveaxis(np.asarray(gaussian_maps(jnp.asarray(gaussians), _SIZE)), -1, 0)


def _shares(variables: Mapping[str, Any], config: UnisalConfig) -> dict[str, np.ndarray]:
    start = _scaled(_maps(initial_gaussians()))
    found = _gaussians(variables, config)
    return {name: np.minimum(_scaled(_maps(each)), start).sum((1, 2)) for name, each in found.items()}


def _scaled(maps: np.ndarray) -> np.ndarray:
    return maps / maps.sum((1, 2), keepdims=True)
