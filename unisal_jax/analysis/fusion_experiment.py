"""The fusion experiment: do the features of a frozen encoder mean the same in all datasets (Figure 2c)?

A 1x1 convolution combines the encoder's 1280 maps at 1/32 into one map, which is upsampled bilinearly. Its
weights are trained to convergence, once on all datasets together and once on each.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from unisal_jax.analysis.encoder import Encoded
from unisal_jax.errors import UnisalError
from unisal_jax.models.layers import resize_bilinear
from unisal_jax.train.losses import saliency_loss

# By dataset: validation loss with shared weights, and with the dataset's own.
Losses = dict[str, tuple[float, float]]
_VALIDATION_SHARE = 0.25
_MOST_STEPS = 1000
# Steps without a lower validation loss after which training has converged.
_PATIENCE = 40
_LEARNING_RATE = 1e-2
# The loss is computed at a quarter of the input's height and width: a map upsampled from 1/32 has no finer
# detail, and it takes a sixteenth of the time.
_COARSER = 4
_WEIGHT_DECAY = 1e-4


class _Part:
    """The samples of a dataset, split into training and validation."""

    def __init__(self, encoded: Encoded, seed: int):
        self.name = encoded.dataset.title
        full = [i for i in range(len(encoded.maps)) if encoded.maps[i].sum() > 0]
        order = np.random.default_rng(seed).permutation(full)
        held = round(_VALIDATION_SHARE * len(order))
        if not 0 < held < len(order):
            raise UnisalError(
                f"{self.name}: {len(order)} samples with ground truth are too few for the fusion experiment"
            )
        self.validation, self.training = (
            tuple(
                jnp.asarray(x[np.sort(chosen)])
                for x in (encoded.features.astype(np.float32), *_truth(encoded))
            )
            for chosen in (order[:held], order[held:])
        )


def compare_fusion(encoded: list[Encoded], seed: int) -> Losses:
    """Validation losses with one set of weights for all datasets, and with one set per dataset.

    Raises:
      UnisalError: a dataset has too few samples.
    """
    parts = [_Part(each, seed) for each in encoded]
    shared = _train(parts)
    return {part.name: (together, _train([part])[0]) for part, together in zip(parts, shared, strict=True)}


def _train(parts: list[_Part]) -> list[float]:
    """Trains one set of weights on all parts; returns the validation loss of each at the best step."""
    optimizer = optax.adamw(_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    weights = jnp.zeros(parts[0].training[0].shape[-1])
    state = optimizer.init(weights)
    best, since = [float("inf")], 0
    for _ in range(_MOST_STEPS):
        found = [_loss_and_gradient(weights, *part.training) for part in parts]
        # The mean of the means: each dataset has the same weight, whatever its size.
        gradient = sum(gradient for _, gradient in found) / len(parts)
        updates, state = optimizer.update(gradient, state, weights)
        weights = optax.apply_updates(weights, updates)
        losses = [float(_loss(weights, *part.validation)) for part in parts]
        if np.mean(losses) < np.mean(best) - 1e-5:
            best, since = losses, 0
        else:
            since += 1
        if since == _PATIENCE:
            break
    return best


def _truth(encoded: Encoded) -> tuple[np.ndarray, np.ndarray]:
    """(densities, whether each pixel is fixated), [N, height / 4, width / 4] each."""
    count, height, width = encoded.maps.shape
    cells = (count, height // _COARSER, _COARSER, width // _COARSER, _COARSER)
    maps = encoded.maps.reshape(cells).sum((2, 4))
    fixated = np.asarray(encoded.fixations.reshape(cells).any((2, 4)))
    return maps / maps.sum((1, 2), keepdims=True).clip(1e-12), fixated


@jax.jit
def _loss(weights: jax.Array, features: jax.Array, maps: jax.Array, fixations: jax.Array) -> jax.Array:
    logits = resize_bilinear(features @ weights, (maps.shape[1], maps.shape[2]))
    log_density = logits - jax.nn.logsumexp(logits, (-2, -1), keepdims=True)
    return saliency_loss(log_density[:, None], maps[:, None], fixations[:, None])[0]


_loss_and_gradient = jax.jit(jax.value_and_grad(_loss))
