"""A program for a test: alternating steps on all devices, of one process or several.

    python -m tests.helpers.train_devices OUT.npz [float64|float32] [COORDINATOR COUNT INDEX]

float64 takes twelve steps and saves the metrics of each and the final parameters; float32 takes one step of
each domain and saves its gradients.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from tests.helpers.golden_weights import make_weights
from tests.helpers.train_batches import ground_truth
from unisal_jax.data.device import DeviceBatch
from unisal_jax.domains import DHF1K, SALICON
from unisal_jax.models.config import UnisalConfig
from unisal_jax.train import processes, state
from unisal_jax.train.optimizer import OptimizerConfig
from unisal_jax.train.step import eval_step, pmapped, pmapped_eval, train_step
from unisal_jax.weights import names

STEPS = 12
DOMAINS = (DHF1K, SALICON)
# Dropout differs between devices.
# Grouped convolutions compile in half the time.
CONFIG = UnisalConfig(skip_dropout=0.0, rnn_dropout=0.0, depthwise="grouped")
OPTIMIZER = OptimizerConfig(lr=0.01)
# With this setting, the momentum after the first step is the gradient.
PLAIN = OptimizerConfig(clip_norm=None, weight_decay=0.0, encoder_weight_decay=0.0)
KEY = np.array([0, 1], np.uint32)  # made without JAX, which must not start before `main`


def batches(dtype: type) -> list[DeviceBatch]:
    """A batch for each step (for float32, one of each domain); its second half has no fixations.

    ReLU6 has kinks: if rounding moves an activation across one, its gradient appears or vanishes, and the
    whole gradient changes by 1e-3 (float32 on one device then differs as much from float64). Among millions
    of activations some are that close; in a small batch of a chosen seed none is.
    """
    if dtype is np.float64:
        seed, items, frames, size, steps = 3, 8, 3, (32, 64), STEPS
    else:
        seed, items, frames, size, steps = 5, 4, 2, (32, 32), len(DOMAINS)
    made = []
    for number in range(steps):
        rng = np.random.default_rng(seed + number)
        shape = (items, 1 if number % 2 else frames, *size)
        maps, fixations = ground_truth(rng, shape)
        fixations[items // 2 :] = False
        made.append(DeviceBatch(rng.standard_normal((*shape, 3)), maps.astype(np.float64), fixations))
    return made


def share(batch: DeviceBatch, dtype: type) -> DeviceBatch:
    """This process's part of a batch, [local devices, batch / devices, ...]."""
    here, of = jax.process_index(), jax.process_count()

    def part(array: np.ndarray) -> np.ndarray:
        mine = array.reshape(of, jax.local_device_count(), -1, *array.shape[1:])[here]
        return mine if mine.dtype == bool else mine.astype(dtype)

    return DeviceBatch(*map(part, batch))


def main(out: str, kind: str = "float64", *cluster: str) -> None:
    dtype = np.dtype(kind).type
    jax.config.update("jax_enable_x64", dtype is np.float64)
    if cluster:
        processes.start(cluster[0], int(cluster[1]), int(cluster[2]))
    # Not freshly initialised weights: after a random encoder, features hardly vary, and dividing by their
    # deviation amplifies rounding errors a million times.
    weights, _ = names.from_state(make_weights(8), CONFIG, "seed 8")
    variables = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), weights)
    optimizer = OPTIMIZER if dtype is np.float64 else PLAIN
    programs = [
        pmapped(train_step(CONFIG, domain, optimizer, False, axis_name=state.AXIS)) for domain in DOMAINS
    ]
    kept = {}
    current = state.replicate(state.create(CONFIG, variables))
    for number, batch in enumerate(batches(dtype)):
        if dtype is np.float32:
            current = state.replicate(state.create(CONFIG, variables))
        before = jax.tree.leaves(current)
        lr = np.asarray(0.01, dtype)
        current, metrics = programs[number % 2](current, lr, share(batch, dtype), KEY)
        assert all(leaf.is_deleted() for leaf in before), "the state was not donated"
        kept |= {f"metrics/{number}/{name}": value for name, value in metrics.items()}
        if dtype is np.float32:
            flat = flatten_dict(current.momentum, sep="/")
            kept |= {f"gradient/{number}/{name}": leaf for name, leaf in flat.items()}
    if dtype is np.float64:
        kept |= {f"variables/{n}": leaf for n, leaf in flatten_dict(current.variables, sep="/").items()}
        score = pmapped_eval(eval_step(CONFIG, SALICON, axis_name=state.AXIS))
        scores, _ = score(current.variables, share(batches(dtype)[-1], dtype))
        kept |= {f"scores/{name}": value for name, value in scores.items()}
    if processes.is_first():
        np.savez(out, **jax.device_get(kept))


if __name__ == "__main__":
    main(*sys.argv[1:])
