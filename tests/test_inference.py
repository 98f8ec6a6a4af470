"""The folded network against the plain one, in float64, where only a mistake can set them apart."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.golden_weights import made_up
from tests.test_golden_forward import CASES, errors
from unisal_jax.domains import DHF1K, SALICON, UCF_SPORTS, find_domain
from unisal_jax.media.images import resize_frame
from unisal_jax.media.video import open_video
from unisal_jax.models import forms
from unisal_jax.models.config import UnisalConfig
from unisal_jax.models.inference import fold
from unisal_jax.models.unisal import Unisal
from unisal_jax.normalization import normalize

TWO = UnisalConfig(domains=(DHF1K, SALICON))


@pytest.mark.parametrize(
    ("changes", "domain"),
    [
        ({}, DHF1K),
        ({}, SALICON),
        ({"separable": False, "bilinear": False, "rnn_bypass": False}, SALICON),
        ({"prior_maps": False, "skips": False, "smoothing": False}, DHF1K),
        ({"rnn_residual": False, "rnn_bypass": False, "domain_norm": False, "domain_priors": False}, DHF1K),
        ({"domain_fusion": False, "domain_smoothing": False}, DHF1K),
    ],
    ids=["video", "picture", "dense", "bare", "shared", "fusion"],
)
def test_folded_is_the_plain_network(rng, changes, domain):
    config = dataclasses.replace(TWO, **changes)
    variables = made_up(config)
    before = jax.tree.map(np.array, variables)
    with jax.enable_x64(True):
        x = jnp.asarray(rng.standard_normal((2, 2, 32, 64, 3)))
        wide = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), variables)
        plain, state = jax.jit(lambda v, x: Unisal(config).apply(v, x, domain))(wide, x)
        folded = fold(variables, config, domain, np.float64)
        fast, ours = jax.jit(lambda v, x: Unisal(folded.config, folded=True).apply(v, x, domain))(
            folded.variables((32, 64)), x
        )
    np.testing.assert_allclose(fast, plain, atol=1e-9)
    assert (state is None) == (ours is None)
    if state is not None:
        np.testing.assert_allclose(ours, state, atol=1e-9)
    # Folding works on copies.
    jax.tree.map(np.testing.assert_array_equal, before, variables)


@pytest.mark.parametrize("name", CASES)
def test_golden(golden, name):
    case, domain = CASES[name], find_domain(CASES[name]["source"])
    with jax.enable_x64(True):
        log_density, hidden, means = run_folded(golden(7), domain, case, np.float64)
    apart, state, inner = errors(name, case, log_density, hidden, means)
    # As for the plain network: the stored values' own rounding.
    assert apart.max() < 1e-5 and state < 1e-5 and inner < 1e-5


def test_golden_float32(golden):
    name = "dhf1k_video"
    found = run_folded(golden(7), DHF1K, CASES[name], np.float32)
    apart, state, inner = errors(name, CASES[name], *found)
    assert apart.max() < 1e-3 and apart.mean() < 1e-4 and state < 2e-3 and inner < 1e-3


def run_folded(weights, domain, case, dtype):
    folded = fold(weights.variables, weights.config, domain, dtype)
    x = np.random.Generator(np.random.PCG64(case["input_seed"])).standard_normal(
        (1, case["frames"], 3, *case["input_hw"])
    )
    apply = jax.jit(
        lambda variables, x: Unisal(folded.config, folded=True).apply(
            variables,
            x,
            domain,
            static=case["static"],
            target_size=tuple(case["target_hw"]),
            mutable=["intermediates"],
        )
    )
    (log_density, hidden), inner = apply(
        folded.variables(tuple(case["input_hw"])),
        x.astype(np.float32).transpose(0, 1, 3, 4, 2).astype(dtype),
    )
    means = {name: np.asarray(maps[0][0, 0]).mean((0, 1)) for name, maps in inner["intermediates"].items()}
    return np.asarray(log_density[0]), None if hidden is None else np.asarray(hidden[0]), means


def test_real_clip(released, real_clip):
    folded = fold(released.variables, released.config, UCF_SPORTS)

    def runner(network, variables):
        apply = jax.jit(
            lambda variables, x, hidden: network.apply(
                variables, x, UCF_SPORTS, hidden=hidden, target_size=(404, 720)
            )
        )
        return functools.partial(apply, variables)

    plain = runner(Unisal(released.config), released.variables)
    fast = runner(Unisal(folded.config, folded=True), folded.variables(UCF_SPORTS.input_size))
    states = [None, None]
    with open_video(real_clip / "images") as frames:
        for frame in itertools.islice(frames, 0, 40, UCF_SPORTS.stride):
            x = normalize(resize_frame(frame, UCF_SPORTS.input_size))[None, None]
            want, states[0] = plain(x, states[0])
            found, states[1] = fast(x, states[1])
            np.testing.assert_allclose(found, want, atol=1e-4)


def test_forms_of_the_backend():
    assert forms.forms(prediction=True) == forms.PREDICTION[jax.default_backend()]
    assert forms.forms(prediction=False) == forms.TRAINING[jax.default_backend()]
