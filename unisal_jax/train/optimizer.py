"""SGD with momentum as PyTorch defines it, in two groups: the encoder, and everything else.

v = momentum * v + (clipped gradient + decay * p), p = p - lr * v (reference.md, "Training").
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from unisal_jax.domains import Domain
from unisal_jax.train.config import OptimizerConfig

# Added to the norm before dividing by it, as `torch.nn.utils.clip_grad_norm_` does: optax's clipping
# has nothing there, which is a difference of 5e-7 in each clipped step.
_NORM_EPSILON = 1e-6


def learning_rate(config: OptimizerConfig, epoch: int, domain: Domain) -> float:
    """Learning rate of a domain's batches in an epoch (from 0), as the paper's schedule has it.

    The encoder's is `encoder_lr_scale` times it. `schedule.learning_rates` adds warm-up and larger batches.

    Given to the step as an array, so that a new epoch compiles nothing.
    """
    return config.lr * config.epoch_decay**epoch * config.domain_lr_scale.get(domain.name, 1.0)


def encoder_frozen(config: OptimizerConfig, epoch: int) -> bool:
    """Whether the encoder stays as it is in an epoch (from 0)."""
    return config.domain_only or epoch < config.frozen_encoder_epochs


def updated(
    config: OptimizerConfig, lr: jax.Array, gradients: Any, parameters: Any, momentum: Any
) -> tuple[Any, Any, jax.Array]:
    """One step of SGD on the parameters that a batch uses.

    Args:
      config: the optimizer's.
      lr: scalar, see `learning_rate`.
      gradients, parameters, momentum: trees of one structure, collection -> module -> arrays, that
        hold what moves and nothing else: the clipping norm is over all of it.
    Returns:
      (parameters, momentum, norm of the gradients before clipping).
    """
    norm = optax.tree.norm(gradients)
    factor = 1.0 if config.clip_norm is None else jnp.minimum(1, config.clip_norm / (norm + _NORM_EPSILON))

    def decayed(path: Any, gradient: jax.Array, parameter: jax.Array) -> jax.Array:
        decay = config.encoder_weight_decay if _is_encoder(path) else config.weight_decay
        return gradient * factor + decay * parameter

    def scaled(path: Any, velocity: jax.Array) -> jax.Array:
        return -lr * (config.encoder_lr_scale if _is_encoder(path) else 1.0) * velocity

    directions = jax.tree_util.tree_map_with_path(decayed, gradients, parameters)
    # optax's trace starts from zeros, so its first step is v = g, which is PyTorch's.
    velocities, traced = optax.trace(config.momentum).update(directions, optax.TraceState(momentum))
    changes = jax.tree_util.tree_map_with_path(scaled, velocities)
    return optax.apply_updates(parameters, changes), traced.trace, norm


def _is_encoder(path: Any) -> bool:
    return path[1].key == "encoder"
