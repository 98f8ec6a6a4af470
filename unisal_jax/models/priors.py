"""Learned Gaussian prior maps (paper, section 3.2 and equation 1)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from unisal_jax.domains import Domain
from unisal_jax.models import variables
from unisal_jax.models.architecture import PRIOR_SCALE, PRIORS, initial_gaussians


def gaussian_maps(gaussians: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Maps [height, width, map] in (0, 6] from [map, (y, x), (mean, log std)].

    Means are in units of the picture's side. The exponent has the factor 1/2 that equation 1 of the
    paper leaves out; the released weights follow the code.
    """

    def profile(axis: int) -> jax.Array:
        # Not by linspace, which takes no symbolic size (`export.stablehlo`).
        last = jnp.maximum(jnp.asarray(size[axis] - 1, gaussians.dtype), 1)
        at = (jnp.arange(size[axis], dtype=gaussians.dtype) / last)[:, None]
        mean, log_std = gaussians[:, axis, 0], gaussians[:, axis, 1]
        return jnp.exp(-0.5 * jnp.square((at - mean) / jnp.exp(log_std)))

    return PRIOR_SCALE * profile(0)[:, None] * profile(1)[None]


class PriorMaps(nn.Module):
    """Appends a domain's prior maps to the encoder's output."""

    domains: tuple[Domain, ...] = ()

    @nn.compact
    def __call__(self, x: jax.Array, domain: Domain) -> jax.Array:
        """[..., height, width, channels] -> [..., height, width, channels + 16]."""
        gaussians = variables.param(
            self, self.domains, domain, "gaussians", lambda _: jnp.asarray(initial_gaussians())
        )
        maps = gaussian_maps(gaussians, (x.shape[-3], x.shape[-2])).astype(x.dtype)
        return jnp.concatenate([x, jnp.broadcast_to(maps, (*x.shape[:-1], PRIORS))], -1)
