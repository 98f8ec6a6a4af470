"""Compares the network with the original code's results, in float64 and float32."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers.golden_weights import GOLDEN, arrays
from unisal_jax.domains import find_domain
from unisal_jax.models.unisal import Unisal

CASES = json.loads((GOLDEN / "forward.json").read_text())["cases"]
STORED = arrays("forward.npz")
ENCODER = {
    "encoder_32": "features_1x_8x_channel_means",
    "encoder_16": "features_16_channel_means",
    "encoder_8": "features_8_channel_means",
}


def run(weights, case, dtype):
    shape = (1, case["frames"], 3, *case["input_hw"])
    x = np.random.Generator(np.random.PCG64(case["input_seed"])).standard_normal(shape)
    x = x.astype(np.float32).transpose(0, 1, 3, 4, 2).astype(dtype)
    variables = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), weights.variables)
    apply = jax.jit(
        lambda variables, x: Unisal(weights.config).apply(
            variables,
            x,
            find_domain(case["source"]),
            static=case["static"],
            target_size=tuple(case["target_hw"]),
            mutable=["intermediates"],
        )
    )
    (log_density, hidden), inner = apply(variables, x)
    means = {name: np.asarray(inner["intermediates"][name][0][0, 0]).mean((0, 1)) for name in ENCODER}
    return np.asarray(log_density[0]), None if hidden is None else np.asarray(hidden[0]), means


def errors(name, case, log_density, hidden, means):
    """Differences from the stored values: of the log-density, the hidden state and the encoder's means."""
    apart = np.abs(log_density[:, ::7, ::7] - STORED[f"{name}/log_density_every_7th"])
    state = np.zeros(1)
    if not case["static"]:
        state = np.abs(hidden.transpose(2, 0, 1)[::5] - STORED[f"{name}/hidden_every_5th_channel"])
    inner = max(np.abs(means[ours] - STORED[f"{name}/{theirs}"]).max() for ours, theirs in ENCODER.items())
    return apart, state.max(), inner


# An image in the domain dhf1k has the parameters of one case and the path through the network of another.
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name == "dhf1k_image" else ()) for name in CASES],
)
def test_float64(golden, name):
    with jax.enable_x64(True):
        log_density, hidden, means = run(golden(7), CASES[name], np.float64)
    assert log_density.dtype == np.float64
    apart, state, inner = errors(name, CASES[name], log_density, hidden, means)
    # The tolerance is the rounding of the stored float32 values.
    assert apart.max() < 1e-5 and state < 1e-5 and inner < 1e-5
    peaks = [np.unravel_index(frame.argmax(), frame.shape) for frame in log_density]
    np.testing.assert_array_equal(peaks, STORED[f"{name}/peak_row_col"])


# The other cases are tested in ONNX Runtime, which compiles nothing (inference/test_network.py).
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name == "dhf1k_video" else pytest.mark.slow) for name in CASES],
)
def test_float32(golden, name):
    log_density, hidden, means = run(golden(7), CASES[name], np.float32)
    assert log_density.dtype == np.float32
    apart, state, inner = errors(name, CASES[name], log_density, hidden, means)
    assert apart.max() < 1e-3 and apart.mean() < 1e-4 and state < 2e-3 and inner < 1e-3
    np.testing.assert_allclose(np.exp(log_density.astype(np.float64)).sum((1, 2)), 1, atol=1e-5)
    assert (hidden is None) == CASES[name]["static"]
