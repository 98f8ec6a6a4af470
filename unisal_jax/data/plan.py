"""The order of an epoch's batches over all domains."""

import itertools
from collections.abc import Mapping
from typing import Literal, NamedTuple

from unisal_jax.data import clips

Order = Literal["random", "alternating"]
"""`random` shuffles all batches of an epoch, as in the paper's joint training; `alternating` takes one batch
of each domain in turn, skipping domains that have no more."""


class Step(NamedTuple):
    """One training step: the domain, and the number of its batch in this epoch."""

    domain: str
    batch: int


def epoch_plan(batches: Mapping[str, int], order: Order, seed: int, epoch: int) -> list[Step]:
    """Lists the batches of an epoch, each once.

    A domain's batches keep their order. Their examples are drawn again for each epoch, and examples that do
    not fill a batch are left out (`examples.Examples.left_out`). The list depends only on the arguments, so
    resuming requires only (epoch, index in the list).

    Args:
      batches: number of batches of each domain, in the order of the domains.
      order: how to order them.
      seed: the seed.
      epoch: number of the epoch, from 0.
    """
    turns = itertools.zip_longest(*([Step(name, i) for i in range(n)] for name, n in batches.items()))
    steps = [step for turn in turns for step in turn if step is not None]
    if order == "alternating":
        return steps
    names = [steps[place].domain for place in clips.permutation(len(steps), seed, epoch, "plan")]
    numbers = {name: itertools.count() for name in batches}
    return [Step(name, next(numbers[name])) for name in names]
