"""What a training step takes and returns, and which part of it one domain's step may change."""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from unisal_jax.domains import Domain
from unisal_jax.models.architecture import RNN_MODULES
from unisal_jax.models.config import UnisalConfig

Tree = dict[str, Any]
# Part of the state -> its arrays as one vector; or a large array apart, see `vectors`.
Vectors = dict[str, jax.Array]

# Arrays of so many values may stand apart: of the network's parameters nine tenths, in 27 arrays.
_LARGE = 1 << 15

# The mapped axis of training over several devices.
AXIS = "batch"

ENCODER = "encoder"
"""Name of the encoder's part, see `parts`."""

MEAN, SQUARE, UPDATES = "mean", "square", "updates"
"""AdamW's trees in the place of the momentum: mean gradient, its mean square, updates of each array."""


@flax.struct.dataclass
class TrainState:
    """A training's arrays.

    Attributes:
      variables: the network's, all collections.
      momentum: of the trainable collections (`params` and each domain's), in the same structure; of AdamW a
        dict of three such trees, MEAN, SQUARE and UPDATES (int32 scalars).
      step: int32 scalar, how many steps were taken, of all domains together.
      average: moving average of the variables over the steps, or None if none is kept.
    """

    variables: Tree
    momentum: Tree
    step: jax.Array
    average: Tree | None = None

    @property
    def weights(self) -> Tree:
        """What is validated and used to predict: the average, if one is kept."""
        return self.variables if self.average is None else self.average


def create(
    config: UnisalConfig, variables: Mapping[str, Any], averaged: bool = False, adamw: bool = False
) -> TrainState:
    """The state before the first step: a copy of the variables, and momentum of zeros.

    A copy, so that donating the state to a step does not delete the caller's arrays.
    """

    def copy() -> Tree:
        made: Tree = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), dict(variables))
        return made

    copied = copy()
    trainable = {name: copied[name] for name in _trainable(config) if name in copied}
    momentum = jax.tree.map(jnp.zeros_like, trainable)
    if adamw:
        updates = jax.tree.map(lambda leaf: jnp.zeros((), jnp.int32), trainable)
        momentum = {MEAN: momentum, SQUARE: jax.tree.map(jnp.zeros_like, trainable), UPDATES: updates}
    return TrainState(copied, momentum, jnp.zeros((), jnp.int32), copy() if averaged else None)


def replicate(state: TrainState, devices: Sequence[jax.Device] | None = None) -> TrainState:
    """The state on each of this process's devices (None: all), as `step.pmapped` wants it.

    Placed once: without this a pmapped step would copy the whole state at each call, and donation
    over processes would delete arrays that are still in use.
    """
    mesh = Mesh(np.asarray(jax.local_devices() if devices is None else devices), (AXIS,))
    placed: TrainState = jax.device_put(state, NamedSharding(mesh, PartitionSpec()), may_alias=False)
    return placed


def moving(tree: Tree, config: UnisalConfig, domain: Domain, frozen: bool, domain_only: bool = False) -> Tree:
    """The part of a tree that a step of `domain` differentiates by; only momentum may move more (see `idle`).

    Left out are other domains' collections, the RNN and Post-RNN if the domain bypasses them, and
    the frozen encoder (reference.md, "Training").

    Args:
      tree: variables, or momentum, by collection and module.
      config: of the network.
      domain: whose step it is.
      frozen: whether the encoder is.
      domain_only: leave out all that the domains share.

    Returns:
      Collection -> module -> its arrays (not copied).
    """
    unused = {ENCODER} if frozen else set()
    if domain.static and config.rnn_bypass:
        unused |= RNN_MODULES
    # With every part shared (an ablation) a domain has no collection of its own.
    return {
        collection: {module: leaves for module, leaves in tree[collection].items() if module not in unused}
        for collection in ((domain.name,) if domain_only else ("params", domain.name))
        if collection in tree
    }


def parts(tree: Tree, domain: Domain) -> dict[str, Tree]:
    """What a domain's step handles as one: `encoder`, `shared`, `domain`, and the latter two's `_recurrence`.

    Args:
      tree: variables, momentum or gradients, by collection and module, with any modules missing.

    Returns:
      Part -> its piece of the tree; parts without a module are left out.
    """
    found: dict[str, Tree] = {}
    for collection, group in (("params", "shared"), (domain.name, "domain")):
        for module, leaves in tree.get(collection, {}).items():
            name = ENCODER if module == ENCODER else f"{group}_recurrence" if module in RNN_MODULES else group
            found.setdefault(name, {collection: {}})[collection][module] = leaves
    return found


def idle(tree: Tree, config: UnisalConfig, domain: Domain, domain_only: bool = False) -> dict[str, Tree]:
    """What a step of `domain` does not use, and another one may have trained; arguments as for `moving`.

    The encoder is none of it: frozen, it was not trained yet.

    Returns:
      Part -> its piece of the tree: the shared recurrence named as in `parts`, and one for each other domain.
    """
    others = {
        f"idle_{other.name}": moving(tree, config, other, True, domain_only=True)
        for other in config.domains
        if other.name != domain.name and other.name in tree
    }
    if domain_only or not (domain.static and config.rnn_bypass):
        return others
    recurrence = {module: leaves for module, leaves in tree["params"].items() if module in RNN_MODULES}
    return others | parts({"params": recurrence}, domain)


def vectors(pieces: Mapping[str, Tree], large_apart: bool = False) -> Vectors:
    """Each piece's arrays, in the order of its leaves, as one vector: hundreds of operations become one.

    With `large_apart` the large ones among them are left as they are, each under a name of its own.
    """
    found: Vectors = {}
    for name, piece in pieces.items():
        joined = []
        for number, leaf in enumerate(jax.tree.leaves(piece)):
            if large_apart and leaf.size >= _LARGE:
                found[_apart(name, number)] = leaf
            else:
                joined.append(jnp.ravel(leaf))
        if joined:
            found[name] = jnp.concatenate(joined)
    return found


def replaced(tree: Tree, pieces: Mapping[str, Tree], values: Vectors) -> Tree:
    """The tree with the arrays of its `pieces` taken from `values`; the inverse of `vectors`."""
    for name in dict.fromkeys(map(part_of, values)):
        leaves, structure = jax.tree.flatten(pieces[name])
        joined = [n for n in range(len(leaves)) if _apart(name, n) not in values]
        new = {n: values[_apart(name, n)] for n in range(len(leaves)) if n not in joined}
        if joined:
            cuts = np.cumsum([leaves[n].size for n in joined])[:-1]
            new |= zip(joined, jnp.split(values[name], cuts), strict=True)
        shaped = [new[n].reshape(leaf.shape).astype(leaf.dtype) for n, leaf in enumerate(leaves)]
        tree = merged(tree, jax.tree.unflatten(structure, shaped))
    return tree


def part_of(name: str) -> str:
    """The part that a name in `Vectors` belongs to."""
    return name.partition("/")[0]


def _apart(part: str, number: int) -> str:
    """The name of a part's leaf of that number, if it is not in the part's vector."""
    return f"{part}/{number}"


def merged(tree: Tree, part: Tree) -> Tree:
    """The tree with the modules of `part` in the place of its own; the inverse of `moving`."""
    return {**tree, **{collection: {**tree[collection], **modules} for collection, modules in part.items()}}


def _trainable(config: UnisalConfig) -> list[str]:
    return ["params", *(domain.name for domain in config.domains)]
