"""Learned Gaussian prior maps (paper, section 3.2 and equation 1)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from unisal_jax.domains import Domain
from unisal_jax.models import variables
from unisal_jax.models.architecture import PRIORS, initial_gaussians
from unisal_jax.models.maps import gaussian_maps


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
