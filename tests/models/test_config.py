"""Model configs: ablations, sets of domains, and adding a domain to existing weights."""

import dataclasses
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers.golden_weights import made_up
from unisal_jax.domains import DHF1K, SALICON, UCF_SPORTS, Domain
from unisal_jax.errors import UnisalError
from unisal_jax.models import initialization
from unisal_jax.models.config import UnisalConfig
from unisal_jax.models.gradients import upsample2x
from unisal_jax.models.initialization import add_domain
from unisal_jax.models.shapes import variable_shapes
from unisal_jax.models.unisal import Unisal
from unisal_jax.trees import flatten
from unisal_jax.weights import names

TWO = UnisalConfig(domains=(DHF1K, SALICON))


def tensor_names(config):
    return set(flatten(variable_shapes(config)))


def count(shapes):
    return sum(map(math.prod, flatten(shapes).values()))


def test_the_released_network_has_the_papers_size():
    shapes = variable_shapes(UnisalConfig())
    trainable = sum(count(tree) for name, tree in shapes.items() if not name.endswith("_stats"))
    assert trainable == 3_714_872  # reference.md, "Network"
    assert {count(shapes[domain.name]) for domain in UnisalConfig().domains} == {14_738}


@pytest.mark.parametrize(
    "change, gone",
    [
        ({"prior_maps": False}, "prior_maps"),
        ({"skips": False}, "skip_16_expand"),
        ({"smoothing": False}, "smoothing"),
        ({"domain_priors": False}, "dhf1k/prior_maps"),
        ({"domain_fusion": False}, "dhf1k/fusion"),
        ({"domain_smoothing": False}, "dhf1k/smoothing"),
        ({"domain_norm": False}, "dhf1k_stats"),
        ({"separable": False}, "rnn/reset_input/project"),
        ({"bilinear": False}, None),
        ({"rnn_bypass": False}, None),
        ({"rnn_bypass": False, "rnn_residual": False}, None),
    ],
)
def test_ablations(change, gone):
    """Each part can be disabled: its tensors disappear, and the model still predicts a density."""
    config = dataclasses.replace(TWO, **change)
    everything, left = tensor_names(TWO), tensor_names(config)
    if gone is None:
        more = {f"params/learned_upsampling_{level}/kernel" for level in (8, 16)}
        assert left == everything | (set() if config.bilinear else more)
    else:
        assert any(gone in name for name in everything)
        assert not any(gone in name for name in left)
    variables = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.01), made_up(config))
    x = jnp.asarray(np.random.default_rng(0).standard_normal((1, 2, 32, 32, 3)), jnp.float32)
    # Not jitted: the models of these tests share most operations, which are then compiled only once.
    out, hidden = Unisal(config).apply(variables, x, SALICON, target_size=(20, 30))
    assert out.shape == (1, 2, 20, 30)
    np.testing.assert_allclose(jnp.exp(out).sum((2, 3)), 1, atol=1e-5)
    # Images bypass the RNN only if there is a bypass.
    assert (hidden is None) == config.rnn_bypass
    # The authors' names cover this config too.
    assert len(names.entries(config)) == len(left)


def test_residual_and_bypass_change_the_output(golden):
    variables = golden(7).variables
    x = jnp.asarray(np.random.default_rng(0).standard_normal((1, 2, 32, 32, 3)), jnp.float32)

    def run(**change):
        config = UnisalConfig(**change)
        return Unisal(config).apply(variables, x, SALICON)[0]

    released, through, replaced = run(), run(rnn_bypass=False), run(rnn_bypass=False, rnn_residual=False)
    assert np.abs(released - through).max() > 1e-2 and np.abs(through - replaced).max() > 1e-2


def test_dense_convolutions_and_learned_upsampling_increase_the_size():
    """The paper's comparison (section 4.6): 15.5 MB with them, 59.4 MB without."""
    large = dataclasses.replace(UnisalConfig(), separable=False, bilinear=False)
    assert 4 * count(variable_shapes(UnisalConfig())) / 1e6 == pytest.approx(15.5, rel=0.02)
    assert 4 * count(variable_shapes(large)) / 1e6 == pytest.approx(59.4, rel=0.02)


def test_learned_upsampling_can_be_bilinear():
    """With a tent kernel it equals bilinear upsampling, except at the border."""
    tent = np.array([1, 3, 3, 1]) / 4
    kernel = np.einsum("i,j,cd->ijcd", tent, tent, np.eye(5))
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, 6, 7, 5)), jnp.float32)
    module = nn.ConvTranspose(5, (4, 4), (2, 2), use_bias=False)
    out = module.apply({"params": {"kernel": kernel}}, x)
    np.testing.assert_allclose(out[:, 1:-1, 1:-1], upsample2x(x)[:, 1:-1, 1:-1], atol=1e-5)


def test_no_rnn_where_every_domain_bypasses_it():
    config = UnisalConfig(domains=(SALICON,))
    assert not config.has_rnn and not any(name.startswith("params/rnn") for name in tensor_names(config))
    assert UnisalConfig(domains=(SALICON,), rnn_bypass=False).has_rnn


def test_bypass_needs_the_residual():
    with pytest.raises(UnisalError, match="rnn_bypass requires rnn_residual"):
        UnisalConfig(rnn_residual=False)


def test_a_form_of_prediction_is_not_a_config_value():
    with pytest.raises(UnisalError, match="model config: depthwise cannot be 'rows'"):
        UnisalConfig(depthwise="rows")


def test_domains_must_be_distinct_and_not_empty():
    with pytest.raises(UnisalError, match="same name"):
        UnisalConfig(domains=(DHF1K, DHF1K))
    with pytest.raises(UnisalError, match="at least one"):
        UnisalConfig(domains=())


def test_an_unknown_domain():
    with pytest.raises(UnisalError, match="no domain 'ucf_sports', only dhf1k, salicon"):
        jax.eval_shape(
            lambda v, x: Unisal(TWO).apply(v, x, UCF_SPORTS),
            made_up(TWO),
            jnp.zeros((1, 1, 32, 32, 3)),
        )


def test_json_round_trip():
    own = Domain("own", (96, 128), stride=3)
    config = UnisalConfig(domains=(*UnisalConfig().domains, own), smoothing=False, skip_dropout=0.1)
    assert UnisalConfig.from_json(config.to_json()) == config
    hash(UnisalConfig.from_json(config.to_json()))
    for text in ("", "{}", "[]", '{"domains": 3}', '{"domains": [], "colour": 1}'):
        with pytest.raises(UnisalError):
            UnisalConfig.from_json(text)


@pytest.mark.parametrize("like", [SALICON, None])
def test_a_new_domain_changes_nothing_else(like):
    variables = jax.tree.map(jnp.asarray, made_up(TWO))
    own = Domain("own", (96, 128), static=True)
    grown, config = add_domain(variables, TWO, own, like=like, key=jax.random.key(1))
    assert config.domains == (DHF1K, SALICON, own)
    assert set(grown) == set(variables) | {"own", "own_stats"}
    for name, tree in variables.items():
        jax.tree.map(np.testing.assert_array_equal, grown[name], tree)
    shapes = jax.tree.map(lambda leaf: leaf.shape, grown)
    assert shapes == variable_shapes(config)
    if like is not None:
        jax.tree.map(np.testing.assert_array_equal, grown["own"], variables["salicon"])
        # They are copies: donating one must not delete the other.
        jax.tree.map(lambda leaf: leaf.delete(), grown["own"])
        jax.tree.map(np.asarray, variables["salicon"])


def test_a_new_domain_requires_like_or_key():
    with pytest.raises(UnisalError, match="pass `like`"):
        add_domain({}, TWO, Domain("own", (96, 128)))


def test_domains_start_with_different_weights():
    # As `init_variables`, without the shared weights, which take four times as long to compile.
    variables = initialization._init(TWO, jax.random.key(0), lambda name: name in ("dhf1k", "salicon"))
    assert np.abs(variables["dhf1k"]["fusion"]["kernel"] - variables["salicon"]["fusion"]["kernel"]).max() > 0
