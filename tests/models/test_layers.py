"""Compares fast forms with plain ones, values and gradients; runs every module on its own."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unisal_jax.domains import DHF1K, SALICON
from unisal_jax.models import architecture, layers, smoothing
from unisal_jax.models.batch_norm import BatchNorm
from unisal_jax.models.conv_gru import ConvGRU, GateConv
from unisal_jax.models.depthwise import depthwise_conv
from unisal_jax.models.maps import gaussian_maps
from unisal_jax.models.mobilenet_v2 import MobileNetV2
from unisal_jax.models.priors import PriorMaps
from unisal_jax.models.smoothing import Smoothing
from unisal_jax.models.unisal import Fusion


def plain_smoothing(x, kernel):
    """Nearest-neighbour upsampling, replicate padding and 41x41 correlation, as in the original."""
    up = jnp.repeat(jnp.repeat(x, 8, -2), 8, -1)
    padded = jnp.pad(up, ((0, 0), (20, 20), (20, 20)), mode="edge")
    out = jax.lax.conv_general_dilated(padded[:, None], kernel[None, None], (1, 1), "VALID")
    return out[:, 0]


def same_value_and_gradient(fast, plain, *args, tolerance=1e-10):
    """Compares values and gradients in float64; the gradient is of a random linear functional."""
    with jax.enable_x64(True):
        args = [jnp.asarray(arg, jnp.float64) for arg in args]

        def value_and_gradient(function):
            def probed(*args):
                out = function(*args)
                probe = np.random.default_rng(1).standard_normal(out.shape)
                return (out * probe).sum(), out

            every = tuple(range(len(args)))
            (_, out), gradients = jax.jit(jax.value_and_grad(probed, every, has_aux=True))(*args)
            return out, *gradients

        for ours, theirs in zip(value_and_gradient(fast), value_and_gradient(plain), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=tolerance)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (7, 4)])
def test_smoothing(rng, size):
    same_value_and_gradient(
        smoothing.upsample_and_smooth,
        plain_smoothing,
        rng.standard_normal((2, *size)),
        rng.standard_normal((41, 41)),
    )


def test_smoothing_takes_leading_axes(rng):
    x, kernel = rng.standard_normal((2, 3, 4, 5), np.float32), rng.standard_normal((41, 41), np.float32)
    out = smoothing.upsample_and_smooth(jnp.asarray(x), jnp.asarray(kernel))
    np.testing.assert_allclose(out[1, 2], smoothing.upsample_and_smooth(x[1, 2:], kernel)[0], atol=1e-4)


def test_initial_smoothing_kernel():
    kernel = np.asarray(smoothing.initial_kernel(None), np.float64)
    at = np.exp(-0.5 * ((np.linspace(0, 1, 41) - 0.5) / np.exp(-2)) ** 2)
    np.testing.assert_allclose(kernel, np.outer(at, at) / at.sum() ** 2, rtol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (6, 5), (8, 8)])
def test_depthwise_forms(rng, stride, size):
    same_value_and_gradient(
        lambda x, k: depthwise_conv(x, k, stride, "shifted"),
        lambda x, k: depthwise_conv(x, k, stride, "grouped"),
        rng.standard_normal((2, 3, *size, 4)),
        rng.standard_normal((3, 3, 1, 4)),
    )


def test_strided_depthwise_is_the_subsampled_one(rng):
    x, kernel = rng.standard_normal((1, 7, 8, 3)), rng.standard_normal((3, 3, 1, 3))
    full = depthwise_conv(jnp.asarray(x), jnp.asarray(kernel))
    np.testing.assert_allclose(depthwise_conv(x, kernel, 2), full[:, ::2, ::2], atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 3), (5, 4)])
def test_upsampling(rng, size):
    same_value_and_gradient(
        layers.upsample2x,
        lambda x: jax.image.resize(x, (2, 2 * size[0], 2 * size[1], 3), "bilinear"),
        rng.standard_normal((2, *size, 3)),
    )


@pytest.mark.parametrize("size", [(9, 16), (5, 7), (4, 6), (13, 3), (1, 1), (2, 40)])
def test_resize(rng, size):
    same_value_and_gradient(
        lambda x: layers.resize_bilinear(x, size),
        lambda x: jax.image.resize(x, (2, *size), "bilinear", antialias=False),
        rng.standard_normal((2, 5, 7)),
    )


@pytest.mark.torch
@pytest.mark.parametrize("size", [(9, 16), (5, 7), (4, 6), (13, 3), (360, 640)])
def test_resize_equals_pytorch(rng, size):
    torch = pytest.importorskip("torch")
    x = rng.standard_normal((1, 2, 28, 48))
    want = torch.nn.functional.interpolate(torch.tensor(x), size, mode="bilinear", align_corners=False)
    with jax.enable_x64(True):
        np.testing.assert_allclose(layers.resize_bilinear(jnp.asarray(x), size), want.numpy(), atol=1e-10)


def test_pointwise_of_maps_of_two_sizes(rng):
    """A 1x1 convolution before the upsampling equals one after it."""
    small, large = rng.standard_normal((1, 1, 3, 4, 6)), rng.standard_normal((1, 1, 6, 8, 5))
    with jax.enable_x64(True):
        module = layers.Pointwise(7, bias=True)
        variables = module.init(jax.random.key(0), small, large)
        kernel, bias = variables["params"]["kernel"], variables["params"]["bias"]
        joined = jnp.concatenate([layers.upsample2x(jnp.asarray(small)), large], -1)
        np.testing.assert_allclose(module.apply(variables, small, large), joined @ kernel + bias, atol=1e-10)


def test_dense_convolution(rng):
    x = rng.standard_normal((1, 2, 4, 5, 3)).astype(np.float32)
    module = layers.Conv3x3(3, dense=True)
    variables = module.init(jax.random.key(0), x)
    kernel = np.asarray(variables["params"]["kernel"])
    assert kernel.shape == (3, 3, 3, 3)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)))
    want = sum(padded[:, :, i : i + 4, j : j + 5] @ kernel[i, j] for i in range(3) for j in range(3))
    np.testing.assert_allclose(module.apply(variables, x), want, atol=1e-5)


@pytest.mark.parametrize(
    "conv",
    [layers.Stem(5), layers.Conv3x3(4), layers.Conv3x3(5, dense=True), layers.Pointwise(5, bias=True)],
    ids=["stem", "depthwise", "dense", "pointwise"],
)
def test_a_scaled_convolution(rng, conv):
    """Scaling the kernel (and bias) equals scaling the output."""
    with jax.enable_x64(True):
        x, scale = rng.standard_normal((1, 2, 6, 4, 4)), rng.standard_normal(conv.features)
        variables = conv.init(jax.random.key(0), jnp.asarray(x))
        plain = conv.apply(variables, x)
        np.testing.assert_allclose(conv.apply(variables, x, scale=scale), plain * scale, atol=1e-12)


def test_a_recomputed_block(rng):
    """The backward pass keeps only the input; variables, values, statistics and gradients do not change."""
    with jax.enable_x64(True):
        x = jnp.asarray(rng.standard_normal((2, 3, 2, 3, 4)))
        blocks = [layers.InvertedResidual(4, 2, BatchNorm, residual=True, recompute=r) for r in (True, False)]
        given = {"domain": DHF1K, "train": True}

        @jax.jit
        def both(key, x):
            variables = blocks[0].init(key, x, **given)

            def probed(block, params):
                changing = variables | {"params": params}
                out, statistics = block.apply(changing, x, **given, mutable=["batch_stats"])
                return jnp.sum(jnp.sin(out)), statistics

            return [
                jax.value_and_grad(functools.partial(probed, block), has_aux=True)(variables["params"])
                for block in blocks
            ]

        traced = both.trace(jax.random.key(0), x)
        assert "remat" in str(traced.jaxpr)
        (anew, kept) = traced.lower().compile()(jax.random.key(0), x)
        jax.tree.map(lambda ours, plain: np.testing.assert_allclose(ours, plain, 1e-12, 1e-12), anew, kept)


DOMAINS = (DHF1K, SALICON)
CLIP = (1, 2, 32, 32, 3)
MODULES = {
    # Name -> module, input shape, output shape.
    "stem": (layers.Stem(8), CLIP, (1, 2, 16, 16, 8)),
    "conv": (layers.Conv3x3(3, stride=2), CLIP, (1, 2, 16, 16, 3)),
    "pointwise": (layers.Pointwise(5), CLIP, (1, 2, 32, 32, 5)),
    "norm": (BatchNorm(layers.Pointwise(5), DOMAINS), CLIP, (1, 2, 32, 32, 5)),
    "block": (layers.InvertedResidual(5, 2, BatchNorm), CLIP, (1, 2, 32, 32, 5)),
    "encoder": (MobileNetV2(), CLIP, (1, 2, 1, 1, 1280)),
    "priors": (PriorMaps(DOMAINS), CLIP, (1, 2, 32, 32, 19)),
    "gate": (GateConv(3, DOMAINS), (1, 2, 4, 5, 3), (1, 2, 4, 5, 3)),
    "gru": (ConvGRU(3, DOMAINS), (1, 2, 4, 5, 3), (1, 2, 4, 5, 3)),
    "fusion": (Fusion(DOMAINS), CLIP, CLIP[:-1]),
    "smoothing": (Smoothing(DOMAINS), CLIP[:-1], (1, 2, 256, 256)),
}


@pytest.mark.parametrize("name", MODULES)
def test_every_module_on_its_own(rng, name):
    """It can be initialised, and its output is finite and not constant."""
    module, shape, want = MODULES[name]
    takes = inspect.signature(type(module).__call__).parameters
    options = {"domain": DHF1K, "train": False, "hidden": None}
    given = {option: value for option, value in options.items() if option in takes}

    @jax.jit
    def run(key, x):
        variables = module.init(key, x, **given)
        return module.apply(variables, x, **given)

    out = jax.tree.leaves(run(jax.random.key(0), rng.standard_normal(shape, np.float32)))
    found = out[-1] if name == "encoder" else out[0]
    assert found.shape == want
    assert np.isfinite(found).all() and np.std(found) > 0


def test_initial_prior_maps():
    gaussians = architecture.initial_gaussians()
    assert gaussians.shape == (architecture.PRIORS, 2, 2)
    maps = np.asarray(gaussian_maps(jnp.asarray(gaussians), (9, 17)))
    assert maps.shape == (9, 17, 16)
    y, x = np.linspace(0, 1, 9)[:, None], np.linspace(0, 1, 17)
    std = np.exp(-1.5)
    # The second round map: mean y .25, x .5. The first wide map: y .5 with log std 0, x .25.
    second = 6 * np.exp(-(((y - 0.25) / std) ** 2) / 2 - ((x - 0.5) / std) ** 2 / 2)
    wide = 6 * np.exp(-((y - 0.5) ** 2) / 2 - ((x - 0.25) / std) ** 2 / 2)
    np.testing.assert_allclose(maps[..., 1], second, rtol=1e-5)
    np.testing.assert_allclose(maps[..., 9], wide, rtol=1e-5)
    np.testing.assert_allclose(
        maps[..., 15], 6 * np.exp(-((y - 0.5) ** 2) / 2 - (x - 0.5) ** 2 / 2), rtol=1e-5
    )
    # Maps 9 to 11 are wide in y, 12 to 14 in x.
    np.testing.assert_array_equal(gaussians[9:12, 0], [[0.5, 0]] * 3)
    np.testing.assert_array_equal(gaussians[12:15, 1], [[0.5, 0]] * 3)
