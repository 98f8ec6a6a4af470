"""Convolutions, resizing and the inverted residual block of the encoder and decoder.

Feature maps are [batch, time, height, width, channels]; the layers here accept any leading axes. A
convolution accepts `scale` [features], a factor of its output that it multiplies into its kernel.
"""

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from unisal_jax.domains import Domain
from unisal_jax.models.config import DepthwiseForm
from unisal_jax.models.depthwise import depthwise_conv
from unisal_jax.models.gradients import along_channels, relu6, stem_conv, upsample2x

# PyTorch's default for convolutions: uniform in +-1/sqrt(fan_in).
default_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
# tonylins' MobileNetV2: normal with variance 2 / (kernel area * channels out).
fan_out_init = nn.initializers.variance_scaling(2, "fan_out", "normal")


def bias_init(fan_in: int) -> Callable[..., jax.Array]:
    """PyTorch's default for the bias of a convolution: uniform in +-1/sqrt(fan_in)."""

    def init(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -1, 1) / math.sqrt(fan_in)

    return init


@functools.partial(jax.jit, static_argnums=2)
def _scaled(weights: jax.Array, scale: jax.Array | None, dtype: jnp.dtype) -> jax.Array:
    """Weights [..., features], cast to the dtype of the computation and multiplied by the scale."""
    return (weights if scale is None else weights * along_channels(scale, weights)).astype(dtype)


class Stem(nn.Module):
    """The encoder's first convolution: 3x3, stride 2, one pixel of zero padding, no bias."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array, scale: jax.Array | None = None) -> jax.Array:
        """[..., height, width, channels] -> [..., height / 2, width / 2, features], even sizes."""
        kernel = self.param("kernel", fan_out_init, (3, 3, x.shape[-1], self.features))
        flat = x.reshape(-1, *x.shape[-3:])
        out = stem_conv(flat, _scaled(kernel, scale, x.dtype))
        return out.reshape(*x.shape[:-3], *out.shape[1:])


class Conv3x3(nn.Module):
    """3x3 convolution with zero padding and no bias: depthwise, or dense for the ablation.

    The kernel is [3, 3, 1, features] if depthwise, for `features` input channels, and
    [3, 3, channels, features] if dense.
    """

    features: int
    stride: int = 1
    dense: bool = False
    form: DepthwiseForm = "auto"
    kernel_init: Callable[..., jax.Array] = default_init

    @nn.compact
    def __call__(self, x: jax.Array, scale: jax.Array | None = None) -> jax.Array:
        """[..., height, width, channels] -> [..., ceil(height / stride), ceil(width / stride), features]."""
        shape = (3, 3, x.shape[-1] if self.dense else 1, self.features)
        kernel = _scaled(self.param("kernel", self.kernel_init, shape), scale, x.dtype)
        if not self.dense:
            return depthwise_conv(x, kernel, self.stride, self.form)
        flat = x.reshape(-1, *x.shape[-3:])
        out = jax.lax.conv_general_dilated(
            flat,
            kernel,
            (self.stride, self.stride),
            ((1, 1), (1, 1)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return out.reshape(*x.shape[:-3], *out.shape[1:])


class Pointwise(nn.Module):
    """1x1 convolution of one map, or of several that are upsampled and concatenated, as matrix products.

    A 1x1 convolution commutes with bilinear upsampling. So a map of half the last one's size is multiplied
    at its own size, upsampled and added: the same sum from a quarter of the pixels.
    """

    features: int
    bias: bool = False
    kernel_init: Callable[..., jax.Array] = default_init

    @nn.compact
    def __call__(self, *maps: jax.Array, scale: jax.Array | None = None) -> jax.Array:
        """Maps [..., height, width, channels] of full or half size -> [..., height, width, features]."""
        fan_in = sum(x.shape[-1] for x in maps)
        kernel = self.param("kernel", self.kernel_init, (fan_in, self.features))
        kernel = _scaled(kernel, scale, maps[0].dtype)
        parts = []
        for x, end in zip(maps, np.cumsum([x.shape[-1] for x in maps]), strict=True):
            # Reshaped to a matrix, so that the kernel's gradient is one product instead of one per row.
            flat = jnp.matmul(x.reshape(-1, x.shape[-1]), kernel[end - x.shape[-1] : end])
            part = flat.reshape(*x.shape[:-1], self.features)
            parts.append(part if x.shape[-3] == maps[-1].shape[-3] else upsample2x(part))
        total = functools.reduce(operator.add, parts)
        if self.bias:
            bias = self.param("bias", bias_init(fan_in), (self.features,))
            total = total + along_channels(_scaled(bias, scale, total.dtype), total)
        return total


class InvertedResidual(nn.Module):
    """MobileNetV2's block: 1x1 up, 3x3 depthwise, 1x1 down, each with a batch norm (paper, Table 1).

    Attributes:
      features: output channels.
      expansion: ratio of hidden to input channels; 1 omits the first 1x1 convolution.
      norm: makes the batch norm of a convolution, called as norm(conv, name=...).
      stride: stride of the 3x3 convolution.
      residual: add the input to the output.
      dense: use a dense 3x3 convolution instead of the depthwise one.
      form: how to compute the depthwise convolution.
      kernel_init: initializer of the kernels.
      recompute: keep only the block's inputs for the backward pass, which recomputes the values inside.
    """

    features: int
    expansion: int
    norm: Callable[..., nn.Module]
    stride: int = 1
    residual: bool = False
    dense: bool = False
    form: DepthwiseForm = "auto"
    kernel_init: Callable[..., jax.Array] = fan_out_init
    recompute: bool = False

    @nn.compact
    def __call__(self, *maps: jax.Array, domain: Domain, train: bool) -> jax.Array:
        """Maps as for `Pointwise`, one if the expansion is 1 -> [..., height, width, features]."""

        def block(self: InvertedResidual, *maps: jax.Array) -> jax.Array:
            def normed(conv: nn.Module, *maps: jax.Array) -> jax.Array:
                out: jax.Array = self.norm(conv, name=f"{conv.name}_norm")(*maps, domain=domain, train=train)
                return out

            init, x = self.kernel_init, maps[-1]
            if self.expansion != 1:
                hidden = self.expansion * sum(m.shape[-1] for m in maps)
                x = relu6(normed(Pointwise(hidden, kernel_init=init, name="expand"), *maps))
            spatial = Conv3x3(x.shape[-1], self.stride, self.dense, self.form, init, name="spatial")
            x = relu6(normed(spatial, x))
            x = normed(Pointwise(self.features, kernel_init=init, name="project"), x)
            return x + maps[-1] if self.residual else x

        return (nn.remat(block) if self.recompute else block)(self, *maps)


def resize_bilinear(x: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Bilinear resize with half-pixel centres and no antialiasing, as PyTorch's `interpolate`.

    A TPU multiplies by a constant matrix per axis: the gradient of a gather, a scatter, would move several
    times as many bytes.

    Args:
      x: [..., height, width].
      size: output (height, width).
    """
    by_products = functools.partial(_resized_by_products, size=size)
    resized: jax.Array = jax.lax.platform_dependent(
        x, tpu=by_products, default=functools.partial(_resized_by_gathers, size=size)
    )
    return resized


def _resized_by_gathers(x: jax.Array, size: tuple[int, int]) -> jax.Array:
    for axis, out in ((x.ndim - 2, size[0]), (x.ndim - 1, size[1])):
        if out == x.shape[axis]:
            continue
        low, high, share = _neighbours(x.shape[axis], out)
        shape = [1] * x.ndim
        shape[axis] = out
        weight = jnp.asarray(share.reshape(shape), x.dtype)
        x = jnp.take(x, low, axis) * (1 - weight) + jnp.take(x, high, axis) * weight
    return x


def _resized_by_products(x: jax.Array, size: tuple[int, int]) -> jax.Array:
    for product, length, out in zip(("...hw,Hh->...Hw", "...hw,Ww->...hW"), x.shape[-2:], size, strict=True):
        if out == length:
            continue
        low, high, share = _neighbours(length, out)
        matrix = np.zeros((out, length))
        np.add.at(matrix, (np.arange(out), low), 1 - share)
        np.add.at(matrix, (np.arange(out), high), share)
        x = jnp.einsum(product, x, jnp.asarray(matrix, x.dtype), precision="highest")
    return x


def _neighbours(length: int, out: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of `out` pixels, its two neighbours among `length` pixels, and the weight of the second."""
    at = np.clip((np.arange(out) + 0.5) * (length / out) - 0.5, 0, length - 1)
    low = np.floor(at).astype(np.int32)
    return low, np.minimum(low + 1, length - 1), at - low
