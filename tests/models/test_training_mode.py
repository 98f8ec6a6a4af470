"""Training mode: statistics per time step and their running averages, dropout, several devices."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers.golden_weights import made_up
from unisal_jax.domains import DHF1K, SALICON
from unisal_jax.models import batch_norm
from unisal_jax.models.batch_norm import BatchNorm
from unisal_jax.models.config import UnisalConfig
from unisal_jax.models.conv_gru import ConvGRU
from unisal_jax.models.unisal import Unisal

DOMAINS = (DHF1K, SALICON)


@pytest.fixture(scope="module")
def small():
    """A model with two domains, its variables, and a clip [2, 3, 32, 64, 3]."""
    config = UnisalConfig(domains=DOMAINS)
    x = np.random.default_rng(5).standard_normal((2, 3, 32, 64, 3)).astype(np.float32)
    return config, jax.tree.map(jnp.asarray, made_up(config)), x


class Same(nn.Module):
    """An identity convolution, to test a batch norm on its own."""

    features: int

    def __call__(self, x, scale=None):
        return x if scale is None else x * scale


def plain_batch_norm(x, scale, bias, mean, var, momentum):
    """PyTorch's batch norm on one time step after the other, as in the original."""
    out = np.empty_like(x)
    for t in range(x.shape[1]):
        values = x[:, t].reshape(-1, x.shape[-1])
        batch_mean, batch_var = values.mean(0), values.var(0)
        out[:, t] = (x[:, t] - batch_mean) / np.sqrt(batch_var + batch_norm.EPSILON) * scale + bias
        mean = (1 - momentum) * mean + momentum * batch_mean
        var = (1 - momentum) * var + momentum * values.var(0, ddof=1)
    return out, mean, var


@pytest.mark.parametrize("domain", DOMAINS)
def test_batch_norm(rng, domain):
    with jax.enable_x64(True):
        x = rng.standard_normal((2, 4, 3, 5, 6)) * rng.uniform(0.5, 3, 6) + rng.standard_normal(6)
        norm = BatchNorm(Same(6), DOMAINS)
        variables = norm.init(jax.random.key(0), x, domain=domain, train=False)
        assert set(variables) == {"dhf1k", "dhf1k_stats", "salicon", "salicon_stats"}
        fill = {
            domain.name: {"scale": rng.uniform(0.5, 2, 6), "bias": rng.standard_normal(6)},
            domain.stats: {"mean": rng.standard_normal(6), "var": rng.uniform(0.5, 2, 6)},
        }
        variables = jax.tree.map(jnp.asarray, variables | fill)
        out, updated = norm.apply(variables, x, domain=domain, train=True, mutable=[domain.stats])
    want, mean, var = plain_batch_norm(
        x, **fill[domain.name], **fill[domain.stats], momentum=domain.bn_momentum
    )
    np.testing.assert_allclose(out, want, atol=1e-10)
    np.testing.assert_allclose(updated[domain.stats]["mean"], mean, atol=1e-12)
    np.testing.assert_allclose(updated[domain.stats]["var"], var, atol=1e-12)
    # Frozen statistics do not change.
    with jax.enable_x64(True):
        frozen = norm.apply(variables, x, domain=domain, train=False)
    stats, trained = fill[domain.stats], fill[domain.name]
    plain = (x - stats["mean"]) / np.sqrt(stats["var"] + batch_norm.EPSILON) * trained["scale"] + trained[
        "bias"
    ]
    np.testing.assert_allclose(frozen, plain, atol=1e-10)


def test_shared_batch_norm_is_in_params(rng):
    x = rng.standard_normal((1, 1, 2, 2, 3), np.float32)
    variables = BatchNorm(Same(3)).init(jax.random.key(0), x, domain=DHF1K, train=False)
    assert set(variables) == {"params", "batch_stats"}


def test_statistics_over_devices(rng):
    """Two halves of a batch with a mapped axis give the same result as the whole batch."""
    with jax.enable_x64(True):
        x = rng.standard_normal((4, 2, 3, 3, 5))
        variables = BatchNorm(Same(5), DOMAINS).init(jax.random.key(0), x, domain=DHF1K, train=False)

        def run(x, axis_name=None):
            norm = BatchNorm(Same(5), DOMAINS, axis_name=axis_name)
            return norm.apply(variables, x, domain=DHF1K, train=True, mutable=["dhf1k_stats"])

        whole, want = run(x)
        split = jax.vmap(lambda part: run(part, "device"), axis_name="device")
        halves, stats = split(x.reshape(2, 2, *x.shape[1:]))
        np.testing.assert_allclose(halves.reshape(x.shape), whole, atol=1e-12)
        for device in range(2):
            got = jax.tree.map(lambda leaf, device=device: leaf[device], stats)
            jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, atol=1e-12), got, want)


def test_bfloat16_keeps_statistics_in_float32(rng):
    x = jnp.asarray(rng.standard_normal((1, 2, 4, 4, 3)), jnp.bfloat16)
    norm = BatchNorm(Same(3))
    variables = norm.init(jax.random.key(0), x, domain=DHF1K, train=False)
    out, updated = norm.apply(variables, x, domain=DHF1K, train=True, mutable=["batch_stats"])
    assert out.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves((variables, updated))} == {jnp.dtype(jnp.float32)}


def test_only_this_domains_and_the_shared_statistics_change(small):
    config, variables, x = small
    run = jax.jit(
        lambda variables, x, key: Unisal(config).apply(
            variables, x, DHF1K, train=True, rngs={"dropout": key}, mutable=["dhf1k_stats", "batch_stats"]
        )
    )
    _, updated = run(variables, x, jax.random.key(1))
    assert set(updated) == {"dhf1k_stats", "batch_stats"}
    changed = jax.tree.map(
        lambda a, b: not np.array_equal(a, b), updated["dhf1k_stats"], variables["dhf1k_stats"]
    )
    assert all(jax.tree.leaves(changed))
    # The encoder's statistics are frozen; those of Post-CNN, which are shared, are not.
    jax.tree.map(
        np.testing.assert_array_equal, updated["batch_stats"]["encoder"], variables["batch_stats"]["encoder"]
    )
    post_cnn = updated["batch_stats"]["post_cnn"]["spatial_norm"]["mean"]
    assert np.abs(post_cnn - variables["batch_stats"]["post_cnn"]["spatial_norm"]["mean"]).max() > 0


def test_products_are_exact_on_any_backend(small):
    """Full float32 precision of values and gradients; by default GPUs and TPUs round inputs of products."""
    config, variables, x = small

    def probed(variables):
        log_density, _ = Unisal(config).apply(variables, x, DHF1K)
        return log_density[..., 0, 0].sum()

    text = jax.jit(jax.grad(probed)).trace(variables).lower(lowering_platforms=("cuda",)).as_text()
    products = [line for line in text.splitlines() if "stablehlo.dot" in line or "stablehlo.conv" in line]
    products = [line for line in products if "stablehlo.convert" not in line]
    assert len(products) > 100
    assert [line for line in products if line.count("HIGHEST") != 2] == []


def test_dropout_follows_its_key(small):
    config, variables, x = small

    @functools.partial(jax.jit, static_argnums=0)
    def run(domain, key):
        mutable = [domain.stats, "batch_stats"]
        return Unisal(config).apply(variables, x, domain, train=True, rngs={"dropout": key}, mutable=mutable)[
            0
        ][0]

    one, same, other = (run(DHF1K, jax.random.key(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-3


def test_recurrent_dropout_masks(rng):
    """There is one mask per gate, shared by the batch and all time steps, and scaled by the kept fraction."""
    gru = ConvGRU(8, dropout=0.5)
    x = np.repeat(rng.standard_normal((1, 5, 2, 3, 8), np.float32), 3, 0)
    variables = gru.init(jax.random.key(0), x, DHF1K, None, False)
    masks = gru.apply(
        variables,
        jnp.float32,
        method=lambda module, dtype: module._masks(dtype),
        rngs={"dropout": jax.random.key(3)},
    )
    assert masks.shape == (3, 8) and set(np.unique(masks)) == {0.0, 2.0}
    states, _ = gru.apply(
        variables, x, DHF1K, None, True, rngs={"dropout": jax.random.key(3)}, mutable=["batch_stats"]
    )[0]
    np.testing.assert_array_equal(states[0], states[1])  # the batch shares masks, so equal samples stay equal


def test_recurrence_continues_from_a_state(rng):
    gru = ConvGRU(8, domains=DOMAINS)
    x = rng.standard_normal((2, 5, 3, 4, 8), np.float32)
    variables = gru.init(jax.random.key(0), x, DHF1K, None, False)
    run = jax.jit(lambda x, hidden: gru.apply(variables, x, DHF1K, hidden, False))
    states, last = run(x, None)
    np.testing.assert_array_equal(states[:, -1], last)
    first, state = run(x[:, :2], None)
    second, end = run(x[:, 2:], state)
    np.testing.assert_allclose(np.concatenate([first, second], 1), states, atol=1e-6)
    np.testing.assert_allclose(end, last, atol=1e-6)


def test_recurrence_follows_the_paper(rng):
    """Compares one step with the paper's equations."""
    gru = ConvGRU(4)
    x, hidden = (rng.standard_normal(shape, np.float32) for shape in ((1, 1, 2, 2, 4), (1, 2, 2, 4)))
    variables = gru.init(jax.random.key(0), x, DHF1K, None, False)
    variables = jax.tree.map(
        lambda leaf: leaf + rng.uniform(0, 0.5, leaf.shape).astype(np.float32), variables
    )
    bound = gru.bind(variables)
    w = [np.asarray(conv(jnp.asarray(x), DHF1K, False))[:, 0] for conv in bound.input_convs]
    u = [np.asarray(conv(jnp.asarray(hidden)[:, None], DHF1K, False))[:, 0] for conv in bound.hidden_convs]
    bias = [np.asarray(each) for each in bound.biases]
    reset, update = (1 / (1 + np.exp(-(w[g] + u[g] + bias[g]))) for g in (0, 1))
    want = (1 - update) * hidden + update * np.tanh(w[2] + reset * u[2] + bias[2])
    _, last = gru.apply(variables, x, DHF1K, hidden, False)
    np.testing.assert_allclose(last, want, atol=1e-6)


def test_a_static_batch_bypasses_the_rnn(small):
    config, variables, x = small
    some = {name: variables["params"][name] for name in ("rnn", "post_rnn", "upsampling_8")}

    @jax.jit
    def gradient(some):
        def loss(some):
            (log_density, hidden), _ = Unisal(dataclasses.replace(config, skip_dropout=0.0)).apply(
                {**variables, "params": {**variables["params"], **some}},
                x,
                SALICON,
                train=True,
                mutable=["salicon_stats", "batch_stats"],
            )
            assert hidden is None
            return log_density[..., 0, 0].sum()

        return jax.grad(loss)(some)

    found = gradient(some)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves((found["rnn"], found["post_rnn"])))
    assert np.any(found["upsampling_8"]["project"]["kernel"])
