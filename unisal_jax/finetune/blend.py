"""The last stage of a fine-tuning: one set of weights of several trainings, their start, and a temperature.

A network that has seen a few hundred images many times is too sure of others. Three remedies cost nothing
in prediction: the mean of the weights of several trainings (Wortsman et al. 2022, "Model soups"), weights
between the start and the end of the training (Wortsman et al. 2022, "Robust fine-tuning of zero-shot
models"), and a temperature (Guo et al. 2017, "On Calibration of Modern Neural Networks"): the logits times a
factor, which goes into the fusion's weights. The last two are chosen by the score that also chooses the best
epoch, on the same validation stimuli.
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
"""Of the trained weights in the blend; the rest is the start's."""
FACTORS = tuple(round(float(factor), 2) for factor in np.arange(0.7, 1.11, 0.05))
"""On the logits: below 1 maps are flatter, above 1 sharper."""

Tree = dict[str, Any]


class Blend(NamedTuple):
    """What was chosen.

    Attributes:
      share: of the trained weights, the mean of all trainings.
      factor: on the logits.
      before: loss, kld, cc and nss of the validation stimuli, with the trained weights as they are.
      after: with the blend.
    """

    share: float
    factor: float
    before: dict[str, float]
    after: dict[str, float]

    @property
    def line(self) -> str:
        """For people."""
        return (
            f"{self.share:.0%} of the way from the start to the trained weights, logits times {self.factor:g}"
        )


def blend(runs: Sequence[Weights], config: TrainConfig, workdir: Path) -> tuple[Weights, Blend]:
    """Chooses among `SHARES` and `FACTORS` by the validation stimuli of trainings of one domain.

    Args:
      runs: the best weights of each training, which started alike.
      config: of one of them.
      workdir: a folder for `open_sources`.

    Returns:
      (the weights, with the metadata of the first training; what was chosen).
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
    """start + share * (end - start) of each array of the end, in float32; with share 1 the end itself."""
    if share == 1:
        return end
    return jax.tree.map(
        lambda new, old: np.asarray(old + share * (np.asarray(new, np.float64) - old), np.float32),
        end,
        {name: start[name] for name in end},
    )


def sharpened(variables: Tree, domain: Domain, factor: float) -> Tree:
    """The variables with a domain's logits times `factor`; from the fusion to the logits all is linear."""
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

        # One after the other: side by side they would hold as many maps as there are factors.
        return jax.lax.map(with_factor, jnp.asarray(FACTORS, jnp.float32))

    return scores


def _means(
    score: Callable[[Tree, Arrays], dict[str, jax.Array]], variables: Tree, source: DomainSource
) -> list[dict[str, float]]:
    """The mean scores over the source's batches, for each of `FACTORS`."""
    variables = jax.device_put(variables)
    with closing(Loader([source], seed=0)) as batches:
        rows: list[dict[str, jax.Array]] = []
        for batch in batches:
            if rows:
                # Unfetched, a long queue would hold all of the batches.
                jax.block_until_ready(rows[-1])
            rows.append(score(variables, batch.arrays))
    fetched = jax.device_get(rows)
    means = {name: np.mean([row[name] for row in fetched], 0) for name in fetched[0]}
    return [{name: float(mean[place]) for name, mean in means.items()} for place in range(len(FACTORS))]
