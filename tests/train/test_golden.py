"""Compares twelve SGD steps of all domains with the original code's losses and weights."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers.golden_weights import GOLDEN, arrays
from tests.helpers.train_batches import check_moved, golden_batch
from unisal_jax.domains import find_domain
from unisal_jax.models.config import UnisalConfig
from unisal_jax.train import optimizer, state
from unisal_jax.train.step import train_step
from unisal_jax.weights import names

RECORD = json.loads((GOLDEN / "train.json").read_text())
STEPS = RECORD["steps"]
TERMS = ("loss", "kld", "nss", "cc")
OPTIMIZER = optimizer.OptimizerConfig(lr=0.002, domain_lr_scale={}, idle="still")
# The first six of these steps with PyTorch 1.0, which keeps changing parameters that a batch does not use.
ZEROED = json.loads((GOLDEN / "train_zeroed.json").read_text())["steps"]


def take(weights, steps, dtype, sgd=OPTIMIZER, for_tpu=False):
    """Runs the steps; yields (the step's record, its metrics, the variables after it)."""
    config = UnisalConfig(skip_dropout=0.0, rnn_dropout=0.0)
    variables = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), weights.variables)
    current = state.create(config, variables)
    programs = {}
    trained = set()
    for step in steps:
        domain = find_domain(step["source"])
        frozen = optimizer.encoder_frozen(sgd, step["epoch"])
        lr = optimizer.learning_rate(sgd, step["epoch"], domain)
        assert lr == pytest.approx(step["lr"], rel=1e-12)
        if (domain, frozen) not in programs:
            made = train_step(config, domain, sgd, frozen)
            made = functools.partial(made, for_tpu=for_tpu)
            programs[domain, frozen] = jax.jit(made, donate_argnums=0)
        batch = golden_batch(step, dtype)
        before = jax.tree.map(np.array, current)  # the step donates its state
        current, metrics = programs[domain, frozen](current, jnp.asarray(lr, dtype), batch, jax.random.key(0))
        check_moved(before, current, domain, frozen, trained if sgd.idle == "momentum" else ())
        trained.add(domain)
        yield step, {name: float(metrics[name]) for name in TERMS}, current.variables


def check_weights(weights, variables, tag):
    """Compares every tensor and statistic with its stored sum of absolute values and first values."""
    stored = arrays("train.npz")
    ours = names.to_state(variables, weights.config, {})
    assert {key.split("/")[1] for key in stored if key.startswith(tag)} == set(ours)
    for name, tensor in ours.items():
        np.testing.assert_allclose(
            np.abs(tensor).sum(), stored[f"{tag}/{name}/sum_abs"], rtol=1e-7, err_msg=name
        )
        np.testing.assert_allclose(
            tensor.ravel()[:8], stored[f"{tag}/{name}/first8"], rtol=1e-7, err_msg=name
        )


def check_zeroed(weights, count, for_tpu):
    records = [step | zeroed for step, zeroed in zip(STEPS, ZEROED, strict=False)]
    sgd = dataclasses.replace(OPTIMIZER, idle="momentum")
    with jax.enable_x64(True):
        for step, terms, _ in take(weights, records[:count], np.float64, sgd, for_tpu):
            for name in TERMS:
                assert terms[name] == pytest.approx(step[name], rel=0, abs=1e-7), (step["step"], name)


def check_float64(weights, steps):
    with jax.enable_x64(True):
        for step, terms, variables in take(weights, steps, np.float64):
            for name in TERMS:
                assert terms[name] == pytest.approx(step[name], rel=0, abs=1e-7), (step["step"], name)
            if step["step"] in (5, 11):
                check_weights(weights, variables, f"after_epoch_{step['epoch']}")


def test_first_steps(golden):
    # A dynamic domain, the static one, and the first again: its loss depends on both earlier steps.
    check_float64(golden(RECORD["weights_seed"]), STEPS[:3])


def test_first_steps_with_idle_momentum(golden):
    # The third loss depends on weights that the second step changed without using them. This uses the form
    # for TPUs; the tests above and below use the other form.
    check_zeroed(golden(RECORD["weights_seed"]), 3, for_tpu=True)


@pytest.mark.slow
def test_idle_momentum(golden):
    check_zeroed(golden(RECORD["weights_seed"]), len(ZEROED), for_tpu=False)


# Four times as many programs; nearly all of the time is compilation.
@pytest.mark.slow
def test_float64(golden):
    check_float64(golden(RECORD["weights_seed"]), STEPS)


@pytest.mark.slow
def test_float32(golden):
    # Only seven steps: they amplify rounding, and PyTorch's own float32 is off by 6e-2 at step 9.
    for step, terms, _ in take(golden(RECORD["weights_seed"]), STEPS[:7], np.float32):
        for name in TERMS:
            assert terms[name] == pytest.approx(step[name], rel=0, abs=1e-3), (step["step"], name)
