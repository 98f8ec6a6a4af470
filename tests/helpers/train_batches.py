"""Helpers of the tests of training: batches from seeds, and the parts of a state that a step changed."""

from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np

from unisal_jax.data.device import DeviceBatch
from unisal_jax.domains import Domain
from unisal_jax.train.state import TrainState

RNN = {"rnn", "post_rnn", "post_rnn_norm"}


def golden_batch(step: dict, dtype: type) -> DeviceBatch:
    """Frames [B, T, h, w, 3], maps and fixations [B, T, H, W] of one step listed in train.json."""
    count, frames, (height, width) = step["batch"], step["frames"], step["target_hw"]
    shape = (count, frames, 3, *step["input_hw"])
    x = np.random.Generator(np.random.PCG64(step["input_seed"])).standard_normal(shape).astype(np.float32)
    maps, fixations = ground_truth(
        np.random.Generator(np.random.PCG64([step["input_seed"], 1])), (count, frames, height, width)
    )
    return DeviceBatch(
        jnp.asarray(x.transpose(0, 1, 3, 4, 2), dtype), jnp.asarray(maps, dtype), jnp.asarray(fixations)
    )


def ground_truth(rng: np.random.Generator, shape: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(a blob as float32 density, six fixations near its centre as bools) of each frame, [B, T, H, W]."""
    height, width = shape[2:]
    maps, fixations = np.zeros(shape, np.float32), np.zeros(shape, bool)
    y, x = np.mgrid[:height, :width]
    for frame in np.ndindex(*shape[:2]):
        cy, cx = rng.uniform(0.2, 0.8) * height, rng.uniform(0.2, 0.8) * width
        blob = np.exp(-(((y - cy) / (0.12 * height)) ** 2) - ((x - cx) / (0.12 * width)) ** 2)
        maps[frame] = blob / blob.sum()
        rows = np.clip(np.round(cy + rng.normal(0, 0.08 * height, 6)), 0, height - 1).astype(int)
        columns = np.clip(np.round(cx + rng.normal(0, 0.08 * width, 6)), 0, width - 1).astype(int)
        fixations[(*frame, rows, columns)] = True
    return maps, fixations


def changed(before: dict, after: dict) -> set[str]:
    """The modules, as collection/module, in which any bit differs."""
    found = set()
    for collection in before:
        for module, leaves in before[collection].items():
            pairs = zip(jax.tree.leaves(leaves), jax.tree.leaves(after[collection][module]), strict=True)
            if not all(np.array_equal(old, new) for old, new in pairs):
                found.add(f"{collection}/{module}")
    return found


def check_moved(
    before: TrainState, after: TrainState, domain: Domain, frozen: bool, trained_before: Iterable[Domain] = ()
) -> None:
    """Checks that a step of a domain changed everything it should, and no other bit.

    Momentum still changes the parameters of the domains in `trained_before`.
    """

    def modules(*collections: str) -> set[str]:
        return {f"{name}/{module}" for name in collections for module in before.variables[name]}

    def of(each: Domain) -> set[str]:
        return {f"{name}/{m}" for name in ("params", each.name, each.stats) for m in RNN if each.static}

    idle = of(domain) | ({"params/encoder"} if frozen else set())
    trained = modules("params", domain.name) - idle
    for other in trained_before:
        trained |= modules(other.name) - of(other)
        trained |= {f"params/{m}" for m in RNN & before.variables["params"].keys() if not other.static}
    # The encoder's statistics never change; those of Post-CNN are shared by all domains.
    statistics = (modules(domain.stats) - idle) | {"batch_stats/post_cnn"}
    assert changed(before.variables, after.variables) == trained | statistics
    assert changed(before.momentum, after.momentum) == trained
