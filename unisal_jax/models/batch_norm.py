"""Batch norm as the paper trains it: a set for each domain, statistics of each time step apart."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from unisal_jax.domains import Domain
from unisal_jax.models import variables
from unisal_jax.models.architecture import EPSILON


class BatchNorm(nn.Module):
    """(Domain-adaptive) batch norm of a convolution's output.

    With the running statistics it is a factor and an offset for each channel. The factor then goes into
    the convolution's kernel: the same values without a pass over the feature map.

    In training mode the statistics are those of each time step over batch, height and width, and the
    running averages take up one step after the other, with the unbiased variance (reference.md,
    "Network"). PyTorch's momentum: running = (1 - m) * running + m * step. Statistics and the
    running averages are in at least float32, whatever the input.

    Attributes:
      conv: the convolution: has `features`, and takes a factor of its output as `scale`.
      domains: the domains with a set each (paper, section 3.1, DABN); empty for one shared set.
      momentum: of the shared set; a domain's set has the domain's own.
      axis_name: take the statistics over this mapped axis (devices) too.
    """

    conv: nn.Module
    domains: tuple[Domain, ...] = ()
    momentum: float = 0.1
    axis_name: str | None = None

    @nn.compact
    def __call__(self, *maps: jax.Array, domain: Domain, train: bool) -> jax.Array:
        """What the convolution makes of the maps, normalised; with `train`, by its own statistics.

        Args:
          maps: the convolution's input, [batch, time, height, width, channels].
          domain: whose set to use.
          train: False for the running statistics.
        """
        size = self.conv.features
        scale = variables.param(self, self.domains, domain, "scale", nn.initializers.ones, (size,))
        bias = variables.param(self, self.domains, domain, "bias", nn.initializers.zeros, (size,))
        running_mean = variables.running(self, self.domains, domain, "mean", 0.0, size)
        running_var = variables.running(self, self.domains, domain, "var", 1.0, size)

        if not train:
            factor = scale * jax.lax.rsqrt(running_var.value + EPSILON)
            offset = bias - running_mean.value * factor
            x = self.conv(*maps, scale=factor)
            return x + offset.astype(x.dtype)

        x = self.conv(*maps)
        values = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        mean, var, count = self._step_statistics(values)
        if (
            self.is_mutable_collection(variables.stats_collection(self.domains, domain))
            and not self.is_initializing()
        ):
            momentum = domain.bn_momentum if self.domains else self.momentum
            running_mean.value = _averaged(running_mean.value, mean, momentum)
            running_var.value = _averaged(running_var.value, var * (count / max(count - 1, 1)), momentum)
        factor = scale * jax.lax.rsqrt(var + EPSILON)
        offset = bias - mean * factor
        spread = (slice(None), None, None)  # [time, channels] against [batch, time, height, width, channels]
        return (values * factor[spread] + offset[spread]).astype(x.dtype)

    def _step_statistics(self, x: jax.Array) -> tuple[jax.Array, jax.Array, int]:
        """Mean and biased variance [time, channels], and how many values each is taken over."""
        over = (0, 2, 3)
        mean = jnp.mean(x, over)
        if self.axis_name is not None:
            mean = jax.lax.pmean(mean, self.axis_name)
        # Two passes: E[x^2] - E[x]^2 cancels in float32.
        var = jnp.mean(jnp.square(x - mean[:, None, None]), over)
        count = x.size // (x.shape[1] * x.shape[-1])
        if self.axis_name is not None:
            var = jax.lax.pmean(var, self.axis_name)
            count *= jax.lax.axis_size(self.axis_name)
        return mean, var, count


def _averaged(running: jax.Array, steps: jax.Array, momentum: float) -> jax.Array:
    """Takes the statistics [time, channels] up into the running ones [channels], step by step."""
    age = np.arange(steps.shape[0])[::-1]
    weights = jnp.asarray(momentum * (1 - momentum) ** age, steps.dtype)
    averaged = (1 - momentum) ** steps.shape[0] * running + jnp.tensordot(
        weights, jax.lax.stop_gradient(steps), 1, precision=jax.lax.Precision.HIGHEST
    )
    return averaged.astype(running.dtype)
