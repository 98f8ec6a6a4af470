"""Batch norm as in the paper: separate parameters for each domain, separate statistics for each time step."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from unisal_jax.domains import Domain
from unisal_jax.models import variables
from unisal_jax.models.architecture import EPSILON
from unisal_jax.models.gradients import along_channels, normalized


class BatchNorm(nn.Module):
    """(Domain-adaptive) batch norm of a convolution's output.

    With running statistics, batch norm is a factor and an offset for each channel. The factor is multiplied
    into the convolution's kernel, which saves a pass over the feature map.

    In training mode, each time step is normalised by its own statistics over batch, height and width. The
    running statistics are updated with one time step after the other, with the unbiased variance
    (reference.md, "Network") and PyTorch's momentum: running = (1 - m) * running + m * step. Statistics are
    computed and stored in at least float32, whatever the input.

    Attributes:
      conv: the convolution. It has `features` and accepts `scale`, a factor of its output.
      domains: the domains with parameters of their own (paper, section 3.1, DABN); empty to share one set.
      momentum: momentum of the shared set; a domain's own set uses `Domain.bn_momentum`.
      axis_name: mapped axis (devices) to compute the statistics over as well.
    """

    conv: nn.Module
    domains: tuple[Domain, ...] = ()
    momentum: float = 0.1
    axis_name: str | None = None

    @nn.compact
    def __call__(self, *maps: jax.Array, domain: Domain, train: bool) -> jax.Array:
        """Applies the convolution and normalises its output.

        Args:
          maps: the convolution's input, [batch, time, height, width, channels].
          domain: the domain whose parameters to use.
          train: True normalises by the statistics of each time step, False by the running statistics.
        """
        size = self.conv.features
        scale = variables.param(self, self.domains, domain, "scale", nn.initializers.ones, (size,))
        bias = variables.param(self, self.domains, domain, "bias", nn.initializers.zeros, (size,))
        running_mean = variables.running(self, self.domains, domain, "mean", 0.0, size)
        running_var = variables.running(self, self.domains, domain, "var", 1.0, size)

        if not train:
            factor, offset = _scale_and_offset(scale, bias, running_mean.value, running_var.value)
            x = self.conv(*maps, scale=factor)
            shifted: jax.Array = x + along_channels(offset.astype(x.dtype), x)
            return shifted

        x = self.conv(*maps)
        out, mean, var = normalized(x, scale, bias, self.axis_name)
        if (
            self.is_mutable_collection(variables.stats_collection(self.domains, domain))
            and not self.is_initializing()
        ):
            momentum = domain.bn_momentum if self.domains else self.momentum
            count = x.size // (x.shape[1] * size)
            if self.axis_name is not None:
                count *= jax.lax.axis_size(self.axis_name)
            running = running_mean.value, running_var.value
            running_mean.value, running_var.value = _averaged(*running, mean, var, momentum, count)
        return out


@jax.jit
def _scale_and_offset(
    scale: jax.Array, bias: jax.Array, mean: jax.Array, var: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The factor and the offset that are equivalent to a batch norm with these statistics."""
    factor = scale * jax.lax.rsqrt(var + EPSILON)
    return factor, bias - mean * factor


@functools.partial(jax.jit, static_argnums=(4, 5))
def _averaged(
    running_mean: jax.Array,
    running_var: jax.Array,
    mean: jax.Array,
    var: jax.Array,
    momentum: float,
    count: int,
) -> tuple[jax.Array, jax.Array]:
    """Updates the running statistics [channels] with those of each time step [time, channels].

    `count` is the number of values that each statistic is computed from.
    """
    age = np.arange(mean.shape[0])[::-1]
    kept, weights = (1 - momentum) ** mean.shape[0], momentum * (1 - momentum) ** age

    def averaged(running: jax.Array, steps: jax.Array, factor: float) -> jax.Array:
        taken = jnp.tensordot(jnp.asarray(factor * weights, steps.dtype), steps, 1, precision="highest")
        return (kept * running + taken).astype(running.dtype)

    return averaged(running_mean, mean, 1.0), averaged(running_var, var, count / max(count - 1, 1))
