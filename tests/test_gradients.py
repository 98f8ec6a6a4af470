"""Written-out gradients against those that JAX derives from the plain forms, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unisal_jax.models.gradients import relu6, shifted_depthwise, stem_conv, upsample2x
from unisal_jax.models.layers import depthwise_conv, resize_bilinear


def assert_same_gradients(ours, plain, rng, *arrays):
    value, back = jax.vjp(ours, *arrays)
    want, derived = jax.vjp(plain, *arrays)
    np.testing.assert_allclose(value, want, rtol=1e-12, atol=1e-12)
    gradient = jnp.asarray(rng.standard_normal(value.shape))
    for got, expected in zip(back(gradient), derived(gradient), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(5, 6), (8, 7), (2, 3)])
def test_depthwise(rng, stride, size):
    with jax.enable_x64(True):
        x, kernel = (jnp.asarray(rng.standard_normal(shape)) for shape in ((3, *size, 4), (3, 3, 1, 4)))
        assert_same_gradients(
            lambda x, kernel: shifted_depthwise(x, kernel, stride),
            lambda x, kernel: depthwise_conv(x, kernel, stride, "grouped"),
            rng,
            x,
            kernel,
        )


def test_stem(rng):
    def plain(x, kernel):
        return jax.lax.conv_general_dilated(
            x, kernel, (2, 2), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    with jax.enable_x64(True):
        x, kernel = (jnp.asarray(rng.standard_normal(shape)) for shape in ((2, 6, 8, 3), (3, 3, 3, 5)))
        assert_same_gradients(stem_conv, plain, rng, x, kernel)


def test_relu6(rng):
    """PyTorch's: no gradient at the kinks themselves, where JAX derives a half."""
    x = jnp.asarray([-1.0, 0.0, 1e-30, 3.0, 6.0, 7.0])
    out, back = jax.vjp(relu6, x)
    np.testing.assert_array_equal(out, np.float32([0, 0, 1e-30, 3, 6, 6]))
    np.testing.assert_array_equal(back(jnp.arange(1.0, 7.0))[0], [0, 0, 3, 4, 0, 0])


def test_depthwise_sums_in_float32(rng):
    """In bfloat16 a sum over 4,000 rows must not stop growing at 256."""
    x, kernel = jnp.ones((40, 100, 4, 1), jnp.bfloat16), jnp.ones((3, 3, 1, 1), jnp.bfloat16)
    out, back = jax.vjp(lambda kernel: shifted_depthwise(x, kernel, 1), kernel)
    (gradient,) = back(jnp.ones_like(out))
    assert float(gradient[1, 1, 0, 0]) == pytest.approx(40 * 100 * 4, rel=0.01)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 4)])
def test_upsampling(rng, size):
    def plain(x):
        moved = jnp.moveaxis(x, -1, 0)
        return jnp.moveaxis(resize_bilinear(moved, (2 * size[0], 2 * size[1])), 0, -1)

    with jax.enable_x64(True):
        assert_same_gradients(upsample2x, plain, rng, jnp.asarray(rng.standard_normal((2, *size, 3))))
