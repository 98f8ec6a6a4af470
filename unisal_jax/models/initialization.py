"""Initial variables of a model, and those of an additional domain."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from unisal_jax.domains import Domain
from unisal_jax.errors import UnisalError
from unisal_jax.models.config import UnisalConfig
from unisal_jax.models.unisal import Unisal


def init_variables(config: UnisalConfig, key: jax.Array) -> dict[str, Any]:
    """Randomly initialised variables of every collection: `params`, `batch_stats`, and two for each domain.

    The encoder is random too; `weights.store.imagenet_encoder` replaces it by the pretrained one.
    """
    return _init(config, key, lambda name: name != "intermediates")


def _init(config: UnisalConfig, key: jax.Array, wanted: Callable[[str], bool]) -> dict[str, Any]:
    smallest = jnp.zeros((1, 1, 32, 32, 3))

    @jax.jit  # compiles only the collections that it returns
    def init(key: jax.Array) -> dict[str, Any]:
        made = Unisal(config).init({"params": key}, smallest, config.domains[0])
        return {name: tree for name, tree in made.items() if wanted(name)}

    made: dict[str, Any] = init(key)
    return made


def add_domain(
    variables: dict[str, Any],
    config: UnisalConfig,
    domain: Domain,
    *,
    like: Domain | None = None,
    key: jax.Array | None = None,
) -> tuple[dict[str, Any], UnisalConfig]:
    """Adds a domain to existing variables, and changes nothing else.

    Args:
      variables: variables of a model with `config`.
      config: the model's config.
      domain: the domain to add.
      like: domain whose collections to copy; None initialises new ones with `key`.
      key: random key.

    Returns:
      (variables with the domain's two collections added, the config with the domain added).
    """
    grown = dataclasses.replace(config, domains=(*config.domains, domain))
    if like is not None:
        mine = {domain.name: variables[like.name], domain.stats: variables[like.stats]}
    else:
        if key is None:
            raise UnisalError("add_domain: pass `like`, a domain to copy, or `key`, a random key")
        mine = _init(grown, key, lambda name: name in (domain.name, domain.stats))
    # A copy: the two domains must not share buffers, or donating one would delete the other.
    return {**variables, **jax.tree.map(jnp.array, mine)}, grown
