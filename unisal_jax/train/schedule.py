"""The learning rate of each step, with warm-up and scaling to larger batches."""

import math

import numpy as np
import optax

from unisal_jax.domains import Domain
from unisal_jax.train.config import TrainConfig
from unisal_jax.train.optimizer import learning_rate


def learning_rates(config: TrainConfig, domain: Domain, steps_per_epoch: int) -> np.ndarray:
    """The learning rate of each step of a training, for batches of this domain.

    With `batch_scale` N, it is N times `optimizer.lr` (Goyal et al. 2017, "Accurate, Large Minibatch SGD",
    section 2), after a linear warm-up from `optimizer.lr`, by default over the first epoch: 1 of 16 (5 of 90
    in that paper). A warm-up without `batch_scale` starts from zero. For AdamW, it is sqrt(N) times
    `optimizer.lr` (Malladi et al. 2022, "On the SDEs and Scaling Rules for Adaptive Gradient Algorithms").

    Args:
      config: the experiment's config.
      domain: one of its domains.
      steps_per_epoch: steps per epoch, of all domains together.

    Returns:
      float64 [epochs * steps_per_epoch].
    """
    optimizer = config.optimizer
    scale = config.batch_scale if optimizer.name == "sgd" else math.sqrt(config.batch_scale)
    steps = np.arange(config.epochs * steps_per_epoch)
    warm = optimizer.warmup_steps
    if warm is None:
        warm = steps_per_epoch if scale > 1 else 0
    unscaled = learning_rate(optimizer, 0, domain)
    if optimizer.schedule == "cosine":
        fall = optax.cosine_decay_schedule(scale * unscaled, max(len(steps) - warm, 1))
        rates = fall(np.maximum(steps - warm, 0))
    else:
        by_epoch = [scale * learning_rate(optimizer, epoch, domain) for epoch in range(config.epochs)]
        rates = np.repeat(by_epoch, steps_per_epoch)
    if warm:
        rise = optax.linear_schedule(unscaled if scale > 1 else 0.0, scale * unscaled, warm)
        rates = np.where(steps < warm, rise(steps), rates)
    return np.asarray(rates, np.float64)
