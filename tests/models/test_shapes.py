"""The table of variable shapes equals the shapes of initialised models, for every config."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unisal_jax.domains import DHF1K, SALICON, UCF_SPORTS, Domain
from unisal_jax.models.config import UnisalConfig
from unisal_jax.models.shapes import encoder_shapes, variable_shapes
from unisal_jax.models.unisal import Unisal

TWO = UnisalConfig(domains=(DHF1K, SALICON))
SWITCHES = [field.name for field in dataclasses.fields(UnisalConfig) if isinstance(field.default, bool)]
# The bypass requires the residual.
FLIPPED = {name: {name: False} for name in SWITCHES} | {
    "rnn_residual": {"rnn_residual": False, "rnn_bypass": False}
}
STATIC = (SALICON, dataclasses.replace(SALICON, name="photos"))
MANY = tuple(Domain(f"d{number}", (96, 128), static=number % 3 == 0) for number in range(30))
CONFIGS = {
    "released": UnisalConfig(),
    **{f"{name} off": dataclasses.replace(TWO, **change) for name, change in FLIPPED.items()},
    "all off": dataclasses.replace(TWO, **dict.fromkeys(SWITCHES, False)),
    "dense, learned upsampling": dataclasses.replace(TWO, separable=False, bilinear=False),
    "learned upsampling, no skips": dataclasses.replace(TWO, skips=False, bilinear=False),
    "one domain": UnisalConfig(domains=(DHF1K,)),
    "one static domain": UnisalConfig(domains=(SALICON,)),
    "static domains": UnisalConfig(domains=STATIC),
    "static domains, no bypass": UnisalConfig(domains=STATIC, rnn_bypass=False),
    "three domains": UnisalConfig(domains=(UCF_SPORTS, SALICON, Domain("own", (64, 64), stride=2))),
    "thirty domains": UnisalConfig(domains=MANY),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_shapes_equal_those_of_the_model(name):
    config = CONFIGS[name]
    smallest = jnp.zeros((1, 1, 32, 32, 3))
    traced = jax.eval_shape(
        lambda key: Unisal(config).init({"params": key}, smallest, config.domains[0]), jax.random.key(0)
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(traced)} == {np.dtype(np.float32)}
    assert jax.tree.map(lambda leaf: leaf.shape, traced) == variable_shapes(config)


def test_the_encoder_is_the_same_for_every_config():
    want = encoder_shapes()
    for config in CONFIGS.values():
        shapes = variable_shapes(config)
        assert {name: {"encoder": shapes[name]["encoder"]} for name in want} == want


def test_each_call_returns_a_new_dict():
    variable_shapes(TWO)["params"].clear()
    assert variable_shapes(TWO)["params"]
