"""The state of a training, and which part of it a step of one domain may change."""

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
# Part of the state -> its arrays as one vector. Large arrays may be separate, see `vectors`.
Vectors = dict[str, jax.Array]

# Number of values from which an array may be separate: 27 arrays with nine tenths of the parameters.
_LARGE = 1 << 15

# The mapped axis of training over several devices.
AXIS = "batch"

ENCODER = "encoder"
"""Name of the encoder's part, see `parts`."""

MEAN, SQUARE, UPDATES = "mean", "square", "updates"
"""AdamW's trees: mean of the gradient, mean of its square, number of updates of each array."""


@flax.struct.dataclass
class TrainState:
    """The state of a training.

    Attributes:
      variables: all collections of the model's variables.
      momentum: momentum of the trainable collections (`params` and each domain's), with the same structure;
        for AdamW a dict of three such trees, MEAN, SQUARE and UPDATES (int32 scalars).
      step: int32 scalar, number of steps, of all domains together.
      average: moving average of the variables over the steps, or None if disabled.
    """

    variables: Tree
    momentum: Tree
    step: jax.Array
    average: Tree | None = None

    @property
    def weights(self) -> Tree:
        """The variables to validate and predict with: the average if there is one."""
        return self.variables if self.average is None else self.average


def create(
    config: UnisalConfig, variables: Mapping[str, Any], averaged: bool = False, adamw: bool = False
) -> TrainState:
    """The state before the first step: a copy of the variables, and zero momentum.

    It is a copy because donating the state to a step deletes its arrays.
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
    """Replicates the state to this process's devices (None: all), for `step.pmapped`.

    Without this, a pmapped step would copy the whole state in each call, and donation with several processes
    would delete arrays that are still in use.
    """
    mesh = Mesh(np.asarray(jax.local_devices() if devices is None else devices), (AXIS,))
    placed: TrainState = jax.device_put(state, NamedSharding(mesh, PartitionSpec()), may_alias=False)
    return placed


def moving(tree: Tree, config: UnisalConfig, domain: Domain, frozen: bool, domain_only: bool = False) -> Tree:
    """The part of a tree that a step of `domain` differentiates with respect to.

    It excludes other domains' collections, the RNN and Post-RNN if the domain bypasses them, and a frozen
    encoder (reference.md, "Training"). Only momentum may change more than that (see `idle`).

    Args:
      tree: variables, or momentum, by collection and module.
      config: the model's config.
      domain: the domain of the step.
      frozen: whether the encoder is frozen.
      domain_only: exclude everything that the domains share.

    Returns:
      Collection -> module -> its arrays (not copied).
    """
    unused = {ENCODER} if frozen else set()
    if domain.static and config.rnn_bypass:
        unused |= RNN_MODULES
    # If every part is shared (an ablation), a domain has no collection of its own.
    return {
        collection: {module: leaves for module, leaves in tree[collection].items() if module not in unused}
        for collection in ((domain.name,) if domain_only else ("params", domain.name))
        if collection in tree
    }


def parts(tree: Tree, domain: Domain) -> dict[str, Tree]:
    """Splits a tree into `encoder`, `shared`, `shared_recurrence`, `domain` and `domain_recurrence`.

    Args:
      tree: variables, momentum or gradients, by collection and module; modules may be missing.
      domain: the domain of the step.

    Returns:
      Part -> its piece of the tree, without empty parts.
    """
    found: dict[str, Tree] = {}
    for collection, group in (("params", "shared"), (domain.name, "domain")):
        for module, leaves in tree.get(collection, {}).items():
            name = ENCODER if module == ENCODER else f"{group}_recurrence" if module in RNN_MODULES else group
            found.setdefault(name, {collection: {}})[collection][module] = leaves
    return found


def idle(tree: Tree, config: UnisalConfig, domain: Domain, domain_only: bool = False) -> dict[str, Tree]:
    """What a step of `domain` does not use but other steps may have trained; arguments as for `moving`.

    It excludes the encoder: while frozen, it has never been trained.

    Returns:
      Part -> its piece of the tree: the shared recurrence, named as in `parts`, and one for each other
      domain.
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
    """Concatenates each piece's arrays, in the order of its leaves, into one vector, to save operations.

    With `large_apart`, large arrays stay separate, each under its own name.
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
    """The tree with the arrays of `pieces` replaced by those in `values`; the inverse of `vectors`."""
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
    """The name of a part's leaf with this number, if it is not in the part's vector."""
    return f"{part}/{number}"


def merged(tree: Tree, part: Tree) -> Tree:
    """The tree with the modules of `part` replaced; the inverse of `moving`."""
    return {**tree, **{collection: {**tree[collection], **modules} for collection, modules in part.items()}}


def _trainable(config: UnisalConfig) -> list[str]:
    return ["params", *(domain.name for domain in config.domains)]
