"""Learning rates by step: the paper's schedule, cosine, warm-up and larger batches."""

import dataclasses
import math

import numpy as np
import pytest

from unisal_jax.domains import DHF1K, SALICON
from unisal_jax.train.config import DomainConfig, OptimizerConfig, TrainConfig
from unisal_jax.train.schedule import learning_rates

PAPER = TrainConfig({"dhf1k": DomainConfig("d"), "salicon": DomainConfig("s", batch_size=32)})


def rates(steps_per_epoch, epochs=16, batch_scale=1, domain=DHF1K, **optimizer):
    config = dataclasses.replace(
        PAPER, epochs=epochs, batch_scale=batch_scale, optimizer=OptimizerConfig(**optimizer)
    )
    return learning_rates(config, domain, steps_per_epoch)


def test_the_papers_rates_bit_for_bit():
    expected = [0.04 * 0.8**epoch for epoch in range(16) for _ in range(7)]
    assert rates(7).tolist() == expected
    assert rates(7, domain=SALICON).tolist() == [0.5 * rate for rate in expected]


def test_cosine():
    found = rates(5, epochs=2, schedule="cosine", lr=2.0)
    np.testing.assert_allclose(found, [1 + math.cos(math.pi * step / 10) for step in range(10)], atol=1e-6)
    warm = rates(5, epochs=2, schedule="cosine", lr=2.0, warmup_steps=4)
    np.testing.assert_allclose(warm[:5], [0, 0.5, 1, 1.5, 2], atol=1e-6)
    np.testing.assert_allclose(warm[4:], [1 + math.cos(math.pi * step / 6) for step in range(6)], atol=1e-6)


def test_a_larger_batch_warms_up_to_a_larger_rate():
    """From the unscaled rate over the first epoch, to a multiple of the paper's."""
    found = rates(4, batch_scale=8, lr=0.01)
    np.testing.assert_allclose(found[:4], [0.01, 0.0275, 0.045, 0.0625], rtol=1e-6)
    np.testing.assert_allclose(found[4:], 8 * rates(4, lr=0.01)[4:], rtol=1e-6)
    np.testing.assert_array_equal(
        rates(4, batch_scale=8, warmup_steps=0), 8 * rates(4)
    )  # a power of two, so the bits are the same


def test_adamw_scales_by_the_square_root():
    np.testing.assert_allclose(
        rates(4, batch_scale=4, name="adamw")[4:], 2 * rates(4, name="adamw")[4:], rtol=1e-6
    )


@pytest.mark.parametrize("schedule", ["epochs", "cosine"])
def test_a_warm_up_longer_than_the_training(schedule):
    found = rates(2, epochs=2, schedule=schedule, warmup_steps=8, lr=0.8)
    np.testing.assert_allclose(found, [0, 0.1, 0.2, 0.3], atol=1e-7)
