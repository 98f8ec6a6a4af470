"""The smoothing layer: nearest-neighbour upsampling by eight, then a learned 41x41 blur.

Both are computed as one 7x7 convolution of the small map, with 35 times fewer operations: see
`maps.cell_kernel`. The parameter stays the 41x41 kernel.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from unisal_jax.domains import Domain
from unisal_jax.models import variables
from unisal_jax.models.architecture import SMOOTHING_FACTOR, SMOOTHING_SIZE
from unisal_jax.models.maps import SMOOTHING_REACH, cell_kernel, gaussian_maps


def initial_kernel(_key: jax.Array) -> jax.Array:
    """A normalised Gaussian [41, 41], mean 0.5 and log standard deviation -2 of the kernel's side."""
    mean_and_log_std = jnp.asarray([[[0.5, -2.0]] * 2], jnp.float32)
    gaussian: jax.Array = gaussian_maps(mean_and_log_std, (SMOOTHING_SIZE, SMOOTHING_SIZE))[..., 0]
    return gaussian / gaussian.sum()


def upsample_and_smooth(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Upsamples by eight (nearest neighbour), pads by replication and correlates with the kernel.

    Args:
      x: [..., height, width].
      kernel: [41, 41].

    Returns:
      [..., 8 * height, 8 * width].
    """
    height, width = x.shape[-2:]
    reach = (SMOOTHING_REACH, SMOOTHING_REACH)
    padded = jnp.pad(x.reshape(-1, height, width), ((0, 0), reach, reach), mode="edge")
    # The kernel's rows become channels of a convolution along the width. With one channel, a training step
    # takes a fifth longer on a CPU, and compiling for a TPU nearly three times as long.
    rows = jnp.stack([padded[:, row : row + height] for row in range(2 * SMOOTHING_REACH + 1)], -1)
    cells = jax.lax.conv_general_dilated(
        rows,
        cell_kernel(kernel).transpose(2, 1, 0, 3).astype(x.dtype),
        (1, 1),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    cells = cells.reshape(-1, height, width, SMOOTHING_FACTOR, SMOOTHING_FACTOR).swapaxes(2, 3)
    return cells.reshape(*x.shape[:-2], SMOOTHING_FACTOR * height, SMOOTHING_FACTOR * width)


class Smoothing(nn.Module):
    """Upsamples to the input size and blurs with the domain's kernel (paper, section 3.2, "Smoothing")."""

    domains: tuple[Domain, ...] = ()

    @nn.compact
    def __call__(self, x: jax.Array, domain: Domain) -> jax.Array:
        """[..., height, width] -> [..., 8 * height, 8 * width]."""
        return upsample_and_smooth(x, variables.param(self, self.domains, domain, "kernel", initial_kernel))
