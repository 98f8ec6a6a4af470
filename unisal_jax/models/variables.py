"""Variables that each domain has of its own, in collections named after the domains.

What all domains share lies in `params` and, for running statistics, `batch_stats`. What a domain
has for itself lies in the collections `<domain>` (trainable) and `<domain>_stats`. So a train step
can take the shared collection and one domain's, and cannot touch another's.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from unisal_jax.domains import Domain

Domains = tuple[Domain, ...]
Init = Callable[..., jax.Array]


def param(
    module: nn.Module, domains: Domains, domain: Domain, name: str, init: Init, *args: Any
) -> jax.Array:
    """A trainable array, of `domain` alone if `domains` lists any, else shared by all.

    Initialising makes the array of every listed domain at once, each from a key of its own, so
    that one `init` call makes all collections.

    Args:
      module: the (compact) module that owns the array.
      domains: the domains that have one each; empty for an array in `params`.
      domain: the one whose array is returned.
      name: the array's name in the module.
      init: called as init(key, *args).
    """
    if not domains:
        return module.param(name, init, *args)
    if module.is_initializing():
        for each in domains:
            key = module.make_rng("params")
            module.variable(each.name, name, init, key, *args)
    return module.get_variable(domain.name, name)


def running(
    module: nn.Module, domains: Domains, domain: Domain, name: str, value: float, size: int
) -> nn.Variable[jax.Array]:
    """A running statistic [size], of `domain` alone if `domains` lists any, else shared by all."""

    def make(stats: str) -> nn.Variable[jax.Array]:
        return module.variable(stats, name, lambda: jnp.full((size,), value, jnp.float32))

    if not domains:
        return make("batch_stats")
    made = {each.name: make(each.stats) for each in (domains if module.is_initializing() else (domain,))}
    return made[domain.name]


def stats_collection(domains: Domains, domain: Domain) -> str:
    """The collection that `running` keeps its variable in."""
    return domain.stats if domains else "batch_stats"
