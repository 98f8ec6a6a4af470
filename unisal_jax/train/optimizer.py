"""SGD with momentum as in PyTorch, and AdamW, with two parameter groups: the encoder and everything else.

SGD: v = momentum * v + (clipped gradient + decay * p), p = p - lr * v (reference.md, "Training").
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from unisal_jax.domains import Domain
from unisal_jax.train.config import OptimizerConfig
from unisal_jax.train.state import ENCODER, MEAN, SQUARE, UPDATES, Vectors, part_of

# Added to the norm before dividing by it, as in `torch.nn.utils.clip_grad_norm_`. optax adds no epsilon,
# which changes each clipped step by 5e-7.
_NORM_EPSILON = 1e-6

_SQUARE_DECAY = 0.999


def learning_rate(config: OptimizerConfig, epoch: int, domain: Domain) -> float:
    """Learning rate of a domain's batches in an epoch (from 0) by the paper's schedule.

    The encoder's is `encoder_lr_scale` times it. `schedule.learning_rates` adds warm-up and `batch_scale`.

    The step takes it as an array, so that a new epoch does not recompile it.
    """
    return config.lr * config.epoch_decay**epoch * config.domain_lr_scale.get(domain.name, 1.0)


def encoder_frozen(config: OptimizerConfig, epoch: int) -> bool:
    """Whether the encoder is frozen in an epoch (from 0)."""
    return config.domain_only or epoch < config.frozen_encoder_epochs


def updated(
    config: OptimizerConfig, lr: jax.Array, gradients: Vectors, parameters: Vectors, momentum: Vectors
) -> tuple[Vectors, Vectors, jax.Array]:
    """One step of SGD.

    Args:
      config: the optimizer's config.
      lr: learning rate, a scalar array, so that a new value does not recompile the step.
      gradients: gradients of the parts that the batch uses, from `state.vectors`; clipping uses the norm over
        all of them.
      parameters: parameters of any parts; those with a momentum are updated.
      momentum: momentum of the same parts as the gradients, and of idle ones. An idle part whose momentum is
        all zero was never trained, and does not change.

    Returns:
      (parameters, momentum, norm of the gradients before clipping), for the parts of `momentum`.
    """
    norm, factor = clipping(config, gradients)
    moved, traced = {}, {}
    for part, velocity in momentum.items():
        parameter = parameters[part]
        decay, scale = _decay_and_scale(config, part)
        direction = decay * parameter
        if part in gradients:
            direction += factor * gradients[part]
        new = config.momentum * velocity + direction
        if part not in gradients:
            # PyTorch skips parameters that never had a gradient. After the first one, momentum is not all
            # zero.
            new = jnp.where(jnp.any(velocity != 0), new, velocity)
        traced[part] = new
        moved[part] = parameter - lr * scale * new
    return moved, traced, norm


def updated_by_adamw(
    config: OptimizerConfig,
    lr: jax.Array,
    gradients: Vectors,
    parameters: Vectors,
    moments: Mapping[str, Vectors],
) -> tuple[Vectors, dict[str, Vectors], jax.Array]:
    """One step of AdamW: optax's Adam on the clipped gradient, with decoupled weight decay.

    Args:
      config: as for `updated`.
      lr: as for `updated`.
      gradients: as for `updated`.
      parameters: as for `updated`.
      moments: state.MEAN, SQUARE and UPDATES, each of the same parts as the gradients. Each part counts its
        own updates, as a domain's parameters are updated less often than the shared ones.

    Returns:
      (parameters, moments, norm of the gradients before clipping).
    """
    norm, factor = clipping(config, gradients)
    adam = optax.scale_by_adam(b1=config.momentum, b2=_SQUARE_DECAY)
    moved: Vectors = {}
    new: dict[str, Vectors] = {name: {} for name in moments}
    for part, gradient in gradients.items():
        mean, square = moments[MEAN][part], moments[SQUARE][part]
        # The count is stored once per array; all counts of a part are equal.
        updates = moments[UPDATES][part_of(part)]
        direction, after = adam.update(factor * gradient, optax.ScaleByAdamState(updates[0], mean, square))
        new[MEAN][part], new[SQUARE][part] = after.mu, after.nu
        new[UPDATES][part_of(part)] = jnp.full_like(updates, after.count)
        decay, scale = _decay_and_scale(config, part)
        moved[part] = parameters[part] - lr * scale * (direction + decay * parameters[part])
    return moved, new, norm


def clipping(config: OptimizerConfig, gradients: Vectors) -> tuple[jax.Array, jax.Array | float]:
    """The norm of all gradients, and the factor that clips them."""
    norm = jnp.sqrt(sum(map(square_sum, gradients.values())))
    return norm, 1.0 if config.clip_norm is None else jnp.minimum(
        1, config.clip_norm / (norm + _NORM_EPSILON)
    )


@jax.jit
def square_sum(values: jax.Array) -> jax.Array:
    """Sum of squares; jitted, so that the program has one function for all arrays of the same shape."""
    return jnp.sum(jnp.square(values))


def _decay_and_scale(config: OptimizerConfig, part: str) -> tuple[float, float]:
    """The weight decay of a part, and its factor on the learning rate."""
    if part_of(part) == ENCODER:
        return config.encoder_weight_decay, config.encoder_lr_scale
    return config.weight_decay, 1.0
