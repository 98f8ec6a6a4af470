"""Last stage of a fine-tuning: blends the weights of several trainings and their start, and rescales logits.

A network trained many times on a few hundred images is overconfident on others. Three remedies cost nothing
in prediction: averaging the weights of several trainings (Wortsman et al. 2022, "Model soups"), interpolating
between the initial and the trained weights (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models"),
and a temperature (Guo et al. 2017, "On Calibration of Modern Neural Networks"): a factor on the logits, which
is merged into the fusion weights. Interpolation and temperature are chosen by the score that also selects the
best epoch, on the same validation stimuli.
"""

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from unisal_jax.data.device import on_device
from unisal_jax.data.examples import Arrays, DomainSource
from unisal_jax.data.loader import Loader
from unisal_jax.domains import Domain
from unisal_jax.models.config import UnisalConfig
from unisal_jax.models.unisal import Unisal
from unisal_jax.train.config import LossWeights, TrainConfig
from unisal_jax.train.inputs import initial, open_sources
from unisal_jax.train.losses import saliency_loss
from unisal_jax.train.workdir import cost
from unisal_jax.weights.contents import Weights

SHARES = (1.0, 0.85, 0.7)
"""Candidates for the share of the trained weights in the blend; the rest are initial weights."""
FACTORS = tuple(round(float(factor), 2) for factor in np.arange(0.7, 1.11, 0.05))
"""Candidates for the factor on the logits: below 1 maps become flatter, above 1 sharper."""

Tree = dict[str, Any]


class Blend(NamedTuple):
    """The chosen blend.

    Attributes:
      share: share of the trained weights (the mean of all trainings).
      factor: factor on the logits.
      before: loss, kld, cc and nss of the validation stimuli with the trained weights.
      after: the same with the blend.
    """

    share: float
    factor: float
    before: dict[str, float]
    after: dict[str, float]

    @property
    def line(self) -> str:
        """The blend as text."""
        return (
            f"{self.share:.0%} trained and {1 - self.share:.0%} initial weights, logits times {self.factor:g}"
        )


def blend(runs: Sequence[Weights], config: TrainConfig, workdir: Path) -> tuple[Weights, Blend]:
    """Chooses among `SHARES` and `FACTORS` by the validation score of trainings of one domain.

    Args:
      runs: the best weights of each training; all have the same initial weights.
      config: config of one of the trainings.
      workdir: a folder for `open_sources`.

    Returns:
      (the blended weights, with the metadata of the first training; the chosen blend).
    """
    trained = mean([run.variables for run in runs])
    training, (source,) = open_sources(config, workdir)
    model_config, start = initial(config, [each.domain for each in training])
    domain = training[0].domain
    score = _scores_of(model_config, domain, config.loss)
    found: dict[tuple[float, float], dict[str, float]] = {}
    for share in SHARES:
        scores = _means(score, mixed(start, trained, share), source)
        found |= {(share, factor): row for factor, row in zip(FACTORS, scores, strict=True)}
    share, factor = min(found, key=lambda choice: cost(config, found[choice]))
    variables = sharpened(mixed(start, trained, share), domain, factor)
    chosen = Blend(share, factor, found[1.0, 1.0], found[share, factor])
    return dataclasses.replace(runs[0], variables=variables), chosen


def mean(trees: Sequence[Tree]) -> Tree:
    """The mean of each array, in float32."""
    if len(trees) == 1:
        return trees[0]
    return jax.tree.map(lambda *leaves: np.mean(leaves, 0, np.float64).astype(np.float32), *trees)


def mixed(start: Tree, end: Tree, share: float) -> Tree:
    """start + share * (end - start) for each array in `end`, in float32; `end` itself if share is 1."""
    if share == 1:
        return end
    return jax.tree.map(
        lambda new, old: np.asarray(old + share * (np.asarray(new, np.float64) - old), np.float32),
        end,
        {name: start[name] for name in end},
    )


def sharpened(variables: Tree, domain: Domain, factor: float) -> Tree:
    """The variables with the logits of a domain scaled by `factor`: fusion to logits is linear."""
    fusion = jax.tree.map(lambda leaf: np.float32(factor) * leaf, variables[domain.name]["fusion"])
    return variables | {domain.name: variables[domain.name] | {"fusion": fusion}}


def _scores_of(
    model_config: UnisalConfig, domain: Domain, weights: LossWeights
) -> Callable[[Tree, Arrays], dict[str, jax.Array]]:
    """A compiled function (variables, batch) -> loss, kld, cc, nss, float32 [FACTORS] each."""
    module = Unisal(model_config)

    @jax.jit
    def scores(variables: Tree, batch: Arrays) -> dict[str, jax.Array]:
        examples = on_device(batch)
        size = examples.maps.shape[-2:]
        logits, _ = module.apply(variables, examples.frames, domain, target_size=size)

        def with_factor(factor: jax.Array) -> dict[str, jax.Array]:
            log_density = jax.nn.log_softmax(factor * logits, (-2, -1))
            loss, terms = saliency_loss(log_density, examples.maps, examples.fixations, weights)
            return {"loss": loss, **terms}

        # Sequentially: in parallel, maps of all factors would be in memory at once.
        return jax.lax.map(with_factor, jnp.asarray(FACTORS, jnp.float32))

    return scores


def _means(
    score: Callable[[Tree, Arrays], dict[str, jax.Array]], variables: Tree, source: DomainSource
) -> list[dict[str, float]]:
    """The mean scores over all batches, for each of `FACTORS`."""
    variables = jax.device_put(variables)
    with closing(Loader([source], seed=0)) as batches:
        rows: list[dict[str, jax.Array]] = []
        for batch in batches:
            if rows:
                # Without waiting, a long queue would keep all batches in memory.
                jax.block_until_ready(rows[-1])
            rows.append(score(variables, batch.arrays))
    fetched = jax.device_get(rows)
    means = {name: np.mean([row[name] for row in fetched], 0) for name in fetched[0]}
    return [{name: float(mean[place]) for name, mean in means.items()} for place in range(len(FACTORS))]
