"""Variables that belong to a single domain, in collections named after it.

Shared parameters are in `params`, shared running statistics in `batch_stats`. A domain's own variables are in
the collections `<domain>` (trainable) and `<domain>_stats`. So a train step takes the shared collections and
one domain's, and cannot touch another's.
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
    """A parameter, of `domain` alone if `domains` is not empty, else shared.

    Initialisation creates the parameter of every listed domain, each from its own key, so that one `init`
    call creates all collections.

    Args:
      module: the (compact) module that owns the array.
      domains: the domains that have their own; empty for an array in `params`.
      domain: the domain whose array is returned.
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
    """A running statistic [size], of `domain` alone if `domains` is not empty, else shared."""

    def make(stats: str) -> nn.Variable[jax.Array]:
        return module.variable(stats, name, lambda: jnp.full((size,), value, jnp.float32))

    if not domains:
        return make("batch_stats")
    made = {each.name: make(each.stats) for each in (domains if module.is_initializing() else (domain,))}
    return made[domain.name]


def stats_collection(domains: Domains, domain: Domain) -> str:
    """The collection of `running`'s variable."""
    return domain.stats if domains else "batch_stats"
