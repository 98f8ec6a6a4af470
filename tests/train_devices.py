"""A program for a test: alternating steps on one device against four, which XLA_FLAGS must provide."""

import jax
import jax.numpy as jnp
import numpy as np

from tests.golden_weights import make_weights
from tests.train_batches import ground_truth
from unisal_jax.data.device import DeviceBatch
from unisal_jax.domains import DHF1K, SALICON
from unisal_jax.models.unisal import UnisalConfig
from unisal_jax.train import state
from unisal_jax.train.optimizer import OptimizerConfig
from unisal_jax.train.step import eval_step, pmapped, pmapped_eval, train_step
from unisal_jax.weights import names
from unisal_jax.weights.store import variable_shapes

DEVICES, STEPS = 4, 6
DOMAINS = (DHF1K, SALICON)
CONFIG = UnisalConfig(skip_dropout=0.0, rnn_dropout=0.0)
OPTIMIZER = OptimizerConfig(lr=0.01)
KEY = jax.random.key(1)


def batches() -> list[DeviceBatch]:
    """For each step a batch of eight; the second half of each has no fixations."""
    rng = np.random.default_rng(3)
    made = []
    for number in range(STEPS):
        shape = (8, 1 if number % 2 else 3, 32, 64)
        maps, fixations = ground_truth(rng, shape)
        fixations[4:] = False
        made.append(DeviceBatch(rng.standard_normal((*shape, 3)), maps.astype(np.float64), fixations))
    return made


def split(batch: DeviceBatch) -> DeviceBatch:
    """[batch, ...] -> [device, batch / devices, ...]."""
    return DeviceBatch(*(part.reshape(DEVICES, -1, *part.shape[1:]) for part in batch))


def main() -> None:
    """Raises AssertionError where the two differ."""
    assert jax.device_count() == DEVICES
    # Fresh weights would not do: behind a random encoder the features hardly vary, and dividing by
    # their deviation amplifies rounding a million times.
    weights, _ = names.from_state(make_weights(8), CONFIG, variable_shapes(CONFIG), "seed 8")
    variables = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), weights)
    one = state.create(CONFIG, variables)
    four = state.replicate(state.create(CONFIG, variables))
    programs = {}
    for domain in DOMAINS:
        alone = jax.jit(train_step(CONFIG, domain, OPTIMIZER, False), donate_argnums=0)
        together = pmapped(train_step(CONFIG, domain, OPTIMIZER, False, axis_name=state.AXIS))
        programs[domain] = (alone, together)
    for number, batch in enumerate(batches()):
        alone, together = programs[DOMAINS[number % 2]]
        lr = jnp.asarray(0.01)
        before = jax.tree.leaves(four)
        one, want = alone(one, lr, batch, KEY)
        four, got = together(four, lr, split(batch), KEY)
        assert all(leaf.is_deleted() for leaf in before), "the state was not donated"
        for name in want:
            np.testing.assert_allclose(got[name], want[name], rtol=1e-9, atol=1e-9, err_msg=name)
        print(number, {name: float(value) for name, value in got.items()}, flush=True)
    worst = jax.tree.map(lambda a, b: float(np.abs(np.asarray(a) - np.asarray(b)).max()), one, four)
    print("largest difference", max(jax.tree.leaves(worst)), flush=True)
    assert max(jax.tree.leaves(worst)) < 1e-6

    last = batches()[-1]
    want = jax.jit(eval_step(CONFIG, SALICON))(one.variables, last)
    scores = pmapped_eval(eval_step(CONFIG, SALICON, axis_name=state.AXIS))
    for name, value in scores(four.variables, split(last)).items():
        np.testing.assert_allclose(value, want[name], rtol=1e-6, atol=1e-9, err_msg=name)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
