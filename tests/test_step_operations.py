"""How large the steps' programs are, before any compiler: what they take to compile grows with it."""

import jax.numpy as jnp
import pytest

from benchmarks.step_operations import operations


@pytest.mark.parametrize(
    ("form", "train", "most"),
    [
        ("grouped", True, 6_000),
        ("grouped", False, 1_800),
        ("shifted", True, 10_000),
        ("shifted", False, 3_000),
    ],
)
def test_operations_of_dhf1ks_steps(form, train, most):
    """In the longer of the variants: bfloat16 converts, and idle parameters move."""
    assert operations(form, train, jnp.bfloat16).total() <= most
