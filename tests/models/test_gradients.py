"""Compares custom gradients with those of autodiff for the plain forms, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unisal_jax.models.depthwise import depthwise_conv
from unisal_jax.models.gradients import relu6, stem_conv, upsample2x
from unisal_jax.models.layers import resize_bilinear

PLATFORMS = ("cpu", "cuda", "tpu")


def assert_same_gradients(ours, plain, rng, *arrays):
    """Runs the forms of every platform on this one."""
    want, derived = jax.vjp(plain, *arrays)
    gradient = jnp.asarray(rng.standard_normal(want.shape))
    anywhere = [jax.export.DisabledSafetyCheck.platform()]

    def value_and_gradients(gradient, *arrays):
        value, back = jax.vjp(ours, *arrays)
        return value, back(gradient)

    for platform in PLATFORMS:
        lowered = jax.export.export(
            jax.jit(value_and_gradients), platforms=[platform], disabled_checks=anywhere
        )
        value, gradients = lowered(gradient, *arrays).call(gradient, *arrays)
        np.testing.assert_allclose(value, want, rtol=1e-12, atol=1e-12)
        for got, expected in zip(gradients, derived(gradient), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("size", "form"), [((5, 6), "auto"), ((2, 3), "auto"), ((5, 6), "shifted")])
def test_depthwise(rng, size, form, stride):
    with jax.enable_x64(True):
        x, kernel = (jnp.asarray(rng.standard_normal(shape)) for shape in ((3, *size, 4), (3, 3, 1, 4)))
        assert_same_gradients(
            lambda x, kernel: depthwise_conv(x, kernel, stride, form),
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
    """As in PyTorch, the gradient at the kinks is 0; JAX's is 0.5."""
    x = jnp.asarray([-1.0, 0.0, 1e-30, 3.0, 6.0, 7.0])
    out, back = jax.vjp(relu6, x)
    np.testing.assert_array_equal(out, np.float32([0, 0, 1e-30, 3, 6, 6]))
    np.testing.assert_array_equal(back(jnp.arange(1.0, 7.0))[0], [0, 0, 3, 4, 0, 0])


def test_depthwise_takes_the_form_of_the_platform():
    """The form is selected at lowering, so a program for another platform uses that platform's form."""
    x = jax.ShapeDtypeStruct((1, 4, 4, 8), jnp.float32)
    kernel = jax.ShapeDtypeStruct((3, 3, 1, 8), jnp.float32)

    def convolutions(platform, stride):
        def gradients(x, kernel):
            return jax.grad(lambda x, kernel: depthwise_conv(x, kernel, stride).sum(), (0, 1))(x, kernel)

        traced = jax.jit(gradients).trace(x, kernel)
        return traced.lower(lowering_platforms=(platform,)).as_text().count("stablehlo.convolution")

    found = {
        (platform, stride): convolutions(platform, stride) for platform in PLATFORMS for stride in (1, 2)
    }
    assert found == {
        ("cpu", 1): 0,
        ("cpu", 2): 0,
        ("cuda", 1): 2,
        ("cuda", 2): 2,
        ("tpu", 1): 0,
        ("tpu", 2): 2,
    }


def test_depthwise_sums_in_float32(rng):
    """A bfloat16 sum over 4,000 rows must not saturate at 256."""
    x, kernel = jnp.ones((40, 100, 4, 1), jnp.bfloat16), jnp.ones((3, 3, 1, 1), jnp.bfloat16)
    out, back = jax.vjp(lambda kernel: depthwise_conv(x, kernel, 1, "shifted"), kernel)
    (gradient,) = back(jnp.ones_like(out))
    assert float(gradient[1, 1, 0, 0]) == pytest.approx(40 * 100 * 4, rel=0.01)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 4)])
def test_upsampling(rng, size):
    def plain(x):
        moved = jnp.moveaxis(x, -1, 0)
        return jnp.moveaxis(resize_bilinear(moved, (2 * size[0], 2 * size[1])), 0, -1)

    with jax.enable_x64(True):
        assert_same_gradients(upsample2x, plain, rng, jnp.asarray(rng.standard_normal((2, *size, 3))))


@pytest.mark.parametrize("size", [(9, 4), (5, 16)])
def test_resizing(rng, size):
    def plain(x):
        return jax.image.resize(x, (2, *size), "bilinear", antialias=False)

    with jax.enable_x64(True):
        x = jnp.asarray(rng.standard_normal((2, 5, 7)))
        assert_same_gradients(lambda x: resize_bilinear(x, size), plain, rng, x)
