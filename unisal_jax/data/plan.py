"""The order of an epoch's batches over all domains."""

import itertools
from collections.abc import Mapping
from typing import Literal, NamedTuple

from unisal_jax.data import clips

Order = Literal["random", "alternating"]
"""`random` draws one order of all batches of an epoch, as the paper's joint training has it;
`alternating` takes one of each domain in turn, leaving out those that have no more."""


class Step(NamedTuple):
    """One training step: batch number `batch` of the domain's in this epoch."""

    domain: str
    batch: int


def epoch_plan(batches: Mapping[str, int], order: Order, seed: int, epoch: int) -> list[Step]:
    """Lists every batch of an epoch once.

    A domain's batches keep their order; which examples they hold is drawn anew for each epoch, and
    examples that do not fill a batch sit out (`examples.Examples.left_out`). The list follows from
    the arguments alone, so (epoch, place in the list) is all that a restart needs.

    Args:
      batches: how many batches of each domain there are, in the domains' order.
    """
    turns = itertools.zip_longest(*([Step(name, i) for i in range(n)] for name, n in batches.items()))
    steps = [step for turn in turns for step in turn if step is not None]
    if order == "alternating":
        return steps
    names = [steps[place].domain for place in clips.permutation(len(steps), seed, epoch, "plan")]
    numbers = {name: itertools.count() for name in batches}
    return [Step(name, next(numbers[name])) for name in names]
