"""SGD with momentum as PyTorch defines it, in two groups: the encoder, and everything else.

v = momentum * v + (clipped gradient + decay * p), p = p - lr * v (reference.md, "Training").
"""

import dataclasses
from collections.abc import Mapping
from typing import Literal, get_args

import jax
import jax.numpy as jnp

from unisal_jax.domains import Domain
from unisal_jax.errors import UnisalError
from unisal_jax.train.state import ENCODER, Vectors

# Added to the norm before dividing by it, as `torch.nn.utils.clip_grad_norm_` does: optax's clipping
# has nothing there, which is a difference of 5e-7 in each clipped step.
_NORM_EPSILON = 1e-6

Idle = Literal["momentum", "still"]


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """How the weights are moved. The defaults are the paper's (section 4.1), but for `idle`.

    Attributes:
      lr: learning rate of the first epoch.
      momentum: of the gradient, decay included.
      weight_decay, encoder_weight_decay: added to the gradient, times the parameter.
      encoder_lr_scale: the encoder's learning rate over the others'.
      epoch_decay: factor on the learning rate after each epoch.
      clip_norm: limit of the joint gradient's norm; None clips nothing.
      frozen_encoder_epochs: how many epochs the encoder stays as it is.
      domain_only: move each domain's own parameters alone; what domains share stays bit for bit,
        running statistics included.
      domain_lr_scale: domain name -> factor on the learning rate of its batches; 1 if not named.
      idle: what parameters do that a batch does not use (other domains' own, the bypassed RNN). "still": they
        stay bit for bit. "momentum": once trained, momentum and weight decay keep moving them in every step,
        as PyTorch 1.0 did in the authors' training.
    """

    lr: float = 0.04
    momentum: float = 0.9
    weight_decay: float = 1e-4
    encoder_weight_decay: float = 1e-5
    encoder_lr_scale: float = 0.1
    epoch_decay: float = 0.8
    clip_norm: float | None = 2.0
    frozen_encoder_epochs: int = 2
    domain_only: bool = False
    domain_lr_scale: Mapping[str, float] = dataclasses.field(
        default_factory=lambda: {"salicon": 0.5},
        hash=False,  # a dict has no hash; equal configs still have equal hashes
    )
    idle: Idle = "still"

    def __post_init__(self):
        for name in ("lr", "weight_decay", "encoder_weight_decay", "encoder_lr_scale", "epoch_decay"):
            if getattr(self, name) < 0:
                raise UnisalError(f"optimizer: {name} {getattr(self, name):g} is negative")
        if not 0 <= self.momentum < 1:
            raise UnisalError(f"optimizer: momentum {self.momentum:g} is not in 0 to 1")
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise UnisalError(f"optimizer: clip_norm {self.clip_norm:g} is not positive; None clips nothing")
        if self.idle not in get_args(Idle):
            raise UnisalError(f"optimizer: idle {self.idle!r} is not one of {', '.join(get_args(Idle))}")


def learning_rate(config: OptimizerConfig, epoch: int, domain: Domain) -> float:
    """Learning rate of a domain's batches in an epoch (from 0); the encoder's is `encoder_lr_scale` times it.

    Given to the step as an array, so that a new epoch compiles nothing.
    """
    return config.lr * config.epoch_decay**epoch * config.domain_lr_scale.get(domain.name, 1.0)


def encoder_frozen(config: OptimizerConfig, epoch: int) -> bool:
    """Whether the encoder stays as it is in an epoch (from 0)."""
    return config.domain_only or epoch < config.frozen_encoder_epochs


def updated(
    config: OptimizerConfig, lr: jax.Array, gradients: Vectors, parameters: Vectors, momentum: Vectors
) -> tuple[Vectors, Vectors, jax.Array]:
    """One step of SGD.

    Args:
      config: the optimizer's.
      lr: scalar, see `learning_rate`.
      gradients: of what the batch uses, one vector for each part of it (see `state.vectors`); the clipping
        norm is over all of it.
      parameters: any parts; those that have a momentum move.
      momentum: of the same parts as the gradients, and of idle ones. An idle part without any momentum was
        never trained, and stays.
    Returns:
      (parameters, momentum, norm of the gradients before clipping), of the momentum's parts.
    """
    norm = jnp.sqrt(sum(jnp.sum(jnp.square(gradient)) for gradient in gradients.values()))
    factor = 1.0 if config.clip_norm is None else jnp.minimum(1, config.clip_norm / (norm + _NORM_EPSILON))
    moved, traced = {}, {}
    for part, velocity in momentum.items():
        parameter = parameters[part]
        encoder = part == ENCODER
        decay = config.encoder_weight_decay if encoder else config.weight_decay
        scale = config.encoder_lr_scale if encoder else 1.0
        direction = decay * parameter
        if part in gradients:
            direction += factor * gradients[part]
        new = config.momentum * velocity + direction
        if part not in gradients:
            # PyTorch leaves out what never had a gradient. After the first one, momentum is not all zero.
            new = jnp.where(jnp.any(velocity != 0), new, velocity)
        traced[part] = new
        moved[part] = parameter - lr * scale * new
    return moved, traced, norm
