"""The training loss, KLD - 0.1 CC - 0.1 NSS of each frame (paper, section 3.4; reference.md, "Training")."""

import jax
import jax.numpy as jnp

from unisal_jax.train.config import LossWeights

_PIXELS = (-2, -1)

PAPER_LOSS = LossWeights()


def saliency_loss(
    log_density: jax.Array,
    maps: jax.Array,
    fixations: jax.Array,
    weights: LossWeights = PAPER_LOSS,
    axis_name: str | None = None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Loss of a batch: the weighted sum of the terms' means over batch and time.

    Each mean is over the frames that have the score: there is no NSS without fixations, and no CC for a
    constant map. A constant prediction has a CC and an NSS of 0. If no frame has a score, its mean is 0.
    Gradients are finite in all these cases.

    Args:
      log_density: [batch, time, height, width], in the dtype of the computation.
      maps: ground truth densities, the same shape; each sums to one.
      fixations: bool, the same shape: whether a pixel was fixated.
      weights: weights of the terms.
      axis_name: mapped axis (devices) to compute the means over as well. The loss is then the same on each
        device, and the mean of the devices' gradients is that of the whole batch.

    Returns:
      (loss, {"kld", "cc", "nss"}), scalars in the log-density's dtype.
    """
    maps = maps.astype(log_density.dtype)
    every = jnp.ones(log_density.shape[:-2], bool)
    terms = {
        "kld": _mean(_kld(log_density, maps), every, axis_name),
        "cc": _mean(_cc(log_density, maps), _varies(maps), axis_name),
        "nss": _mean(_nss(log_density, fixations), fixations.any(_PIXELS), axis_name),
    }
    loss = weights.kld * terms["kld"] + weights.cc * terms["cc"] + weights.nss * terms["nss"]
    return loss, terms


def _kld(log_density: jax.Array, maps: jax.Array) -> jax.Array:
    """sum gt (log gt - log p), where gt log gt is 0 at 0; [batch, time]."""
    somewhere = maps > 0
    log_maps = jnp.log(jnp.where(somewhere, maps, 1))
    return jnp.where(somewhere, maps * (log_maps - log_density), 0).sum(_PIXELS)


def _cc(log_density: jax.Array, maps: jax.Array) -> jax.Array:
    """Pearson's correlation of density and map; [batch, time]."""
    prediction, truth = _standardized(_scaled(jnp.exp(log_density))), _standardized(_scaled(maps))
    # Both are divided by the unbiased deviation, so the covariance is unbiased too.
    return (prediction * truth).sum(_PIXELS) / (_size(maps) - 1)


def _nss(log_density: jax.Array, fixations: jax.Array) -> jax.Array:
    """Mean of the standardised density (unbiased deviation) at the fixated pixels; [batch, time]."""
    prediction = _standardized(_scaled(jnp.exp(log_density)))
    return jnp.where(fixations, prediction, 0).sum(_PIXELS) / jnp.maximum(fixations.sum(_PIXELS), 1)


def _scaled(density: jax.Array) -> jax.Array:
    # Scales to a mean of 1. Pixels of a density are about 1e-6, and the gradient of a deviation divides by
    # its third power, which underflows in float32 for a flat map. CC and NSS do not change.
    return density * _size(density)


def _standardized(maps: jax.Array) -> jax.Array:
    """Maps minus their means, divided by their unbiased standard deviations; zeros for a constant map."""
    varies = _varies(maps)[..., None, None]
    centred = maps - maps.mean(_PIXELS, keepdims=True)
    variance = jnp.square(centred).sum(_PIXELS, keepdims=True) / (_size(maps) - 1)
    # Selects before the square root as well as after it: its gradient at 0 is infinite.
    return jnp.where(varies, centred / jnp.sqrt(jnp.where(varies, variance, 1)), 0)


def _varies(maps: jax.Array) -> jax.Array:
    return maps.max(_PIXELS) > maps.min(_PIXELS)


def _size(maps: jax.Array) -> int:
    return maps.shape[-2] * maps.shape[-1]


def _mean(scores: jax.Array, valid: jax.Array, axis_name: str | None) -> jax.Array:
    """Mean of the scores [batch, time] of the valid frames, on all devices."""
    total, count = jnp.where(valid, scores, 0).sum(), valid.sum()
    if axis_name is not None:
        total, count = jax.lax.psum((total, count), axis_name)
    return total / jnp.maximum(count, 1).astype(scores.dtype)
